//! What an application holds to talk to its driver.

use core::convert::Infallible;
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use bytes::Bytes;
use sds_proto::{
    ChannelId, Config, DeliverySeq, Input, MessageId, PublishKind, RejectReason, RetrievalId,
    Retrieved, Status,
};

use crate::command::{Command, LogSnapshot, Reply};
use crate::error::{HandleError, PublishError};
use crate::metrics::Metrics;

/// Tells a driver what to do. Clones talk to the same driver, from any thread.
///
/// Dropping the last clone shuts the driver down as [`shutdown`](Self::shutdown) does, without
/// waiting for it.
///
/// # Cancellation
///
/// Every method may be cancelled by dropping its future. Until the driver has room for the
/// command the future has done nothing, and dropping it means that the call was never made. From
/// then on the command is carried out whether or not anybody waits; dropping the future then only
/// discards the answer. Nothing is done halfway. Questions ([`log`](Self::log),
/// [`status`](Self::status), [`channels`](Self::channels), [`metrics`](Self::metrics)) change
/// nothing either way.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: Sender<Command>,
    stop: Sender<Infallible>,
    stopped: Receiver<Infallible>,
}

impl Handle {
    pub(crate) const fn new(
        commands: Sender<Command>,
        stop: Sender<Infallible>,
        stopped: Receiver<Infallible>,
    ) -> Self {
        Self { commands, stop, stopped }
    }

    /// Publishes a message; resolves when the node has accepted it, which is before anybody has
    /// received it. It is reported as delivered among the events, like those of others.
    ///
    /// Cancelling it before the driver took the command means that nothing was published;
    /// cancelling it later, that it is published unless the node refuses it, and that an error and
    /// the content in it are lost.
    ///
    /// # Errors
    ///
    /// [`Rejected`](HandleError::Rejected) by the node, for example because the channel is not
    /// open, the id is known, or [`OutgoingFull`](RejectReason::OutgoingFull), when it is worth
    /// trying again after an acknowledgement; or [`Stopped`](HandleError::Stopped). The error
    /// gives the content back.
    pub async fn publish(
        &self,
        channel: impl Into<ChannelId>,
        message_id: impl Into<MessageId>,
        content: impl Into<Bytes>,
    ) -> Result<(), PublishError> {
        self.publish_as(PublishKind::Content, channel.into(), message_id.into(), content.into())
            .await
    }

    /// Publishes a message that is delivered at once to whoever hears it, and neither logged nor
    /// sent again. Cancelling it is as for [`publish`](Self::publish).
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish); also
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

    /// Takes part in a channel.
    ///
    /// # Errors
    ///
    /// [`ChannelAlreadyOpen`](RejectReason::ChannelAlreadyOpen), other rejections, or
    /// [`Stopped`](HandleError::Stopped).
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

    /// Stops taking part in a channel; its log is dropped.
    ///
    /// # Errors
    ///
    /// [`ChannelNotOpen`](RejectReason::ChannelNotOpen) or [`Stopped`](HandleError::Stopped).
    pub async fn close(&self, channel: impl Into<ChannelId>) -> Result<(), HandleError> {
        self.input(Input::Close { channel: channel.into() }).await
    }

    /// Answers [`Effect::RequestRepair`](sds_proto::Effect::RequestRepair) with what a store
    /// node had.
    ///
    /// # Errors
    ///
    /// Rejected like a datagram, or [`Stopped`](HandleError::Stopped).
    pub async fn repaired(&self, id: RetrievalId, outcome: Retrieved) -> Result<(), HandleError> {
        self.input(Input::Repaired { id, outcome }).await
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
        self.input(Input::Consumed { channel: channel.into(), up_to }).await
    }

    /// The log of a channel as it is now. Copies one pointer an entry.
    ///
    /// # Errors
    ///
    /// [`ChannelNotOpen`](RejectReason::ChannelNotOpen) or [`Stopped`](HandleError::Stopped).
    pub async fn log(&self, channel: impl Into<ChannelId>) -> Result<LogSnapshot, HandleError> {
        let channel = channel.into();
        let log = self.ask(|reply| Command::Log { channel, reply }).await?;
        log.ok_or(HandleError::Rejected(RejectReason::ChannelNotOpen))
    }

    /// How a channel is doing.
    ///
    /// # Errors
    ///
    /// [`ChannelNotOpen`](RejectReason::ChannelNotOpen) or [`Stopped`](HandleError::Stopped).
    pub async fn status(&self, channel: impl Into<ChannelId>) -> Result<Status, HandleError> {
        let channel = channel.into();
        let status = self.ask(|reply| Command::Status { channel, reply }).await?;
        status.ok_or(HandleError::Rejected(RejectReason::ChannelNotOpen))
    }

    /// The channels the node takes part in.
    ///
    /// # Errors
    ///
    /// [`Stopped`](HandleError::Stopped).
    pub async fn channels(&self) -> Result<Vec<ChannelId>, HandleError> {
        self.ask(|reply| Command::Channels { reply }).await
    }

    /// What the driver has counted so far.
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
    /// Commands that were taken are still carried out and answered, and what there is to send
    /// goes to the transport, for at most [`Options::flush`](crate::Options::flush). Unread
    /// events can still be read. May be called by any number of handles, any number of times.
    ///
    /// Cancelling it does not take the order back.
    pub async fn shutdown(&self) {
        self.stop.close();
        let Err(async_channel::RecvError) = self.stopped.recv().await;
    }

    async fn publish_as(
        &self,
        kind: PublishKind,
        channel: ChannelId,
        message_id: MessageId,
        content: Bytes,
    ) -> Result<(), PublishError> {
        let given = content.clone();
        self.input(Input::Publish { channel, message_id, content, kind })
            .await
            .map_err(|reason| PublishError { reason, content: given })
    }

    async fn input(&self, input: Input) -> Result<(), HandleError> {
        let answer = self.ask(|reply| Command::Input { input, reply }).await?;
        answer.map_err(|rejected| HandleError::Rejected(rejected.reason))
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, HandleError> {
        let (reply, answer) = Reply::pair();
        self.commands.send(command(reply)).await.map_err(|_| HandleError::Stopped)?;
        answer.recv().await.map_err(|_| HandleError::Stopped)
    }
}
