/* What the functions do that nim-sds's libsds did not have. */
#include "harness.h"

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
        if (strncmp(reply.copy, wrong[i].says, strlen(wrong[i].says)) != 0) {
            CHECK_TEXT(reply.copy, wrong[i].says);
        }
        done(&reply);
    }
    CHECK(SdsNewReliabilityManagerWithConfig("a", "{}", NULL, NULL) == NULL);
    cleanup(new_context(NULL, NULL));
    cleanup(new_context("", ""));
    cleanup(new_context("alice", "{\"maxCausalHistory\":2,\"spinMicros\":0}"));
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
    void *alice = new_context("alice", "{\"resendIntervalMs\":1,\"sync\":false}");
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
    CHECK_TEXT(events.text, "{\"messageId\":\"m1\",\"channelId\":\"ch\",\"eventType\":"
                            "\"message_ready\",\"seq\":1,\"gap\":false}\n");
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

/* What was not consumed is told again by the next context of the same store. */
static void restarts(const char *path) {
    char config[512];
    struct events events;
    struct reply r = nothing();
    struct bytes bytes = message("m1", 1, NULL, "ch", "x");
    snprintf(config, sizeof config, "{\"store\":\"%s\"}", path);
    void *ctx = new_context("alice", config);
    CHECK(SdsUnwrapReceivedMessage(ctx, bytes.data, bytes.len, on_reply, &r) == RET_OK);
    CHECK(r.ret == RET_OK);
    done(&r);
    /* The file is in use. */
    r = nothing();
    CHECK(SdsNewReliabilityManagerWithConfig("bob", config, on_reply, &r) == NULL);
    CHECK(r.ret == RET_ERR && strstr(r.copy, "the store cannot be opened: ") != NULL);
    done(&r);
    cleanup(ctx);

    memset(&events, 0, sizeof events);
    ctx = new_context("alice", config);
    SdsSetEventCallback(ctx, on_event, &events);
    r = nothing();
    CHECK(SdsUnwrapReceivedMessage(ctx, bytes.data, bytes.len, on_reply, &r) == RET_OK);
    CHECK_TEXT(events.text, "{\"messageId\":\"m1\",\"channelId\":\"ch\",\"eventType\":\"message_ready\","
                            "\"seq\":1,\"gap\":false,\"message\":\"eA==\"}\n");
    done(&r);
    cleanup(ctx);
    free(bytes.data);
}

int main(int argc, char **argv) {
    RUN(configurations);
    RUN(resends_go_out);
    RUN(ephemeral_messages);
    RUN(questions);
    if (argc > 1) {
        restarts(argv[1]);
        puts("ok restarts");
    }
    puts("all passed");
    return 0;
}
