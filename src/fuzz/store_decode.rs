//! Records, or a blob, as a store might give them back.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::Source;
use super::story::{entry, id, named, story};
use crate::config::{Config, Dialect, Durability};
use crate::effect::{Effect, Event, RetrievalId};
use crate::entry::DeliverySeq;
use crate::error::StoreError;
use crate::id::{ChannelId, MessageId};
use crate::input::{Input, PublishKind, RetrievalOutcome};
use crate::node::Node;
use crate::snapshot::{Change, Snapshot};
use crate::stored::{self, Key, Op};
use crate::time::{Instant, Now, UnixMillis};
use crate::wire::{FilterField, HistoryEntry, Outgoing, WireDialect};

/// Any records are refused or add up to a state, any changes do, and in it a node can go on.
///
/// `data` is taken twice: as [records](stored_records), and as changes that a store carries out,
/// with what happens to the node after it was started again.
pub fn store_decode(data: &[u8]) {
    let _refused = Snapshot::decode(data);
    stored_records(data);
    let mut source = Source(data);
    let (changes, state) = story(&mut source);
    let changes: Vec<Change> =
        changes.into_iter().map(|kind| Change { channel: CHANNEL, kind }).collect();
    assert_eq!(carried_out(&changes), Ok(Some(state.clone())));
    reads_back(&state);
    go_on(state, &mut source);
}

/// Any records are refused or add up to a state that can be written down again, and in which a node
/// can go on. `data`: of each record the length of its key (1 byte), the key, the length of its
/// value (2 bytes, most significant first), the value.
pub fn stored_records(data: &[u8]) {
    let records = split_records(data);
    if let Ok(Some(state)) = stored::snapshot(records.iter().copied()) {
        reads_back(&state);
        // One state has one set of bytes. A clock that is still 0 was not always written.
        let mut given: BTreeMap<&[u8], &[u8]> = records.iter().copied().collect();
        assert_eq!(given.len(), records.len());
        if state.lamport == 0 && state.delivered > DeliverySeq(0) {
            given.insert(&[1], &[8, 0]);
        }
        let written = stored::import(&CHANNEL, &state);
        let puts = written.iter().filter_map(|write| match &write.op {
            Op::Put { key, value } => Some((&key[..], &value[..])),
            Op::Remove { .. } | Op::RemoveRange { .. } | Op::Clear => None,
        });
        assert_eq!(puts.collect::<BTreeMap<_, _>>(), given);
        go_on(state, &mut Source(&[]));
    }
}

const CHANNEL: ChannelId = ChannelId::from_static("c");

fn reads_back(state: &Snapshot) {
    assert_eq!(Snapshot::decode(&state.encode()).as_deref(), Ok(state));
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn split_records(mut data: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    while let Some((record, rest)) = split_record(data) {
        records.push(record);
        data = rest;
    }
    records
}

fn split_record(data: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (len, rest) = data.split_first()?;
    let (key, rest) = rest.split_at_checked((*len).into())?;
    let (len, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
    Some(((key, value), rest))
}

/// Returns the state of a store of records after these changes.
fn carried_out(changes: &[Change]) -> Result<Option<Box<Snapshot>>, stored::StoredError> {
    let mut records = BTreeMap::<Key, Bytes>::new();
    for write in stored::writes(changes) {
        match write.op {
            Op::Put { key, value } => drop(records.insert(key, value)),
            Op::Remove { key } => drop(records.remove(&key)),
            Op::RemoveRange { first, last } => {
                records.retain(|key, _| !(&first..=&last).contains(&key));
            }
            Op::Clear => records.clear(),
        }
    }
    stored::snapshot(records.iter().map(|(key, value)| (&key[..], &value[..])))
}

/// Starts a node on this state, lets things happen to it, and starts it again on what it stored.
fn go_on(state: Box<Snapshot>, source: &mut Source<'_>) {
    let mut run = Run::new(state, source);
    for _ in 0..32 {
        if source.is_empty() {
            break;
        }
        match source.byte() % 10 {
            0 => run.seconds += u64::from(source.byte()),
            1 => run.store_works = !run.store_works,
            _ => run.input(input(source)),
        }
    }
    run.input(publish("new".into(), PublishKind::Content));
    for seconds in [1, 60, 600, 86_400] {
        run.seconds += seconds;
        run.tick();
    }
    run.store_works = true;
    while run.degraded {
        run.seconds += 60;
        run.tick();
    }
    run.matches_its_store();
}

struct Run {
    node: Node,
    /// The state in the store.
    stored: Option<Box<Snapshot>>,
    store_works: bool,
    degraded: bool,
    has_wall: bool,
    seconds: u64,
}

impl Run {
    fn new(state: Box<Snapshot>, source: &mut Source<'_>) -> Self {
        let settings = source.byte();
        let dialect = match settings % 4 {
            0 => Dialect::Lip109,
            1 => Dialect::NimSds,
            2 => Dialect::Mirror { initial: WireDialect::NimSds },
            _ => Dialect::Bridge,
        };
        let small = Config::builder().participant_id("p".into()).durability(Durability::Strict);
        let small = small
            .adopt_store(true)
            .bloom_capacity(10)
            .max_log_messages(4)
            .max_outgoing(4)
            .max_ids(16);
        let small =
            small.max_resolved_ids(4).max_missing(6).max_incoming_messages(6).dialect(dialect);
        let config = small.auto_consume(settings & 4 == 0).build().expect("valid settings");
        let mut run = Self {
            node: Node::new(config),
            stored: Some(state.clone()),
            store_works: true,
            degraded: false,
            has_wall: settings & 8 == 0,
            seconds: 1,
        };
        run.start(Some(state));
        run.drain();
        run
    }

    fn now(&self) -> Now {
        let mono = Instant::from_millis(self.seconds * 1_000);
        let wall = self.has_wall.then_some(UnixMillis(self.seconds * 1_000));
        wall.map_or(Now::without_wall(mono), |wall| Now::new(mono, wall))
    }

    fn start(&mut self, state: Option<Box<Snapshot>>) {
        let open = Input::Open { channel: CHANNEL, config: None };
        self.node.handle(self.now(), open).expect("a new channel");
        let Some(Effect::Load { id, channel }) = self.node.poll_effect() else {
            panic!("a channel that is opened is loaded");
        };
        let loaded = Input::Loaded { id, channel, result: Ok(state) };
        self.node.handle(self.now(), loaded).expect("a state that was checked");
    }

    fn drain(&mut self) {
        while let Some(effect) = self.node.poll_effect() {
            #[expect(clippy::wildcard_enum_match_arm, reason = "only the store's part is played")]
            match effect {
                Effect::Persist { id, changes } => {
                    let result =
                        if self.store_works { Ok(()) } else { Err(StoreError::Unavailable) };
                    if result.is_ok() {
                        let changes = changes.iter().map(|change| &change.kind);
                        changes.for_each(|change| Snapshot::apply(&mut self.stored, change));
                        let verdict = self.stored.as_ref().map_or(Ok(()), |state| state.check());
                        assert_eq!(verdict, Ok(()));
                    }
                    let answer = Input::Persisted { id, result };
                    self.node.handle(self.now(), answer).expect("asked for");
                }
                Effect::Event(Event::Degraded { .. }) => self.degraded = true,
                Effect::Event(Event::Recovered) => self.degraded = false,
                _ => {}
            }
        }
    }

    fn tick(&mut self) {
        self.node.handle(self.now(), Input::Tick).expect("a tick is always taken");
        self.drain();
        let next = self.node.next_deadline();
        assert!(next.is_none_or(|next| next.at > self.now().mono), "{next:?}");
    }

    fn input(&mut self, input: Input) {
        let _may_be_refused = self.node.handle(self.now(), input);
        self.drain();
    }

    /// A node that starts on what is stored has the same log.
    fn matches_its_store(&mut self) {
        let log = |node: &Node| {
            let log = node.log(&CHANNEL).expect("it is open");
            log.iter().cloned().collect::<Vec<_>>()
        };
        let (before, config) = (log(&self.node), self.node.config().clone());
        self.node = Node::new(config);
        self.start(self.stored.clone());
        assert_eq!(log(&self.node), before);
    }
}

fn input(source: &mut Source<'_>) -> Input {
    let channel = CHANNEL;
    match source.byte() % 12 {
        0 if source.flag() => publish(id(source), PublishKind::Ephemeral),
        0 => publish(id(source), PublishKind::Content),
        1..6 => Input::Datagram(datagram(source)),
        6 => Input::Resend { channel, message_id: id(source) },
        7 => Input::Hint { channel, message_id: id(source), hint: "hint".into() },
        8 => {
            let ids = (0..source.byte() % 4).map(|_| id(source)).collect();
            Input::DependenciesMet { channel, ids }
        }
        9 => Input::Consumed { channel, up_to: DeliverySeq(source.any_number()) },
        10 => {
            let outcome = match source.byte() % 4 {
                0 => RetrievalOutcome::NotFound,
                1 => RetrievalOutcome::Failed,
                _ => RetrievalOutcome::Message(datagram(source)),
            };
            Input::Retrieved { id: RetrievalId(source.any_number()), outcome }
        }
        _ => Input::Tick,
    }
}

fn publish(message_id: MessageId, kind: PublishKind) -> Input {
    Input::Publish { channel: CHANNEL, message_id, content: "x".into(), kind }
}

/// Returns a datagram of a peer about ids that the state knows.
fn datagram(source: &mut Source<'_>) -> Bytes {
    let entry = entry(source);
    let dialect = if source.flag() { WireDialect::Lip109 } else { WireDialect::NimSds };
    let requests: Vec<_> = (0..source.byte() % 3).map(|_| named(source)).collect();
    let filter = source.short();
    let mut buffer = BytesMut::new();
    let message = Outgoing {
        sender_id: entry.sender_id().as_bytes(),
        message_id: entry.message_id().as_bytes(),
        channel_id: b"c",
        lamport: Some(entry.lamport()),
        causal_history: &entry.causal_history().collect::<Vec<_>>(),
        filter: if filter.is_empty() { FilterField::Absent } else { FilterField::Bytes(filter) },
        repair_request: &requests.iter().map(HistoryEntry::borrowed).collect::<Vec<_>>(),
        content: source.flag().then(|| entry.content()),
        ..Outgoing::default()
    };
    message.encode(dialect, &mut buffer);
    buffer.freeze()
}
