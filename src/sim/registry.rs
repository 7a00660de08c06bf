//! Everything that was ever published, by whom, and who has it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::entry::LogEntry;
use crate::id::MessageId;
use crate::wire::WireDialect;

/// A content message.
#[derive(Debug)]
pub(super) struct Published {
    /// As it was published; more than one if somebody used the id twice.
    entries: SmallVec<[LogEntry; 1]>,
    /// The member that published it; `None`: an outsider.
    pub(super) by: Option<usize>,
    /// When.
    pub(super) at: u64,
    /// Whether it came to a member that did not publish it.
    pub(super) reached_others: bool,
    /// As it was sent in each dialect, for the store node.
    archived: SmallVec<[(WireDialect, Bytes); 1]>,
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    numbers: BTreeMap<MessageId, usize>,
    messages: Vec<Published>,
    /// Whether some members' forms of the nim dialect leave senders and hints out.
    pub(super) is_lossy: bool,
}

impl Registry {
    pub(super) fn new(is_lossy: bool) -> Self {
        Self { is_lossy, ..Self::default() }
    }

    pub(super) fn number(&self, id: impl AsRef<[u8]>) -> Option<usize> {
        self.numbers.get(id.as_ref()).copied()
    }

    pub(super) fn get(&self, number: usize) -> &Published {
        &self.messages[number]
    }

    pub(super) fn get_mut(&mut self, number: usize) -> &mut Published {
        &mut self.messages[number]
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Notes a message. Its number.
    pub(super) fn add(&mut self, entry: &LogEntry, by: Option<usize>, at: u64) -> usize {
        let number = *self.numbers.entry(entry.message_id().into()).or_insert(self.messages.len());
        if number == self.messages.len() {
            self.messages.push(Published {
                entries: SmallVec::new(),
                by,
                at,
                reached_others: false,
                archived: SmallVec::new(),
            });
        }
        let message = &mut self.messages[number];
        if !message.entries.contains(entry) {
            message.entries.push(entry.clone());
        }
        number
    }
}

impl Published {
    pub(super) fn entry(&self) -> &LogEntry {
        &self.entries[0]
    }

    /// Whether it was published like this.
    pub(super) fn is(&self, entry: &LogEntry) -> bool {
        self.entries.iter().any(|published| published == entry)
    }

    /// Whether it was published like this, but for senders and hints that the entry may lack.
    pub(super) fn is_with_more(&self, entry: &LogEntry) -> bool {
        let ids = |entry: &LogEntry| {
            let history = entry.causal_history();
            history.map(|named| MessageId::from(named.message_id)).collect::<Vec<_>>()
        };
        self.entries.iter().any(|published| {
            let (sender, said) = (published.sender_id(), entry.sender_id());
            published.lamport() == entry.lamport()
                && published.content() == entry.content()
                && (said.is_empty() || said.as_bytes() == sender.as_bytes())
                && ids(published) == ids(entry)
        })
    }

    /// Whether its id stands for more than one message.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.entries.len() > 1
    }

    pub(super) fn archive(&mut self, dialect: WireDialect, bytes: &Bytes) {
        if self.archived.iter().all(|(archived, _)| *archived != dialect) {
            self.archived.push((dialect, bytes.clone()));
        }
    }

    pub(super) fn archived(&self, accepts: impl Fn(WireDialect) -> bool) -> Option<&Bytes> {
        self.archived.iter().find(|(dialect, _)| accepts(*dialect)).map(|(_, bytes)| bytes)
    }
}
