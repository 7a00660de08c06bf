//! Checks of the effects of one member.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::registry::Registry;
use crate::config::Durability;
use crate::digest::LogDigest;
use crate::effect::Delivery;
use crate::entry::LogEntry;
use crate::id::{ChannelId, IdRef, MessageId};
use crate::node::Node;
use crate::snapshot::Snapshot;

const HEARD: u8 = 1;
const DELIVERED: u8 = 2;
const LOST: u8 = 4;
const LOST_IN_REACH: u8 = 8;

/// The number of an invariant, and what broke it.
pub(super) type Broken = (u8, String);

#[derive(Debug, Default)]
pub(super) struct Judge {
    /// State of each message at the member.
    known: Vec<u8>,
    /// Number of deliveries.
    pub(super) delivered: usize,
    /// Message numbers by number of delivery; `None`: one that was stored and never told.
    told: Vec<Option<usize>>,
    /// The delivered messages, in the log's order.
    order: BTreeSet<(u64, MessageId)>,
    /// Lamport time and id of the newest message that it made and sent.
    made: (u64, MessageId),
}

impl Judge {
    fn flags(&mut self, number: usize) -> &mut u8 {
        if self.known.len() <= number {
            self.known.resize(number + 1, 0);
        }
        &mut self.known[number]
    }

    fn has(&self, number: usize, flag: u8) -> bool {
        self.known.get(number).is_some_and(|known| known & flag != 0)
    }

    pub(super) fn has_delivered(&self, number: usize) -> bool {
        self.has(number, DELIVERED)
    }

    pub(super) fn has_heard(&self, number: usize) -> bool {
        self.has(number, HEARD)
    }

    pub(super) fn has_lost_any(&self) -> bool {
        self.known.iter().any(|known| known & LOST != 0)
    }

    pub(super) fn has_lost(&self, number: usize) -> bool {
        self.has(number, LOST)
    }

    /// Whether it gave the message up at a time when somebody could have told it.
    pub(super) fn has_lost_in_reach(&self, number: usize) -> bool {
        self.has(number, LOST_IN_REACH)
    }

    /// Whether it may know less than it has delivered.
    pub(super) fn has_sent_all_heads(&self) -> bool {
        self.told.iter().all(Option::is_some)
    }

    /// Notes that it took in a message. Whether that is new.
    pub(super) fn hears(&mut self, number: usize) -> bool {
        let known = self.flags(number);
        let new = *known & HEARD == 0;
        *known |= HEARD;
        new
    }

    pub(super) fn loses(&mut self, number: usize, in_reach: bool) {
        *self.flags(number) |= if in_reach { LOST | LOST_IN_REACH } else { LOST };
    }

    /// A delivery of the message with this number.
    pub(super) fn delivers(
        &mut self,
        registry: &Registry,
        number: usize,
        delivery: &Delivery,
        node: &Node,
    ) -> Result<(), Broken> {
        let Delivery { entry, seq, gap, redelivery, .. } = delivery;
        let id = entry.message_id();
        let published = registry.get(number);
        if !(published.is(entry) || registry.is_lossy && published.is_with_more(entry)) {
            return Err((17, format!("{id} was delivered with other content than was published")));
        }
        let index = (seq.0 as usize).wrapping_sub(1);
        let before = self.told.get(index).copied();
        if *redelivery && before == Some(Some(number)) {
            return Ok(());
        }
        let first_told = match before {
            None => index == self.told.len(),
            Some(before) => *redelivery && before.is_none(),
        };
        if !first_told {
            return Err((9, format!("delivery {} came after delivery {}", seq.0, self.told.len())));
        }
        if self.has_delivered(number) {
            return Err((3, format!("{id} was delivered again")));
        }
        for named in entry.causal_history() {
            let here = registry.number(named.message_id).is_some_and(|dep| self.has_delivered(dep));
            if !here && !gap {
                return Err((1, format!("{id} was delivered before {}", named.message_id)));
            }
        }
        self.check_place(delivery, node)?;
        self.note(number, index, entry.lamport(), id.into());
        Ok(())
    }

    fn note(&mut self, number: usize, index: usize, lamport: u64, id: MessageId) {
        if self.told.len() <= index {
            self.told.resize(index + 1, None);
        }
        self.told[index] = Some(number);
        *self.flags(number) |= DELIVERED | HEARD;
        self.delivered += 1;
        self.order.insert((lamport, id));
    }

    /// Checks where in the log the member says that a new entry is.
    fn check_place(&self, delivery: &Delivery, node: &Node) -> Result<(), Broken> {
        let key = (delivery.entry.lamport(), delivery.entry.message_id().into());
        let follows = delivery.follows.as_ref().map(LogEntry::message_id);
        let before = self.order.range(..&key).next_back();
        if before.map(|(_, id)| id.borrowed()) == follows || !self.has_sent_all_heads() {
            return Ok(());
        }
        let log = node.log(&delivery.channel);
        let is_logged = |id: &MessageId| log.is_some_and(|log| log.get(id).is_some());
        // It may follow one further back if all between have left the log since.
        let mut between = self
            .order
            .range(..&key)
            .rev()
            .map(|(_, id)| id)
            .take_while(|id| Some(id.borrowed()) != follows);
        let evicted = between.all(|id| !is_logged(id));
        if evicted {
            return Ok(());
        }
        let said = follows.and_then(IdRef::as_str).unwrap_or("nothing");
        Err((2, format!("{} was said to follow {said} in the log", key.1)))
    }

    /// The member made a message with this Lamport time, and it left.
    pub(super) fn makes(&mut self, lamport: u64, id: &MessageId) -> Result<(), Broken> {
        let (newest, newest_id) = &self.made;
        // A bridge sends what it makes in both dialects.
        if lamport < *newest || (lamport == *newest && id != newest_id) {
            return Err((10, format!("Lamport time {lamport} of {id} came after {newest}")));
        }
        self.made = (lamport, id.clone());
        Ok(())
    }

    /// The member starts with what its store has.
    pub(super) fn restarts(
        &mut self,
        registry: &Registry,
        state: Option<&Snapshot>,
        durability: Durability,
    ) -> Result<(), Broken> {
        let stored = state.map_or(0, |state| state.delivered.0) as usize;
        if durability == Durability::Strict && stored < self.told.len() {
            let told = self.told.len();
            return Err((9, format!("{told} deliveries were told, of which {stored} are stored")));
        }
        if durability != Durability::Strict {
            self.made = (0, MessageId::default());
        }
        let forgotten: Vec<usize> =
            self.told.drain(stored.min(self.told.len())..).flatten().collect();
        for number in forgotten {
            self.known[number] &= !DELIVERED;
            self.delivered -= 1;
            let entry = registry.get(number).entry();
            self.order.remove(&(entry.lamport(), entry.message_id().into()));
        }
        self.told.resize(stored, None);
        Ok(())
    }

    /// Checks the whole log.
    ///
    /// `evicts`: bodies may have left it.
    pub(super) fn check_log(
        &self,
        channel: &ChannelId,
        node: &Node,
        evicts: bool,
    ) -> Result<(), Broken> {
        let Some(log) = node.log(channel) else { return Ok(()) };
        let keys = log.iter().map(|entry| (entry.lamport(), entry.message_id()));
        if !keys.is_sorted() {
            return Err((2, "the log is not in order".into()));
        }
        if self.has_sent_all_heads() {
            let mut digest = LogDigest::default();
            self.order.iter().for_each(|(lamport, id)| digest.add(*lamport, id));
            if !evicts && log.len() != self.order.len() {
                let what = format!("{} of {} entries are in the log", log.len(), self.order.len());
                return Err((17, what));
            }
            if digest != log.digest() {
                return Err((2, "the digest is not that of what was delivered".into()));
            }
        }
        Ok(())
    }
}
