//! Function pointers of the caller's, and whom a context tells and asks.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::{ptr, slice};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sds_proto::{ChannelId, MessageId, SendReason};

use super::RET_OK;
use crate::text::Text;
use crate::worker::Host;

/// Gets an answer or an event: RET_OK or RET_ERR, and `len` bytes of it or of what is wrong, with a
/// NUL behind them.
///
/// The bytes of an answer stay for a while after the callback has returned, whatever else is called
/// meanwhile, and also when the context is cleaned up: for 10 s while the answers that the process
/// keeps have no more than 64 MiB, and for 1 s in any case. No more than 256 MiB are kept: a call
/// whose answer would be more waits until older ones have had their second. Texts of calls that
/// were not accepted stay for ever if the call had a context. The bytes of an event stay until the
/// callback returns. It must not call the context it is called for: such a call is refused.
pub type SdsCallBack = Option<
    unsafe extern "C" fn(callerRet: c_int, msg: *const c_char, len: usize, userData: *mut c_void),
>;

/// Is asked where a message can be fetched from. It sets `hint` to memory allocated by malloc,
/// which the library frees, and `hintLen` to its length, at most 4096; or leaves them NULL and 0. A
/// hint stays until there is another, also when the provider is removed or has none any more. Hints
/// that received messages have are passed on as well. It is not asked for an id that has a NUL
/// byte.
pub type SdsRetrievalHintProvider = Option<
    unsafe extern "C" fn(
        messageId: *const c_char,
        hint: *mut *mut c_char,
        hintLen: *mut usize,
        userData: *mut c_void,
    ),
>;

/// Gets a message to be sent, valid until it returns, and the reason: 0 a wrapped message, for the
/// other dialect or because the store failed when it was wrapped; 1 a resend, 2 a sync, 3 a repair,
/// 4 somebody's message in the other dialect.
pub type SdsOutgoingCallBack = Option<
    unsafe extern "C" fn(
        reason: c_int,
        channelId: *const c_char,
        bytes: *const u8,
        len: usize,
        userData: *mut c_void,
    ),
>;

/// A value of the caller's that is passed back.
#[derive(Clone, Copy, Debug)]
struct UserData(*mut c_void);

// SAFETY: the library does nothing with it but pass it back, and says on which thread.
unsafe impl Send for UserData {}

/// An [`SdsCallBack`] that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callback {
    function: unsafe extern "C" fn(c_int, *const c_char, usize, *mut c_void),
    user_data: UserData,
}

impl Callback {
    pub(crate) fn new(function: SdsCallBack, user_data: *mut c_void) -> Option<Self> {
        function.map(|function| Self { function, user_data: UserData(user_data) })
    }

    pub(crate) fn call(self, ret: c_int, text: &Text) {
        let msg = text.with_nul().as_ptr().cast();
        // SAFETY: the caller gave the function for this, and the text has a NUL behind its bytes.
        unsafe { (self.function)(ret, msg, text.len(), self.user_data.0) }
    }

    /// With a text that nobody frees.
    pub(crate) fn call_static(self, ret: c_int, text: &'static CStr) {
        // SAFETY: the caller gave the function for this, and the text ends in a NUL.
        unsafe { (self.function)(ret, text.as_ptr(), text.count_bytes(), self.user_data.0) }
    }

    /// Without even an empty text.
    pub(crate) fn call_empty(self) {
        // SAFETY: the caller gave the function for this; a length of 0 says that there is nothing.
        unsafe { (self.function)(RET_OK, ptr::null(), 0, self.user_data.0) }
    }
}

/// A function and what to pass it back.
type Given<F> = Mutex<Option<(F, UserData)>>;

/// Those of a context that can be set at any time.
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    event: Mutex<Option<Callback>>,
    hint: Given<unsafe extern "C" fn(*const c_char, *mut *mut c_char, *mut usize, *mut c_void)>,
    outgoing: Given<unsafe extern "C" fn(c_int, *const c_char, *const u8, usize, *mut c_void)>,
}

impl Callbacks {
    pub(super) fn set_event(&self, callback: Option<Callback>) {
        *lock(&self.event) = callback;
    }

    pub(super) fn set_hint_provider(
        &self,
        provider: SdsRetrievalHintProvider,
        user_data: *mut c_void,
    ) {
        *lock(&self.hint) = provider.map(|provider| (provider, UserData(user_data)));
    }

    pub(super) fn set_outgoing(&self, callback: SdsOutgoingCallBack, user_data: *mut c_void) {
        *lock(&self.outgoing) = callback.map(|callback| (callback, UserData(user_data)));
    }
}

// No lock is held while a callback runs: it may set another.
impl Host for Callbacks {
    fn event(&self, json: Vec<u8>) {
        let callback = *lock(&self.event);
        if let Some(callback) = callback {
            callback.call(RET_OK, &json.into());
        }
    }

    fn hint(&self, message_id: &MessageId) -> Option<Bytes> {
        let (provider, user_data) = (*lock(&self.hint))?;
        let id = Text::from(message_id.as_bytes());
        let (mut hint, mut len) = (ptr::null_mut::<c_char>(), 0);
        // SAFETY: the caller gave the function for this; the text ends in a NUL.
        unsafe {
            provider(id.with_nul().as_ptr().cast(), &raw mut hint, &raw mut len, user_data.0)
        };
        if hint.is_null() {
            return None;
        }
        let bytes = (len > 0 && isize::try_from(len).is_ok()).then(|| {
            // SAFETY: it points to `len` bytes of the provider's, which are the library's now.
            Bytes::copy_from_slice(unsafe { slice::from_raw_parts(hint.cast::<u8>(), len) })
        });
        // SAFETY: it was allocated by malloc and is the library's now; the bytes have been copied.
        unsafe { libc::free(hint.cast()) };
        bytes
    }

    fn outgoing(&self, channel: &ChannelId, reason: SendReason, datagram: &[u8]) {
        let given = *lock(&self.outgoing);
        let Some((callback, user_data)) = given else { return };
        let reason = match reason {
            SendReason::New => 0,
            SendReason::Resend => 1,
            SendReason::Sync => 2,
            SendReason::Repair => 3,
            SendReason::Bridge | SendReason::Ephemeral | _ => 4,
        };
        let channel = Text::from(channel.as_bytes());
        let channel = channel.with_nul().as_ptr().cast();
        // SAFETY: the caller gave the function for this; the text ends in a NUL, and there are as
        // many bytes as said.
        unsafe { callback(reason, channel, datagram.as_ptr(), datagram.len(), user_data.0) };
    }
}

/// Nothing panics while one of the locks is held, so that a poisoned one guards a sound value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
