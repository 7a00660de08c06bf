//! A lock-free queue for each handle of an event loop, which visits them in turn.

use core::sync::atomic::{AtomicBool, Ordering, fence};
use core::task::{Context, Poll};
use std::sync::Arc;

use async_lock::Mutex;
use sds_spsc::{Connector, LaneReceiver, Sender, TrySendError};

use crate::command::Command;
use crate::error::HandleError;

/// Most commands taken from one lane while others have some.
const LANE_BUDGET: usize = 4;

/// The first lane for `capacity` commands, and the end of it and of all its clones.
pub(crate) fn lanes(capacity: usize) -> (Lane, Lanes) {
    let (connector, mut commands) = sds_spsc::lanes(capacity);
    commands.set_budget(LANE_BUDGET);
    let closing = Arc::new(AtomicBool::new(false));
    (Lane::new(connector, Arc::clone(&closing)), Lanes { commands, closing })
}

/// A handle's lane; a clone is another one.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Locked by whoever sends: calls of one handle go one after the other, in the order in which
    /// they came. Only those who share a handle by reference can meet here; clones have nothing
    /// in common. `None` if the event loop had stopped when the lane was to be made.
    sender: Mutex<Option<Sender<Command>>>,
    connector: Connector<Command>,
    closing: Arc<AtomicBool>,
}

impl Clone for Lane {
    fn clone(&self) -> Self {
        Self::new(self.connector.clone(), Arc::clone(&self.closing))
    }
}

impl Lane {
    fn new(connector: Connector<Command>, closing: Arc<AtomicBool>) -> Self {
        Self { sender: Mutex::new(connector.connect().ok()), connector, closing }
    }

    /// Resolves when the command is in the lane; dropped before, it never will be.
    pub(crate) async fn send(&self, command: Command) -> Result<(), HandleError> {
        let mut sender = self.sender.lock().await;
        let sender = sender.as_mut().ok_or(HandleError::Stopped)?;
        sender.send(command).await.map_err(|_| HandleError::Stopped)
    }

    pub(crate) fn try_send(&self, command: Command) -> Result<(), HandleError> {
        // Whoever holds the lock waits for room, or takes it.
        let mut sender = self.sender.try_lock().ok_or(HandleError::Full)?;
        let sender = sender.as_mut().ok_or(HandleError::Stopped)?;
        sender.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => HandleError::Full,
            TrySendError::Closed(_) => HandleError::Stopped,
        })
    }

    /// Whether the last look at the lanes may have come before what was just sent.
    ///
    /// The fence is the other half of that in [`Lanes::close`]: of *sent, then looked whether
    /// closing* and *said closing, then looked for what was sent* one sees the other.
    pub(crate) fn may_be_too_late(&self) -> bool {
        fence(Ordering::SeqCst);
        self.closing.load(Ordering::Relaxed)
    }
}

/// The event loop's end of all lanes.
///
/// What it takes wakes those who wait for room at once, not at the end of the turn: a lane makes
/// room known, and looks who waits, only once in a good many commands, which is about once a turn.
#[derive(Debug)]
pub(crate) struct Lanes {
    commands: LaneReceiver<Command>,
    closing: Arc<AtomicBool>,
}

impl Lanes {
    /// The next command; `None` when there is no lane left.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Command>> {
        self.commands.poll_recv(cx).map(Result::ok)
    }

    /// From now on no lane takes anything, but for a command that is being sent this moment: its
    /// sender finds that it [may be too late](Lane::may_be_too_late).
    pub(crate) fn close(&mut self) {
        self.commands.close();
        self.closing.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The next command that is there.
    pub(crate) fn try_next(&mut self) -> Option<Command> {
        self.commands.try_recv().ok()
    }
}
