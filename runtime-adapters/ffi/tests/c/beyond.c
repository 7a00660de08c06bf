/* What the functions do that nim-sds's libsds did not have. */
#include "harness.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <time.h>

static void *new_context(const char *participant, const char *config) {
    struct reply reply = nothing();
    void *ctx = SdsNewReliabilityManagerWithConfig(participant, config, on_reply, &reply);
    if (ctx == NULL) CHECK_TEXT(reply.copy, "a context");
    CHECK(reply.calls == 1 && reply.ret == RET_OK && reply.len == 0);
    done(&reply);
    return ctx;
}

static void cleanup(void *ctx) {
    struct reply reply = nothing();
    CHECK(SdsCleanupReliabilityManager(ctx, on_reply, &reply) == RET_OK);
    done(&reply);
}

#define CHECK_BEGINNING(found, wanted)                                                      \
    do {                                                                                    \
        const char *text_ = (found), *start_ = (wanted);                                    \
        if (strncmp(text_, start_, strlen(start_)) != 0) CHECK_TEXT(text_, start_);         \
    } while (0)

#define READY(id, seq)                                                                      \
    "{\"messageId\":\"" id "\",\"channelId\":\"ch\",\"eventType\":\"message_ready\",\"seq\":" seq   \
    ",\"gap\":false"

/* An answer that is wanted, for the caller to free. */
static char *answered(int returned, struct reply *reply) {
    CHECK(returned == RET_OK && reply->calls == 1);
    if (reply->ret != RET_OK) CHECK_TEXT(reply->copy, "an answer");
    return reply->copy;
}

static void configurations(void) {
    struct {
        const char *json, *says;
    } wrong[] = {
        {"{", "libsds error: the configuration cannot be read: "},
        {"{\"no\":1}", "libsds error: the configuration cannot be read: unknown field `no`"},
        {"{\"maxCausalHistory\":0}", "libsds error: the configuration cannot work: causal_history_len is 0"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct reply reply = nothing();
        CHECK(SdsNewReliabilityManagerWithConfig("a", wrong[i].json, on_reply, &reply) == NULL);
        CHECK(reply.calls == 1 && reply.ret == RET_ERR);
        CHECK(pthread_equal(reply.thread, pthread_self()));
        CHECK(memcmp(reply.msg, reply.copy, reply.len + 1) == 0); /* though there is no context */
        CHECK_BEGINNING(reply.copy, wrong[i].says);
        done(&reply);
    }
    CHECK(SdsNewReliabilityManagerWithConfig("a", "{}", NULL, NULL) == NULL);
    cleanup(new_context(NULL, NULL));
    cleanup(new_context("", ""));
    cleanup(new_context("alice", "{\"maxCausalHistory\":2,\"spinMicros\":0}"));
    /* A setting that follows from a key needs no key of its own. */
    cleanup(new_context("alice", "{\"maxMessageHistory\":20000}"));
    cleanup(new_context("alice", "{\"dialect\":\"lip109\",\"bloomFilterCapacity\":100000}"));
}

/* What was sent by a context itself, for whoever waits for it. */
struct outbox {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int why;
    char channel[16];
    struct bytes bytes;
};

static void on_outgoing(int why, const char *channel, const uint8_t *bytes, size_t len,
                        void *user_data) {
    struct outbox *outbox = user_data;
    pthread_mutex_lock(&outbox->lock);
    if (outbox->bytes.len == 0) {
        outbox->why = why;
        snprintf(outbox->channel, sizeof outbox->channel, "%s", channel);
        put(&outbox->bytes, bytes, len);
        pthread_cond_signal(&outbox->changed);
    }
    pthread_mutex_unlock(&outbox->lock);
}

static void wait_for_one(struct outbox *outbox) {
    struct timespec late;
    clock_gettime(CLOCK_REALTIME, &late);
    late.tv_sec += 60;
    pthread_mutex_lock(&outbox->lock);
    while (outbox->bytes.len == 0) {
        CHECK(pthread_cond_timedwait(&outbox->changed, &outbox->lock, &late) == 0);
    }
    pthread_mutex_unlock(&outbox->lock);
}

static void resends_go_out(void) {
    struct outbox outbox = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, "", {NULL, 0}};
    struct events events;
    struct reply r = nothing();
    memset(&events, 0, sizeof events);
    void *alice = new_context("alice", "{\"resendIntervalMs\":1,\"sync\":false,\"nimForm\":\"0.4\"}");
    void *bob = new_context("bob", NULL);
    SdsSetOutgoingCallback(alice, on_outgoing, &outbox);
    SdsSetEventCallback(bob, on_event, &events);
    CHECK(SdsWrapOutgoingMessageBinary(alice, "hello", 5, "m1", "ch", on_reply, &r) == RET_OK);
    CHECK(r.ret == RET_OK);
    done(&r);
    wait_for_one(&outbox);
    CHECK(outbox.why == 1);
    CHECK_TEXT(outbox.channel, "ch");
    SdsSetOutgoingCallback(alice, NULL, NULL);

    r = nothing();
    CHECK(SdsUnwrapReceivedMessageBinary(bob, outbox.bytes.data, outbox.bytes.len, on_reply, &r) ==
          RET_OK);
    CHECK(r.ret == RET_OK);
    const char header[] = "{\"messageId\":\"m1\",\"channelId\":\"ch\",\"missingDeps\":[]}";
    const unsigned char len[] = {sizeof header - 1, 0, 0, 0};
    CHECK(r.len == 4 + sizeof header - 1 + 5);
    CHECK(memcmp(r.copy, len, 4) == 0);
    CHECK(memcmp(r.copy + 4, header, sizeof header - 1) == 0);
    CHECK_TEXT(r.copy + 4 + sizeof header - 1, "hello");
    done(&r);
    /* Its content is in the answer, and so not in the event. */
    CHECK_BEGINNING(events.text, READY("m1", "1"));
    CHECK(strstr(events.text, ",\"senderId\":\"alice\",\"lamport\":1") != NULL);
    CHECK(strstr(events.text, ",\"follows\":null}\n") != NULL);
    free(outbox.bytes.data);
    cleanup(alice);
    cleanup(bob);
}

static void ephemeral_messages(void) {
    struct events events;
    struct reply r = nothing();
    memset(&events, 0, sizeof events);
    void *nim = new_context("alice", NULL);
    CHECK(SdsWrapEphemeralMessage(nim, "x", 1, "e1", "ch", on_reply, &r) == RET_OK);
    CHECK(r.ret == RET_ERR);
    CHECK_TEXT(r.copy, "error processing WRAP_EPHEMERAL request: reInvalidArgument: "
                       "nim-sds has no ephemeral messages, "
                       "and no other dialect is configured");
    done(&r);
    void *alice = new_context("alice", "{\"dialect\":\"lip109\"}");
    void *bob = new_context("bob", "{\"dialect\":\"lip109\"}");
    SdsSetEventCallback(bob, on_event, &events);
    r = nothing();
    CHECK(SdsWrapEphemeralMessage(alice, "x", 1, "e1", "ch", on_reply, &r) == RET_OK);
    CHECK(r.ret == RET_OK);
    struct reply unwrapped = nothing();
    CHECK(SdsUnwrapReceivedMessage(bob, r.copy, r.len, on_reply, &unwrapped) == RET_OK);
    CHECK_TEXT(unwrapped.copy, "{\"message\":[120],\"channelId\":\"ch\",\"missingDeps\":[]}");
    CHECK_TEXT(events.text,
               "{\"messageId\":\"e1\",\"channelId\":\"ch\",\"eventType\":\"ephemeral\"}\n");
    done(&r);
    done(&unwrapped);
    cleanup(nim);
    cleanup(alice);
    cleanup(bob);
}

static void questions(void) {
    struct reply r = nothing();
    void *ctx = new_context("alice", NULL);
    struct bytes bytes = message("m1", 1, NULL, "ch", "x");
    CHECK(SdsUnwrapReceivedMessage(ctx, bytes.data, bytes.len, on_reply, &r) == RET_OK);
    free(bytes.data);
    done(&r);
    r = nothing();
    CHECK(SdsChannelStatus(ctx, "ch", on_reply, &r) == RET_OK && r.ret == RET_OK);
    CHECK(strstr(r.copy, "\"logged\":1,") != NULL && strstr(r.copy, "\"delivered\":1,") != NULL);
    done(&r);
    r = nothing();
    CHECK(SdsMetrics(ctx, on_reply, &r) == RET_OK && r.ret == RET_OK);
    CHECK(strstr(r.copy, "\"unwrapped\":1,") != NULL);
    done(&r);
    r = nothing();
    CHECK(SdsConsumed(ctx, "ch", 1, on_reply, &r) == RET_OK && r.ret == RET_OK && r.len == 0);
    done(&r);
    for (int i = 0; i < 2; i++) {
        r = nothing();
        CHECK(SdsRemoveChannel(ctx, "ch", on_reply, &r) == RET_OK && r.ret == RET_OK);
        done(&r);
    }
    r = nothing();
    CHECK(SdsChannelStatus(ctx, "ch", on_reply, &r) == RET_OK && r.ret == RET_ERR);
    CHECK_TEXT(r.copy,
               "error processing STATUS request: reInvalidArgument: the channel is not open");
    done(&r);
    r = nothing();
    CHECK(SdsChannelStatus(ctx, NULL, on_reply, &r) == RET_ERR && r.calls == 1);
    CHECK_TEXT(r.copy, "libsds error: channel ID pointer is NULL");
    done(&r);
    cleanup(ctx);
    /* Not even these are asked of no context. */
    r = nothing();
    CHECK(SdsChannelStatus(ctx, "ch", on_reply, &r) == RET_ERR && r.calls == 0);
    CHECK(SdsMetrics(ctx, on_reply, &r) == RET_ERR && r.calls == 0);
    CHECK(SdsConsumed(ctx, "ch", 1, on_reply, &r) == RET_ERR && r.calls == 0);
    CHECK(SdsRemoveChannel(ctx, "ch", on_reply, &r) == RET_ERR && r.calls == 0);
    CHECK(strchr(SdsVersion(), '.') != NULL);
}

/* A message that is too long is refused with its true length, and never cut. */
static void lengths(void) {
    enum { LEN = 2000000 };
    const char *why = "reMessageTooLarge: the content has 2000000 bytes, and max_content_len allows 1048576";
    char text[256], *large = calloc(LEN, 1);
    struct reply r = nothing();
    void *ctx = new_context("alice", "{\"dialect\":\"lip109\"}");
    CHECK(large != NULL);
    CHECK(SdsWrapOutgoingMessageBinary(ctx, large, LEN, "m1", "ch", on_reply, &r) == RET_OK);
    snprintf(text, sizeof text, "error processing WRAP_MESSAGE request: %s", why);
    CHECK_TEXT(r.copy, text);
    CHECK(SdsWrapEphemeralMessage(ctx, large, LEN, "m1", "ch", on_reply, &r) == RET_OK);
    snprintf(text, sizeof text, "error processing WRAP_EPHEMERAL request: %s", why);
    CHECK_TEXT(r.copy, text);
    free(large);
    done(&r);
    cleanup(ctx);
}

/* A channel id with a NUL byte is another channel's for whoever reads texts of C. */
static void nul_in_a_channel_id(void) {
    struct bytes bytes = {NULL, 0};
    struct reply r = nothing();
    void *ctx = new_context("alice", NULL);
    put_text(&bytes, 1, "m1");
    put_varint(&bytes, 2 << 3);
    put_varint(&bytes, 1);
    put_field(&bytes, 4, "ch\0other", 8);
    put_text(&bytes, 5, "x");
    CHECK(SdsUnwrapReceivedMessageBinary(ctx, bytes.data, bytes.len, on_reply, &r) == RET_OK);
    CHECK(r.ret == RET_ERR);
    CHECK_BEGINNING(r.copy, "error processing UNWRAP_MESSAGE request: reInvalidArgument: "
                            "the message's channel id has a NUL byte");
    CHECK(SdsMetrics(ctx, on_reply, &r) == RET_OK);
    CHECK(strstr(r.copy, "\"refused\":1,\"refusedNul\":1,") != NULL);
    free(bytes.data);
    done(&r);
    cleanup(ctx);
}

/* A log that is read in two pages, and the list of channels. */
static void logs(void) {
    struct reply r = nothing();
    void *ctx = new_context("alice", NULL);
    for (int i = 1; i <= 3; i++) {
        char id[] = {'m', (char)('0' + i), '\0'};
        struct bytes bytes = message(id, (uint64_t)i, NULL, "ch", id);
        done(&r);
        r = nothing();
        answered(SdsUnwrapReceivedMessage(ctx, bytes.data, bytes.len, on_reply, &r), &r);
        free(bytes.data);
    }
    done(&r);
    r = nothing();
    answered(SdsChannelLog(ctx, "ch", NULL, 2, on_reply, &r), &r);
    CHECK_TEXT(r.copy,
               "{\"channelId\":\"ch\",\"entries\":["
               "{\"messageId\":\"m1\",\"senderId\":\"\",\"lamport\":1,\"message\":\"bTE=\"},"
               "{\"messageId\":\"m2\",\"senderId\":\"\",\"lamport\":2,\"message\":\"bTI=\"}],"
               "\"next\":\"2:bTI=\"}");
    done(&r);
    r = nothing();
    answered(SdsChannelLog(ctx, "ch", "2:bTI=", 2, on_reply, &r), &r);
    CHECK_TEXT(r.copy,
               "{\"channelId\":\"ch\",\"entries\":["
               "{\"messageId\":\"m3\",\"senderId\":\"\",\"lamport\":3,\"message\":\"bTM=\"}]}");
    done(&r);
    r = nothing();
    CHECK(SdsChannelLog(ctx, "ch", "m2", 2, on_reply, &r) == RET_OK && r.ret == RET_ERR);
    CHECK_BEGINNING(r.copy, "error processing LOG request: reInvalidArgument: ");
    done(&r);
    r = nothing();
    CHECK(SdsChannelLog(ctx, "other", NULL, 2, on_reply, &r) == RET_OK && r.ret == RET_ERR);
    CHECK_TEXT(r.copy, "error processing LOG request: reInvalidArgument: the channel is not open");
    done(&r);
    r = nothing();
    answered(SdsOpenChannel(ctx, "other", on_reply, &r), &r);
    done(&r);
    r = nothing();
    answered(SdsOpenChannel(ctx, "other", on_reply, &r), &r);
    done(&r);
    r = nothing();
    answered(SdsChannels(ctx, NULL, on_reply, &r), &r);
    CHECK_TEXT(r.copy, "{\"channels\":[\"ch\",\"other\"],\"more\":false}");
    done(&r);
    r = nothing();
    answered(SdsChannels(ctx, "ch", on_reply, &r), &r);
    CHECK_TEXT(r.copy, "{\"channels\":[\"other\"],\"more\":false}");
    done(&r);
    cleanup(ctx);
    r = nothing();
    CHECK(SdsChannelLog(ctx, "ch", NULL, 2, on_reply, &r) == RET_ERR && r.calls == 0);
    CHECK(SdsOpenChannel(ctx, "ch", on_reply, &r) == RET_ERR && r.calls == 0);
    CHECK(SdsChannels(ctx, NULL, on_reply, &r) == RET_ERR && r.calls == 0);
}

static void *with_store(const char *path) {
    char config[512];
    snprintf(config, sizeof config, "{\"store\":\"%s\",\"resendIntervalMs\":100,\"sync\":false}", path);
    return new_context("alice", config);
}

/* What was not consumed is told again by the next context of the same store. */
static void restarts(const char *path) {
    char config[512];
    struct events events;
    struct reply r = nothing();
    const char *on_m2[] = {"m2", NULL};
    struct bytes bytes = message("m1", 1, NULL, "ch", "x");
    struct bytes waits = message("m3", 3, on_m2, "ch", "y"), met = message("m2", 2, NULL, "ch", "z");
    void *ctx = with_store(path);
    answered(SdsUnwrapReceivedMessage(ctx, bytes.data, bytes.len, on_reply, &r), &r);
    done(&r);
    r = nothing();
    answered(SdsUnwrapReceivedMessage(ctx, waits.data, waits.len, on_reply, &r), &r);
    done(&r);
    /* The file is in use. */
    r = nothing();
    snprintf(config, sizeof config, "{\"store\":\"%s\"}", path);
    CHECK(SdsNewReliabilityManagerWithConfig("bob", config, on_reply, &r) == NULL);
    CHECK(r.ret == RET_ERR && strstr(r.copy, "the store cannot be opened: ") != NULL);
    done(&r);
    cleanup(ctx);

    memset(&events, 0, sizeof events);
    ctx = with_store(path);
    SdsSetEventCallback(ctx, on_event, &events);
    r = nothing();
    answered(SdsUnwrapReceivedMessage(ctx, bytes.data, bytes.len, on_reply, &r), &r);
    CHECK_BEGINNING(events.text, READY("m1", "1") ",\"senderId\":\"\",\"lamport\":1,\"follows\":null,"
                                                  "\"message\":\"eA==\"}\n");
    done(&r);
    /* The buffered message has its content. The answer to its unwrap had it in an earlier life. */
    events.text[0] = '\0';
    r = nothing();
    answered(SdsUnwrapReceivedMessage(ctx, met.data, met.len, on_reply, &r), &r);
    CHECK_TEXT(events.text,
               READY("m2", "2") ",\"senderId\":\"\",\"lamport\":2,\"follows\":\"m1\"}\n"
               READY("m3", "3") ",\"senderId\":\"\",\"lamport\":3,\"follows\":\"m2\","
                                "\"message\":\"eQ==\"}\n");
    done(&r);
    cleanup(ctx);
    free(bytes.data);
    free(waits.data);
    free(met.data);
}

/* Stored channels are open at the first call, and resend without any. */
static void stored_channels(const char *path) {
    struct outbox outbox = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, "", {NULL, 0}};
    struct reply r = nothing();
    void *ctx = with_store(path);
    answered(SdsWrapOutgoingMessageBinary(ctx, "hello", 5, "a1", "own", on_reply, &r), &r);
    done(&r);
    cleanup(ctx);

    ctx = with_store(path);
    r = nothing();
    answered(SdsWrapOutgoingMessageBinary(ctx, "hello", 5, "a1", "own", on_reply, &r), &r);
    CHECK(SdsWrapOutgoingMessageBinary(ctx, "other", 5, "a1", "own", on_reply, &r) == RET_OK);
    CHECK(r.ret == RET_ERR);
    done(&r);
    r = nothing();
    answered(SdsChannelStatus(ctx, "own", on_reply, &r), &r);
    CHECK(strstr(r.copy, "\"logged\":1,") != NULL && strstr(r.copy, "\"outgoing\":1,") != NULL);
    done(&r);
    r = nothing();
    answered(SdsChannelLog(ctx, "own", NULL, 0, on_reply, &r), &r);
    CHECK(strstr(r.copy, "{\"messageId\":\"a1\",\"senderId\":\"alice\",") != NULL);
    CHECK(strstr(r.copy, "\"message\":\"aGVsbG8=\"}]}") != NULL);
    done(&r);
    cleanup(ctx);

    ctx = with_store(path);
    SdsSetOutgoingCallback(ctx, on_outgoing, &outbox);
    wait_for_one(&outbox);
    CHECK(outbox.why == 1);
    CHECK_TEXT(outbox.channel, "own");
    free(outbox.bytes.data);
    cleanup(ctx);
}

/* Returns the result of `work` in a child, 0 if the child died of it. It ends by a signal: a tool that looks
 * for leaks at an exit would find those of the threads that a child does not have. */
static int in_a_child(int (*work)(void *), void *argument) {
    int *result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(result != MAP_FAILED);
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        *result = work(argument);
        kill(getpid(), SIGKILL);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    int found = *result;
    munmap(result, sizeof *result);
    return found;
}

static int calls_after_a_fork(void *ctx) {
    struct reply r = nothing();
    if (SdsResetReliabilityManager(ctx, on_reply, &r) != RET_ERR) return 1;
    if (SdsCleanupReliabilityManager(ctx, on_reply, &r) != RET_ERR) return 2;
    if (r.calls != 0) return 3;
    void *own = SdsNewReliabilityManager(on_reply, &r);
    if (own == NULL || r.calls != 1 || r.ret != RET_OK) return 4;
    if (SdsCleanupReliabilityManager(own, on_reply, &r) != RET_OK) return 5;
    return 42;
}

static void a_fork(void) {
    void *ctx = new_context(NULL, NULL);
    CHECK(in_a_child(calls_after_a_fork, ctx) == 42);
    struct reply r = nothing();
    answered(SdsResetReliabilityManager(ctx, on_reply, &r), &r);
    done(&r);
    cleanup(ctx);
}

static int says_into_a_broken_pipe(void *argument) {
    int ends[2];
    (void)argument;
    signal(SIGPIPE, SIG_DFL);
    if (pipe(ends) != 0 || close(ends[0]) != 0 || dup2(ends[1], STDOUT_FILENO) < 0) return 1;
    SdsSetEventCallback(NULL, NULL, NULL);
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (sigismember(&blocked, SIGPIPE)) return 2;
    return 42;
}

static void a_broken_pipe(void) {
    CHECK(in_a_child(says_into_a_broken_pipe, NULL) == 42);
}

static void too_many_ids(void) {
    void *ctx = new_context(NULL, NULL);
    const size_t counts[] = {SIZE_MAX, SIZE_MAX >> 3, SIZE_MAX >> 4, (1 << 20) + 1};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char *ids[] = {"m1"};
        struct reply r = nothing();
        CHECK(SdsMarkDependenciesMet(ctx, ids, counts[i], "ch", on_reply, &r) == RET_ERR);
        CHECK(r.calls == 1 && r.ret == RET_ERR);
        CHECK_TEXT(r.copy, "libsds error: count is above 1048576");
        done(&r);
    }
    cleanup(ctx);
}

/* Bytes that are no message are not read to an end that may not be there. */
static void a_length_that_is_a_lie(void) {
    enum { LIE = 32 << 20 };
    long page = sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED && mprotect(pages + page, page, PROT_NONE) == 0);
    char *garbage = pages + page - 8;
    memcpy(garbage, "\x0f garbag", 8);
    void *ctx = new_context(NULL, NULL);
    struct reply r = nothing();
    CHECK(SdsUnwrapReceivedMessage(ctx, garbage, LIE, on_reply, &r) == RET_OK && r.ret == RET_ERR);
    CHECK_TEXT(r.copy, "error processing UNWRAP_MESSAGE request: reDeserializationError");
    done(&r);
    r = nothing();
    CHECK(SdsUnwrapReceivedMessageBinary(ctx, garbage, LIE, on_reply, &r) == RET_OK);
    CHECK(r.ret == RET_ERR);
    CHECK_BEGINNING(r.copy, "error processing UNWRAP_MESSAGE request: reDeserializationError: ");
    done(&r);
    cleanup(ctx);
    munmap(pages, 2 * page);
}

int main(int argc, char **argv) {
    RUN(a_length_that_is_a_lie);
    RUN(a_fork);
    RUN(a_broken_pipe);
    RUN(too_many_ids);
    RUN(configurations);
    RUN(resends_go_out);
    RUN(ephemeral_messages);
    RUN(questions);
    RUN(lengths);
    RUN(nul_in_a_channel_id);
    RUN(logs);
    if (argc > 1) {
        restarts(argv[1]);
        puts("ok restarts");
        stored_channels(argv[1]);
        puts("ok stored_channels");
    }
    puts("all passed");
    return 0;
}
