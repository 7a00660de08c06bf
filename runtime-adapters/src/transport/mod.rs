//! Transports: sending datagrams to the group and receiving those of others.

use core::fmt;
use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::io;

use bytes::Bytes;

mod lossy;
mod memory;
#[cfg(any(feature = "smol", feature = "event-loop", feature = "tokio"))]
pub(crate) mod udp;

pub use lossy::{Faults, Lossy};
pub use memory::{Memory, MemoryGroup};
#[cfg(feature = "smol")]
pub use udp::Udp;
#[cfg(any(feature = "smol", feature = "event-loop", feature = "tokio"))]
pub use udp::{Multicast, UdpBuilder};

/// Carries datagrams to everybody in the group and back, as best it can.
///
/// It may lose, repeat and reorder them, and need not keep others from sending: the protocol
/// expects all that. It may deliver to the sender as well. One task owns it and polls it; each
/// `poll` function keeps the last waker it was given.
pub trait Transport: Send + 'static {
    /// Longest datagram that can be sent, in bytes. Asked once; messages that would be longer are
    /// refused when they are published.
    fn max_datagram_len(&self) -> usize;

    /// Sends a datagram to the group.
    ///
    /// `Pending` means that it is not yet out, to some at least: the next call must be with the
    /// same datagram. A driver that has more to send than it may keep waits for this, and carries
    /// out no commands meanwhile: a transport whose link is down for long should drop datagrams
    /// instead.
    ///
    /// # Errors
    ///
    /// Some destination could not be reached; it was tried for all others. The datagram is done
    /// with.
    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &Bytes) -> Poll<Result<(), SendError>>;

    /// Receives a datagram.
    ///
    /// # Errors
    ///
    /// Nothing could be received now; a later call may succeed. The driver pauses for 100 ms, but
    /// not at once after `ConnectionReset` or `ConnectionRefused`: with these some systems say that
    /// a datagram that was sent reached no process.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>>;
}

/// A datagram and where it came from.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by every transport")]
pub struct Received {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its sender, if the transport knows it.
    pub source: Peer,
}

/// A transport's name for a member of the group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Peer {
    /// A socket.
    Address(SocketAddr),
    /// A member of a [`MemoryGroup`], by the order of joining.
    Member(usize),
    /// The transport does not tell.
    Unknown,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Member(index) => write!(f, "member {index}"),
            Self::Unknown => f.write_str("an unknown peer"),
        }
    }
}

/// A datagram that did not reach some destination.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by every transport")]
pub struct SendError {
    /// The first such destination.
    pub destination: Peer,
    /// The error of the operating system.
    pub error: io::Error,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sending to {}: {}", self.destination, self.error)
    }
}

impl core::error::Error for SendError {}
