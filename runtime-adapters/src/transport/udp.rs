//! Datagrams over UDP sockets, on async-io.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::task::{Context, Poll};
use std::io;
use std::net::UdpSocket;

use ::smol::Async;
use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Peer, Received, SendError, Transport};

/// Longest payload of a UDP datagram over IPv4.
const MAX_UDP_PAYLOAD: usize = 65_507;

/// A UDP socket that sends each datagram to a list of peers, or to a multicast group.
///
/// Datagrams are taken from whoever sends them: SDS does not authenticate. Works under any
/// executor.
#[derive(Debug)]
pub struct Udp {
    socket: Async<UdpSocket>,
    destinations: Vec<SocketAddr>,
    /// Where the datagram that is being sent goes next.
    next: usize,
    /// The first destination that it did not reach.
    failure: Option<SendError>,
    max_datagram_len: usize,
    buffer: Box<[u8]>,
}

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
        UdpBuilder { receive_buffer: None, send_buffer: None, max_datagram_len: MAX_UDP_PAYLOAD }
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// Of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// Sends to one destination; pending if the socket takes no more for now.
    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        datagram: &Bytes,
        destination: SocketAddr,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.socket.get_ref().send_to(datagram, destination) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => return Poll::Ready(result.map(drop)),
            }
            if self.socket.poll_writable(cx)?.is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Transport for Udp {
    fn max_datagram_len(&self) -> usize {
        self.max_datagram_len
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &Bytes) -> Poll<Result<(), SendError>> {
        while let Some(&address) = self.destinations.get(self.next) {
            let Poll::Ready(result) = self.poll_send_to(cx, datagram, address) else {
                return Poll::Pending;
            };
            self.next += 1;
            if let (Err(error), None) = (result, &self.failure) {
                self.failure = Some(SendError { destination: Peer::Address(address), error });
            }
        }
        self.next = 0;
        Poll::Ready(self.failure.take().map_or(Ok(()), Err))
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        loop {
            match self.socket.get_ref().recv_from(&mut self.buffer) {
                Ok((len, source)) => {
                    let bytes = Bytes::copy_from_slice(&self.buffer[..len]);
                    return Poll::Ready(Ok(Received { bytes, source: Peer::Address(source) }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Poll::Ready(Err(error)),
            }
            if self.socket.poll_readable(cx)?.is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// A multicast group and how to take part in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Multicast {
    group: SocketAddr,
    interface: Ipv4Addr,
    ttl: u32,
    loopback: bool,
}

impl Multicast {
    /// The group at this address and port: of IPv4 on the interface that the operating system
    /// chooses, of IPv6 on the one that the address's scope id names. Datagrams stay on the local
    /// network (TTL 1) and are heard by other processes on this machine.
    pub const fn new(group: SocketAddr) -> Self {
        Self { group, interface: Ipv4Addr::UNSPECIFIED, ttl: 1, loopback: true }
    }

    /// Takes part on the interface with this address. IPv4 only.
    pub const fn interface(mut self, interface: Ipv4Addr) -> Self {
        self.interface = interface;
        self
    }

    /// Routers that a datagram may pass, plus one.
    pub const fn ttl(mut self, ttl: u32) -> Self {
        self.ttl = ttl;
        self
    }

    /// Whether processes on this machine hear what is sent, this one included. The node knows
    /// its own messages by its participant id; an anonymous one, which has none, would take its
    /// own syncs for somebody else's and should say `false`.
    pub const fn loopback(mut self, loopback: bool) -> Self {
        self.loopback = loopback;
        self
    }
}

/// Settings for a [`Udp`] socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "no socket is made before `unicast` or `multicast`"]
pub struct UdpBuilder {
    receive_buffer: Option<usize>,
    send_buffer: Option<usize>,
    max_datagram_len: usize,
}

impl UdpBuilder {
    /// Bytes of received datagrams that the operating system should keep; it may allow less.
    /// Default: what it gives, some 200 KiB on Linux, which is ten messages with the filter of
    /// LIP-109.
    pub const fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Bytes of datagrams to send that the operating system should keep; it may allow less.
    /// Default: what it gives.
    pub const fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Longest datagram to send, in bytes, for networks that do not carry fragments. What is
    /// longer is reported and not sent. Default and most: 65,507.
    pub fn max_datagram_len(mut self, bytes: usize) -> Self {
        self.max_datagram_len = bytes.min(MAX_UDP_PAYLOAD);
        self
    }

    /// A socket at `bind` that sends to each of `peers`.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that the address is in use.
    pub fn unicast(self, bind: SocketAddr, peers: Vec<SocketAddr>) -> io::Result<Udp> {
        let socket = self.socket(bind)?;
        socket.bind(&bind.into())?;
        self.udp(socket, peers)
    }

    /// A socket that sends to a multicast group and hears it.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that there is no such interface.
    pub fn multicast(self, multicast: &Multicast) -> io::Result<Udp> {
        let Multicast { group, interface, ttl, loopback } = *multicast;
        let socket = self.socket(group)?;
        // Several processes on this machine may take part.
        socket.set_reuse_address(true)?;
        #[cfg(all(
            unix,
            not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
        ))]
        socket.set_reuse_port(true)?;
        let any: IpAddr = match group {
            SocketAddr::V4(group) => {
                socket.join_multicast_v4(group.ip(), &interface)?;
                socket.set_multicast_if_v4(&interface)?;
                socket.set_multicast_ttl_v4(ttl)?;
                socket.set_multicast_loop_v4(loopback)?;
                Ipv4Addr::UNSPECIFIED.into()
            }
            SocketAddr::V6(group) => {
                socket.join_multicast_v6(group.ip(), group.scope_id())?;
                socket.set_multicast_if_v6(group.scope_id())?;
                socket.set_multicast_hops_v6(ttl)?;
                socket.set_multicast_loop_v6(loopback)?;
                Ipv6Addr::UNSPECIFIED.into()
            }
        };
        socket.bind(&SocketAddr::new(any, group.port()).into())?;
        self.udp(socket, vec![group])
    }

    fn socket(self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        Ok(socket)
    }

    fn udp(self, socket: Socket, destinations: Vec<SocketAddr>) -> io::Result<Udp> {
        Ok(Udp {
            socket: Async::new(socket.into())?,
            destinations,
            next: 0,
            failure: None,
            max_datagram_len: self.max_datagram_len,
            // One byte more than can come, so that nothing is cut off unnoticed.
            buffer: vec![0; MAX_UDP_PAYLOAD + 1].into(),
        })
    }
}
