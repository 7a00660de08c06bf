//! Datagrams over UDP sockets, for every driver: what differs is who says that a socket is ready.

use core::net::SocketAddr;
use core::task::{Context, Poll, ready};
use std::io;

use bytes::Bytes;

use super::{Peer, Received, SendError};

#[cfg(feature = "smol")]
mod async_io;
mod builder;

#[cfg(feature = "smol")]
pub use async_io::Udp;
#[cfg(any(feature = "event-loop", feature = "tokio"))]
pub(crate) use builder::Bound;
pub use builder::{Multicast, UdpBuilder};

/// Longest payload of a UDP datagram over IPv4.
const MAX_UDP_PAYLOAD: usize = 65_507;

/// A socket that does not block, and a poller that says when it is worth trying again.
pub(crate) trait Socket {
    fn local_addr(&self) -> io::Result<SocketAddr>;

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
    /// Where the datagram that is being sent goes next.
    next: usize,
    /// The first destination that it did not reach.
    failure: Option<SendError>,
    max_datagram_len: usize,
    buffer: Box<[u8]>,
}

impl<S: Socket> Datagrams<S> {
    pub(crate) fn new(socket: S, destinations: Vec<SocketAddr>, max_datagram_len: usize) -> Self {
        Self {
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
        while let Some(&address) = self.destinations.get(self.next) {
            let result = ready!(self.poll_send_to(cx, datagram, address));
            self.next += 1;
            if let (Err(error), None) = (result, &self.failure) {
                self.failure = Some(SendError { destination: Peer::Address(address), error });
            }
        }
        self.next = 0;
        Poll::Ready(self.failure.take().map_or(Ok(()), Err))
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
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
