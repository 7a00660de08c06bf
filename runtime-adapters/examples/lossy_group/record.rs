//! The lines of the [sealed](crate::seal) files that participants leave and the judge reads.
//!
//! `group.txt` says how large the group is: a name and a value on each line. `crashes.txt` says who
//! was killed, in order: the participant, and how many deliveries it had reported. In the directory
//! of each participant:
//!
//! * `published.txt`: message id, SHA-256 of the content; written before the message is handed to
//!   the node, so that one who was killed may have handed in an id again, with other content;
//! * `delivered.txt`, in order: Lamport time, sender, message id, SHA-256 of the content,
//!   `whole` or `gap`, `new` or `again`, ids of the causal history joined by commas or `-`;
//! * `log.txt`, in order: Lamport time, sender, message id, SHA-256 of the content;
//! * `summary.txt`: a name and a value.

use core::fmt;
use core::str::FromStr;

use sds_proto::{Delivery, LogEntry};
use sha2::{Digest, Sha256};

use crate::seal::hex;

pub(crate) const GROUP: &str = "group.txt";
pub(crate) const CRASHES: &str = "crashes.txt";
pub(crate) const PUBLISHED: &str = "published.txt";
pub(crate) const DELIVERED: &str = "delivered.txt";
pub(crate) const LOG: &str = "log.txt";
pub(crate) const SUMMARY: &str = "summary.txt";

/// A figure of a group whose messages need not say who sent them.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// A line that does not have the parts it should.
#[derive(Debug)]
pub(crate) struct Malformed;

fn part<T: FromStr>(word: Option<&str>) -> Result<T, Malformed> {
    word.and_then(|word| word.parse().ok()).ok_or(Malformed)
}

/// A line of `published.txt`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Published {
    pub(crate) message_id: String,
    pub(crate) content: String,
}

impl Published {
    pub(crate) fn new(message_id: &str, content: &[u8]) -> Self {
        Self { message_id: message_id.into(), content: hex(&Sha256::digest(content)) }
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.message_id, self.content)
    }
}

impl FromStr for Published {
    type Err = Malformed;

    fn from_str(line: &str) -> Result<Self, Malformed> {
        let mut words = line.split(' ');
        Ok(Self { message_id: part(words.next())?, content: part(words.next())? })
    }
}

/// A line of `log.txt`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Logged {
    pub(crate) lamport: u64,
    pub(crate) sender: String,
    pub(crate) message_id: String,
    pub(crate) content: String,
}

impl Logged {
    pub(crate) fn new(entry: &LogEntry) -> Self {
        Self {
            lamport: entry.lamport(),
            sender: entry.sender_id().to_string(),
            message_id: entry.message_id().to_string(),
            content: hex(&Sha256::digest(entry.content())),
        }
    }

    /// Returns the key by which the log is ordered.
    pub(crate) fn key(&self) -> (u64, &[u8]) {
        (self.lamport, self.message_id.as_bytes())
    }
}

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lamport, sender, message_id, content } = self;
        write!(f, "{lamport} {sender} {message_id} {content}")
    }
}

impl FromStr for Logged {
    type Err = Malformed;

    fn from_str(line: &str) -> Result<Self, Malformed> {
        let mut words = line.split(' ');
        Ok(Self {
            lamport: part(words.next())?,
            sender: part(words.next())?,
            message_id: part(words.next())?,
            content: part(words.next())?,
        })
    }
}

/// A line of `delivered.txt`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Delivered {
    pub(crate) logged: Logged,
    pub(crate) gap: bool,
    /// Whether the node says that it was delivered before.
    pub(crate) again: bool,
    pub(crate) history: Vec<String>,
}

impl Delivered {
    pub(crate) fn new(delivery: &Delivery) -> Self {
        let history = delivery.entry.causal_history();
        Self {
            logged: Logged::new(&delivery.entry),
            gap: delivery.gap,
            again: delivery.redelivery,
            history: history.map(|named| named.message_id.to_string()).collect(),
        }
    }
}

impl fmt::Display for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.gap { "gap" } else { "whole" };
        let new = if self.again { "again" } else { "new" };
        let history = if self.history.is_empty() { "-".into() } else { self.history.join(",") };
        write!(f, "{} {whole} {new} {history}", self.logged)
    }
}

impl FromStr for Delivered {
    type Err = Malformed;

    fn from_str(line: &str) -> Result<Self, Malformed> {
        let (logged, rest) =
            line.match_indices(' ').nth(3).map(|(at, _)| line.split_at(at)).ok_or(Malformed)?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [whole @ ("whole" | "gap"), new @ ("new" | "again"), ids] = words[..] else {
            return Err(Malformed);
        };
        let history =
            if ids == "-" { Vec::new() } else { ids.split(',').map(String::from).collect() };
        Ok(Self { logged: logged.parse()?, gap: whole == "gap", again: new == "again", history })
    }
}

/// A line of `summary.txt`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Figure {
    pub(crate) fn new(name: &str, value: impl fmt::Display) -> Self {
        Self { name: name.into(), value: value.to_string() }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.value)
    }
}

impl FromStr for Figure {
    type Err = Malformed;

    fn from_str(line: &str) -> Result<Self, Malformed> {
        let (name, value) = line.split_once(' ').ok_or(Malformed)?;
        Ok(Self::new(name, value))
    }
}
