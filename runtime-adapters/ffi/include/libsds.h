/*
 * The C interface of Scalable Data Sync (SDS).
 *
 * Written by cbindgen from runtime-adapters/ffi/src/abi; do not edit.
 *
 * Programs written for nim-sds's libsds run on this library without being recompiled.
 */

#ifndef LIBSDS_H
#define LIBSDS_H

#include <stddef.h>
#include <stdint.h>

// The call was accepted; the callback tells what came of it.
#define RET_OK 0

// The call was not accepted, or the request failed.
#define RET_ERR 1

// The call was not accepted, for it has no callback.
#define RET_MISSING_CALLBACK 2

// Gets an answer or an event: RET_OK or RET_ERR, and `len` bytes of it or of what is wrong, with a
// NUL behind them.
//
// The bytes of an answer stay for a while after the callback has returned, whatever else is called
// meanwhile, and also when the context is cleaned up: for 10 s while the answers that the process
// keeps have no more than 64 MiB, and for 1 s in any case. No more than 256 MiB are kept: a call
// whose answer would be more waits until older ones have had their second. Texts of calls that
// were not accepted stay for ever if the call had a context. The bytes of an event stay until the
// callback returns. It must not call the context it is called for: such a call is refused.
typedef void (*SdsCallBack)(int callerRet, const char *msg, size_t len, void *userData);

// Is asked where a message can be fetched from. It sets `hint` to memory allocated by malloc,
// which the library frees, and `hintLen` to its length, at most 4096; or leaves them NULL and 0. A
// hint stays until there is another, also when the provider is removed or has none any more. Hints
// that received messages have are passed on as well. It is not asked for an id that has a NUL
// byte.
typedef void (*SdsRetrievalHintProvider)(const char *messageId,
                                         char **hint,
                                         size_t *hintLen,
                                         void *userData);

// Gets a message to be sent, valid until it returns, and the reason: 0 a wrapped message, for the
// other dialect or because the store failed when it was wrapped; 1 a resend, 2 a sync, 3 a repair,
// 4 somebody's message in the other dialect.
typedef void (*SdsOutgoingCallBack)(int reason,
                                    const char *channelId,
                                    const uint8_t *bytes,
                                    size_t len,
                                    void *userData);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Makes a context, and returns NULL if that fails. It speaks the dialect of nim-sds, has no
// participant id, and neither resends, nor syncs, nor asks for repair.
//
// Free it with SdsCleanupReliabilityManager.
//
// As for every function: what is passed is as the header says.
void *SdsNewReliabilityManager(SdsCallBack callback, void *userData);

// Makes a context with a participant id and a configuration in JSON, both of which may be NULL or
// empty. Without a participant id it takes no part in repairs. What it sends by itself goes to
// the callback of SdsSetOutgoingCallback. Its message_ready events have more keys: see
// SdsSetEventCallback.
//
// Keys, all optional: "bloomFilterCapacity" (10000), "bloomFilterErrorRate" (0.001),
// "maxMessageHistory" (10000), "maxCausalHistory" (10, at most 256), "resendIntervalMs" (30000),
// "maxResendAttempts" (8), "syncMessageIntervalMs" (30000: between periodic_sync events),
// "bufferSweepIntervalMs" and "repairSweepIntervalMs" (without use), "repairTMinMs" (30000),
// "repairTMaxMs" (300000, LIP-109: 120000), "numResponseGroups" (1), "maxRepairRequests" (3),
// "dialect" ("nim"; "lip109", "mirror", "bridge"), "nimForm" ("0.3.3"; "0.2", "0.3.0", "0.4": what
// is sent in the nim dialect, by the version of nim-sds), "filter" ("sized"; "full": how large
// filters are in the nim dialect), "filterEvery" (1: each message carries one; n: each n-th, 0:
// only syncs), "keepLip109Filters" (true: a LIP-109 filter of 18.7 KB a channel is kept, else set
// anew for each message), "sync" (true), "maxOutgoing" (1000), "lostAfterMs" (3600000, or three
// times "repairTMaxMs" if that is more; at least that), "spinMicros" (50, at most 1000: how long
// the thread and its callers stay awake before they sleep; 0 is off), "store" (the path of a file;
// none), and only with it "durability" ("strict": a call returns when what it changed is on the
// disk; "relaxed") and "adoptStore" (false: channels that were stored under another participant id
// are not opened; true: they go on under this one).
//
// Texts end in a NUL.
void *SdsNewReliabilityManagerWithConfig(const char *participantId,
                                         const char *configJson,
                                         SdsCallBack callback,
                                         void *userData);

// Sets who hears of events, on the library's thread; NULL is nobody. An event is JSON, in which a
// byte of an id that is no UTF-8 is a lone surrogate, the byte plus 0xDC00; "eventType" is one of:
//
// - "message_ready": a message of somebody else and all that it depends on are here. With a
//   configuration it has more keys: "seq", the number of the delivery, for SdsConsumed; "gap",
//   whether something that it depends on is missing for good; "senderId"; "lamport", its Lamport
//   time; "follows", the id of the message right before it in the log, null if it is the first;
//   and "message", its content in base64, but where the answer to the call has it, because it is
//   the message that is being unwrapped. After a restart what was not consumed is told again.
// - "message_sent": somebody has a message that was wrapped here. Those of one call come in the
//   order of sending.
// - "missing_dependencies": a message that was unwrapped waits for those in "missingDeps".
// - "periodic_sync": see SdsStartPeriodicTasks.
// - "ephemeral": a message of SdsWrapEphemeralMessage was unwrapped.
// - "unconfirmed" (with a configuration only): nobody acknowledged a message that was wrapped
//   here, and it is not sent again. message_sent may still follow.
// - "lost" (with a configuration only): a message is missing and was given up.
// - "participant_id_in_use" (with a configuration only): the message came under our own
//   participant id, and this context did not make it: another participant has the same id, and
//   neither acknowledges the other, or it was made before our state was lost. "lamport" is its
//   Lamport time. Told once a channel.
// - "wall_clock_off" (with a configuration only): the clock of this machine, "ours", seems wrong
//   by what others say, "theirs", in milliseconds since 1970. Then others refuse what is wrapped
//   here, or it refuses theirs. Told once a context.
// - "open_failed" (with a store only): a stored channel cannot be opened; "reason" says why.
//   Without "channelId": it is not known which channels are stored.
//
// The callback may be called until the context is cleaned up.
void SdsSetEventCallback(void *ctx, SdsCallBack callback, void *userData);

// Sets who is asked, during a wrap and on the library's thread, where messages can be fetched
// from; NULL is nobody. A hint is allocated by malloc and freed by the library.
//
// The provider may be called until the context is cleaned up.
void SdsSetRetrievalHintProvider(void *ctx, SdsRetrievalHintProvider callback, void *userData);

// Sets who sends what the context wants sent by itself (resends, syncs, repairs), on the
// library's thread; NULL is nobody. Contexts of SdsNewReliabilityManager send nothing by
// themselves.
//
// The callback may be called until the context is cleaned up.
void SdsSetOutgoingCallback(void *ctx, SdsOutgoingCallBack callback, void *userData);

// Ends a context, after the calls that are under way. From then on it is refused everywhere, and
// no callback of it is called any more but this one, with NULL, on the caller's thread.
//
// `ctx` may be any pointer.
int SdsCleanupReliabilityManager(void *ctx, SdsCallBack callback, void *userData);

// Forgets all channels.
//
// `ctx` may be any pointer.
int SdsResetReliabilityManager(void *ctx, SdsCallBack callback, void *userData);

// Wraps a message of 1 to 1048576 bytes. The callback gets what is to be sent, as decimal numbers
// between commas.
//
// The same content under an id that is in the log gives the same message again, whether it was
// acknowledged or not, also after a restart; other content is refused. An id that was never
// wrapped here and that others name can be wrapped.
//
// `message` has `messageLen` bytes, texts end in a NUL.
int SdsWrapOutgoingMessage(void *ctx,
                           const void *message,
                           size_t messageLen,
                           const char *messageId,
                           const char *channelId,
                           SdsCallBack callback,
                           void *userData);

// SdsWrapOutgoingMessage whose callback gets the bytes themselves.
//
// As there.
int SdsWrapOutgoingMessageBinary(void *ctx,
                                 const void *message,
                                 size_t messageLen,
                                 const char *messageId,
                                 const char *channelId,
                                 SdsCallBack callback,
                                 void *userData);

// Wraps a message that is delivered at once to whoever hears it, and neither logged nor sent
// again; not in the dialect of nim-sds. The callback gets the bytes to send. Whoever unwraps them
// gets an event of type "ephemeral".
//
// `message` has `messageLen` bytes, texts end in a NUL.
int SdsWrapEphemeralMessage(void *ctx,
                            const void *message,
                            size_t messageLen,
                            const char *messageId,
                            const char *channelId,
                            SdsCallBack callback,
                            void *userData);

// Takes in what somebody else wrapped, of at most 33554432 bytes. What is no message is read up to
// where that shows, and not to its end. The callback gets JSON: the content as numbers, the
// channel, and what must come before the message is ready.
//
// `message` has `messageLen` bytes.
int SdsUnwrapReceivedMessage(void *ctx,
                             const void *message,
                             size_t messageLen,
                             SdsCallBack callback,
                             void *userData);

// SdsUnwrapReceivedMessage whose callback gets bytes: the length of a header as four bytes, lowest
// first; the header, JSON with "messageId", "channelId" and "missingDeps"; and the content.
//
// As there.
int SdsUnwrapReceivedMessageBinary(void *ctx,
                                   const void *message,
                                   size_t messageLen,
                                   SdsCallBack callback,
                                   void *userData);

// Says that the application has these messages by other means, so that none waits for them any
// more: at most 1048576 of them.
//
// `messageIds` has `count` texts, each of which ends in a NUL or is NULL.
int SdsMarkDependenciesMet(void *ctx,
                           char **messageIds,
                           size_t count,
                           const char *channelId,
                           SdsCallBack callback,
                           void *userData);

// Begins to report periodic_sync events, at once and then every 30 s or as configured.
//
// `ctx` may be any pointer.
int SdsStartPeriodicTasks(void *ctx, SdsCallBack callback, void *userData);

// Takes part in a channel: what the store has of it is loaded, and nothing happens if it is open
// already. Other calls open channels as they need them, and a message that is unwrapped opens its
// own. Channels that are stored are opened by themselves, with the first call on a context or 1 s
// after it was made, so that there is time to set callbacks. One that cannot be loaded is told by
// an event of type "open_failed", and this call tries again.
//
// The text ends in a NUL.
int SdsOpenChannel(void *ctx, const char *channelId, SdsCallBack callback, void *userData);

// Forgets a channel, in the store as well; one that is not known is forgotten already.
//
// The text ends in a NUL.
int SdsRemoveChannel(void *ctx, const char *channelId, SdsCallBack callback, void *userData);

// Says that the application is done with the deliveries of a channel up to "seq" of a
// message_ready event, so that they are not repeated after a restart.
//
// The text ends in a NUL.
int SdsConsumed(void *ctx,
                const char *channelId,
                uint64_t upTo,
                SdsCallBack callback,
                void *userData);

// Returns the status of a channel. The callback gets JSON: "lamport", "logged", "loggedBytes",
// "heads", "delivered", "outgoing" (unacknowledged), "incoming" (waiting), "missing", "lost",
// "nimForm", "neverAsks" (whether repairs are asked for in no message: those of some forms have no
// room).
//
// The text ends in a NUL.
int SdsChannelStatus(void *ctx, const char *channelId, SdsCallBack callback, void *userData);

// The channels that are open, in the order of their bytes. The callback gets JSON: "channels", at
// most 1000 ids behind `afterChannelId`, which may be NULL or empty, and "more": whether there are
// more behind those.
//
// The text ends in a NUL.
int SdsChannels(void *ctx, const char *afterChannelId, SdsCallBack callback, void *userData);

// The log of a channel, in its order: by Lamport time and id. The callback gets JSON: "channelId";
// "entries", each with "messageId", "senderId", "lamport" and "message", its content in base64;
// and "next" if there are more. A page has at most `max` entries, no more than 1000 (0: 1000), and
// none behind the one with which it reaches 1 MiB. `after` is NULL for the first page, or the
// "next" of the page before.
//
// The texts end in a NUL.
int SdsChannelLog(void *ctx,
                  const char *channelId,
                  const char *after,
                  size_t max,
                  SdsCallBack callback,
                  void *userData);

// Returns the counters of the context. The callback gets JSON: "wrapped", "unwrapped", "refused",
// "refusedNul" (refused for a NUL byte in the channel id), "delivered", "acked", "sentResends",
// "sentSyncs", "sentRepairs", "sentBridged".
//
// `ctx` may be any pointer.
int SdsMetrics(void *ctx, SdsCallBack callback, void *userData);

// The version of the library, like "0.1.0". Nobody frees it.
const char *SdsVersion(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LIBSDS_H */
