//! UDP on tokio.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::io;

use ::tokio::net::UdpSocket;
use ::tokio::runtime;
use bytes::Bytes;
use socket2::SockRef;

use crate::transport::udp::{Bound, Datagrams, Socket};
use crate::transport::{Multicast, Received, SendError, Transport, UdpBuilder};

/// A UDP socket that sends each datagram to a list of peers, or to a multicast group.
///
/// Datagrams are taken from whoever sends them: SDS does not authenticate. It belongs to the
/// tokio runtime it was made in, which must have I/O enabled: tokio panics otherwise.
#[derive(Debug)]
pub struct Udp(Datagrams<UdpSocket>);

impl Udp {
    /// A socket at `bind` that sends to each of `peers`.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that the address is in use; or that the caller is in
    /// no tokio runtime.
    pub fn unicast(bind: SocketAddr, peers: Vec<SocketAddr>) -> io::Result<Self> {
        UdpBuilder::new().unicast_on_tokio(bind, peers)
    }

    /// A socket that sends to a multicast group and hears it.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that there is no such interface; or that the caller
    /// is in no tokio runtime.
    pub fn multicast(group: &Multicast) -> io::Result<Self> {
        UdpBuilder::new().multicast_on_tokio(group)
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
        // Asked first, because `from_std` panics outside of a runtime.
        runtime::Handle::try_current().map_err(io::Error::other)?;
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self(Datagrams::new(socket, destinations, max_datagram_len, multicast)))
    }
}

impl UdpBuilder {
    /// A socket at `bind` that sends to each of `peers`, on the tokio runtime of the caller.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that the address is in use; or that the caller is in
    /// no tokio runtime.
    pub fn unicast_on_tokio(self, bind: SocketAddr, peers: Vec<SocketAddr>) -> io::Result<Udp> {
        self.bind(bind, peers).and_then(Udp::new)
    }

    /// A socket that sends to a multicast group and hears it, on the tokio runtime of the caller.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that there is no such interface; or that the caller
    /// is in no tokio runtime.
    pub fn multicast_on_tokio(self, multicast: &Multicast) -> io::Result<Udp> {
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

impl Socket for UdpSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }

    fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    fn send_to(&self, datagram: &[u8], destination: SocketAddr) -> io::Result<usize> {
        self.try_send_to(datagram, destination)
    }

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.try_recv_from(buffer)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send_ready(cx)
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_recv_ready(cx)
    }
}
