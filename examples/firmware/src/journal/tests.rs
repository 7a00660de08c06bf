#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks the effects it looks at")]

use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec;
use core::cell::Cell;

use bytes::Bytes;
use sds_proto::{
    Config, Durability, Effect, Input, Instant, Node, Now, PersistId, PublishKind, UnixMillis,
};

use super::*;

/// Flash memory whose power fails when the fuse is used up.
#[derive(Clone, Debug)]
struct Chip {
    bytes: Vec<u8>,
    fuse: Rc<Cell<u32>>,
}

impl Chip {
    fn pair(len: usize) -> [Self; 2] {
        let fuse = Rc::new(Cell::new(u32::MAX));
        // It comes from the factory with anything in it.
        [0x00, 0x5a].map(|byte| Self { bytes: vec![byte; len], fuse: Rc::clone(&fuse) })
    }

    fn burn(&self) -> Result<(), Fault> {
        self.fuse.set(self.fuse.get().checked_sub(1).ok_or(Fault)?);
        Ok(())
    }
}

impl Bank for Chip {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn erase(&mut self) -> Result<(), Fault> {
        let half = self.bytes.len() / 2;
        self.burn().inspect_err(|_| self.bytes[half..].fill(0xff))?;
        self.bytes.fill(0xff);
        Ok(())
    }

    fn program(&mut self, at: usize, word: [u8; WORD]) -> Result<(), Fault> {
        let powered = self.burn();
        let place = &mut self.bytes[at..at + WORD];
        assert_eq!(place, [0xff; WORD], "programmed twice");
        // A word may be cut off, too.
        let len = if powered.is_ok() { WORD } else { WORD / 2 };
        place[..len].copy_from_slice(&word[..len]);
        powered
    }
}

/// Returns the writes of a node with two channels.
fn writes() -> Vec<Vec<Change>> {
    let config = |name: &str| Config::firmware().participant_id(name.into()).seed(7);
    let strict = config("us").durability(Durability::Strict).max_log_messages(16).max_ids(120);
    let mut us = Node::new(strict.build().unwrap());
    let mut other = Node::new(config("other").build().unwrap());
    let channels: [ChannelId; 2] = ["one".into(), "two".into()];
    let mut writes = Vec::new();
    for (turn, channel) in (0..80_u64).zip(channels.iter().cycle()) {
        let now = Now::new(Instant::from_millis(turn * 900), UnixMillis((1 << 40) + turn * 900));
        for node in [&mut us, &mut other] {
            let _open_already =
                node.handle(now, Input::Open { channel: channel.clone(), config: None });
            let own = (turn.to_string() + node.config().participant_id().as_str().unwrap_or(""))
                .into_bytes();
            let input = Input::Publish {
                channel: channel.clone(),
                message_id: own.as_slice().into(),
                content: Bytes::from(own),
                kind: PublishKind::Content,
            };
            // Early on the store has not given the channel yet, later too much is unacknowledged.
            let _not_now = node.handle(now, input);
        }
        // Every third message of the other is lost, and is wanted later.
        let heard = core::iter::from_fn(|| other.poll_effect()).filter(|_| turn % 3 != 0);
        for effect in heard {
            if let Effect::Send { bytes, .. } = effect {
                let _refused = us.handle(now, Input::Datagram(bytes));
            }
        }
        while let Some(effect) = us.poll_effect() {
            let input = match effect {
                Effect::Load { id, channel } => Input::Loaded { id, channel, result: Ok(None) },
                Effect::Persist { id: PersistId(id), changes } => {
                    writes.push(changes.to_vec());
                    Input::Persisted { id: PersistId(id), result: Ok(()) }
                }
                Effect::Send { bytes, .. } => {
                    let _refused = other.handle(now, Input::Datagram(bytes));
                    continue;
                }
                _ => continue,
            };
            us.handle(now, input).unwrap();
        }
    }
    let channel = channels[1].clone();
    us.handle(Now::default(), Input::Drop { channel }).unwrap();
    writes.extend(core::iter::from_fn(|| us.poll_effect()).filter_map(|effect| match effect {
        Effect::Persist { changes, .. } => Some(changes.to_vec()),
        _ => None,
    }));
    writes
}

/// The states of both channels.
type States = [Option<Box<Snapshot>>; 2];

fn after(mut states: States, changes: &[Change]) -> States {
    for change in changes {
        let which = usize::from(change.channel.as_bytes() == b"two");
        Snapshot::apply(&mut states[which], &change.kind);
    }
    states
}

fn states(journal: &Journal<Chip>) -> States {
    ["one", "two"].map(|channel| journal.load(&channel.into()).unwrap())
}

#[test]
fn it_gives_back_what_the_changes_add_up_to() {
    let mut journal = Journal::open(Chip::pair(11 << 10)).unwrap();
    let mut model = States::default();
    let writes = writes();
    for changes in &writes {
        journal.write(changes).unwrap();
        model = after(model, changes);
        assert_eq!(states(&journal), model);
    }
    assert!(journal.generation > 2, "only {} banks were used", journal.generation);
    assert!(model[0].is_some() && model[1].is_none(), "one is kept, two was dropped");

    let reopened = Journal::open(journal.banks).unwrap();
    assert_eq!(states(&reopened), model);
    assert!(!reopened.is_torn());
}

#[test]
fn a_reset_anywhere_leaves_the_state_before_the_write_or_after_it() {
    let mut journal = Journal::open(Chip::pair(11 << 10)).unwrap();
    let mut model = States::default();
    let (mut torn, mut swapped) = (0, 0);
    for changes in writes() {
        let next = after(model.clone(), &changes);
        let generation = journal.generation;
        for words in 0.. {
            let copy = journal.banks.clone();
            copy[0].fuse.set(words);
            let mut cut = Journal::open(copy).unwrap();
            let done = cut.write(&changes);
            cut.banks[0].fuse.set(u32::MAX);

            let mut again = Journal::open(cut.banks).unwrap();
            torn += usize::from(again.is_torn());
            if done.is_ok() {
                assert_eq!(states(&again), next);
                break;
            }
            assert_eq!(states(&again), model, "cut after {words} words");
            // Whatever was left behind is no obstacle. Some of all, for the sake of time.
            if words % 16 == 0 {
                again.write(&changes).unwrap();
                assert_eq!(states(&again), next);
            }
        }
        journal.banks[0].fuse.set(u32::MAX);
        journal.write(&changes).unwrap();
        swapped += journal.generation - generation;
        model = next;
    }
    assert!(torn > 100 && swapped > 1, "{torn} torn, {swapped} swapped");
}

#[test]
fn a_new_chip_whose_first_bank_is_cut_off_is_a_new_chip() {
    for words in 0..4 {
        let chips = Chip::pair(1 << 10);
        chips[0].fuse.set(words);
        let cut = Journal::open(chips.clone()).map(|_| ());
        assert_eq!(cut.is_ok(), words > 2, "{words}");
        chips[0].fuse.set(u32::MAX);
        assert_eq!(states(&Journal::open(chips).unwrap()), States::default());
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_the_old_one_stays() {
    let mut journal = Journal::open(Chip::pair(2 << 10)).unwrap();
    let mut model = States::default();
    for changes in writes() {
        match journal.write(&changes) {
            Ok(()) => model = after(model, &changes),
            Err(error) => {
                assert_eq!(error, StoreError::Full);
                assert_eq!(states(&journal), model);
                assert_eq!(states(&Journal::open(journal.banks).unwrap()), model);
                return;
            }
        }
    }
    panic!("everything fitted into 2 KiB");
}

#[test]
fn a_bank_with_one_wrong_bit_loses_no_more_than_the_entries_from_there() {
    let mut journal = Journal::open(Chip::pair(64 << 10)).unwrap();
    let mut seen = vec![States::default()];
    for changes in writes().iter().take(12) {
        journal.write(changes).unwrap();
        seen.push(after(seen[seen.len() - 1].clone(), changes));
    }
    for at in (WORD..journal.end).step_by(11) {
        let mut chips = journal.banks.clone();
        chips[journal.current].bytes[at] ^= 4;
        let damaged = Journal::open(chips).unwrap();
        let found = states(&damaged);
        assert!(seen.contains(&found), "byte {at}");
        // The padding of a word does not matter.
        assert!(damaged.is_torn() || found == seen[seen.len() - 1], "byte {at}");
    }
}
