//! Options of a UDP socket, and the bound socket.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io;
use std::net::UdpSocket;

use socket2::{Domain, Protocol, Socket, Type};

use super::MAX_UDP_PAYLOAD;

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
    ///
    /// If the interface goes and comes back, or another takes its place, the socket joins again: it
    /// tries every five seconds in which it sends or hears anything.
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

    /// Makes the socket a member of the group, and sends to it on the same interface.
    pub(super) fn enter(&self, socket: &Socket) -> io::Result<()> {
        match self.group {
            SocketAddr::V4(group) => {
                socket.join_multicast_v4(group.ip(), &self.interface)?;
                socket.set_multicast_if_v4(&self.interface)
            }
            SocketAddr::V6(group) => {
                socket.join_multicast_v6(group.ip(), group.scope_id())?;
                socket.set_multicast_if_v6(group.scope_id())
            }
        }
    }

    /// Ends the membership of a socket.
    pub(super) fn leave(&self, socket: &Socket) -> io::Result<()> {
        match self.group {
            SocketAddr::V4(group) => socket.leave_multicast_v4(group.ip(), &self.interface),
            SocketAddr::V6(group) => socket.leave_multicast_v6(group.ip(), group.scope_id()),
        }
    }
}

/// Settings for a UDP socket, of whichever driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "no socket is made before `unicast` or `multicast`"]
pub struct UdpBuilder {
    receive_buffer: Option<usize>,
    send_buffer: Option<usize>,
    max_datagram_len: usize,
}

impl UdpBuilder {
    /// The defaults, as each setting describes.
    pub const fn new() -> Self {
        Self { receive_buffer: None, send_buffer: None, max_datagram_len: MAX_UDP_PAYLOAD }
    }

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

    /// Longest datagram to send, in bytes, for networks that do not carry fragments. A
    /// message that would be longer is refused when it is published. Default and most: 65,507.
    pub fn max_datagram_len(mut self, bytes: usize) -> Self {
        self.max_datagram_len = bytes.min(MAX_UDP_PAYLOAD);
        self
    }

    /// A socket at `bind` for datagrams to each of `peers`.
    pub(crate) fn bind(self, bind: SocketAddr, peers: Vec<SocketAddr>) -> io::Result<Bound> {
        let socket = self.socket(bind)?;
        socket.bind(&bind.into())?;
        Ok(self.bound(socket, peers))
    }

    /// A socket that is a member of the group.
    pub(crate) fn join(self, multicast: &Multicast) -> io::Result<Bound> {
        let Multicast { group, ttl, loopback, .. } = *multicast;
        let socket = self.socket(group)?;
        // Several processes on this machine may take part.
        socket.set_reuse_address(true)?;
        #[cfg(all(
            unix,
            not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
        ))]
        socket.set_reuse_port(true)?;
        multicast.enter(&socket)?;
        let any: IpAddr = match group {
            SocketAddr::V4(_) => {
                socket.set_multicast_ttl_v4(ttl)?;
                socket.set_multicast_loop_v4(loopback)?;
                Ipv4Addr::UNSPECIFIED.into()
            }
            SocketAddr::V6(_) => {
                socket.set_multicast_hops_v6(ttl)?;
                socket.set_multicast_loop_v6(loopback)?;
                Ipv6Addr::UNSPECIFIED.into()
            }
        };
        socket.bind(&SocketAddr::new(any, group.port()).into())?;
        let bound = self.bound(socket, vec![group]);
        Ok(Bound { multicast: Some(*multicast), ..bound })
    }

    fn socket(self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn bound(self, socket: Socket, destinations: Vec<SocketAddr>) -> Bound {
        let max_datagram_len = self.max_datagram_len;
        Bound { socket: socket.into(), destinations, max_datagram_len, multicast: None }
    }
}

impl Default for UdpBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A socket that does not block, and what goes where through it.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) socket: UdpSocket,
    pub(crate) destinations: Vec<SocketAddr>,
    pub(crate) max_datagram_len: usize,
    pub(crate) multicast: Option<Multicast>,
}
