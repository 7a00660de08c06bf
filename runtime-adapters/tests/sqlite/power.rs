//! The disk after a power failure at any moment.

use std::path::Path;

use sds_proto::stored::{self, Write};
use sds_proto::{
    Config, Durability, Effect, Input, Instant, Node, Now, PublishKind, StoreError, UnixMillis,
};
use sds_runtime::Wait;
use sds_runtime::store::{
    Memory, OpenError, Record, Sqlite, SqliteBuilder, Store, StoreFuture, Synchronous,
};

use super::machine::{Machine, Survivors};
use super::{Place, changes, load, write};

const CHANNEL: &str = "general";

/// The batches of a node, and the records after each.
struct Script {
    batches: Vec<Vec<Write>>,
    /// One more than there are batches: the first is of an empty store.
    states: Vec<Vec<Record>>,
}

impl Script {
    /// A node that publishes so many messages of so many bytes.
    fn new(messages: usize, len: usize) -> Self {
        let batches = published(messages, len);
        let mut memory = Memory::default();
        let mut states = vec![Vec::new()];
        for batch in &batches {
            memory.write(batch.clone()).wait().unwrap();
            states.push(load(&mut memory, CHANNEL).unwrap());
        }
        Self { batches, states }
    }

    /// Returns the number of batches that lead to the records, which a node must be able to load.
    fn batches_in(&self, records: &[Record]) -> Option<usize> {
        let pairs = records.iter().map(|record| (&record.key[..], &record.value[..]));
        stored::snapshot(pairs).ok()?;
        self.states.iter().position(|state| state == records)
    }
}

fn published(messages: usize, len: usize) -> Vec<Vec<Write>> {
    let now = Now::new(Instant::ZERO, UnixMillis(1_767_225_600_000));
    let config = Config::builder().participant_id("alice".into()).seed(1);
    let mut node = Node::new(config.durability(Durability::Strict).build().unwrap());
    let open = Input::Open { channel: CHANNEL.into(), config: None };
    let publish = |number: usize| Input::Publish {
        channel: CHANNEL.into(),
        message_id: format!("message-{number}").into(),
        content: vec![number as u8; len].into(),
        kind: PublishKind::Content,
    };
    let mut batches = Vec::new();
    for input in core::iter::once(open).chain((0..messages).map(publish)) {
        node.handle(now, input).unwrap();
        while let Some(effect) = node.poll_effect() {
            let answer = match effect {
                Effect::Load { id, channel } => Input::Loaded { id, channel, result: Ok(None) },
                Effect::Persist { id, changes } => {
                    batches.push(stored::writes(&changes));
                    Input::Persisted { id, result: Ok(()) }
                }
                _ => continue,
            };
            node.handle(now, answer).unwrap();
        }
    }
    batches
}

/// Runs the script on a store that `make` opens until the power fails, and closes it in any case.
/// Returns the number of batches that were answered as done.
fn run<S: Store>(
    script: &Script,
    durability: Durability,
    make: impl FnOnce() -> Result<S, OpenError>,
) -> usize {
    let Ok(mut store) = make() else {
        return 0;
    };
    if store.start(durability).is_err() {
        return 0;
    }
    script.batches.iter().take_while(|batch| store.write(batch.to_vec()).wait().is_ok()).count()
}

/// Returns the records that a machine finds after it starts again.
fn found(path: &Path) -> Result<Vec<Record>, String> {
    let opened = SqliteBuilder::new().full_check(true).synchronous(Synchronous::Off).open(path);
    let mut store = opened.map_err(|error| error.to_string())?;
    store.start(Durability::Relaxed).unwrap();
    load(&mut store, CHANNEL).map_err(|error| error.to_string())
}

/// Results of a store over many power failures.
#[derive(Default, Debug)]
struct Tally {
    failures: u32,
    /// The file could not be used, or held what the node never wrote together.
    unsound: u32,
    /// Batches were lost that had been answered as done.
    forgetful: u32,
    /// Batches were there that had been answered as done.
    kept: usize,
}

/// Lets the power fail at every `step`th operation, closing included, on a new machine each time.
fn tally<S: Store>(
    script: &Script,
    durability: Durability,
    step: usize,
    open: impl Fn(&Machine, &Path) -> Result<S, OpenError>,
) -> Tally {
    let operations = {
        let (place, machine) = (Place::new(), Machine::new());
        let answered = run(script, durability, || open(&machine, &place.file()));
        assert_eq!(answered, script.batches.len());
        machine.settle();
        assert!(found(&place.file()).as_ref() == Ok(script.states.last().unwrap()));
        machine.operations()
    };
    let mut tally = Tally::default();
    for at in (0..operations).step_by(step) {
        for survivors in [Survivors::None, Survivors::Some { seed: at }] {
            let (place, machine) = (Place::new(), Machine::new());
            machine.fail_power_at(at, survivors);
            let answered = run(script, durability, || open(&machine, &place.file()));
            // A store that does not wait for its own writes may be done before.
            tally.failures += u32::from(machine.is_off());
            match found(&place.file()).map(|records| script.batches_in(&records)) {
                Ok(Some(there)) => {
                    assert!(there <= answered + 1, "only one was under way");
                    tally.forgetful += u32::from(there < answered);
                    tally.kept += there.min(answered);
                }
                Ok(None) | Err(_) => tally.unsound += 1,
            }
        }
    }
    tally
}

fn open(machine: &Machine, path: &Path) -> Result<Sqlite, OpenError> {
    SqliteBuilder::new().vfs(machine.vfs()).open(path)
}

#[test]
fn strict_loses_nothing_that_was_answered_wherever_the_power_fails() {
    let tally = tally(&Script::new(12, 300), Durability::Strict, 1, open);
    assert_eq!((tally.unsound, tally.forgetful), (0, 0), "{tally:?}");
    assert!(tally.kept > 500, "{tally:?}");
}

/// Enough for the log to be carried into the file, and begun again, while the store is open.
#[test]
fn strict_loses_nothing_when_the_log_begins_again() {
    let tally = tally(&Script::new(90, 60_000), Durability::Strict, 593, open);
    assert_eq!((tally.unsound, tally.forgetful), (0, 0), "{tally:?}");
    assert!(tally.failures >= 10 && tally.kept > 300, "{tally:?}");
}

#[test]
fn relaxed_may_lose_the_newest_and_nothing_else() {
    let tally = tally(&Script::new(12, 300), Durability::Relaxed, 1, open);
    assert_eq!(tally.unsound, 0, "{tally:?}");
    assert!(tally.forgetful > 20, "it syncs more than it promises: {tally:?}");
}

/// Must fail: the test notices a store that does not sync.
#[test]
fn a_store_that_never_syncs_is_found_out() {
    let open = |machine: &Machine, path: &Path| {
        SqliteBuilder::new().vfs(machine.vfs()).synchronous(Synchronous::Off).open(path)
    };
    let tally = tally(&Script::new(12, 300), Durability::Strict, 1, open);
    assert!(tally.forgetful > 20, "{tally:?}");
}

/// Must fail: the test notices a store that answers before it has written.
#[test]
fn a_store_that_answers_too_early_is_found_out() {
    struct Hasty(Sqlite);

    impl Store for Hasty {
        fn start(&mut self, durability: Durability) -> Result<(), StoreError> {
            self.0.start(durability)
        }

        fn write(&mut self, batch: Vec<Write>) -> StoreFuture<()> {
            drop(self.0.write(batch));
            Box::pin(core::future::ready(Ok(())))
        }

        fn load(&mut self, channel: &sds_proto::ChannelId) -> StoreFuture<Vec<Record>> {
            self.0.load(channel)
        }

        fn channels(&mut self) -> StoreFuture<Vec<sds_proto::ChannelId>> {
            self.0.channels()
        }
    }

    let open = |machine: &Machine, path: &Path| Ok(Hasty(open(machine, path)?));
    let tally = tally(&Script::new(12, 300), Durability::Strict, 1, open);
    assert_eq!(tally.unsound, 0, "{tally:?}");
    assert!(tally.forgetful > 20, "{tally:?}");
}

/// A failed sync may have lost what it was to make safe, and the next one will not tell.
#[test]
fn a_failed_sync_is_an_error_and_what_is_written_again_is_safe() {
    let script = Script::new(12, 300);
    let mut failures = 0;
    for bad in 1.. {
        let (place, machine) = (Place::new(), Machine::new());
        machine.spoil_sync(bad);
        let Ok(mut store) = open(&machine, &place.file()) else {
            continue;
        };
        store.start(Durability::Strict).unwrap();
        for batch in &script.batches {
            while let Err(error) = write(&mut store, batch.clone()) {
                assert_eq!(error, StoreError::Unavailable);
                failures += 1;
            }
        }
        let syncs = machine.syncs();
        machine.fail_power(Survivors::None);
        drop(store);
        assert!(found(&place.file()).as_ref() == Ok(script.states.last().unwrap()));
        if syncs < bad {
            break;
        }
    }
    assert!(failures >= script.batches.len(), "{failures} of {}", script.batches.len());
}

#[test]
fn a_full_disk_is_an_error_until_there_is_room() {
    let (place, machine) = (Place::new(), Machine::new());
    let mut store = open(&machine, &place.file()).unwrap();
    write(&mut store, changes::clock("a", 1)).unwrap();
    machine.set_no_room(true);
    for _ in 0..3 {
        assert_eq!(write(&mut store, changes::message("a", 2, 9_000)), Err(StoreError::Full));
        assert_eq!(load(&mut store, "a").unwrap().len(), 1);
    }
    machine.set_no_room(false);
    assert_eq!(write(&mut store, changes::message("a", 2, 9_000)), Ok(()));
    machine.fail_power(Survivors::None);
    drop(store);
    assert_eq!(load(&mut Sqlite::open(place.file()).unwrap(), "a").unwrap().len(), 3);
}

#[test]
fn batches_that_wait_are_one_transaction() {
    let (place, machine) = (Place::new(), Machine::new());
    let mut store = open(&machine, &place.file()).unwrap();
    write(&mut store, changes::clock("a", 1)).unwrap();
    let syncs = machine.syncs();
    machine.hold_syncs();
    let first = store.write(changes::message("a", 1, 100));
    machine.until_a_sync_waits();
    let others: Vec<_> = (2..=40).map(|n| store.write(changes::message("a", n, 100))).collect();
    machine.release_syncs();
    assert_eq!(first.wait(), Ok(()));
    assert!(others.into_iter().map(Wait::wait).all(|answer| answer == Ok(())));
    assert_eq!(machine.syncs() - syncs, 2);
    assert_eq!(load(&mut store, "a").unwrap().len(), 1 + 2 * 40);
}

#[test]
fn a_store_that_is_asked_too_much_at_once_says_so_and_goes_on() {
    let (place, machine) = (Place::new(), Machine::new());
    let mut store = open(&machine, &place.file()).unwrap();
    machine.hold_syncs();
    let first = store.write(changes::clock("a", 1));
    machine.until_a_sync_waits();
    let others: Vec<_> = (0..1_000).map(|n| store.write(changes::clock("a", n))).collect();
    machine.release_syncs();
    assert_eq!(first.wait(), Ok(()));
    let answers: Vec<_> = others.into_iter().map(Wait::wait).collect();
    assert!(answers[..64].iter().all(|answer| *answer == Ok(())));
    assert!(answers[64..].iter().all(|answer| *answer == Err(StoreError::Unavailable)));
    assert_eq!(load(&mut store, "a").unwrap()[0].value[..], [0x08, 63], "none of the others");
    assert_eq!(write(&mut store, changes::clock("a", 7)), Ok(()));
}
