//! The execution of requests on a node, without threads, clock or C.

use core::time::Duration;

use bytes::Bytes;
use sds_proto::snapshot::Change;
use sds_proto::wire::{self, HistoryEntry, Kind, Limits};
use sds_proto::{
    ChannelId, Config, Delivery, Effect, Event, Input, Instant, Limit, LoadId, MessageId, Node,
    Now, PersistId, PublishKind, RejectReason, Rejected, SendReason, UnixMillis,
};
use serde::Serialize;

use crate::decimal;
use crate::failure::{Code, Failure, Reason};
use crate::json::Object;
use crate::request::{Form, Request, Wrapping};
use crate::settings::Settings;
use crate::storage::Storage;

/// Whom a worker tells and asks.
pub(crate) trait Host {
    /// Something happened: JSON.
    fn event(&self, json: Vec<u8>);

    /// Returns the retrieval hint of a message, if there is one.
    fn hint(&self, message_id: &MessageId) -> Option<Bytes>;

    /// A message that nobody asked for wants to go out.
    fn outgoing(&self, channel: &ChannelId, reason: SendReason, datagram: &[u8]);
}

/// A node and what its callers are to hear of it.
#[derive(Debug)]
pub(crate) struct Worker {
    node: Node,
    storage: Option<Storage>,
    limits: Limits,
    period: Duration,
    /// When each set of periodic tasks runs next.
    periodic: Vec<Instant>,
    /// When the stored channels are opened, at the latest; `None` once they have been.
    opening: Option<Instant>,
    /// Whether events say more than those of nim-sds.
    detailed: bool,
    counts: Counts,
}

/// Counts since the context was made.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    wrapped: u64,
    unwrapped: u64,
    refused: u64,
    refused_nul: u64,
    delivered: u64,
    acked: u64,
    sent_resends: u64,
    sent_syncs: u64,
    sent_repairs: u64,
    sent_bridged: u64,
}

/// A channel's status as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusJson {
    lamport: u64,
    logged: usize,
    logged_bytes: usize,
    heads: usize,
    delivered: u64,
    outgoing: usize,
    incoming: usize,
    missing: usize,
    lost: u64,
    nim_form: String,
    never_asks: bool,
}

/// The results that a request looks for among the effects.
#[derive(Default)]
struct Wanted<'a> {
    /// The message that is being wrapped, and its bytes once they are there.
    wrapping: Option<&'a MessageId>,
    wrapped: Option<Bytes>,
    /// The message that is being unwrapped: what it misses is told at the end.
    unwrapping: Option<&'a MessageId>,
    /// There was no room for it.
    dropped: bool,
    /// Why a channel could not be loaded.
    not_loaded: Option<RejectReason>,
}

/// Delay before stored channels open, so that a program can set its callbacks.
const OPENING: Duration = Duration::from_secs(1);

/// Returns the limits of a message that is unwrapped.
pub(crate) fn limits(config: &Config) -> Limits {
    let mut limits = Limits::default();
    limits.max_id_len = config.max_id_len();
    limits.max_hint_len = config.max_hint_len();
    limits.max_history = config.max_history_entries();
    limits.max_repair_requests = config.max_request_entries();
    limits.max_content_len = config.max_content_len();
    limits.max_filter_len = config.max_filter_len();
    limits.empty_ids = true;
    limits
}

impl Worker {
    pub(crate) fn new(settings: Settings) -> Self {
        let Settings { config, storage, period, detailed, .. } = settings;
        let limits = limits(&config);
        let (node, periodic, counts) = (Node::new(config), Vec::new(), Counts::default());
        Self { node, storage, limits, period, periodic, opening: None, detailed, counts }
    }

    /// Does what is asked, tells `host` what happened, and puts the answer into `answer`.
    pub(crate) fn carry_out(
        &mut self,
        now: Now,
        request: Request,
        host: &dyn Host,
        answer: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if matches!(request, Request::Start) {
            self.opening = self.storage.as_ref().map(|_| now.mono + OPENING);
        } else {
            self.open_stored(now, host);
        }
        match request {
            Request::Start => Ok(()),
            Request::Wrap { message_id, channel, content, kind } => {
                let content = content.get()?;
                match kind {
                    Wrapping::Content(form) => {
                        let bytes = self.wrap(now, &message_id, &channel, content, host)?;
                        match form {
                            Form::Text => decimal::write(&bytes, answer),
                            Form::Binary => answer.extend_from_slice(&bytes),
                        }
                    }
                    Wrapping::Ephemeral => {
                        let kind = PublishKind::Ephemeral;
                        self.open(now, &channel, host)?;
                        let (id, publish) = (message_id.clone(), (channel, content, kind));
                        let bytes = self.publish(now, id, publish, host)?;
                        answer.extend_from_slice(&bytes);
                    }
                }
                self.counts.wrapped += 1;
                Ok(())
            }
            Request::Unwrap { datagram, form } => {
                let unwrapped = datagram.get().map_err(Failure::from);
                let unwrapped =
                    unwrapped.and_then(|datagram| self.unwrap(now, datagram, host, form, answer));
                match unwrapped {
                    Ok(()) => self.counts.unwrapped += 1,
                    Err(_) => self.counts.refused += 1,
                }
                unwrapped
            }
            Request::DependenciesMet { channel, ids } => {
                self.input(now, Input::DependenciesMet { channel, ids }, host)
            }
            Request::Reset => {
                let mut channels: Vec<_> = self.node.channels().cloned().collect();
                if let Some(storage) = &mut self.storage {
                    channels.extend(storage.channels().map_err(RejectReason::LoadFailed)?);
                }
                channels.iter().try_for_each(|channel| self.remove(now, channel, host))
            }
            Request::RemoveChannel { channel } => self.remove(now, &channel, host),
            Request::StartPeriodicTasks => {
                self.periodic.push(now.mono + self.period);
                host.event(periodic_sync());
                Ok(())
            }
            Request::Consumed { channel, up_to } => {
                self.input(now, Input::Consumed { channel, up_to }, host)
            }
            Request::OpenChannel { channel } => self.open(now, &channel, host),
            Request::Channels { after } => {
                self.channels(&after, answer);
                Ok(())
            }
            Request::Status { channel } => self.status(&channel, answer),
            Request::Log { channel, after, max } => {
                self.log(&channel, after.as_deref(), max, answer)
            }
            Request::Metrics => write_json(&self.counts, answer),
            #[cfg(test)]
            Request::Panic => panic!("as asked"),
        }
    }

    /// Lets everything happen that is due.
    pub(crate) fn tick(&mut self, now: Now, host: &dyn Host) {
        for at in &mut self.periodic {
            if *at <= now.mono {
                // From now, so that what a sleeping machine missed does not come all at once.
                *at = now.mono + self.period;
                host.event(periodic_sync());
            }
        }
        if self.opening.is_some_and(|at| at <= now.mono) {
            self.open_stored(now, host);
        }
        if self.node.next_deadline().is_some_and(|deadline| deadline.at <= now.mono) {
            // A tick is never refused; were it, the deadline would stand and it be told again.
            drop(self.node.handle(now, Input::Tick));
            self.drain(now, host, &mut Wanted::default());
        }
    }

    /// When to tick next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let node = self.node.next_deadline().map(|deadline| deadline.at);
        self.periodic.iter().copied().chain(node).chain(self.opening).min()
    }

    /// Opens what the store has, once. What cannot be loaded is told.
    fn open_stored(&mut self, now: Now, host: &dyn Host) {
        if self.opening.take().is_none() {
            return;
        }
        let Some(storage) = &mut self.storage else { return };
        let channels = match storage.channels() {
            Ok(channels) => channels,
            Err(error) => {
                host.event(not_opened(None, RejectReason::LoadFailed(error).into()));
                return;
            }
        };
        for channel in channels {
            let opened = match has_nul(&channel) {
                true => Err(Reason::NulInChannelId.into()),
                false => self.open(now, &channel, host),
            };
            if let Err(failure) = opened {
                host.event(not_opened(Some(&channel), failure));
            }
        }
    }

    fn open(&mut self, now: Now, channel: &ChannelId, host: &dyn Host) -> Result<(), Failure> {
        if self.node.status(channel).is_some() {
            return Ok(());
        }
        let open = Input::Open { channel: channel.clone(), config: None };
        self.node.handle(now, open).map_err(|rejected| rejected.reason)?;
        let mut wanted = Wanted::default();
        self.drain(now, host, &mut wanted);
        match wanted.not_loaded {
            Some(reason) => Err(reason.into()),
            // Without a store it is there at once.
            None => {
                self.node.status(channel).map(drop).ok_or_else(|| Code::PersistenceError.into())
            }
        }
    }

    /// Forgets a channel, and what is stored of it, whether it can be loaded or not.
    fn remove(&mut self, now: Now, channel: &ChannelId, host: &dyn Host) -> Result<(), Failure> {
        if self.storage.is_some() {
            // Open already, or not loaded before it is dropped.
            drop(self.node.handle(now, Input::Open { channel: channel.clone(), config: None }));
        }
        match self.input(now, Input::Drop { channel: channel.clone() }, host) {
            Err(Failure {
                reason: Some(Reason::Rejected(RejectReason::ChannelNotOpen)), ..
            }) => Ok(()),
            other => other,
        }
    }

    fn wrap(
        &mut self,
        now: Now,
        message_id: &MessageId,
        channel: &ChannelId,
        content: Bytes,
        host: &dyn Host,
    ) -> Result<Bytes, Failure> {
        if content.is_empty() {
            return Err(RejectReason::EmptyContent.into());
        }
        self.open(now, channel, host)?;
        self.ask_for_hints(now, channel, host);
        let publish = (channel.clone(), content.clone(), PublishKind::Content);
        match self.publish(now, message_id.clone(), publish, host) {
            Err(Failure { reason: Some(Reason::Rejected(RejectReason::IdKnown)), .. }) => {
                self.wrap_again(now, message_id, channel, &content, host)
            }
            other => other,
        }
    }

    /// Asks where each message can be fetched from that the next one will name.
    fn ask_for_hints(&mut self, now: Now, channel: &ChannelId, host: &dyn Host) {
        let named: Vec<_> = self.node.next_causal_history(channel).map(MessageId::from).collect();
        // Of an id with a NUL the provider would see the beginning: another message's, perhaps.
        for message_id in named.into_iter().filter(|id| !has_nul(id)) {
            let Some(hint) = host.hint(&message_id) else { continue };
            // One that is too long is left out.
            let channel = channel.clone();
            drop(self.node.handle(now, Input::Hint { channel, message_id, hint }));
        }
    }

    fn publish(
        &mut self,
        now: Now,
        message_id: MessageId,
        (channel, content, kind): (ChannelId, Bytes, PublishKind),
        host: &dyn Host,
    ) -> Result<Bytes, Failure> {
        let mut wanted = Wanted { wrapping: Some(&message_id), ..Wanted::default() };
        let publish = Input::Publish { channel, message_id: message_id.clone(), content, kind };
        self.node.handle(now, publish).map_err(|rejected| rejected.reason)?;
        self.drain(now, host, &mut wanted);
        // It is sent at once unless it waits for a store.
        wanted.wrapped.ok_or_else(|| Code::PersistenceError.into())
    }

    /// The message again if it is the same: sent again if nobody has acknowledged it, else as it is
    /// in the log, whoever brought it there.
    fn wrap_again(
        &mut self,
        now: Now,
        message_id: &MessageId,
        channel: &ChannelId,
        content: &Bytes,
        host: &dyn Host,
    ) -> Result<Bytes, Failure> {
        let known = self.node.log(channel).and_then(|log| log.get(message_id));
        if known.is_none_or(|known| known.content() != content) {
            return Err(RejectReason::IdKnown.into());
        }
        let mut wanted = Wanted { wrapping: Some(message_id), ..Wanted::default() };
        let (channel, message_id) = (channel.clone(), message_id.clone());
        let resend = Input::Resend { channel: channel.clone(), message_id: message_id.clone() };
        match self.node.handle(now, resend).map_err(|rejected| rejected.reason) {
            Ok(()) => {}
            Err(RejectReason::NotUnacknowledged) => {
                let logged = self.node.logged_datagram(&channel, &message_id);
                return logged.ok_or_else(|| RejectReason::IdKnown.into());
            }
            Err(reason) => return Err(reason.into()),
        }
        self.drain(now, host, &mut wanted);
        wanted.wrapped.ok_or_else(|| Code::PersistenceError.into())
    }

    fn unwrap(
        &mut self,
        now: Now,
        datagram: Bytes,
        host: &dyn Host,
        form: Form,
        answer: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let (_, message) = wire::decode(&datagram, &self.limits).map_err(RejectReason::Decode)?;
        let (channel, message_id) = (&message.channel_id, &message.message_id);
        if has_nul(channel) {
            self.counts.refused_nul += 1;
            return Err(Reason::NulInChannelId.into());
        }
        let mut missing = Vec::new();
        if message_id.is_empty() || channel.is_empty() {
            // nim-sds takes them in. They cannot be told from each other, so they join no log.
            host.event(about(channel, message_id, "message_ready"));
        } else {
            let waited = self.node.missing_dependencies(channel, message_id).next().is_some();
            let received = self.receive(now, datagram, host);
            let mut wanted = Wanted { unwrapping: Some(message_id), ..Wanted::default() };
            // A refusal may tell something, too: that our own clock is off.
            self.drain(now, host, &mut wanted);
            received?;
            if wanted.dropped {
                return Err(Code::OutOfMemory.into());
            }
            missing.extend(
                self.node.missing_dependencies(channel, message_id).map(HistoryEntry::from),
            );
            if !waited && !missing.is_empty() && message.kind() == Kind::Content {
                host.event(missing_dependencies(channel, message_id, &missing));
            }
        }
        let content = message.content.as_deref().unwrap_or_default();
        match form {
            Form::Text => Object::begin(answer)
                .bytes("message", content)
                .channel_id(channel)
                .missing(&missing)
                .end(),
            Form::Binary => {
                // The length of the header, the header, the content.
                answer.extend_from_slice(&[0; 4]);
                Object::begin(answer)
                    .message_id(message_id)
                    .channel_id(channel)
                    .missing(&missing)
                    .end();
                let header = u32::try_from(answer.len() - 4).map_err(|_| Code::InternalError)?;
                answer[..4].copy_from_slice(&header.to_le_bytes());
                answer.extend_from_slice(content);
            }
        }
        Ok(())
    }

    fn receive(&mut self, now: Now, datagram: Bytes, host: &dyn Host) -> Result<(), RejectReason> {
        let refused = match self.node.handle(now, Input::Datagram(datagram.clone())) {
            Err(Rejected { reason: RejectReason::ChannelLoading, .. }) => {
                // It is the first of its channel, whose state is loaded now.
                let mut wanted = Wanted::default();
                self.drain(now, host, &mut wanted);
                if let Some(reason) = wanted.not_loaded {
                    return Err(reason);
                }
                self.node.handle(now, Input::Datagram(datagram))
            }
            other => other,
        };
        refused.map_err(|rejected| rejected.reason)
    }

    fn persist(&mut self, now: Now, id: PersistId, changes: &[Change]) {
        let Some(storage) = &mut self.storage else { return };
        let result = storage.write(changes);
        // Never refused: the node asked for it.
        drop(self.node.handle(now, Input::Persisted { id, result }));
    }

    /// Says why the channel could not be loaded, if so.
    fn load(&mut self, now: Now, id: LoadId, channel: ChannelId) -> Option<RejectReason> {
        let result = self.storage.as_mut()?.load(&channel);
        let loaded = Input::Loaded { id, channel: channel.clone(), result };
        let Rejected { reason, .. } = self.node.handle(now, loaded).err()?;
        // The next call that needs the channel tries again.
        drop(self.node.handle(now, Input::Close { channel }));
        Some(reason)
    }

    fn status(&self, channel: &ChannelId, answer: &mut Vec<u8>) -> Result<(), Failure> {
        let status = self.node.status(channel).ok_or(RejectReason::ChannelNotOpen)?;
        let status = StatusJson {
            lamport: status.lamport,
            logged: status.logged,
            logged_bytes: status.logged_bytes,
            heads: status.heads,
            delivered: status.delivered.0,
            outgoing: status.outgoing,
            incoming: status.incoming,
            missing: status.missing,
            lost: status.lost,
            nim_form: status.nim_form.to_string(),
            never_asks: status.never_asks,
        };
        write_json(&status, answer)
    }

    /// `answered`: its content is in the answer to the call.
    fn message_ready(&self, delivery: &Delivery, answered: bool) -> Vec<u8> {
        let Delivery { channel, entry, seq, gap, follows, .. } = delivery;
        let mut json = Vec::new();
        let mut ready = of_type(&mut json, channel, entry.message_id(), "message_ready");
        if self.detailed {
            ready = ready
                .value("seq", seq.0)
                .value("gap", gap)
                .text("senderId", entry.sender_id())
                .value("lamport", entry.lamport());
            ready = match follows {
                Some(follows) => ready.text("follows", follows.message_id()),
                None => ready.value("follows", "null"),
            };
            if !answered {
                ready = ready.base64("message", entry.content());
            }
        }
        ready.end();
        json
    }

    fn input(&mut self, now: Now, input: Input, host: &dyn Host) -> Result<(), Failure> {
        let handled = self.node.handle(now, input);
        self.drain(now, host, &mut Wanted::default());
        handled.map_err(|Rejected { reason, .. }| reason.into())
    }

    /// Tells what happened, but for what is `wanted`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nim-sds has no word for the others")]
    fn drain(&mut self, now: Now, host: &dyn Host, wanted: &mut Wanted<'_>) {
        while let Some(effect) = self.node.poll_effect() {
            match effect {
                Effect::Send { channel, bytes, message_id, reason, .. } => {
                    if wanted.wrapped.is_none() && wanted.wrapping == Some(&message_id) {
                        wanted.wrapped = Some(bytes);
                        continue;
                    }
                    self.counts.sent(reason);
                    host.outgoing(&channel, reason, &bytes);
                }
                Effect::Persist { id, changes } => self.persist(now, id, &changes),
                Effect::Load { id, channel } => {
                    let not_loaded = self.load(now, id, channel);
                    wanted.not_loaded = not_loaded.or(wanted.not_loaded);
                }
                Effect::Event(Event::Deliver(delivery)) if !delivery.own => {
                    self.counts.delivered += 1;
                    let answered = wanted.unwrapping.is_some_and(|unwrapping| {
                        unwrapping.as_bytes() == delivery.entry.message_id().as_bytes()
                    });
                    host.event(self.message_ready(&delivery, answered && !delivery.redelivery));
                }
                Effect::Event(Event::DeliverEphemeral { channel, message_id, .. }) => {
                    host.event(about(&channel, &message_id, "ephemeral"));
                }
                Effect::Event(Event::Acked { channel, message_id }) => {
                    self.counts.acked += 1;
                    host.event(about(&channel, &message_id, "message_sent"));
                }
                Effect::Event(Event::Missing { channel, message_id, missing })
                    if wanted.unwrapping != Some(&message_id) =>
                {
                    host.event(missing_dependencies(&channel, &message_id, &missing));
                }
                Effect::Event(Event::LimitReached {
                    limit: Limit::Incoming | Limit::Missing,
                    message_id,
                    ..
                }) if wanted.unwrapping == Some(&message_id) => {
                    wanted.dropped = true;
                }
                Effect::Event(Event::Unconfirmed { channel, message_id }) if self.detailed => {
                    host.event(about(&channel, &message_id, "unconfirmed"));
                }
                Effect::Event(Event::ParticipantIdInUse { channel, message_id, lamport })
                    if self.detailed =>
                {
                    host.event(in_use(&channel, &message_id, lamport));
                }
                Effect::Event(Event::WallClockOff { ours, theirs }) if self.detailed => {
                    host.event(wall_clock_off(ours, theirs));
                }
                Effect::Event(Event::Lost { channel, message_ids }) if self.detailed => {
                    for message_id in message_ids {
                        host.event(about(&channel, &message_id, "lost"));
                    }
                }
                _ => {}
            }
        }
    }
}

impl Counts {
    const fn sent(&mut self, reason: SendReason) {
        let counter = match reason {
            SendReason::Resend => &mut self.sent_resends,
            SendReason::Sync => &mut self.sent_syncs,
            SendReason::Repair => &mut self.sent_repairs,
            SendReason::Bridge | SendReason::New | SendReason::Ephemeral | _ => {
                &mut self.sent_bridged
            }
        };
        *counter += 1;
    }
}

fn write_json(value: &impl Serialize, answer: &mut Vec<u8>) -> Result<(), Failure> {
    serde_json::to_writer(answer, value).map_err(|_| Code::InternalError.into())
}

fn about(channel: &ChannelId, message_id: impl AsRef<[u8]>, what: &str) -> Vec<u8> {
    let mut json = Vec::new();
    of_type(&mut json, channel, message_id, what).end();
    json
}

fn of_type<'a>(
    json: &'a mut Vec<u8>,
    channel: &ChannelId,
    message_id: impl AsRef<[u8]>,
    what: &str,
) -> Object<'a> {
    Object::begin(json).message_id(message_id).channel_id(channel).plain("eventType", what)
}

/// A message that somebody else made has our participant id.
fn in_use(channel: &ChannelId, message_id: &MessageId, lamport: u64) -> Vec<u8> {
    let mut json = Vec::new();
    of_type(&mut json, channel, message_id, "participant_id_in_use")
        .value("lamport", lamport)
        .end();
    json
}

fn wall_clock_off(ours: UnixMillis, theirs: UnixMillis) -> Vec<u8> {
    let mut json = Vec::new();
    let event = Object::begin(&mut json).plain("eventType", "wall_clock_off");
    event.value("ours", ours.0).value("theirs", theirs.0).end();
    json
}

/// A stored channel could not be opened; none: it is not known which channels there are.
fn not_opened(channel: Option<&ChannelId>, failure: Failure) -> Vec<u8> {
    let mut json = Vec::new();
    let mut event = Object::begin(&mut json);
    if let Some(channel) = channel {
        event = event.channel_id(channel);
    }
    let reason =
        failure.reason.map_or_else(|| failure.code.to_string(), |reason| reason.to_string());
    event.plain("eventType", "open_failed").text("reason", reason).end();
    json
}

fn has_nul(id: impl AsRef<[u8]>) -> bool {
    id.as_ref().contains(&0)
}

fn missing_dependencies(
    channel: &ChannelId,
    message_id: &MessageId,
    missing: &[HistoryEntry],
) -> Vec<u8> {
    let mut json = Vec::new();
    Object::begin(&mut json)
        .plain("eventType", "missing_dependencies")
        .message_id(message_id)
        .channel_id(channel)
        .missing(missing)
        .end();
    json
}

fn periodic_sync() -> Vec<u8> {
    let mut json = Vec::new();
    Object::begin(&mut json).plain("eventType", "periodic_sync").end();
    json
}

mod pages;
#[cfg(test)]
mod tests;
