//! A lock-free queue for each handle of an event loop, which visits them in turn.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};

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
    (Lane::new(connector), Lanes { commands })
}

/// A handle's lane; a clone is another one.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Locked by whoever sends: calls of one handle go one after the other, in the order in which
    /// they came. Only those who share a handle by reference can meet here; clones have nothing
    /// in common. `None` if the event loop had stopped when the lane was to be made.
    sender: Mutex<Option<Sender<Command>>>,
    connector: Connector<Command>,
    /// Whether the lane was found closed after a command was sent. Of one that is sent later it
    /// need not be asked, for none is taken.
    is_doubtful: AtomicBool,
}

impl Clone for Lane {
    fn clone(&self) -> Self {
        Self::new(self.connector.clone())
    }
}

impl Lane {
    fn new(connector: Connector<Command>) -> Self {
        let sender = Mutex::new(connector.connect().ok());
        Self { sender, connector, is_doubtful: AtomicBool::new(false) }
    }

    /// Resolves when the command is in the lane; dropped before, it never will be.
    pub(crate) async fn send(&self, command: Command) -> Result<(), HandleError> {
        let mut sender = self.sender.lock().await;
        let sender = sender.as_mut().ok_or(HandleError::Stopped)?;
        sender.send(command).await.map_err(|_| HandleError::Stopped)?;
        self.sent(sender);
        Ok(())
    }

    pub(crate) fn try_send(&self, command: Command) -> Result<(), HandleError> {
        // The holder of the lock waits for room, or takes it.
        let mut sender = self.sender.try_lock().ok_or(HandleError::Full)?;
        let sender = sender.as_mut().ok_or(HandleError::Stopped)?;
        sender.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => HandleError::Full,
            TrySendError::Closed(_) => HandleError::Stopped,
        })?;
        self.sent(sender);
        Ok(())
    }

    /// A lane that is not closed now, after a command was sent, was not when the event loop looked
    /// for the last time, or that look [finds the command](Sender::is_closed).
    fn sent(&self, sender: &Sender<Command>) {
        if sender.is_closed() {
            self.is_doubtful.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the last look at the lanes may have come before what this thread just sent.
    pub(crate) fn may_be_too_late(&self) -> bool {
        self.is_doubtful.load(Ordering::Relaxed)
    }
}

/// The event loop's end of all lanes.
///
/// Taking a command wakes callers that wait for room at once, not at the end of the turn: a lane
/// publishes room, and looks for waiting callers, only once in many commands, which is about once a
/// turn.
#[derive(Debug)]
pub(crate) struct Lanes {
    commands: LaneReceiver<Command>,
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
    }

    /// The next command that is there.
    pub(crate) fn try_next(&mut self) -> Option<Command> {
        self.commands.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use core::task::Waker;
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    use super::*;
    use crate::reply;
    use crate::wait::Wait;

    fn question() -> Command {
        Command::Channels { reply: reply::pair().0 }
    }

    /// Closes the lanes when it is woken: after a command was sent, and before the call returns.
    struct CloseLanes(Mutex<Option<Lanes>>);

    impl Wake for CloseLanes {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().as_mut().unwrap().close();
        }
    }

    #[test]
    fn a_command_is_in_doubt_only_if_lanes_close_meanwhile() {
        let send = |lane: &Lane| lane.send(question()).wait();
        for send in [send, |lane: &Lane| lane.try_send(question())] {
            let (lane, mut lanes) = lanes(4);
            assert_eq!((send(&lane), lane.may_be_too_late()), (Ok(()), false));
            assert!(lanes.try_next().is_some());
            let closing = Arc::new(CloseLanes(Mutex::default()));
            let waker = Waker::from(Arc::clone(&closing));
            assert!(lanes.poll_next(&mut Context::from_waker(&waker)).is_pending());
            *closing.0.lock().unwrap() = Some(lanes);
            assert_eq!((send(&lane), lane.may_be_too_late()), (Ok(()), true));
            assert_eq!(send(&lane), Err(HandleError::Stopped));
        }
    }
}
