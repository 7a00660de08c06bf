//! `Stream` for receivers and `Sink` for senders.

use core::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use crate::{CanWait, Core, Receiver, SendError, Sender};

/// No end is pinned: its state is behind a pointer.
impl<T, M: CanWait, C: Core> Unpin for Sender<T, M, C> {}
/// No end is pinned: its state is behind a pointer.
impl<T, M: CanWait, C: Core> Unpin for Receiver<T, M, C> {}

/// Ends when the channel is closed and empty.
impl<T, M: CanWait, C: Core> Stream for Receiver<T, M, C> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_recv(context).map(Result::ok)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), None)
    }
}

impl<T, M: CanWait, C: Core> FusedStream for Receiver<T, M, C> {
    fn is_terminated(&self) -> bool {
        self.is_closed() && self.is_empty()
    }
}

/// A message is sent when it is started; flushing has nothing to do.
impl<T, M: CanWait, C: Core> Sink<T> for Sender<T, M, C> {
    type Error = SendError<()>;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<()>>> {
        Self::poll_ready(&mut self, context)
    }

    /// # Errors
    /// If the channel is closed, or was not [ready](Sink::poll_ready).
    fn start_send(mut self: Pin<&mut Self>, value: T) -> Result<(), SendError<()>> {
        self.try_send(value).map_err(|_| SendError(()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SendError<()>>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<()>>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}
