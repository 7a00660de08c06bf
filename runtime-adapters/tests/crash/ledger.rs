//! The reports of all participants, and contradictions between them.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use sds_proto::LogDigest;

use crate::disk::Disk;
use crate::group::{self, PARTICIPANTS, name};
use crate::pipe::{Delivered, Message};

/// A contradiction.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A participant has lost or used again what it should remember.
    Loss(String),
    /// Anything else.
    Other(String),
}

impl Problem {
    pub(crate) const fn is_loss(&self) -> bool {
        matches!(self, Self::Loss(_))
    }

    pub(crate) fn in_round(self, round: u32) -> Self {
        match self {
            Self::Loss(what) => Self::Loss(format!("in round {round}: {what}")),
            Self::Other(what) => Self::Other(format!("in round {round}: {what}")),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Loss(what) | Self::Other(what)) = self;
        f.write_str(what)
    }
}

impl<E: core::error::Error> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Other(error.to_string())
    }
}

fn loss<T>(what: String) -> Result<T, Problem> {
    Err(Problem::Loss(what))
}

/// All that was ever delivered to anybody.
#[derive(Default)]
pub(crate) struct Ledger {
    messages: BTreeMap<String, Message>,
    /// Which message a sender gave a Lamport time to.
    times: BTreeMap<(String, u64), String>,
    told: [Told; PARTICIPANTS],
    pub(crate) redeliveries: u64,
}

/// The reports of one participant to its application, in all its lives.
#[derive(Default)]
struct Told {
    ids: BTreeSet<String>,
    digest: LogDigest,
}

impl Ledger {
    pub(crate) fn messages(&self) -> usize {
        self.messages.len()
    }

    /// A participant told its application of a message.
    pub(crate) fn delivered(&mut self, index: usize, delivered: Delivered) -> Result<(), Problem> {
        let Delivered { message, redelivery } = delivered;
        let (who, id) = (name(index), message.id.clone());
        let known = self.messages.entry(id.clone()).or_insert_with(|| message.clone());
        if *known != message {
            return loss(format!("{who} was told {message:?} where others have {known:?}"));
        }
        let at_time = (message.sender.clone(), message.lamport);
        let first = self.times.entry(at_time).or_insert_with(|| id.clone());
        if *first != id {
            return loss(format!(
                "{} gave the Lamport time {} to {first} and to {id}",
                message.sender, message.lamport
            ));
        }
        let told = &mut self.told[index];
        self.redeliveries += u64::from(redelivery);
        if told.ids.insert(id.clone()) {
            told.digest.add(message.lamport, id);
        } else if !redelivery {
            return loss(format!("{who} was told {id} again as if for the first time"));
        }
        Ok(())
    }

    /// Whether a participant's application was told everything, and its node has the same log.
    pub(crate) fn has_told_all(&self, index: usize, digest: &str) -> bool {
        let told = &self.told[index];
        told.ids.len() == self.messages.len() && told.digest.to_string() == digest
    }

    /// A killed participant's file holds what its application was told.
    pub(crate) fn check_told(&self, index: usize, disk: &Disk) -> Result<(), Problem> {
        let who = name(index);
        let logged: BTreeSet<_> = disk.log.iter().map(|message| &message.id).collect();
        if let Some(id) = self.told[index].ids.iter().find(|id| !logged.contains(id)) {
            return loss(format!("{who} was told {id}, which is not in its file"));
        }
        let wrong = disk
            .log
            .iter()
            .find(|message| self.messages.get(&message.id).is_some_and(|known| known != *message));
        match wrong {
            Some(message) => loss(format!("{who} has {message:?} in its file, others do not")),
            None => Ok(()),
        }
    }

    /// A participant's file, as it was when its life ended, holds all that others have of it from
    /// that life and those before.
    pub(crate) fn check_heard(&self, index: usize, life: u32, disk: &Disk) -> Result<(), Problem> {
        let who = name(index);
        let logged: BTreeSet<_> = disk.log.iter().map(|message| &message.id).collect();
        let forgotten = self.messages.values().find(|message| {
            message.sender == who
                && group::life(&message.id).is_some_and(|published| published <= life)
                && !logged.contains(&message.id)
        });
        match forgotten {
            Some(message) => loss(format!("{who} forgot {}, which others have of it", message.id)),
            None => Ok(()),
        }
    }

    /// Files of participants that have shut down are equal, and hold everything.
    pub(crate) fn check_files(&self, disks: &[Disk]) -> Result<(), Problem> {
        for (index, disk) in disks.iter().enumerate() {
            self.check_told(index, disk)?;
            if !disk.outgoing.is_empty() {
                let unacknowledged = &disk.outgoing;
                return loss(format!("{} still has {unacknowledged:?}", name(index)));
            }
            if disk.log != disks[0].log || disk.log.len() != self.messages.len() {
                return loss(format!("the file of {} differs from others", name(index)));
            }
        }
        Ok(())
    }
}
