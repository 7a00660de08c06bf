//! UDP on the poller of an event loop.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use mio::net::UdpSocket;
use socket2::SockRef;

use super::EventLoop;
use super::reactor::{For, Reactor};
use crate::transport::udp::{Bound, Datagrams, Socket};
use crate::transport::{Multicast, Received, SendError, Transport, UdpBuilder};

/// A UDP socket that sends each datagram to a list of peers, or to a multicast group.
///
/// Datagrams are taken from whoever sends them: SDS does not authenticate. It is ready for its
/// next datagram only while its event loop runs.
#[derive(Debug)]
pub struct Udp(Datagrams<Watched>);

impl Udp {
    /// A socket at `bind` that sends to each of `peers`.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that the address is in use.
    pub fn unicast(
        event_loop: &EventLoop,
        bind: SocketAddr,
        peers: Vec<SocketAddr>,
    ) -> io::Result<Self> {
        UdpBuilder::new().unicast_on(event_loop, bind, peers)
    }

    /// A socket that sends to a multicast group and hears it.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that there is no such interface.
    pub fn multicast(event_loop: &EventLoop, group: &Multicast) -> io::Result<Self> {
        UdpBuilder::new().multicast_on(event_loop, group)
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// Of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn new(reactor: &Arc<Reactor>, bound: Bound) -> io::Result<Self> {
        let Bound { socket, destinations, max_datagram_len, multicast } = bound;
        let mut socket = UdpSocket::from_std(socket);
        let id = reactor.register(&mut socket)?;
        let socket = Watched { socket, id, reactor: Arc::clone(reactor) };
        Ok(Self(Datagrams::new(socket, destinations, max_datagram_len, multicast)))
    }
}

impl UdpBuilder {
    /// A socket at `bind` that sends to each of `peers`, for a node on this event loop.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that the address is in use.
    pub fn unicast_on(
        self,
        event_loop: &EventLoop,
        bind: SocketAddr,
        peers: Vec<SocketAddr>,
    ) -> io::Result<Udp> {
        Udp::new(event_loop.reactor(), self.bind(bind, peers)?)
    }

    /// A socket that sends to a multicast group and hears it, for a node on this event loop.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that there is no such interface.
    pub fn multicast_on(self, event_loop: &EventLoop, multicast: &Multicast) -> io::Result<Udp> {
        Udp::new(event_loop.reactor(), self.join(multicast)?)
    }
}

impl Transport for Udp {
    fn max_datagram_len(&self) -> usize {
        self.0.max_datagram_len()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &Bytes) -> Poll<Result<(), SendError>> {
        self.0.poll_send(cx, datagram)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        self.0.poll_recv(cx)
    }
}

/// A socket that a reactor watches.
#[derive(Debug)]
struct Watched {
    socket: UdpSocket,
    id: usize,
    reactor: Arc<Reactor>,
}

impl Socket for Watched {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.socket)
    }

    fn send_to(&self, datagram: &[u8], destination: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(datagram, destination)
    }

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reactor.poll_ready(self.id, For::Sending, cx).map(Ok)
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reactor.poll_ready(self.id, For::Receiving, cx).map(Ok)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.reactor.deregister(self.id, &mut self.socket);
    }
}
