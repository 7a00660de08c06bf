//! Messages to publish that wait for room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use sds_proto::{ChannelId, MessageId, PublishKind};

use crate::error::HandleError;
use crate::reply::Reply;

/// Fewest waiting messages before those are looked for that nobody waits for any more.
const FEWEST_PRUNED: usize = 64;

/// One message to publish.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) channel: ChannelId,
    pub(crate) message_id: MessageId,
    pub(crate) content: Bytes,
    pub(crate) kind: PublishKind,
    /// Whether it waits until its channel has room for one more unacknowledged message. If so, it
    /// is given up when nobody waits for the verdict any more.
    pub(crate) waits: bool,
    pub(crate) verdict: Reply<Result<(), HandleError>>,
}

impl Publish {
    fn is_given_up(&self) -> bool {
        self.waits && self.verdict.is_abandoned()
    }
}

/// Those that wait, in each channel in the order in which they came.
///
/// Memory: one whose call waits is bounded by the calls that the application makes, and twice as
/// many that it has cancelled since; of others the driver takes no more than it can hold.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    channels: BTreeMap<ChannelId, VecDeque<(Publish, HandleError)>>,
    /// Channels in which there may be room now.
    ready: BTreeSet<ChannelId>,
    len: usize,
    /// Those among them whose calls do not wait.
    held: usize,
    pruned_at: usize,
}

impl Waiting {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Those whose calls do not wait.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// Whether one waits in the channel, and the next has to wait behind it.
    pub(crate) fn is_waited_in(&self, channel: &ChannelId) -> bool {
        self.channels.contains_key(channel)
    }

    /// The last in its channel, and why it waits.
    pub(crate) fn push(&mut self, publish: Publish, reason: HandleError) {
        self.count(&publish, 1);
        let channel = publish.channel.clone();
        self.channels.entry(channel).or_default().push_back((publish, reason));
        if self.len >= self.pruned_at.max(FEWEST_PRUNED) {
            self.prune();
            self.pruned_at = 2 * self.len;
        }
    }

    /// The first in its channel once more.
    pub(crate) fn push_back_first(&mut self, publish: Publish, reason: HandleError) {
        self.count(&publish, 1);
        let channel = publish.channel.clone();
        self.ready.remove(&channel);
        self.channels.entry(channel).or_default().push_front((publish, reason));
    }

    /// There may be room in a channel.
    pub(crate) fn make_ready(&mut self, channel: &ChannelId) {
        if self.channels.contains_key(channel) {
            self.ready.insert(channel.clone());
        }
    }

    /// There may be room in every channel.
    pub(crate) fn make_all_ready(&mut self) {
        self.ready.extend(self.channels.keys().cloned());
    }

    /// Whether there may be room for one.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next for which there may be room.
    pub(crate) fn next_ready(&mut self) -> Option<Publish> {
        while let Some(channel) = self.ready.first().cloned() {
            let next = self.channels.get_mut(&channel).and_then(VecDeque::pop_front);
            match next {
                Some((publish, _)) => {
                    self.count(&publish, -1);
                    if !publish.is_given_up() {
                        return Some(publish);
                    }
                }
                None => {
                    self.channels.remove(&channel);
                    self.ready.remove(&channel);
                }
            }
        }
        None
    }

    /// All of a channel, which is closed.
    pub(crate) fn take_channel(&mut self, channel: &ChannelId) -> Vec<Publish> {
        self.ready.remove(channel);
        let all: Vec<_> = self.channels.remove(channel).into_iter().flatten().collect();
        all.iter().for_each(|(publish, _)| self.count(publish, -1));
        all.into_iter().map(|(publish, _)| publish).collect()
    }

    /// All of them, and why each waited.
    pub(crate) fn take_all(&mut self) -> Vec<(Publish, HandleError)> {
        let channels = core::mem::take(self).channels;
        channels.into_values().flatten().collect()
    }

    fn prune(&mut self) {
        for waiting in self.channels.values_mut() {
            waiting.retain(|(publish, _)| !publish.is_given_up());
        }
        self.channels.retain(|_, waiting| !waiting.is_empty());
        let channels = &self.channels;
        self.ready.retain(|channel| channels.contains_key(channel));
        self.len = channels.values().map(VecDeque::len).sum();
    }

    fn count(&mut self, publish: &Publish, by: isize) {
        self.len = self.len.saturating_add_signed(by);
        if !publish.waits {
            self.held = self.held.saturating_add_signed(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{self, Answer};

    type Verdict = Answer<Result<(), HandleError>>;

    fn publish(channel: &'static str, id: &str, waits: bool) -> (Publish, Verdict) {
        let (verdict, answer) = reply::pair();
        let (message_id, content) = (id.into(), Bytes::new());
        let kind = PublishKind::Content;
        (Publish { channel: channel.into(), message_id, content, kind, waits, verdict }, answer)
    }

    fn next(waiting: &mut Waiting) -> Option<String> {
        waiting.next_ready().map(|publish| publish.message_id.to_string())
    }

    #[test]
    fn each_channel_keeps_its_order_and_waits_for_itself() {
        let mut waiting = Waiting::default();
        let mut answers = Vec::new();
        for (channel, id) in [("a", "a1"), ("b", "b1"), ("a", "a2")] {
            let (publish, answer) = publish(channel, id, true);
            waiting.push(publish, HandleError::Full);
            answers.push(answer);
        }
        assert_eq!(next(&mut waiting), None);
        waiting.make_ready(&"a".into());
        let first = waiting.next_ready().unwrap();
        assert_eq!(first.message_id, "a1".into());
        waiting.push_back_first(first, HandleError::Full);
        assert_eq!(next(&mut waiting), None, "there was no room after all");
        waiting.make_all_ready();
        assert_eq!(next(&mut waiting).as_deref(), Some("a1"));
        assert_eq!(next(&mut waiting).as_deref(), Some("a2"));
        assert_eq!(next(&mut waiting).as_deref(), Some("b1"));
        assert_eq!((next(&mut waiting), waiting.len()), (None, 0));
        assert!(!waiting.is_waited_in(&"a".into()));
    }

    #[test]
    fn a_cancelled_call_publishes_nothing_and_takes_no_memory() {
        let mut waiting = Waiting::default();
        let (held, _dropped) = publish("a", "held", false);
        waiting.push(held, HandleError::Full);
        for number in 0..10_000 {
            let (publish, answer) = publish("a", &number.to_string(), true);
            waiting.push(publish, HandleError::Full);
            drop(answer);
            assert!(waiting.len() <= FEWEST_PRUNED);
        }
        let (last, _answer) = publish("a", "last", true);
        waiting.push(last, HandleError::Full);
        waiting.make_all_ready();
        assert_eq!(waiting.held(), 1);
        assert_eq!(next(&mut waiting).as_deref(), Some("held"), "its call does not wait");
        assert_eq!(next(&mut waiting).as_deref(), Some("last"));
        assert_eq!((waiting.len(), waiting.held()), (0, 0));
    }
}
