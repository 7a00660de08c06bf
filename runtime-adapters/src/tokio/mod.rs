//! The tokio driver.
//!
//! [`spawn`] puts a driver on the tokio runtime of the caller; [`new`] gives its future to spawn
//! where one likes. The runtime must have time enabled, and for [`Udp`] also I/O, as
//! `enable_all` does; of either flavour. Time is the operating system's: to pause tokio's clock
//! does not pause the node's.
//!
//! ```
//! use sds_proto::{Config, Event};
//! use sds_runtime::{DriverEvent, tokio, transport::MemoryGroup};
//!
//! # let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let group = MemoryGroup::new(64);
//! let config = |name: &str| Config::builder().participant_id(name.into()).build();
//! let (alice, _) = tokio::spawn(config("alice")?, group.join())?;
//! let (bob, mut events) = tokio::spawn(config("bob")?, group.join())?;
//! alice.open("greetings").await?;
//! bob.open("greetings").await?;
//!
//! alice.publish("greetings", "m1", "hello").await?;
//! while let Some(event) = events.next().await {
//!     if let DriverEvent::Node(Event::Deliver(delivery)) = event {
//!         assert_eq!(delivery.entry.content(), b"hello");
//!         break;
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod timer;
mod udp;

use ::tokio::runtime;
use sds_proto::Config;

use crate::error::StartError;
use crate::event::Events;
use crate::handle::Handle;
use crate::options::Options;
use crate::run::Run;
use crate::transport::Transport;

pub use timer::Timer;
pub use udp::Udp;

/// Starts a driver on the tokio runtime of the caller, with the default [`Options`].
///
/// It runs until it is shut down or the last [`Handle`] is dropped. A runtime that ends before
/// stops it at once, without flushing.
///
/// # Errors
///
/// [`StartError::NeedsStore`] if `config` asks for durability; [`StartError::NoRuntime`].
pub fn spawn(config: Config, transport: impl Transport) -> Result<(Handle, Events), StartError> {
    let runtime = runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
    let (handle, events, run) = new(config, transport, Options::default())?;
    drop(runtime.spawn(run));
    Ok((handle, events))
}

/// A driver that is not running yet: its future, to be polled on a tokio runtime, and the two
/// ends for the application.
///
/// # Errors
///
/// As [`Run::new`].
pub fn new<T: Transport>(
    config: Config,
    transport: T,
    options: Options,
) -> Result<(Handle, Events, Run<T, Timer>), StartError> {
    Run::new(config, transport, Timer::default(), options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::MemoryGroup;

    #[test]
    fn outside_of_a_runtime_it_says_so() {
        let config = Config::builder().build().unwrap();
        let error = spawn(config, MemoryGroup::new(1).join()).unwrap_err();
        assert_eq!(error, StartError::NoRuntime);
        let error = Udp::unicast("127.0.0.1:0".parse().unwrap(), vec![]).unwrap_err();
        assert!(error.to_string().contains("runtime"), "{error}");
    }
}
