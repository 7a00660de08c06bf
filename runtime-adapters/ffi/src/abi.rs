//! The functions of `libsds.h`: pointers in, a `Request` out. Nothing is decided here.
#![expect(non_snake_case, reason = "the names of nim-sds")]

mod callback;
mod pipe;

use core::ffi::{CStr, c_char, c_int, c_void};
use core::panic::AssertUnwindSafe;
use core::{ptr, slice};
use std::io::{self, Write};
use std::panic::catch_unwind;

use bytes::Bytes;
use sds_proto::wire::{self, Limits};
use sds_proto::{ChannelId, DeliverySeq, MessageId};

pub(crate) use self::callback::{Callback, Callbacks};
pub use self::callback::{SdsCallBack, SdsOutgoingCallBack, SdsRetrievalHintProvider};
use crate::context::Refusal;
use crate::request::{Form, MAX_CONTENT, MAX_DATAGRAM, MAX_IDS, Passed, Request, Wrapping};
use crate::settings::{Settings, SettingsError};
use crate::text::Text;
use crate::{contexts, kept, waits};

/// The call was accepted; the callback tells what came of it.
pub const RET_OK: c_int = 0;
/// The call was not accepted, or the request failed.
pub const RET_ERR: c_int = 1;
/// The call was not accepted, for it has no callback.
pub const RET_MISSING_CALLBACK: c_int = 2;

/// Makes a context, and returns NULL if that fails. It speaks the dialect of nim-sds, has no
/// participant id, and neither resends, nor syncs, nor asks for repair.
///
/// Free it with SdsCleanupReliabilityManager.
///
/// # Safety
///
/// As for every function: what is passed is as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsNewReliabilityManager(
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> *mut c_void {
    guarded(ptr::null_mut(), || {
        // Threads that are started meanwhile block the signal as well.
        let _unharmed = pipe::Unharmed::begin();
        let Some(callback) = Callback::new(callback, user_data) else {
            say("error: missing callback in SdsNewReliabilityManager");
            return ptr::null_mut();
        };
        create(Settings::of_nim_sds(), callback)
    })
}

/// Makes a context with a participant id and a configuration in JSON, both of which may be NULL or
/// empty. Without a participant id it takes no part in repairs. What it sends by itself goes to
/// the callback of SdsSetOutgoingCallback. Its message_ready events have more keys: see
/// SdsSetEventCallback.
///
/// Keys, all optional: "bloomFilterCapacity" (10000), "bloomFilterErrorRate" (0.001),
/// "maxMessageHistory" (10000), "maxCausalHistory" (10, at most 256), "resendIntervalMs" (30000),
/// "maxResendAttempts" (8), "syncMessageIntervalMs" (30000: between periodic_sync events),
/// "bufferSweepIntervalMs" and "repairSweepIntervalMs" (without use), "repairTMinMs" (30000),
/// "repairTMaxMs" (300000, LIP-109: 120000), "numResponseGroups" (1), "maxRepairRequests" (3),
/// "dialect" ("nim"; "lip109", "mirror", "bridge"), "nimForm" ("0.3.3"; "0.2", "0.3.0", "0.4": what
/// is sent in the nim dialect, by the version of nim-sds), "filter" ("sized"; "full": how large
/// filters are in the nim dialect), "filterEvery" (1: each message carries one; n: each n-th, 0:
/// only syncs), "keepLip109Filters" (true: a LIP-109 filter of 18.7 KB a channel is kept, else set
/// anew for each message), "sync" (true), "maxOutgoing" (1000), "lostAfterMs" (3600000, or three
/// times "repairTMaxMs" if that is more; at least that), "spinMicros" (50, at most 1000: how long
/// the thread and its callers stay awake before they sleep; 0 is off), "store" (the path of a file;
/// none), and only with it "durability" ("strict": a call returns when what it changed is on the
/// disk; "relaxed") and "adoptStore" (false: channels that were stored under another participant id
/// are not opened; true: they go on under this one).
///
/// # Safety
///
/// Texts end in a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsNewReliabilityManagerWithConfig(
    participant_id: *const c_char,
    config_json: *const c_char,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> *mut c_void {
    guarded(ptr::null_mut(), || {
        // Threads that are started meanwhile block the signal as well.
        let _unharmed = pipe::Unharmed::begin();
        let Some(callback) = Callback::new(callback, user_data) else {
            say("error: missing callback in SdsNewReliabilityManagerWithConfig");
            return ptr::null_mut();
        };
        // SAFETY: each is NULL or a text of the caller's that ends in a NUL.
        let (participant, json) = unsafe { (text(participant_id), text(config_json)) };
        let participant = participant.unwrap_or_default().into();
        create(Settings::from_json(participant, &json.unwrap_or_default()), callback)
    })
}

/// Sets who hears of events, on the library's thread; NULL is nobody. An event is JSON, in which a
/// byte of an id that is no UTF-8 is a lone surrogate, the byte plus 0xDC00; "eventType" is one of:
///
/// - "message_ready": a message of somebody else and all that it depends on are here. With a
///   configuration it has more keys: "seq", the number of the delivery, for SdsConsumed; "gap",
///   whether something that it depends on is missing for good; "senderId"; "lamport", its Lamport
///   time; "follows", the id of the message right before it in the log, null if it is the first;
///   and "message", its content in base64, but where the answer to the call has it, because it is
///   the message that is being unwrapped. After a restart what was not consumed is told again.
/// - "message_sent": somebody has a message that was wrapped here. Those of one call come in the
///   order of sending.
/// - "missing_dependencies": a message that was unwrapped waits for those in "missingDeps".
/// - "periodic_sync": see SdsStartPeriodicTasks.
/// - "ephemeral": a message of SdsWrapEphemeralMessage was unwrapped.
/// - "unconfirmed" (with a configuration only): nobody acknowledged a message that was wrapped
///   here, and it is not sent again. message_sent may still follow.
/// - "lost" (with a configuration only): a message is missing and was given up.
/// - "participant_id_in_use" (with a configuration only): the message came under our own
///   participant id, and this context did not make it: another participant has the same id, and
///   neither acknowledges the other, or it was made before our state was lost. "lamport" is its
///   Lamport time. Told once a channel.
/// - "wall_clock_off" (with a configuration only): the clock of this machine, "ours", seems wrong
///   by what others say, "theirs", in milliseconds since 1970. Then others refuse what is wrapped
///   here, or it refuses theirs. Told once a context.
/// - "open_failed" (with a store only): a stored channel cannot be opened; "reason" says why.
///   Without "channelId": it is not known which channels are stored.
///
/// # Safety
///
/// The callback may be called until the context is cleaned up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsSetEventCallback(
    ctx: *mut c_void,
    callback: SdsCallBack,
    user_data: *mut c_void,
) {
    guarded((), || match contexts::find(ctx.addr()) {
        Some(context) => context.callbacks.set_event(Callback::new(callback, user_data)),
        None => say("error: invalid context in SdsSetEventCallback"),
    });
}

/// Sets who is asked, during a wrap and on the library's thread, where messages can be fetched
/// from; NULL is nobody. A hint is allocated by malloc and freed by the library.
///
/// # Safety
///
/// The provider may be called until the context is cleaned up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsSetRetrievalHintProvider(
    ctx: *mut c_void,
    callback: SdsRetrievalHintProvider,
    user_data: *mut c_void,
) {
    guarded((), || match contexts::find(ctx.addr()) {
        Some(context) => context.callbacks.set_hint_provider(callback, user_data),
        None => say("error: invalid context in SdsSetRetrievalHintProvider"),
    });
}

/// Sets who sends what the context wants sent by itself (resends, syncs, repairs), on the
/// library's thread; NULL is nobody. Contexts of SdsNewReliabilityManager send nothing by
/// themselves.
///
/// # Safety
///
/// The callback may be called until the context is cleaned up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsSetOutgoingCallback(
    ctx: *mut c_void,
    callback: SdsOutgoingCallBack,
    user_data: *mut c_void,
) {
    guarded((), || match contexts::find(ctx.addr()) {
        Some(context) => context.callbacks.set_outgoing(callback, user_data),
        None => say("error: invalid context in SdsSetOutgoingCallback"),
    });
}

/// Ends a context, after the calls that are under way. From then on it is refused everywhere, and
/// no callback of it is called any more but this one, with NULL, on the caller's thread.
///
/// # Safety
///
/// `ctx` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsCleanupReliabilityManager(
    ctx: *mut c_void,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    guarded(RET_ERR, || {
        if contexts::find(ctx.addr()).is_none() {
            return RET_ERR;
        }
        let Some(callback) = Callback::new(callback, user_data) else {
            return RET_MISSING_CALLBACK;
        };
        let Some(_waiting) = waits::wait_for(ctx.addr()) else {
            return refuse(callback, WAITS_FOR_CALLER);
        };
        // Of two at once, one finds it.
        let Some(context) = contexts::remove(ctx.addr()) else {
            return RET_ERR;
        };
        context.stop();
        callback.call_empty();
        RET_OK
    })
}

/// Forgets all channels.
///
/// # Safety
///
/// `ctx` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsResetReliabilityManager(
    ctx: *mut c_void,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || Ok(Request::Reset))
}

/// Wraps a message of 1 to 1048576 bytes. The callback gets what is to be sent, as decimal numbers
/// between commas.
///
/// The same content under an id that is in the log gives the same message again, whether it was
/// acknowledged or not, also after a restart; other content is refused. An id that was never
/// wrapped here and that others name can be wrapped.
///
/// # Safety
///
/// `message` has `messageLen` bytes, texts end in a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsWrapOutgoingMessage(
    ctx: *mut c_void,
    message: *const c_void,
    message_len: usize,
    message_id: *const c_char,
    channel_id: *const c_char,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || {
        let kind = Wrapping::Content(Form::Text);
        // SAFETY: as this function's.
        unsafe { wrap(message, message_len, message_id, channel_id, kind) }
    })
}

/// SdsWrapOutgoingMessage whose callback gets the bytes themselves.
///
/// # Safety
///
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsWrapOutgoingMessageBinary(
    ctx: *mut c_void,
    message: *const c_void,
    message_len: usize,
    message_id: *const c_char,
    channel_id: *const c_char,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || {
        let kind = Wrapping::Content(Form::Binary);
        // SAFETY: as this function's.
        unsafe { wrap(message, message_len, message_id, channel_id, kind) }
    })
}

/// Wraps a message that is delivered at once to whoever hears it, and neither logged nor sent
/// again; not in the dialect of nim-sds. The callback gets the bytes to send. Whoever unwraps them
/// gets an event of type "ephemeral".
///
/// # Safety
///
/// `message` has `messageLen` bytes, texts end in a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsWrapEphemeralMessage(
    ctx: *mut c_void,
    message: *const c_void,
    message_len: usize,
    message_id: *const c_char,
    channel_id: *const c_char,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || {
        let kind = Wrapping::Ephemeral;
        // SAFETY: as this function's.
        unsafe { wrap(message, message_len, message_id, channel_id, kind) }
    })
}

/// Takes in what somebody else wrapped, of at most 33554432 bytes. What is no message is read up to
/// where that shows, and not to its end. The callback gets JSON: the content as numbers, the
/// channel, and what must come before the message is ready.
///
/// # Safety
///
/// `message` has `messageLen` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsUnwrapReceivedMessage(
    ctx: *mut c_void,
    message: *const c_void,
    message_len: usize,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call_of(ctx, callback, user_data, |limits| {
        // SAFETY: as this function's.
        let datagram = unsafe { datagram(message, message_len, limits) }?;
        Ok(Request::Unwrap { datagram, form: Form::Text })
    })
}

/// SdsUnwrapReceivedMessage whose callback gets bytes: the length of a header as four bytes, lowest
/// first; the header, JSON with "messageId", "channelId" and "missingDeps"; and the content.
///
/// # Safety
///
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsUnwrapReceivedMessageBinary(
    ctx: *mut c_void,
    message: *const c_void,
    message_len: usize,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call_of(ctx, callback, user_data, |limits| {
        // SAFETY: as this function's.
        let datagram = unsafe { datagram(message, message_len, limits) }?;
        Ok(Request::Unwrap { datagram, form: Form::Binary })
    })
}

/// Says that the application has these messages by other means, so that none waits for them any
/// more: at most 1048576 of them.
///
/// # Safety
///
/// `messageIds` has `count` texts, each of which ends in a NUL or is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsMarkDependenciesMet(
    ctx: *mut c_void,
    message_ids: *mut *mut c_char,
    count: usize,
    channel_id: *const c_char,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || {
        if message_ids.is_null() && count > 0 {
            return Err(c"libsds error: MessageIDs pointer is NULL but count > 0");
        }
        // SAFETY: as this function's.
        unsafe {
            Ok(Request::DependenciesMet {
                channel: channel(channel_id)?,
                ids: ids(message_ids, count)?,
            })
        }
    })
}

/// Begins to report periodic_sync events, at once and then every 30 s or as configured.
///
/// # Safety
///
/// `ctx` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsStartPeriodicTasks(
    ctx: *mut c_void,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || Ok(Request::StartPeriodicTasks))
}

/// Takes part in a channel: what the store has of it is loaded, and nothing happens if it is open
/// already. Other calls open channels as they need them, and a message that is unwrapped opens its
/// own. Channels that are stored are opened by themselves, with the first call on a context or 1 s
/// after it was made, so that there is time to set callbacks. One that cannot be loaded is told by
/// an event of type "open_failed", and this call tries again.
///
/// # Safety
///
/// The text ends in a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsOpenChannel(
    ctx: *mut c_void,
    channel_id: *const c_char,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || {
        // SAFETY: as this function's.
        Ok(Request::OpenChannel { channel: unsafe { channel(channel_id) }? })
    })
}

/// Forgets a channel, in the store as well; one that is not known is forgotten already.
///
/// # Safety
///
/// The text ends in a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsRemoveChannel(
    ctx: *mut c_void,
    channel_id: *const c_char,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || {
        // SAFETY: as this function's.
        Ok(Request::RemoveChannel { channel: unsafe { channel(channel_id) }? })
    })
}

/// Says that the application is done with the deliveries of a channel up to "seq" of a
/// message_ready event, so that they are not repeated after a restart.
///
/// # Safety
///
/// The text ends in a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsConsumed(
    ctx: *mut c_void,
    channel_id: *const c_char,
    up_to: u64,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || {
        // SAFETY: as this function's.
        let channel = unsafe { channel(channel_id) }?;
        Ok(Request::Consumed { channel, up_to: DeliverySeq(up_to) })
    })
}

/// Returns the status of a channel. The callback gets JSON: "lamport", "logged", "loggedBytes",
/// "heads", "delivered", "outgoing" (unacknowledged), "incoming" (waiting), "missing", "lost",
/// "nimForm", "neverAsks" (whether repairs are asked for in no message: those of some forms have no
/// room).
///
/// # Safety
///
/// The text ends in a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsChannelStatus(
    ctx: *mut c_void,
    channel_id: *const c_char,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || {
        // SAFETY: as this function's.
        Ok(Request::Status { channel: unsafe { channel(channel_id) }? })
    })
}

/// The channels that are open, in the order of their bytes. The callback gets JSON: "channels", at
/// most 1000 ids behind `afterChannelId`, which may be NULL or empty, and "more": whether there are
/// more behind those.
///
/// # Safety
///
/// The text ends in a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsChannels(
    ctx: *mut c_void,
    after_channel_id: *const c_char,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || {
        // SAFETY: it is NULL or a text of the caller's that ends in a NUL.
        let after = unsafe { text(after_channel_id) }.unwrap_or_default();
        Ok(Request::Channels { after: after.into() })
    })
}

/// The log of a channel, in its order: by Lamport time and id. The callback gets JSON: "channelId";
/// "entries", each with "messageId", "senderId", "lamport" and "message", its content in base64;
/// and "next" if there are more. A page has at most `max` entries, no more than 1000 (0: 1000), and
/// none behind the one with which it reaches 1 MiB. `after` is NULL for the first page, or the
/// "next" of the page before.
///
/// # Safety
///
/// The texts end in a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsChannelLog(
    ctx: *mut c_void,
    channel_id: *const c_char,
    after: *const c_char,
    max: usize,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || {
        // SAFETY: as this function's; `after` may be NULL.
        let (channel, after) = unsafe { (channel(channel_id)?, text(after)) };
        Ok(Request::Log { channel, after, max })
    })
}

/// Returns the counters of the context. The callback gets JSON: "wrapped", "unwrapped", "refused",
/// "refusedNul" (refused for a NUL byte in the channel id), "delivered", "acked", "sentResends",
/// "sentSyncs", "sentRepairs", "sentBridged".
///
/// # Safety
///
/// `ctx` may be any pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SdsMetrics(
    ctx: *mut c_void,
    callback: SdsCallBack,
    user_data: *mut c_void,
) -> c_int {
    call(ctx, callback, user_data, || Ok(Request::Metrics))
}

/// The version of the library, like "0.1.0". Nobody frees it.
#[unsafe(no_mangle)]
pub extern "C" fn SdsVersion() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no NUL"),
        };
    VERSION.as_ptr()
}

const WAITS_FOR_CALLER: &CStr =
    c"libsds error: called from a callback for which the context itself waits";

fn create(settings: Result<Settings, SettingsError>, callback: Callback) -> *mut c_void {
    let created = settings.map_err(|error| format!("libsds error: {error}")).and_then(|settings| {
        contexts::create(settings)
            .map_err(|error| format!("Error creating SDS FFI context: {error}"))
    });
    match created {
        Ok((place, context)) => {
            // Nobody else knows it yet, so that nobody has stopped it.
            _ = context.call(Request::Start, callback);
            place.cast_mut().cast()
        }
        Err(error) => {
            let error = Text::from(error);
            callback.call(RET_ERR, &error);
            kept::keep(error);
            ptr::null_mut()
        }
    }
}

fn call(
    ctx: *mut c_void,
    callback: SdsCallBack,
    user_data: *mut c_void,
    request: impl FnOnce() -> Result<Request, &'static CStr>,
) -> c_int {
    call_of(ctx, callback, user_data, |_| request())
}

/// The order of the checks: context, callback, arguments.
fn call_of(
    ctx: *mut c_void,
    callback: SdsCallBack,
    user_data: *mut c_void,
    request: impl FnOnce(&Limits) -> Result<Request, &'static CStr>,
) -> c_int {
    guarded(RET_ERR, || {
        let Some(context) = contexts::find(ctx.addr()) else {
            return RET_ERR;
        };
        let Some(callback) = Callback::new(callback, user_data) else {
            return RET_MISSING_CALLBACK;
        };
        let request = match request(&context.limits) {
            Ok(request) => request,
            Err(error) => return refuse(callback, error),
        };
        match context.call(request, callback) {
            Ok(()) => RET_OK,
            Err(Refusal::Stopped) => RET_ERR,
            Err(Refusal::WaitsForCaller(callback)) => refuse(callback, WAITS_FOR_CALLER),
        }
    })
}

/// Tells what is wrong with a call, on the caller's thread.
fn refuse(callback: Callback, error: &'static CStr) -> c_int {
    callback.call_static(RET_ERR, error);
    RET_ERR
}

/// A panic is reported by its hook and ends here.
fn guarded<T>(broken: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(broken)
}

/// A line on standard output, where nim-sds writes it.
fn say(line: &str) {
    let _unharmed = pipe::Unharmed::begin();
    // A line that nobody reads is dropped.
    drop(writeln!(io::stdout(), "{line}"));
}

/// # Safety
///
/// `message` is NULL or has `len` bytes; the texts are NULL or end in a NUL.
unsafe fn wrap(
    message: *const c_void,
    len: usize,
    message_id: *const c_char,
    channel_id: *const c_char,
    kind: Wrapping,
) -> Result<Request, &'static CStr> {
    // SAFETY: as this function's.
    let (content, message_id, channel) = unsafe {
        let content = bytes(message, len, MAX_CONTENT)?;
        let message_id = text(message_id).ok_or(c"libsds error: message ID pointer is NULL")?;
        (content, MessageId::new(message_id), channel(channel_id)?)
    };
    Ok(Request::Wrap { message_id, channel, content, kind })
}

/// A copy of the bytes, if there are no more than `limit`.
///
/// # Safety
///
/// `message` is NULL or has `len` bytes.
unsafe fn bytes(message: *const c_void, len: usize, limit: usize) -> Result<Passed, &'static CStr> {
    if message.is_null() && len > 0 {
        return Err(c"libsds error: message pointer is NULL but length > 0");
    }
    if len > limit {
        return Ok(Passed::TooMany { len, limit });
    }
    if len == 0 {
        return Ok(Bytes::new().into());
    }
    // SAFETY: it is not NULL and has as many bytes, which nobody changes meanwhile.
    let bytes = unsafe { slice::from_raw_parts(message.cast::<u8>(), len) };
    Ok(Bytes::copy_from_slice(bytes).into())
}

/// A copy of the bytes, if they are a message: what is none is read up to where that shows.
///
/// # Safety
///
/// `message` is NULL or has `len` bytes.
unsafe fn datagram(
    message: *const c_void,
    len: usize,
    limits: &Limits,
) -> Result<Passed, &'static CStr> {
    if !message.is_null() && len <= MAX_DATAGRAM {
        // SAFETY: it is not NULL and has as many bytes, which nobody changes meanwhile.
        let bytes = unsafe { slice::from_raw_parts(message.cast::<u8>(), len) };
        if let Err(error) = wire::decode_ref(bytes, limits) {
            return Ok(Passed::Malformed(error));
        }
    }
    // SAFETY: as this function's.
    unsafe { bytes(message, len, MAX_DATAGRAM) }
}

/// A copy of a text without its NUL; `None` if the pointer is NULL.
///
/// # Safety
///
/// `text` is NULL or ends in a NUL.
unsafe fn text(text: *const c_char) -> Option<Bytes> {
    if text.is_null() {
        return None;
    }
    // SAFETY: it is not NULL, ends in a NUL, and nobody changes it meanwhile.
    let text = unsafe { CStr::from_ptr(text) };
    Some(Bytes::copy_from_slice(text.to_bytes()))
}

/// # Safety
///
/// `id` is NULL or ends in a NUL.
unsafe fn channel(id: *const c_char) -> Result<ChannelId, &'static CStr> {
    // SAFETY: as this function's.
    let id = unsafe { text(id) }.ok_or(c"libsds error: channel ID pointer is NULL")?;
    if id.is_empty() {
        return Err(c"libsds error: channel ID is empty string");
    }
    Ok(id.into())
}

/// # Safety
///
/// `ids` has `count` texts, each of which is NULL or ends in a NUL; with a `count` of 0 it may be
/// anything.
unsafe fn ids(ids: *mut *mut c_char, count: usize) -> Result<Vec<MessageId>, &'static CStr> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if count > MAX_IDS {
        return Err(c"libsds error: count is above 1048576");
    }
    // SAFETY: it has `count` pointers, no more than memory can hold, which nobody changes
    // meanwhile.
    let ids = unsafe { slice::from_raw_parts(ids, count) };
    // SAFETY: each is NULL or ends in a NUL.
    let ids = ids.iter().map(|id| unsafe { text(*id) }.unwrap_or_default());
    Ok(ids.map(MessageId::new).collect())
}
