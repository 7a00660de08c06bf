//! The queue of commands from the handles to their driver, the same for each kind of driver.

use core::task::{Context, Poll};

use async_channel::{Receiver, Sender, TrySendError};
use futures_core::Stream;

use crate::command::Command;
use crate::error::HandleError;
#[cfg(feature = "event-loop")]
use crate::event_loop::lane::{Lane, Lanes};

/// One queue for all handles.
pub(crate) fn shared(capacity: usize) -> (Outlet, Inlet) {
    let (sender, receiver) = async_channel::bounded(capacity);
    (Outlet::Shared(sender), Inlet::Shared(Box::pin(receiver)))
}

/// A handle's end.
#[derive(Clone, Debug)]
pub(crate) enum Outlet {
    /// A queue that all handles share.
    Shared(Sender<Command>),
    /// A queue of the handle's own.
    #[cfg(feature = "event-loop")]
    Lane(Lane),
}

impl Outlet {
    /// Resolves when the command is on its way; dropped before, it never will be.
    pub(crate) async fn send(&self, command: Command) -> Result<(), HandleError> {
        match self {
            Self::Shared(sender) => sender.send(command).await.map_err(|_| HandleError::Stopped),
            #[cfg(feature = "event-loop")]
            Self::Lane(lane) => lane.send(command).await,
        }
    }

    /// The same if there is room now; else [`HandleError::Full`].
    pub(crate) fn try_send(&self, command: Command) -> Result<(), HandleError> {
        match self {
            Self::Shared(sender) => match sender.try_send(command) {
                Ok(()) => Ok(()),
                Err(TrySendError::Full(_)) => Err(HandleError::Full),
                Err(TrySendError::Closed(_)) => Err(HandleError::Stopped),
            },
            #[cfg(feature = "event-loop")]
            Self::Lane(lane) => lane.try_send(command),
        }
    }

    /// Whether the driver may have stopped looking before it saw what was just sent.
    pub(crate) fn may_be_too_late(&self) -> bool {
        match self {
            // A closed queue takes nothing, so that what it took before is still looked at.
            Self::Shared(_) => false,
            #[cfg(feature = "event-loop")]
            Self::Lane(lane) => lane.may_be_too_late(),
        }
    }
}

/// The driver's end.
#[derive(Debug)]
pub(crate) enum Inlet {
    /// A queue that all handles share.
    Shared(core::pin::Pin<Box<Receiver<Command>>>),
    /// A queue for each handle.
    #[cfg(feature = "event-loop")]
    Lanes(Lanes),
}

impl Inlet {
    /// The next command; `None` when no handle is left.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Command>> {
        match self {
            Self::Shared(receiver) => receiver.as_mut().poll_next(cx),
            #[cfg(feature = "event-loop")]
            Self::Lanes(lanes) => lanes.poll_next(cx),
        }
    }

    /// From now on nothing is taken; what was is still here.
    pub(crate) fn close(&mut self) {
        match self {
            Self::Shared(receiver) => {
                receiver.close();
            }
            #[cfg(feature = "event-loop")]
            Self::Lanes(lanes) => lanes.close(),
        }
    }

    /// The next command that is here already.
    pub(crate) fn try_next(&mut self) -> Option<Command> {
        match self {
            Self::Shared(receiver) => receiver.try_recv().ok(),
            #[cfg(feature = "event-loop")]
            Self::Lanes(lanes) => lanes.try_next(),
        }
    }
}
