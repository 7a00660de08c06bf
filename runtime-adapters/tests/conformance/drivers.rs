//! The drivers, each started as an application starts it.

use core::net::SocketAddr;

use sds_proto::Config;
use sds_runtime::transport::{Memory, MemoryGroup, Multicast, UdpBuilder};
use sds_runtime::{Events, Handle, Options, StartError, Timer, Transport};

use crate::common::{CHANNEL, config};

pub(crate) type Started = Result<(Handle, Events), StartError>;

/// A driver that does not run yet, for a transport to be made for it.
pub(crate) trait Driver: Sized {
    type Timer: Timer;
    type Udp: Transport;

    fn new() -> Self;

    fn timer(&self) -> Self::Timer;

    fn unicast(&self, builder: UdpBuilder, bind: SocketAddr, peers: Vec<SocketAddr>) -> Self::Udp;

    fn multicast(&self, group: &Multicast) -> Self::Udp;

    fn local_addr(socket: &Self::Udp) -> SocketAddr;

    fn spawn_with(self, config: Config, transport: impl Transport, options: Options) -> Started;

    fn spawn(config: Config, transport: impl Transport) -> Started {
        Self::new().spawn_with(config, transport, Options::default())
    }
}

/// A participant that has joined the group and opened the channel.
pub(crate) async fn join<D: Driver>(group: &MemoryGroup, name: &str) -> (Handle, Events) {
    join_with::<D>(config(name), group.join(), Options::default()).await
}

/// The same as it is told.
pub(crate) async fn join_with<D: Driver>(
    config: Config,
    transport: Memory,
    options: Options,
) -> (Handle, Events) {
    let (handle, events) = D::new().spawn_with(config, transport, options).unwrap();
    handle.open(CHANNEL).await.unwrap();
    (handle, events)
}

#[cfg(feature = "smol")]
pub(crate) use on_smol::Smol;

#[cfg(feature = "smol")]
mod on_smol {
    use super::*;
    use sds_runtime::{smol, transport};

    pub(crate) struct Smol;

    impl Driver for Smol {
        type Timer = smol::Timer;
        type Udp = transport::Udp;

        fn new() -> Self {
            Self
        }

        fn timer(&self) -> Self::Timer {
            Self::Timer::default()
        }

        fn unicast(
            &self,
            builder: UdpBuilder,
            bind: SocketAddr,
            peers: Vec<SocketAddr>,
        ) -> Self::Udp {
            builder.unicast(bind, peers).unwrap()
        }

        fn multicast(&self, group: &Multicast) -> Self::Udp {
            transport::Udp::multicast(group).unwrap()
        }

        fn local_addr(socket: &Self::Udp) -> SocketAddr {
            socket.local_addr().unwrap()
        }

        fn spawn_with(
            self,
            config: Config,
            transport: impl Transport,
            options: Options,
        ) -> Started {
            let (handle, events, run) = smol::new(config, transport, options)?;
            ::smol::spawn(run).detach();
            Ok((handle, events))
        }
    }
}

#[cfg(feature = "tokio")]
pub(crate) use on_tokio::Tokio;

#[cfg(feature = "tokio")]
mod on_tokio {
    use std::sync::LazyLock;
    use std::thread;

    use ::tokio::runtime::{Builder, Handle as Runtime};
    use sds_runtime::tokio;

    use super::*;

    /// One runtime for all tests, on a thread of its own, so that a test may block.
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(core::future::pending::<()>()));
        handle
    });

    pub(crate) struct Tokio;

    impl Driver for Tokio {
        type Timer = tokio::Timer;
        type Udp = tokio::Udp;

        fn new() -> Self {
            Self
        }

        fn timer(&self) -> Self::Timer {
            Self::Timer::default()
        }

        fn unicast(
            &self,
            builder: UdpBuilder,
            bind: SocketAddr,
            peers: Vec<SocketAddr>,
        ) -> Self::Udp {
            let _inside = RUNTIME.enter();
            builder.unicast_on_tokio(bind, peers).unwrap()
        }

        fn multicast(&self, group: &Multicast) -> Self::Udp {
            let _inside = RUNTIME.enter();
            tokio::Udp::multicast(group).unwrap()
        }

        fn local_addr(socket: &Self::Udp) -> SocketAddr {
            socket.local_addr().unwrap()
        }

        fn spawn_with(
            self,
            config: Config,
            transport: impl Transport,
            options: Options,
        ) -> Started {
            let (handle, events, run) = tokio::new(config, transport, options)?;
            drop(RUNTIME.spawn(run));
            Ok((handle, events))
        }
    }
}

#[cfg(feature = "event-loop")]
pub(crate) use sds_runtime::event_loop::EventLoop;

#[cfg(feature = "event-loop")]
mod on_event_loop {
    use super::*;
    use sds_runtime::event_loop;

    impl Driver for EventLoop {
        type Timer = event_loop::Timer;
        type Udp = event_loop::Udp;

        fn new() -> Self {
            Self::new().unwrap()
        }

        fn timer(&self) -> Self::Timer {
            self.timer()
        }

        fn unicast(
            &self,
            builder: UdpBuilder,
            bind: SocketAddr,
            peers: Vec<SocketAddr>,
        ) -> Self::Udp {
            builder.unicast_on(self, bind, peers).unwrap()
        }

        fn multicast(&self, group: &Multicast) -> Self::Udp {
            event_loop::Udp::multicast(self, group).unwrap()
        }

        fn local_addr(socket: &Self::Udp) -> SocketAddr {
            socket.local_addr().unwrap()
        }

        fn spawn_with(
            self,
            config: Config,
            transport: impl Transport,
            options: Options,
        ) -> Started {
            self.spawn(config, transport, options)
        }
    }
}
