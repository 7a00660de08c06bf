//! UDP on async-io, under any executor.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::io;
use std::net::UdpSocket;

use ::smol::Async;
use bytes::Bytes;
use socket2::SockRef;

use super::Bound;
use super::{Datagrams, Multicast, Socket, UdpBuilder};
use crate::transport::{Received, SendError, Transport};

/// A UDP socket that sends each datagram to a list of peers, or to a multicast group.
///
/// Datagrams are taken from whoever sends them: SDS does not authenticate. Works under any
/// executor.
#[derive(Debug)]
pub struct Udp(Datagrams<Async<UdpSocket>>);

impl Udp {
    /// A socket at `bind` that sends to each of `peers`.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that the address is in use.
    pub fn unicast(bind: SocketAddr, peers: Vec<SocketAddr>) -> io::Result<Self> {
        Self::builder().unicast(bind, peers)
    }

    /// A socket that sends to a multicast group and hears it.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that there is no such interface.
    pub fn multicast(group: &Multicast) -> io::Result<Self> {
        Self::builder().multicast(group)
    }

    /// Settings for a socket.
    pub const fn builder() -> UdpBuilder {
        UdpBuilder::new()
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// Of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn new(bound: Bound) -> io::Result<Self> {
        let Bound { socket, destinations, max_datagram_len, multicast } = bound;
        let socket = Async::new_nonblocking(socket)?;
        Ok(Self(Datagrams::new(socket, destinations, max_datagram_len, multicast)))
    }
}

impl UdpBuilder {
    /// A socket at `bind` that sends to each of `peers`, on async-io.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that the address is in use.
    pub fn unicast(self, bind: SocketAddr, peers: Vec<SocketAddr>) -> io::Result<Udp> {
        self.bind(bind, peers).and_then(Udp::new)
    }

    /// A socket that sends to a multicast group and hears it, on async-io.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that there is no such interface.
    pub fn multicast(self, multicast: &Multicast) -> io::Result<Udp> {
        self.join(multicast).and_then(Udp::new)
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

impl Socket for Async<UdpSocket> {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().local_addr()
    }

    fn options(&self) -> SockRef<'_> {
        SockRef::from(self.get_ref())
    }

    fn send_to(&self, datagram: &[u8], destination: SocketAddr) -> io::Result<usize> {
        self.get_ref().send_to(datagram, destination)
    }

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.get_ref().recv_from(buffer)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_writable(self, cx)
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_readable(self, cx)
    }
}
