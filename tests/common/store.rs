//! A store in memory that can be told to be slow, to fail, and to forget. It keeps states and
//! records side by side, and insists that they say the same.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use sds_proto::snapshot::{Change, Snapshot};
use sds_proto::stored::{self, Key, Op, Write};
use sds_proto::{
    ChannelId, Config, ConfigBuilder, Durability, Effect, Input, LoadId, Node, Now, PersistId,
    StoreError,
};

use super::{at, open};

#[derive(Default)]
pub struct Store {
    /// The stored state.
    pub disk: Disk,
    /// Writes handed in and not yet carried out.
    pub queue: VecDeque<(PersistId, Arc<[Change]>)>,
    /// Writes that fail from now on.
    pub failing: Option<StoreError>,
}

impl Store {
    pub fn write(&mut self, id: PersistId, changes: Arc<[Change]>) {
        self.queue.push_back((id, changes));
    }

    pub fn load(&self, id: LoadId, channel: &ChannelId) -> Input {
        Input::Loaded { id, channel: channel.clone(), result: Ok(self.disk.load(channel)) }
    }

    /// Carries out the oldest write and gives the answer for the node.
    pub fn answer(&mut self) -> Option<Input> {
        let (id, changes) = self.queue.pop_front()?;
        if let Some(error) = self.failing {
            return Some(Input::Persisted { id, result: Err(error) });
        }
        self.disk.write(&changes);
        Some(Input::Persisted { id, result: Ok(()) })
    }

    /// Polls `node` dry, answering every write and load at once, and returns the other effects.
    pub fn serve(&mut self, node: &mut Node, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(effect) = node.poll_effect() {
            match effect {
                Effect::Persist { id, changes } => {
                    self.write(id, changes);
                    while let Some(answer) = self.answer() {
                        node.handle(now, answer).expect("an answer that was asked for");
                    }
                }
                Effect::Load { id, channel } => {
                    node.handle(now, self.load(id, &channel))
                        .expect("an answer that was asked for");
                }
                other => effects.push(other),
            }
        }
        effects
    }
}

/// Settings of alice, who waits for her store.
pub fn strict() -> ConfigBuilder {
    let builder = Config::builder().participant_id("alice".into()).bloom_capacity(100);
    builder.durability(Durability::Strict)
}

/// A node whose channel is open, its beginning stored, or its state read.
pub fn start(config: ConfigBuilder, store: &mut Store, now: u64) -> (Node, Vec<Effect>) {
    let mut node = Node::new(config.build().expect("valid settings"));
    node.handle(at(now), open()).expect("opens");
    let effects = store.serve(&mut node, at(now));
    (node, effects)
}

/// The written state of each channel, in both forms.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Disk {
    pub states: BTreeMap<ChannelId, Option<Box<Snapshot>>>,
    pub records: BTreeMap<(ChannelId, Key), Bytes>,
}

impl Disk {
    pub fn write(&mut self, changes: &[Change]) {
        for change in changes {
            let state = self.states.entry(change.channel.clone()).or_default();
            Snapshot::apply(state, &change.kind);
        }
        stored::writes(changes).into_iter().for_each(|write| self.carry_out(write));
    }

    pub fn carry_out(&mut self, Write { channel, op }: Write) {
        match op {
            Op::Put { key, value } => {
                self.records.insert((channel, key), value);
            }
            Op::Remove { key } => {
                self.records.remove(&(channel, key));
            }
            Op::RemoveRange { first, last } => {
                let gone =
                    |of: &ChannelId, key: &Key| *of == channel && (&first..=&last).contains(&key);
                self.records.retain(|(of, key), _| !gone(of, key));
            }
            Op::Clear => self.records.retain(|(of, _), _| *of != channel),
        }
    }

    pub fn records_of(&self, channel: &ChannelId) -> impl Iterator<Item = (&[u8], &[u8])> {
        let records = self.records.iter().filter(move |((of, _), _)| of == channel);
        records.map(|((_, key), value)| (&key[..], &value[..]))
    }

    /// The state of a channel as its records tell it.
    pub fn load(&self, channel: &ChannelId) -> Option<Box<Snapshot>> {
        let state = stored::snapshot(self.records_of(channel)).expect("what was written");
        assert!(
            state.as_ref() == self.states.get(channel).and_then(Option::as_ref),
            "records and changes say different things"
        );
        state
    }
}
