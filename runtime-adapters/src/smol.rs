//! The smol driver.
//!
//! [`spawn`] puts a driver on smol's global executor; [`new`] gives its future to spawn on an
//! executor of one's own. Either way timers and sockets are those of async-io, which works under
//! any executor.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::time::Instant;

use sds_proto::Config;

use crate::error::StartError;
use crate::event::Events;
use crate::handle::Handle;
use crate::options::Options;
use crate::run::Run;
use crate::transport::Transport;

/// Starts a driver on smol's global executor, with the default [`Options`].
///
/// It runs until it is shut down or the last [`Handle`] is dropped.
///
/// # Errors
///
/// [`StartError::NeedsStore`] if `config` asks for durability.
pub fn spawn(config: Config, transport: impl Transport) -> Result<(Handle, Events), StartError> {
    let (handle, events, run) = new(config, transport, Options::default())?;
    ::smol::spawn(run).detach();
    Ok((handle, events))
}

/// A driver that is not running yet: its future, for any executor, and the two ends for the
/// application.
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

/// A [`Timer`](crate::Timer) of async-io's.
#[derive(Debug)]
pub struct Timer(::smol::Timer);

impl Default for Timer {
    fn default() -> Self {
        Self(::smol::Timer::never())
    }
}

impl crate::Timer for Timer {
    fn set(&mut self, at: Option<Instant>) {
        match at {
            Some(at) => self.0.set_at(at),
            None => self.0 = ::smol::Timer::never(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}
