//! Messages between parent and child, a line each.

use core::fmt;
use core::str::FromStr;

/// Parent to child, on its standard input. The end of the input means [`Stop`](Self::Stop), too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    Start,
    Stop,
}

/// Child to parent, on its standard output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Report {
    /// The socket is open; waiting for the order to start.
    Ready,
    /// The port has been taken by somebody else.
    PortTaken,
    Progress(Progress),
}

/// Progress of a participant.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Progress {
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) acknowledged: u64,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Stop => "stop",
        })
    }
}

impl FromStr for Order {
    type Err = Unknown;

    fn from_str(line: &str) -> Result<Self, Unknown> {
        match line {
            "start" => Ok(Self::Start),
            "stop" => Ok(Self::Stop),
            _ => Err(Unknown(line.into())),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::PortTaken => f.write_str("port-taken"),
            Self::Progress(Progress { published, delivered, acknowledged }) => {
                write!(f, "progress {published} {delivered} {acknowledged}")
            }
        }
    }
}

impl FromStr for Report {
    type Err = Unknown;

    fn from_str(line: &str) -> Result<Self, Unknown> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse().map_err(|_| Unknown(line.into()));
        match words[..] {
            ["ready"] => Ok(Self::Ready),
            ["port-taken"] => Ok(Self::PortTaken),
            ["progress", published, delivered, acknowledged] => Ok(Self::Progress(Progress {
                published: number(published)?,
                delivered: number(delivered)?,
                acknowledged: number(acknowledged)?,
            })),
            _ => Err(Unknown(line.into())),
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

impl core::error::Error for Unknown {}
