//! Datagrams over UDP sockets, for every driver: what differs is who says that a socket is ready.

use core::net::SocketAddr;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::time::Instant;

use bytes::Bytes;
use socket2::SockRef;

use super::{Peer, Received, SendError};

#[cfg(feature = "smol")]
mod async_io;
mod builder;

#[cfg(feature = "smol")]
pub use async_io::Udp;
pub(crate) use builder::Bound;
pub use builder::{Multicast, UdpBuilder};

/// Time after which a socket joins its multicast group again, in case that its interface went and
/// came back: nothing else tells that.
const JOIN_EVERY: Duration = Duration::from_secs(5);
/// Longest payload of a UDP datagram over IPv4.
const MAX_UDP_PAYLOAD: usize = 65_507;

/// A socket that does not block, and a poller that says when it is worth trying again.
pub(crate) trait Socket {
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The socket, to set its options.
    fn options(&self) -> SockRef<'_>;

    fn send_to(&self, datagram: &[u8], destination: SocketAddr) -> io::Result<usize>;

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Ready if sending may work that would have blocked; else `cx` is woken when it may.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready if receiving may work that would have blocked; else `cx` is woken when it may.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Each datagram to all destinations, and those of others from a socket.
#[derive(Debug)]
pub(crate) struct Datagrams<S> {
    socket: S,
    destinations: Vec<SocketAddr>,
    /// Next destination of the datagram that is being sent.
    next: usize,
    /// The first destination that it did not reach.
    failure: Option<SendError>,
    max_datagram_len: usize,
    buffer: Box<[u8]>,
    membership: Option<Membership>,
}

/// A membership that is to last.
#[derive(Debug)]
struct Membership {
    multicast: Multicast,
    /// When it is looked after next.
    at: Instant,
    /// Whether sending has failed since, as it does while the interface is gone.
    failed: bool,
}

impl Membership {
    const fn new(multicast: Multicast, at: Instant) -> Self {
        Self { multicast, at, failed: false }
    }

    /// Joins again if it is time. A socket that is a member still is told so, and stays one.
    fn renew(&mut self, socket: &SockRef<'_>, now: Instant) {
        if now < self.at {
            return;
        }
        self.at = now + JOIN_EVERY;
        if core::mem::take(&mut self.failed) {
            // The system may take an interface that is gone for the one that is there.
            drop(self.multicast.leave(socket));
        }
        // While there is no interface, sending fails and says so.
        drop(self.multicast.enter(socket));
    }
}

impl<S: Socket> Datagrams<S> {
    pub(crate) fn new(
        socket: S,
        destinations: Vec<SocketAddr>,
        max_datagram_len: usize,
        multicast: Option<Multicast>,
    ) -> Self {
        let membership = |multicast| Membership::new(multicast, Instant::now() + JOIN_EVERY);
        Self {
            membership: multicast.map(membership),
            socket,
            destinations,
            next: 0,
            failure: None,
            max_datagram_len,
            // One byte more than can come, so that nothing is cut off unnoticed.
            buffer: vec![0; MAX_UDP_PAYLOAD + 1].into(),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) const fn max_datagram_len(&self) -> usize {
        self.max_datagram_len
    }

    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        datagram: &Bytes,
    ) -> Poll<Result<(), SendError>> {
        self.stay_member();
        while let Some(&address) = self.destinations.get(self.next) {
            let result = ready!(self.poll_send_to(cx, datagram, address));
            self.next += 1;
            if let (Err(_), Some(membership)) = (&result, &mut self.membership) {
                membership.failed = true;
            }
            if let (Err(error), None) = (result, &self.failure) {
                self.failure = Some(SendError { destination: Peer::Address(address), error });
            }
        }
        self.next = 0;
        Poll::Ready(self.failure.take().map_or(Ok(()), Err))
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        self.stay_member();
        loop {
            match self.socket.recv_from(&mut self.buffer) {
                Ok((len, source)) => {
                    let bytes = Bytes::copy_from_slice(&self.buffer[..len]);
                    return Poll::Ready(Ok(Received { bytes, source: Peer::Address(source) }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(self.socket.poll_readable(cx))?;
        }
    }

    fn stay_member(&mut self) {
        if let Some(membership) = &mut self.membership {
            membership.renew(&self.socket.options(), Instant::now());
        }
    }

    /// Sends to one destination; pending if the socket takes no more for now.
    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        datagram: &Bytes,
        destination: SocketAddr,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.socket.send_to(datagram, destination) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => return Poll::Ready(result.map(drop)),
            }
            ready!(self.socket.poll_writable(cx))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 76, 67);
    const MULTICAST: Multicast = Multicast::new(SocketAddr::new(core::net::IpAddr::V4(GROUP), 0))
        .interface(Ipv4Addr::LOCALHOST);

    /// A member whose system has ended the membership, as when the interface goes.
    fn left_out() -> (Bound, Membership, Instant) {
        let bound = UdpBuilder::new().join(&MULTICAST).unwrap();
        let now = Instant::now();
        let membership = Membership::new(MULTICAST, now + JOIN_EVERY);
        MULTICAST.leave(&SockRef::from(&bound.socket)).unwrap();
        (bound, membership, now)
    }

    /// Whether the socket is a member; it is none afterwards.
    fn was_member(bound: &Bound) -> bool {
        MULTICAST.leave(&SockRef::from(&bound.socket)).is_ok()
    }

    #[test]
    fn a_membership_that_was_lost_is_renewed_in_time() {
        let (bound, mut membership, now) = left_out();
        let socket = SockRef::from(&bound.socket);
        membership.renew(&socket, now + JOIN_EVERY - Duration::from_nanos(1));
        assert!(!was_member(&bound));
        for round in 1..3 {
            membership.renew(&socket, now + round * JOIN_EVERY);
            assert!(was_member(&bound));
        }
    }

    #[test]
    fn a_membership_that_lasts_is_left_alone() {
        let (bound, mut membership, now) = left_out();
        let socket = SockRef::from(&bound.socket);
        for (round, failed) in [(1, false), (2, false), (3, true), (4, true)] {
            membership.failed = failed;
            membership.renew(&socket, now + round * JOIN_EVERY);
            assert!(!membership.failed);
        }
        assert!(was_member(&bound));
        assert!(!was_member(&bound));
    }
}
