//! The handle by which an application controls its driver.

use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use bytes::Bytes;
use futures_core::Stream;
use sds_proto::wire::HistoryEntry;
use sds_proto::{
    ChannelId, Config, DeliverySeq, Input, MessageId, MissingEntry, OutgoingEntry, PublishKind,
    RejectReason, RetrievalId, RetrievalOutcome, Status,
};

use crate::command::{Command, LogSnapshot};
use crate::error::{HandleError, PublishError};
#[cfg(feature = "event-loop")]
use crate::event_loop::thread::LoopThread;
use crate::metrics::Metrics;
use crate::port::Outlet;
use crate::reply::{self, Answer, Reply};
use crate::waiting::Publish;

/// Tells a driver what to do. Clones talk to the same driver, from any thread.
///
/// Dropping the last clone shuts the driver down as [`shutdown`](Self::shutdown) does: without
/// waiting for it if the driver is a task, and waiting for its thread if it is an event loop, so
/// that what there is to send goes out before the process can end.
///
/// A thread without an executor [waits](crate::Wait) where a task awaits:
/// `handle.open("greetings").wait()?`.
///
/// # Cancellation
///
/// Every method may be cancelled by dropping its future. Until the driver has room for the command
/// the future has done nothing, and dropping it means that the call was never made. From then on
/// the command is carried out whether or not anybody waits; dropping the future then only discards
/// the answer. The one exception is a message that waits for room: dropping the future of its
/// [`publish`](Self::publish) means that it is not published. Nothing is done halfway. Questions
/// ([`log`](Self::log), [`status`](Self::status), [`outgoing`](Self::outgoing),
/// [`missing`](Self::missing), [`missing_dependencies`](Self::missing_dependencies),
/// [`channels`](Self::channels), [`stored_channels`](Self::stored_channels),
/// [`metrics`](Self::metrics)) change nothing either way.
///
/// # Waiting
///
/// No call waits for events to be read, so that the task that reads them may make any; a
/// [`publish`](Self::publish) for which there is no room gives up in the end. While the transport
/// takes nothing, and as much is queued for it as [`Options::sends`](crate::Options::sends) allows,
/// calls wait, but for questions, [`consumed`](Self::consumed), which are always answered, and
/// [`shutdown`](Self::shutdown). A question may be answered before a [`Publication`] that is not
/// awaited is carried out.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: Outlet,
    /// One queue for all handles.
    questions: Sender<Command>,
    stop: Sender<Infallible>,
    stopped: Receiver<Infallible>,
    /// Last, so that the thread has been told to stop when the last one waits for it.
    #[cfg(feature = "event-loop")]
    thread: Option<Arc<LoopThread>>,
}

impl Handle {
    pub(crate) const fn new(
        commands: Outlet,
        questions: Sender<Command>,
        stop: Sender<Infallible>,
        stopped: Receiver<Infallible>,
    ) -> Self {
        Self {
            commands,
            questions,
            stop,
            stopped,
            #[cfg(feature = "event-loop")]
            thread: None,
        }
    }

    /// The same, and the last clone waits for `thread` to end.
    #[cfg(feature = "event-loop")]
    pub(crate) fn on(self, thread: LoopThread) -> Self {
        Self { thread: Some(Arc::new(thread)), ..self }
    }

    /// Publishes a message; resolves when the node has accepted it, which is before anybody has
    /// received it, and may be before it is stored. It is reported as delivered among the events,
    /// like those of others: under [`Strict`](sds_proto::Durability::Strict) once it is safe.
    ///
    /// Waits while as many messages of the channel are unacknowledged as
    /// [`max_outgoing`](Config::max_outgoing) or [`max_log_bytes`](Config::max_log_bytes) allows:
    /// until somebody acknowledges one, or one is given up as unconfirmed. Those that wait are
    /// published in the order of the calls. Alone in a group without resends it waits for ever, so
    /// put a time limit on it, or use [`try_publish`](Self::try_publish). It does not wait for a
    /// store that fails, is too slow, or still loads the channel.
    ///
    /// Cancelling it before the driver took the command, or while it waits for room, means that
    /// nothing was published; cancelling it otherwise, that it is published unless the node refuses
    /// it, and that an error and the content in it are lost.
    ///
    /// # Errors
    ///
    /// [`Rejected`](HandleError::Rejected) by the node, for example because the channel is not open
    /// or is closed meanwhile, the id is known, [`Degraded`](RejectReason::Degraded) until
    /// [`Event::Recovered`](sds_proto::Event::Recovered) says that the store works again, or
    /// [`StoreTooSlow`](RejectReason::StoreTooSlow). [`OutgoingFull`](RejectReason::OutgoingFull)
    /// or [`Full`](HandleError::Full) if it has waited for room while so many events were unread
    /// that no acknowledgement is heard, and nobody read one for
    /// [`Options::max_stall`](crate::Options::max_stall): read some first.
    /// [`Stopped`](HandleError::Stopped). The error gives the content back.
    pub async fn publish(
        &self,
        channel: impl Into<ChannelId>,
        message_id: impl Into<MessageId>,
        content: impl Into<Bytes>,
    ) -> Result<(), PublishError> {
        self.publish_as(PublishKind::Content, channel.into(), message_id.into(), content.into())
            .await
    }

    /// Publishes a message if there is room for the command now, and does not wait for the node
    /// to accept it: the [`Publication`] says when it has. Any number may be on their way. One for
    /// which its channel has no room now does not wait: its `Publication` resolves to
    /// [`OutgoingFull`](RejectReason::OutgoingFull).
    ///
    /// # Errors
    ///
    /// [`Full`(HandleError::Full), when it is worth trying again once earlier commands have been
    /// answered, or [`Stopped`](HandleError::Stopped). The error gives the content back. A handle
    /// of an event loop that several threads use by reference also is full while another call
    /// waits for room or is taking it; clones are not.
    pub fn try_publish(
        &self,
        channel: impl Into<ChannelId>,
        message_id: impl Into<MessageId>,
        content: impl Into<Bytes>,
    ) -> Result<Publication, PublishError> {
        let kind = PublishKind::Content;
        let (command, answer, content) =
            publishing(kind, false, channel.into(), message_id.into(), content.into());
        match self.commands.try_send(command) {
            Ok(()) => Ok(Publication { asked: self.asked(answer), content }),
            Err(reason) => Err(PublishError { reason, content }),
        }
    }

    /// Publishes a message that is delivered at once to whoever hears it, and neither logged nor
    /// sent again. Cancelling it is as for [`publish`](Self::publish).
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), but for want of room; also
    /// [`EphemeralNotInDialect`](RejectReason::EphemeralNotInDialect).
    pub async fn publish_ephemeral(
        &self,
        channel: impl Into<ChannelId>,
        message_id: impl Into<MessageId>,
        content: impl Into<Bytes>,
    ) -> Result<(), PublishError> {
        self.publish_as(PublishKind::Ephemeral, channel.into(), message_id.into(), content.into())
            .await
    }

    /// Takes part in a channel; resolves when its state has been loaded, if there is a store.
    /// Until then messages of others, and publishing, are refused as
    /// [`ChannelLoading`](RejectReason::ChannelLoading).
    ///
    /// # Errors
    ///
    /// [`ChannelAlreadyOpen`](RejectReason::ChannelAlreadyOpen), also while it is being loaded;
    /// [`LoadFailed`](RejectReason::LoadFailed) with what the store said, and the channel is not
    /// open; [`ChannelNotOpen`](RejectReason::ChannelNotOpen) if it was closed meanwhile; other
    /// rejections, or [`Stopped`](HandleError::Stopped).
    pub async fn open(&self, channel: impl Into<ChannelId>) -> Result<(), HandleError> {
        self.input(Input::Open { channel: channel.into(), config: None }).await
    }

    /// Takes part in a channel with settings of its own; those that belong to the whole node are
    /// ignored.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(
        &self,
        channel: impl Into<ChannelId>,
        config: Arc<Config>,
    ) -> Result<(), HandleError> {
        self.input(Input::Open { channel: channel.into(), config: Some(config) }).await
    }

    /// Stops taking part in a channel. What is in memory of it is dropped, what is stored stays.
    ///
    /// # Errors
    ///
    /// [`ChannelNotOpen`](RejectReason::ChannelNotOpen) or [`Stopped`](HandleError::Stopped).
    pub async fn close(&self, channel: impl Into<ChannelId>) -> Result<(), HandleError> {
        self.input(Input::Close { channel: channel.into() }).await
    }

    /// Stops taking part in a channel and erases what is stored of it.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub async fn drop_channel(&self, channel: impl Into<ChannelId>) -> Result<(), HandleError> {
        self.input(Input::Drop { channel: channel.into() }).await
    }

    /// Empties every open channel, in memory and in the store; they stay open, and one that is
    /// being loaded is open from now on.
    ///
    /// # Errors
    ///
    /// [`Stopped`](HandleError::Stopped).
    pub async fn reset(&self) -> Result<(), HandleError> {
        self.input(Input::Reset).await
    }

    /// Answers [`Effect::Retrieve`](sds_proto::Effect::Retrieve) with what a store
    /// node had.
    ///
    /// # Errors
    ///
    /// Rejected like a datagram, or [`Stopped`](HandleError::Stopped).
    pub async fn retrieved(
        &self,
        id: RetrievalId,
        outcome: RetrievalOutcome,
    ) -> Result<(), HandleError> {
        self.input(Input::Retrieved { id, outcome }).await
    }

    /// Says where a logged message can be fetched from, which is then told to others.
    ///
    /// # Errors
    ///
    /// Rejections, for example [`NotLogged`](RejectReason::NotLogged), or
    /// [`Stopped`](HandleError::Stopped).
    pub async fn hint(
        &self,
        channel: impl Into<ChannelId>,
        message_id: impl Into<MessageId>,
        hint: impl Into<Bytes>,
    ) -> Result<(), HandleError> {
        let (channel, message_id) = (channel.into(), message_id.into());
        self.input(Input::Hint { channel, message_id, hint: hint.into() }).await
    }

    /// Says that the application has these messages by other means, so that nothing waits for
    /// them any more.
    ///
    /// # Errors
    ///
    /// [`ChannelNotOpen`](RejectReason::ChannelNotOpen), other rejections, or
    /// [`Stopped`](HandleError::Stopped).
    pub async fn dependencies_met(
        &self,
        channel: impl Into<ChannelId>,
        ids: Vec<MessageId>,
    ) -> Result<(), HandleError> {
        self.input(Input::DependenciesMet { channel: channel.into(), ids }).await
    }

    /// Says that the application is done with the deliveries of a channel up to `up_to`.
    ///
    /// # Errors
    ///
    /// [`ChannelNotOpen`](RejectReason::ChannelNotOpen) or [`Stopped`](HandleError::Stopped).
    pub async fn consumed(
        &self,
        channel: impl Into<ChannelId>,
        up_to: DeliverySeq,
    ) -> Result<(), HandleError> {
        let input = Input::Consumed { channel: channel.into(), up_to };
        let answer = self.ask(|verdict| Command::Input { input, verdict }).await?;
        answer.map_err(HandleError::Rejected)
    }

    /// The log of a channel as it is now. Copies one pointer an entry.
    ///
    /// # Errors
    ///
    /// [`ChannelNotOpen`](RejectReason::ChannelNotOpen) or [`Stopped`](HandleError::Stopped).
    pub async fn log(&self, channel: impl Into<ChannelId>) -> Result<LogSnapshot, HandleError> {
        let channel = channel.into();
        self.look(|reply| Command::Log { channel, reply }).await
    }

    /// Returns the status of a channel.
    ///
    /// # Errors
    ///
    /// [`ChannelNotOpen`](RejectReason::ChannelNotOpen) or [`Stopped`](HandleError::Stopped).
    pub async fn status(&self, channel: impl Into<ChannelId>) -> Result<Status, HandleError> {
        let channel = channel.into();
        self.look(|reply| Command::Status { channel, reply }).await
    }

    /// Own messages that nobody has acknowledged for certain, in the order they were published, and
    /// what is known of each: also after a restart, when events tell only what happens from then
    /// on. Any other own message in the [`log`](Self::log) has been acknowledged.
    ///
    /// # Errors
    ///
    /// [`ChannelNotOpen`](RejectReason::ChannelNotOpen) or [`Stopped`](HandleError::Stopped).
    pub async fn outgoing(
        &self,
        channel: impl Into<ChannelId>,
    ) -> Result<Vec<OutgoingEntry>, HandleError> {
        let channel = channel.into();
        self.look(|reply| Command::Outgoing { channel, reply }).await
    }

    /// Sends an own message again that nobody has acknowledged, without waiting until that is due.
    ///
    /// # Errors
    ///
    /// [`NotUnacknowledged`](RejectReason::NotUnacknowledged) if it is not such a message, other
    /// rejections, or [`Stopped`](HandleError::Stopped).
    pub async fn resend(
        &self,
        channel: impl Into<ChannelId>,
        message_id: impl Into<MessageId>,
    ) -> Result<(), HandleError> {
        let (channel, message_id) = (channel.into(), message_id.into());
        self.input(Input::Resend { channel, message_id }).await
    }

    /// The dependencies that are missing, in no particular order: also after a restart, when
    /// [`Event::Missing`](sds_proto::Event::Missing) does not tell of them again.
    ///
    /// # Errors
    ///
    /// [`ChannelNotOpen`](RejectReason::ChannelNotOpen) or [`Stopped`](HandleError::Stopped).
    pub async fn missing(
        &self,
        channel: impl Into<ChannelId>,
    ) -> Result<Vec<MissingEntry>, HandleError> {
        let channel = channel.into();
        self.look(|reply| Command::Missing { channel, reply }).await
    }

    /// Returns the entries that a waiting message names and the log lacks, whether they wait as
    /// well or are missing. Returns nothing if the message does not wait.
    ///
    /// # Errors
    ///
    /// [`ChannelNotOpen`](RejectReason::ChannelNotOpen) or [`Stopped`](HandleError::Stopped).
    pub async fn missing_dependencies(
        &self,
        channel: impl Into<ChannelId>,
        message_id: impl Into<MessageId>,
    ) -> Result<Vec<HistoryEntry>, HandleError> {
        let (channel, message_id) = (channel.into(), message_id.into());
        self.look(|reply| Command::Unmet { channel, message_id, reply }).await
    }

    /// The channels the node takes part in.
    ///
    /// # Errors
    ///
    /// [`Stopped`](HandleError::Stopped).
    pub async fn channels(&self) -> Result<Vec<ChannelId>, HandleError> {
        self.ask(|reply| Command::Channels { reply }).await
    }

    /// The channels that the store has records of, in the order of their ids, whether they are open
    /// or not: after a restart, those to open. Without a store there are none. What was to be
    /// written before the call may or may not be among them.
    ///
    /// # Errors
    ///
    /// [`Store`](HandleError::Store) with what the store said, or
    /// [`Stopped`](HandleError::Stopped).
    pub async fn stored_channels(&self) -> Result<Vec<ChannelId>, HandleError> {
        let listed = self.ask(|reply| Command::StoredChannels { reply }).await?;
        listed.map_err(HandleError::Store)
    }

    /// Returns the counters and gauges of the driver.
    ///
    /// # Errors
    ///
    /// [`Stopped`](HandleError::Stopped).
    pub async fn metrics(&self) -> Result<Metrics, HandleError> {
        self.ask(|reply| Command::Metrics { reply }).await
    }

    /// Shuts the driver down; resolves when nothing of it is left running and its transport is
    /// closed.
    ///
    /// Commands that were taken are still carried out and answered, what there is to store is
    /// stored, and what there is to send goes to the transport, for at most
    /// [`Options::flush`](crate::Options::flush). Unread events can still be read. May be called
    /// by any number of handles, any number of times.
    ///
    /// Cancelling it does not take the order back.
    pub async fn shutdown(&self) {
        self.stop.close();
        let Err(async_channel::RecvError) = self.stopped.recv().await;
        #[cfg(feature = "event-loop")]
        if let Some(thread) = &self.thread {
            // It has nothing left to do.
            thread.join();
        }
    }

    async fn publish_as(
        &self,
        kind: PublishKind,
        channel: ChannelId,
        message_id: MessageId,
        content: Bytes,
    ) -> Result<(), PublishError> {
        let waits = kind == PublishKind::Content;
        let (command, answer, content) = publishing(kind, waits, channel, message_id, content);
        match self.commands.send(command).await {
            Ok(()) => Publication { asked: self.asked(answer), content }.await,
            Err(reason) => Err(PublishError { reason, content }),
        }
    }

    async fn input(&self, input: Input) -> Result<(), HandleError> {
        let (verdict, answer) = reply::pair();
        self.commands.send(Command::Input { input, verdict }).await?;
        self.asked(answer).await?.map_err(HandleError::Rejected)
    }

    /// Asks about a channel.
    async fn look<T>(
        &self,
        command: impl FnOnce(Reply<Option<T>>) -> Command,
    ) -> Result<T, HandleError> {
        self.ask(command).await?.ok_or(HandleError::Rejected(RejectReason::ChannelNotOpen))
    }

    /// Sends what is carried out whatever else has to wait.
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, HandleError> {
        let (reply, answer) = reply::pair();
        let sent = self.questions.send(command(reply)).await;
        sent.map_err(|_| HandleError::Stopped)?;
        // A closed queue takes nothing, so that what it took before is still looked at.
        answer.await.ok_or(HandleError::Stopped)
    }

    /// The answer to a command that was sent just now.
    fn asked<T>(&self, answer: Answer<T>) -> Asked<T> {
        let in_doubt = self.commands.may_be_too_late().then(|| Box::pin(self.stopped.clone()));
        Asked { answer, in_doubt }
    }
}

/// The command, where its answer arrives, and the content to give back.
fn publishing(
    kind: PublishKind,
    waits: bool,
    channel: ChannelId,
    message_id: MessageId,
    content: Bytes,
) -> (Command, Answer<Result<(), HandleError>>, Bytes) {
    let (verdict, answer) = reply::pair();
    let given = content.clone();
    let publish = Publish { channel, message_id, content, kind, waits, verdict };
    (Command::Publish(publish), answer, given)
}

/// A message on its way to the node, from [`Handle::try_publish`].
///
/// Resolves as [`Handle::publish`] does, but does not wait for acknowledgements. Dropping it
/// discards the answer; the message is published all the same, unless the node refuses it.
#[derive(Debug)]
#[must_use = "whether the message was accepted is known only to whoever awaits it"]
pub struct Publication {
    asked: Asked<Result<(), HandleError>>,
    content: Bytes,
}

impl Future for Publication {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reason = match ready!(Pin::new(&mut self.asked).poll(cx)) {
            Ok(Ok(())) => return Poll::Ready(Ok(())),
            Ok(Err(reason)) | Err(reason) => reason,
        };
        let content = core::mem::take(&mut self.content);
        Poll::Ready(Err(PublishError { reason, content }))
    }
}

/// An answer to come, or the news that there will be none.
#[derive(Debug)]
struct Asked<T> {
    answer: Answer<T>,
    /// Set if the driver may not have seen the command: then there is an answer once it has
    /// stopped, or none.
    in_doubt: Option<Pin<Box<Receiver<Infallible>>>>,
}

impl<T> Future for Asked<T> {
    type Output = Result<T, HandleError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.in_doubt {
            None => ready!(Pin::new(&mut self.answer).poll(cx)),
            Some(stopped) => match ready!(stopped.as_mut().poll_next(cx)) {
                None => self.answer.take(),
            },
        };
        Poll::Ready(answer.ok_or(HandleError::Stopped))
    }
}
