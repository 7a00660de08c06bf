//! Messages between parent and child, a line each. A line is written in one piece, so that a
//! kill leaves all of it or nothing.

use core::fmt;
use core::str::FromStr;

use sds_proto::LogEntry;
use sha2::{Digest, Sha256};

/// Parent to child, on its standard input. The end of the input: shut down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Publish as fast as it goes.
    Publish,
    /// Publish no more.
    Pause,
}

/// Child to parent, on its standard output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Report {
    /// The channel is open.
    Ready,
    Delivered(Delivered),
    /// An own message was acknowledged.
    Acked(String),
    State(State),
    /// An unexpected event.
    Trouble(String),
}

/// A message that was delivered to the application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Delivered {
    pub(crate) message: Message,
    pub(crate) redelivery: bool,
}

/// A message as everybody must know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) lamport: u64,
    pub(crate) sender: String,
    pub(crate) id: String,
    /// Digest of its content.
    pub(crate) content: String,
}

impl Message {
    pub(crate) fn new(entry: &LogEntry) -> Self {
        let digest = Sha256::digest(entry.content());
        Self {
            lamport: entry.lamport(),
            sender: entry.sender_id().to_string(),
            id: entry.message_id().to_string(),
            content: digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// State of a participant.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct State {
    /// Orders that it has heard and done.
    pub(crate) obeyed: u64,
    /// Deliveries ever.
    pub(crate) delivered: u64,
    /// Messages of its own that nobody has acknowledged.
    pub(crate) outgoing: usize,
    /// Messages that wait, and what they wait for.
    pub(crate) waiting: usize,
    /// Covers its log.
    pub(crate) digest: String,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Pause => "pause",
        })
    }
}

impl FromStr for Order {
    type Err = Unknown;

    fn from_str(line: &str) -> Result<Self, Unknown> {
        match line {
            "publish" => Ok(Self::Publish),
            "pause" => Ok(Self::Pause),
            _ => Err(Unknown(line.into())),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Delivered(Delivered { message, redelivery }) => {
                let Message { lamport, sender, id, content } = message;
                let how = if *redelivery { "again" } else { "delivered" };
                write!(f, "{how} {lamport} {sender} {id} {content}")
            }
            Self::Acked(id) => write!(f, "acked {id}"),
            Self::State(State { obeyed, delivered, outgoing, waiting, digest }) => {
                write!(f, "state {obeyed} {delivered} {outgoing} {waiting} {digest}")
            }
            Self::Trouble(trouble) => write!(f, "trouble {}", trouble.replace('\n', " ")),
        }
    }
}

impl FromStr for Report {
    type Err = Unknown;

    fn from_str(line: &str) -> Result<Self, Unknown> {
        let unknown = || Unknown(line.into());
        let number = |word: &str| word.parse::<u64>().map_err(|_| unknown());
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ready"] => Ok(Self::Ready),
            [how @ ("delivered" | "again"), lamport, sender, id, content] => {
                let message = Message {
                    lamport: number(lamport)?,
                    sender: sender.into(),
                    id: id.into(),
                    content: content.into(),
                };
                Ok(Self::Delivered(Delivered { message, redelivery: how == "again" }))
            }
            ["acked", id] => Ok(Self::Acked(id.into())),
            ["state", obeyed, delivered, outgoing, waiting, digest] => Ok(Self::State(State {
                obeyed: number(obeyed)?,
                delivered: number(delivered)?,
                outgoing: number(outgoing)? as usize,
                waiting: number(waiting)? as usize,
                digest: digest.into(),
            })),
            ["trouble", ..] => Ok(Self::Trouble(line["trouble".len()..].trim().into())),
            _ => Err(unknown()),
        }
    }
}

/// A line that is none of these.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Unknown(String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown line {:?}", self.0)
    }
}
