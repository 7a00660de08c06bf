//! Results of a simulation.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::effect::SendReason;
use crate::time::Instant;

/// An invariant that did not hold: a bug of the protocol core, or of the simulator.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Violation {
    /// Its number in ARCHITECTURE.md.
    pub invariant: u8,
    /// The member at which it was seen, if it was one.
    pub member: Option<usize>,
    /// When.
    pub at: Instant,
    /// The observation.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I{} at {} ms", self.invariant, self.at.as_micros() / 1_000)?;
        if let Some(member) = self.member {
            write!(f, ", member {member}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl core::error::Error for Violation {}

/// Messages and bytes handed to the transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Sent {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Progress of a group at some time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Messages published so far.
    pub published: u64,
    /// Deliveries so far, of all members.
    pub deliveries: u64,
    /// Everything sent so far.
    pub sent: Sent,
    /// Repair answers sent so far.
    pub repairs: Sent,
}

/// Report of a simulation so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Simulated time.
    pub at: Instant,
    /// Inputs that members were given.
    pub inputs: u64,
    /// Messages published.
    pub published: u64,
    /// Deliveries, of all members.
    pub deliveries: u64,
    /// When everything was delivered everywhere, and acknowledged.
    pub settled_at: Option<Instant>,
    /// When the last message was published.
    pub published_at: Instant,
    /// When the last delivery was.
    pub delivered_at: Instant,
    /// Sent messages by [`SendReason`], in the order of its variants.
    pub sent: [Sent; 6],
    /// Repair answers to which nobody listened who did not have the message.
    pub redundant_repairs: u64,
    /// Time from publishing to acknowledgement, for each acknowledged message.
    pub acknowledged_after: Vec<Duration>,
    /// Messages reported unconfirmed.
    pub unconfirmed: u64,
    /// Dependencies reported lost.
    pub lost: u64,
    /// Times a bound bit, as effects said.
    pub bounded: u64,
    /// Inputs that were refused.
    pub refused: u64,
    /// Crashes.
    pub crashes: u64,
    /// Bytes sent by each member.
    pub bytes_by_member: Vec<u64>,
    /// The group over time, if that was asked for.
    pub samples: Vec<Sample>,
    /// Hash of everything that members were told and told: equal in equal runs.
    pub fingerprint: u64,
}

impl Report {
    /// Returns the messages sent for `reason`.
    #[must_use]
    pub fn sent(&self, reason: SendReason) -> Sent {
        self.sent[reason as usize]
    }

    /// Everything that was sent.
    #[must_use]
    pub fn sent_in_all(&self) -> Sent {
        self.sent.iter().fold(Sent::default(), |all, sent| Sent {
            messages: all.messages + sent.messages,
            bytes: all.bytes + sent.bytes,
        })
    }
}
