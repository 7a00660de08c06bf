/*
 * What a program may rely on that was written for nim-sds's libsds: codes, texts, JSON, threads and
 * order. Only the nine functions are used. Rows marked "on purpose" are where this library differs.
 */
#include "harness.h"

#include <dirent.h>
#include <signal.h>
#include <unistd.h>

/* ---- short forms ---- */

/* The bytes that "10,2,109" stands for. */
static struct bytes from_decimal(const char *text) {
    struct bytes bytes = {malloc(strlen(text) / 2 + 1), 0};
    CHECK(bytes.data != NULL);
    while (*text != '\0') {
        char *end;
        long number = strtol(text, &end, 10);
        CHECK(end != text && number >= 0 && number < 256 && (*end == ',' || *end == '\0'));
        bytes.data[bytes.len++] = (unsigned char)number;
        text = *end == ',' ? end + 1 : end;
    }
    return bytes;
}

static void *new_context(struct events *events) {
    struct reply reply = nothing();
    void *ctx = SdsNewReliabilityManager(on_reply, &reply);
    CHECK(ctx != NULL && (uintptr_t)ctx >= 4096);
    CHECK(reply.calls == 1 && reply.ret == RET_OK && reply.len == 0);
    CHECK_TEXT(reply.copy, "");
    CHECK(!pthread_equal(reply.thread, pthread_self()));
    done(&reply);
    if (events != NULL) {
        memset(events, 0, sizeof *events);
        SdsSetEventCallback(ctx, on_event, events);
    }
    return ctx;
}

static void cleanup(void *ctx) {
    struct reply reply = nothing();
    CHECK(SdsCleanupReliabilityManager(ctx, on_reply, &reply) == RET_OK);
    CHECK(reply.calls == 1 && reply.ret == RET_OK);
    CHECK(reply.msg == NULL && reply.len == 0);
    CHECK(pthread_equal(reply.thread, pthread_self()));
    done(&reply);
}

/* The text given to the callback can be read after the call has returned. */
static void can_be_read(const struct reply *reply) {
    CHECK(reply->msg != NULL && memcmp(reply->msg, reply->copy, reply->len + 1) == 0);
}

/* A call that was accepted: one reply, from the library's thread, before it returned. */
static void accepted(int returned, const struct reply *reply) {
    CHECK(returned == RET_OK);
    CHECK(reply->calls == 1);
    CHECK(!pthread_equal(reply->thread, pthread_self()));
    can_be_read(reply);
}

/* A call that was not: one reply, from this thread. */
static void refused(int returned, struct reply *reply, const char *text) {
    CHECK(returned == RET_ERR);
    CHECK(reply->calls == 1 && reply->ret == RET_ERR);
    CHECK(pthread_equal(reply->thread, pthread_self()));
    can_be_read(reply);
    CHECK_TEXT(reply->copy, text);
    CHECK(reply->len == strlen(text));
    done(reply);
}

/* A request that failed in the library. */
static void failed(int returned, struct reply *reply, const char *text) {
    accepted(returned, reply);
    CHECK(reply->ret == RET_ERR);
    CHECK_TEXT(reply->copy, text);
    CHECK(reply->len == strlen(text));
    done(reply);
}

static struct bytes wrap_bytes(void *ctx, const char *content, size_t len, const char *id,
                               const char *channel) {
    struct reply reply = nothing();
    accepted(SdsWrapOutgoingMessage(ctx, content, len, id, channel, on_reply, &reply), &reply);
    CHECK(reply.ret == RET_OK && reply.len == strlen(reply.copy));
    struct bytes bytes = from_decimal(reply.copy);
    done(&reply);
    return bytes;
}

static struct bytes wrap(void *ctx, const char *content, const char *id, const char *channel) {
    return wrap_bytes(ctx, content, strlen(content), id, channel);
}

/* Unwraps and compares the JSON. */
static void unwrap(void *ctx, const struct bytes *bytes, const char *wanted) {
    struct reply reply = nothing();
    accepted(SdsUnwrapReceivedMessage(ctx, bytes->data, bytes->len, on_reply, &reply), &reply);
    if (reply.ret != RET_OK) CHECK_TEXT(reply.copy, "a response");
    CHECK_TEXT(reply.copy, wanted);
    done(&reply);
}

static void unwrap_hand_made(void *ctx, struct bytes bytes, const char *wanted) {
    unwrap(ctx, &bytes, wanted);
    free(bytes.data);
}

static void unwrap_fails(void *ctx, struct bytes bytes, const char *why) {
    char text[128];
    struct reply reply = nothing();
    snprintf(text, sizeof text, "error processing UNWRAP_MESSAGE request: %s", why);
    failed(SdsUnwrapReceivedMessage(ctx, bytes.data, bytes.len, on_reply, &reply), &reply, text);
    free(bytes.data);
}

/* The events since the last look. */
static void saw(struct events *events, const char *wanted) {
    CHECK_TEXT(events->text, wanted);
    events->text[0] = '\0';
}

static void mark(void *ctx, char **ids, size_t count, const char *channel) {
    struct reply reply = nothing();
    accepted(SdsMarkDependenciesMet(ctx, ids, count, channel, on_reply, &reply), &reply);
    CHECK(reply.ret == RET_OK && reply.len == 0);
    CHECK_TEXT(reply.copy, "");
    done(&reply);
}

static size_t count_files(const char *folder) {
    size_t count = 0;
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) count++;
    closedir(dir);
    return count;
}

/* What `work` writes to standard output. */
static void stdout_of(void (*work)(void), char *text, size_t size) {
    FILE *file = tmpfile();
    int saved = dup(1);
    ssize_t len;
    CHECK(file != NULL && saved >= 0);
    fflush(stdout);
    CHECK(dup2(fileno(file), 1) == 1);
    work();
    CHECK(dup2(saved, 1) == 1);
    close(saved);
    len = pread(fileno(file), text, size - 1, 0);
    CHECK(len >= 0);
    text[len] = '\0';
    fclose(file);
}

/* ---- contexts ---- */

static void new_without_callback(void) {
    CHECK(SdsNewReliabilityManager(NULL, NULL) == NULL);
}

static void set_on_no_context(void) {
    SdsSetEventCallback((void *)0x1234, on_event, NULL);
    SdsSetRetrievalHintProvider(NULL, NULL, NULL);
}

static void making_contexts(void) {
    char text[256];
    struct sigaction before, after;
    void *many[40];
    CHECK(sigaction(SIGSEGV, NULL, &before) == 0);
    stdout_of(new_without_callback, text, sizeof text);
    CHECK_TEXT(text, "error: missing callback in SdsNewReliabilityManager\n");
    stdout_of(set_on_no_context, text, sizeof text);
    CHECK(strchr(text, '\n') != NULL && strchr(text, '\n') != strrchr(text, '\n'));

    size_t threads = count_files("/proc/self/task"), files = count_files("/proc/self/fd");
    /* On purpose: more than 32. */
    for (size_t i = 0; i < 40; i++) many[i] = new_context(NULL);
    CHECK(count_files("/proc/self/task") <= threads + 2 * 40);
    CHECK(count_files("/proc/self/fd") <= files + 6 * 40);
    for (size_t i = 0; i < 40; i++) {
        for (size_t j = 0; j < i; j++) CHECK(many[i] != many[j]);
    }
    for (size_t i = 0; i < 40; i++) cleanup(many[i]);
    CHECK(count_files("/proc/self/fd") == files);
    /* No signal handler was installed. */
    CHECK(sigaction(SIGSEGV, NULL, &after) == 0);
    CHECK(before.sa_handler == after.sa_handler && before.sa_flags == after.sa_flags);
}

/* Calls each function with arguments that are right but for the context and the callback. */
static void call_all(void *ctx, SdsCallBack callback, struct reply *reply, int wanted) {
    char *ids[] = {"m"};
    CHECK(SdsWrapOutgoingMessage(ctx, "x", 1, "m", "ch", callback, reply) == wanted);
    CHECK(SdsUnwrapReceivedMessage(ctx, "x", 1, callback, reply) == wanted);
    CHECK(SdsMarkDependenciesMet(ctx, ids, 1, "ch", callback, reply) == wanted);
    CHECK(SdsResetReliabilityManager(ctx, callback, reply) == wanted);
    CHECK(SdsStartPeriodicTasks(ctx, callback, reply) == wanted);
    CHECK(SdsCleanupReliabilityManager(ctx, callback, reply) == wanted);
    CHECK(reply->calls == 0);
}

static void order_of_checks(void) {
    struct reply reply = nothing();
    void *ctx = new_context(NULL);
    call_all(NULL, on_reply, &reply, RET_ERR);
    call_all((void *)0x1234, on_reply, &reply, RET_ERR);
    call_all(NULL, NULL, &reply, RET_ERR);
    call_all(ctx, NULL, &reply, RET_MISSING_CALLBACK);
    /* The callback is looked at before the arguments. */
    CHECK(SdsWrapOutgoingMessage(ctx, NULL, 1, NULL, NULL, NULL, NULL) == RET_MISSING_CALLBACK);
    cleanup(ctx);
    call_all(ctx, on_reply, &reply, RET_ERR);
    /* On purpose: no later context has the pointer of an earlier one. */
    for (int i = 0; i < 20; i++) {
        void *other = new_context(NULL);
        CHECK(other != ctx);
        call_all(ctx, on_reply, &reply, RET_ERR);
        cleanup(other);
    }
}

/* ---- errors ---- */

static void errors_of_arguments(void) {
    struct reply r = nothing();
    void *ctx = new_context(NULL);
    refused(SdsWrapOutgoingMessage(ctx, NULL, 1, "m", "ch", on_reply, &r), &r,
            "libsds error: message pointer is NULL but length > 0");
    r = nothing();
    refused(SdsUnwrapReceivedMessage(ctx, NULL, 1, on_reply, &r), &r,
            "libsds error: message pointer is NULL but length > 0");
    r = nothing();
    refused(SdsWrapOutgoingMessage(ctx, "x", 1, NULL, "ch", on_reply, &r), &r,
            "libsds error: message ID pointer is NULL");
    r = nothing();
    refused(SdsWrapOutgoingMessage(ctx, "x", 1, "m", NULL, on_reply, &r), &r,
            "libsds error: channel ID pointer is NULL");
    r = nothing();
    refused(SdsWrapOutgoingMessage(ctx, "x", 1, "m", "", on_reply, &r), &r,
            "libsds error: channel ID is empty string");
    r = nothing();
    refused(SdsMarkDependenciesMet(ctx, NULL, 1, "ch", on_reply, &r), &r,
            "libsds error: MessageIDs pointer is NULL but count > 0");
    r = nothing();
    refused(SdsMarkDependenciesMet(ctx, NULL, 0, NULL, on_reply, &r), &r,
            "libsds error: channel ID pointer is NULL");
    r = nothing();
    refused(SdsMarkDependenciesMet(ctx, NULL, 0, "", on_reply, &r), &r,
            "libsds error: channel ID is empty string");
    cleanup(ctx);
}

static void errors_of_wrap(void) {
    enum { MIB = 1 << 20 };
    struct reply r = nothing();
    void *ctx = new_context(NULL);
    char *large = calloc(2 * MIB, 1);
    CHECK(large != NULL);
    failed(SdsWrapOutgoingMessage(ctx, NULL, 0, "m", "ch", on_reply, &r), &r,
           "error processing WRAP_MESSAGE request: reInvalidArgument");
    r = nothing();
    failed(SdsWrapOutgoingMessage(ctx, "x", 0, "m", "ch", on_reply, &r), &r,
           "error processing WRAP_MESSAGE request: reInvalidArgument");
    r = nothing();
    failed(SdsWrapOutgoingMessage(ctx, large, MIB + 1, "m", "ch", on_reply, &r), &r,
           "error processing WRAP_MESSAGE request: reMessageTooLarge");
    r = nothing();
    failed(SdsWrapOutgoingMessage(ctx, large, 2 * MIB, "m", "ch", on_reply, &r), &r,
           "error processing WRAP_MESSAGE request: reMessageTooLarge");
    free(wrap_bytes(ctx, large, MIB, "m", "ch").data);
    free(large);
    /* On purpose: an empty id names nothing. */
    r = nothing();
    failed(SdsWrapOutgoingMessage(ctx, "x", 1, "", "ch", on_reply, &r), &r,
           "error processing WRAP_MESSAGE request: reInvalidArgument");
    cleanup(ctx);
}

/* On purpose: an id can be wrapped again only with the same content, and is the same message, whether
 * somebody has acknowledged it or not. */
static void wrapping_again(void) {
    struct reply r = nothing();
    void *ctx = new_context(NULL), *other = new_context(NULL);
    struct bytes first = wrap(ctx, "hello", "m1", "ch");
    struct bytes second = wrap(ctx, "hello", "m1", "ch");
    unwrap(other, &first, "{\"message\":[104,101,108,108,111],\"channelId\":\"ch\",\"missingDeps\":[]}");
    unwrap(other, &second, "{\"message\":[104,101,108,108,111],\"channelId\":\"ch\",\"missingDeps\":[]}");
    failed(SdsWrapOutgoingMessage(ctx, "other", 5, "m1", "ch", on_reply, &r), &r,
           "error processing WRAP_MESSAGE request: reInvalidArgument");
    /* Acknowledged as well. */
    struct bytes reply = wrap(other, "seen", "r1", "ch");
    unwrap(ctx, &reply, "{\"message\":[115,101,101,110],\"channelId\":\"ch\",\"missingDeps\":[]}");
    struct bytes third = wrap(ctx, "hello", "m1", "ch");
    void *another = new_context(NULL);
    unwrap(another, &third,
           "{\"message\":[104,101,108,108,111],\"channelId\":\"ch\",\"missingDeps\":[]}");
    cleanup(another);
    r = nothing();
    failed(SdsWrapOutgoingMessage(ctx, "other", 5, "m1", "ch", on_reply, &r), &r,
           "error processing WRAP_MESSAGE request: reInvalidArgument");
    /* And what came back from others, after this program had lost its state. */
    struct bytes fourth = wrap(other, "hello", "m1", "ch");
    unwrap(ctx, &fourth, "{\"message\":[104,101,108,108,111],\"channelId\":\"ch\",\"missingDeps\":[]}");
    free(third.data);
    free(fourth.data);
    /* The id is one of its channel. */
    free(wrap(ctx, "hello", "m1", "another").data);
    free(first.data);
    free(second.data);
    free(reply.data);
    cleanup(ctx);
    cleanup(other);
}

#define READY(id) "{\"messageId\":\"" id "\",\"channelId\":\"ch\",\"eventType\":\"message_ready\"}\n"

/* An application that has lost its state sends again what others have and name. */
static void wrapping_what_others_name(void) {
    struct events events;
    char *met[] = {"m2"};
    const char *on_m1[] = {"+m1", NULL}, *on_m2[] = {"+m2", NULL};
    void *ctx = new_context(&events);
    unwrap_hand_made(ctx, message("r1", 5, on_m1, "ch", "x"),
                     "{\"message\":[120],\"channelId\":\"ch\",\"missingDeps\":"
                     "[{\"messageId\":\"m1\",\"retrievalHint\":\"\"}]}");
    events.text[0] = '\0';
    struct bytes m1 = wrap(ctx, "hello", "m1", "ch");
    saw(&events, READY("r1"));
    void *other = new_context(NULL);
    unwrap(other, &m1, "{\"message\":[104,101,108,108,111],\"channelId\":\"ch\",\"missingDeps\":[]}");
    cleanup(other);
    /* A message that was only declared to be met can be wrapped, too. */
    unwrap_hand_made(ctx, message("r2", 6, on_m2, "ch", "x"),
                     "{\"message\":[120],\"channelId\":\"ch\",\"missingDeps\":"
                     "[{\"messageId\":\"m2\",\"retrievalHint\":\"\"}]}");
    mark(ctx, met, 1, "ch");
    free(wrap(ctx, "hello", "m2", "ch").data);
    free(m1.data);
    cleanup(ctx);
}

static struct bytes cut(struct bytes bytes, size_t by) {
    bytes.len -= by;
    return bytes;
}

static struct bytes with_tail(struct bytes bytes, const void *tail, size_t len) {
    put(&bytes, tail, len);
    return bytes;
}

static void errors_of_unwrap(void) {
    const char *why = "reDeserializationError";
    void *ctx = new_context(NULL);
    struct bytes garbage = {NULL, 0}, empty = {NULL, 0};
    put(&garbage, "\xff\xff\xff garbage", 11);
    unwrap_fails(ctx, garbage, why);
    unwrap_fails(ctx, empty, why);
    unwrap_fails(ctx, cut(message("m", 1, NULL, "ch", "x"), 1), why);
    unwrap_fails(ctx, with_tail(message("m", 1, NULL, "ch", "x"), "\x07", 1), why);
    unwrap_fails(ctx, message(NULL, 1, NULL, "ch", "x"), why);
    unwrap_fails(ctx, message("m", 0, NULL, "ch", "x"), why);
    unwrap_fails(ctx, message("m", 1, NULL, NULL, "x"), why);
    cleanup(ctx);
}

static void what_unwrap_accepts(void) {
    enum { TWO_MIB = 2 << 20 };
    struct events events;
    void *ctx = new_context(&events);
    unwrap_hand_made(ctx, message("m1", 1, NULL, "ch", ""),
                     "{\"message\":[],\"channelId\":\"ch\",\"missingDeps\":[]}");
    /* nim-sds 0.4 leaves out what is empty. */
    unwrap_hand_made(ctx, message("m1", 1, NULL, "ch", NULL),
                     "{\"message\":[],\"channelId\":\"ch\",\"missingDeps\":[]}");
    unwrap_hand_made(ctx, message("m2", 1, NULL, "", "x"),
                     "{\"message\":[120],\"channelId\":\"\",\"missingDeps\":[]}");
    unwrap_hand_made(ctx, message("", 1, NULL, "ch", "x"),
                     "{\"message\":[120],\"channelId\":\"ch\",\"missingDeps\":[]}");
    events.text[0] = '\0';
    /* A filter that is none, and a field that nobody knows. */
    unwrap_hand_made(ctx, with_tail(message("m3", 1, NULL, "ch", "x"), "\x32\x04junk", 6),
                     "{\"message\":[120],\"channelId\":\"ch\",\"missingDeps\":[]}");
    unwrap_hand_made(ctx, with_tail(message("m4", 1, NULL, "ch", "x"), "\xf8\x06\x01", 3),
                     "{\"message\":[120],\"channelId\":\"ch\",\"missingDeps\":[]}");
    saw(&events, "{\"messageId\":\"m3\",\"channelId\":\"ch\",\"eventType\":\"message_ready\"}\n"
                 "{\"messageId\":\"m4\",\"channelId\":\"ch\",\"eventType\":\"message_ready\"}\n");
    /* On purpose: a history in the old format. */
    const char *old[] = {"+m3", "+plainid", NULL};
    unwrap_hand_made(ctx, message("m5", 2, old, "ch", "x"),
                     "{\"message\":[120],\"channelId\":\"ch\",\"missingDeps\":"
                     "[{\"messageId\":\"plainid\",\"retrievalHint\":\"\"}]}");
    events.text[0] = '\0';

    char *large = malloc(TWO_MIB + 1);
    CHECK(large != NULL);
    memset(large, 'y', TWO_MIB);
    large[TWO_MIB] = '\0';
    struct bytes bytes = message("m6", 3, NULL, "ch", large);
    struct reply r = nothing();
    accepted(SdsUnwrapReceivedMessage(ctx, bytes.data, bytes.len, on_reply, &r), &r);
    CHECK(r.ret == RET_OK && r.len > (size_t)TWO_MIB * 4);
    saw(&events, "{\"messageId\":\"m6\",\"channelId\":\"ch\",\"eventType\":\"message_ready\"}\n");
    done(&r);
    free(bytes.data);
    free(large);
    cleanup(ctx);
}

/* On purpose: what ended the process there is an error here, or ignored. */
static void hostile_messages(void) {
    static const char *const filters[] = {
        "\x32\x02\x28\x00",                                             /* m = 0 */
        "\x32\x0e\x0a\x08xxxxxxxx\x28\xff\x7f",                         /* m beyond its words */
        "\x32\x10\x0a\x08xxxxxxxx\x20\x80\x80\x80\x80\x80\x40",         /* k = 2^41 */
    };
    static const size_t lens[] = {4, 15, 18};
    void *ctx = new_context(NULL);
    free(wrap(ctx, "mine", "m0", "ch").data);
    unwrap_fails(ctx, message("m1", UINT64_C(1) << 63, NULL, "ch", "x"), "reInvalidArgument");
    unwrap_fails(ctx, message("m1", UINT64_MAX, NULL, "ch", "x"), "reInvalidArgument");
    for (size_t i = 0; i < 3; i++) {
        char id[] = {'f', (char)('0' + i), '\0'};
        struct bytes bytes = with_tail(message(id, 1, NULL, "ch", "x"), filters[i], lens[i]);
        struct reply r = nothing();
        accepted(SdsUnwrapReceivedMessage(ctx, bytes.data, bytes.len, on_reply, &r), &r);
        done(&r);
        free(bytes.data);
    }
    cleanup(ctx);
}

/* ---- events ---- */

#define SENT(id) "{\"messageId\":\"" id "\",\"channelId\":\"ch\",\"eventType\":\"message_sent\"}\n"
#define DEP(id) "{\"messageId\":\"" id "\",\"retrievalHint\":\"\"}"
#define MISSING(id, deps)                                                                   \
    "{\"eventType\":\"missing_dependencies\",\"messageId\":\"" id                           \
    "\",\"channelId\":\"ch\",\"missingDeps\":[" deps "]}\n"
#define RESPONSE(content, deps)                                                             \
    "{\"message\":[" content "],\"channelId\":\"ch\",\"missingDeps\":[" deps "]}"

static void deliveries(void) {
    struct events a_events, b_events;
    struct reply r = nothing();
    void *a = new_context(&a_events), *b = new_context(&b_events);
    struct bytes m1 = wrap(a, "hello", "m1", "ch"), m2 = wrap(a, "again", "m2", "ch");
    saw(&a_events, "");

    accepted(SdsUnwrapReceivedMessage(b, m1.data, m1.len, on_reply, &r), &r);
    CHECK_TEXT(r.copy, RESPONSE("104,101,108,108,111", ""));
    saw(&b_events, READY("m1"));
    /* The event came first, on the thread of the response. */
    CHECK(r.events_before == all_events && pthread_equal(r.thread, b_events.thread));
    done(&r);
    /* A repeat, and one's own. */
    unwrap(b, &m1, RESPONSE("104,101,108,108,111", ""));
    unwrap(a, &m1, RESPONSE("104,101,108,108,111", ""));
    saw(&a_events, "");
    saw(&b_events, "");

    /* Named by an answer both are sent, in the order they were, before the answer is ready. */
    unwrap(b, &m2, RESPONSE("97,103,97,105,110", ""));
    struct bytes r1 = wrap(b, "x", "r1", "ch");
    unwrap(a, &r1, RESPONSE("120", ""));
    saw(&a_events, SENT("m1") SENT("m2") READY("r1"));
    /* Also where the answer names them in another order. */
    const char *const sent[] = {"+m5", "+m4", "+m3", NULL};
    for (int i = 0; i < 3; i++) free(wrap(a, "x", sent[2 - i] + 1, "ch").data);
    unwrap_hand_made(a, message("r2", UINT64_C(1) << 40, sent, "ch", "x"), RESPONSE("120", ""));
    saw(&a_events, SENT("m3") SENT("m4") SENT("m5") READY("r2"));
    free(m1.data);
    free(m2.data);
    free(r1.data);
    cleanup(a);
    cleanup(b);
}

static void missing_dependencies(void) {
    struct events events;
    const char *on_e1[] = {"e1", NULL}, *on_both[] = {"e1", "e2", NULL};
    void *ctx = new_context(&events);
    unwrap_hand_made(ctx, message("e2", 2, on_e1, "ch", "x"), RESPONSE("120", DEP("e1")));
    saw(&events, MISSING("e2", DEP("e1")));
    /* A dependency that waits itself is missing as well. */
    unwrap_hand_made(ctx, message("e3", 3, on_both, "ch", "x"),
                     RESPONSE("120", DEP("e1") "," DEP("e2")));
    saw(&events, MISSING("e3", DEP("e1") "," DEP("e2")));
    /* On purpose: a repeat is answered in the same way, and is no second event. */
    unwrap_hand_made(ctx, message("e2", 2, on_e1, "ch", "x"), RESPONSE("120", DEP("e1")));
    saw(&events, "");
    /* On purpose: what releases the others is ready before them. */
    unwrap_hand_made(ctx, message("e1", 1, NULL, "ch", "x"), RESPONSE("120", ""));
    saw(&events, READY("e1") READY("e2") READY("e3"));
    cleanup(ctx);
}

static void dependencies_met(void) {
    struct events events;
    struct reply r = nothing();
    const char *on_two[] = {"d1", "d2", NULL};
    char *first[] = {"d1", NULL}, *second[] = {"d2"};
    void *ctx = new_context(&events);
    failed(SdsMarkDependenciesMet(ctx, first, 1, "ch", on_reply, &r), &r,
           "error processing MARK_DEPENDENCIES_MET request: reInvalidArgument");
    unwrap_hand_made(ctx, message("m1", 2, on_two, "ch", "x"),
                     RESPONSE("120", DEP("d1") "," DEP("d2")));
    events.text[0] = '\0';
    mark(ctx, NULL, 0, "ch");
    mark(ctx, first, 2, "ch"); /* the second is NULL, which is "" */
    saw(&events, "");
    r = nothing();
    accepted(SdsMarkDependenciesMet(ctx, second, 1, "ch", on_reply, &r), &r);
    CHECK(r.events_before == all_events);
    saw(&events, READY("m1"));
    done(&r);
    cleanup(ctx);
}

static void resetting(void) {
    struct events events;
    struct reply r = nothing();
    char *ids[] = {"x"};
    void *ctx = new_context(&events);
    unwrap_hand_made(ctx, message("m1", 1, NULL, "ch", "x"), RESPONSE("120", ""));
    accepted(SdsResetReliabilityManager(ctx, on_reply, &r), &r);
    CHECK(r.ret == RET_OK && r.len == 0);
    done(&r);
    r = nothing();
    failed(SdsMarkDependenciesMet(ctx, ids, 1, "ch", on_reply, &r), &r,
           "error processing MARK_DEPENDENCIES_MET request: reInvalidArgument");
    unwrap_hand_made(ctx, message("m1", 1, NULL, "ch", "x"), RESPONSE("120", ""));
    saw(&events, READY("m1") READY("m1"));
    cleanup(ctx);
}

static void periodic_tasks(void) {
    struct events events;
    void *ctx = new_context(&events);
    for (int i = 0; i < 2; i++) {
        struct reply r = nothing();
        accepted(SdsStartPeriodicTasks(ctx, on_reply, &r), &r);
        CHECK(r.ret == RET_OK && r.len == 0 && r.events_before == all_events);
        saw(&events, "{\"eventType\":\"periodic_sync\"}\n");
        done(&r);
    }
    cleanup(ctx);
}

static void escapes(void) {
    struct events events;
    void *a = new_context(NULL), *b = new_context(&events);
    struct bytes bytes = wrap(a, "x", "\"\\\b\t\n\v\f\r\x01\x1f/\x7f\xc3\xff", "c\"h");
    unwrap(b, &bytes, "{\"message\":[120],\"channelId\":\"c\\\"h\",\"missingDeps\":[]}");
    saw(&events, "{\"messageId\":\"\\\"\\\\\\b\\t\\n\\u000b\\f\\r\\u0001\\u001F/\x7f\\uDCC3\\uDCFF\","
                 "\"channelId\":\"c\\\"h\",\"eventType\":\"message_ready\"}\n");
    free(bytes.data);
    cleanup(a);
    cleanup(b);
}

static void no_events(void) {
    struct events first, second;
    void *ctx = new_context(&first);
    memset(&second, 0, sizeof second);
    unwrap_hand_made(ctx, message("m1", 1, NULL, "ch", "x"), RESPONSE("120", ""));
    SdsSetEventCallback(ctx, on_event, &second);
    unwrap_hand_made(ctx, message("m2", 1, NULL, "ch", "x"), RESPONSE("120", ""));
    SdsSetEventCallback(ctx, NULL, NULL);
    unwrap_hand_made(ctx, message("m3", 1, NULL, "ch", "x"), RESPONSE("120", ""));
    saw(&first, READY("m1"));
    saw(&second, READY("m2"));
    cleanup(ctx);
}

/* ---- hints ---- */

struct asked {
    char text[512];
    pthread_t thread;
};

static void on_hint(const char *id, char **hint, size_t *len, void *user_data) {
    struct asked *asked = user_data;
    CHECK(*hint == NULL && *len == 0);
    strcat(strcat(asked->text, id), " ");
    asked->thread = pthread_self();
    if (strcmp(id, "h3") == 0) return; /* nobody knows */
    *hint = malloc(64);
    CHECK(*hint != NULL);
    if (strcmp(id, "h2") == 0) return; /* no bytes, freed all the same */
    *len = (size_t)snprintf(*hint, 64, "hint-for-%s", id);
}

static void hints(void) {
    struct asked asked = {"", pthread_self()};
    struct events events;
    void *a = new_context(NULL), *b = new_context(&events);
    SdsSetRetrievalHintProvider(a, on_hint, &asked);
    free(wrap(a, "x", "h1", "ch").data);
    CHECK_TEXT(asked.text, "");
    free(wrap(a, "x", "h2", "ch").data);
    CHECK_TEXT(asked.text, "h1 ");
    CHECK(!pthread_equal(asked.thread, pthread_self()));
    free(wrap(a, "x", "h3", "ch").data);
    asked.text[0] = '\0';
    struct bytes last = wrap(a, "x", "h4", "ch");
    CHECK_TEXT(asked.text, "h1 h2 h3 ");
    asked.text[0] = '\0';
    unwrap(b, &last,
           RESPONSE("120", "{\"messageId\":\"h1\",\"retrievalHint\":\"aGludC1mb3ItaDE=\"},"
                           DEP("h2") "," DEP("h3")));
    saw(&events, MISSING("h4", "{\"messageId\":\"h1\",\"retrievalHint\":\"aGludC1mb3ItaDE=\"},"
                               DEP("h2") "," DEP("h3")));
    unwrap(a, &last, RESPONSE("120", ""));
    CHECK_TEXT(asked.text, ""); /* never during an unwrap */
    free(last.data);

    /* The ten newest. */
    char id[] = "i0";
    for (; id[1] <= '9'; id[1]++) free(wrap(a, "x", id, "ch").data);
    asked.text[0] = '\0';
    free(wrap(a, "x", "last", "ch").data);
    CHECK_TEXT(asked.text, "i0 i1 i2 i3 i4 i5 i6 i7 i8 i9 ");
    SdsSetRetrievalHintProvider(a, NULL, NULL);
    asked.text[0] = '\0';
    free(wrap(a, "x", "more", "ch").data);
    CHECK_TEXT(asked.text, "");
    cleanup(a);
    cleanup(b);
}

static void knows_h1(const char *id, char **hint, size_t *len, void *user_data) {
    int *asked = user_data;
    if (strcmp(id, "h1") != 0 || (*asked)++ > 0) return;
    *hint = strdup("where");
    CHECK(*hint != NULL);
    *len = strlen(*hint);
}

#define HINTED "{\"messageId\":\"h1\",\"retrievalHint\":\"d2hlcmU=\"}"

/* On purpose: a hint stays until there is another, and is passed on by whoever heard it. */
static void hints_stay(void) {
    int asked = 0;
    void *a = new_context(NULL), *b = new_context(NULL), *c = new_context(NULL);
    SdsSetRetrievalHintProvider(a, knows_h1, &asked);
    struct bytes h1 = wrap(a, "x", "h1", "ch"), h2 = wrap(a, "x", "h2", "ch");
    struct bytes h3 = wrap(a, "x", "h3", "ch");
    CHECK(asked == 2);
    unwrap(b, &h3, RESPONSE("120", HINTED "," DEP("h2")));
    SdsSetRetrievalHintProvider(a, NULL, NULL);
    struct bytes h4 = wrap(a, "x", "h4", "ch");
    unwrap(b, &h4, RESPONSE("120", HINTED "," DEP("h2") "," DEP("h3")));
    unwrap(b, &h1, RESPONSE("120", ""));
    unwrap(b, &h2, RESPONSE("120", ""));
    struct bytes from_b = wrap(b, "x", "b1", "ch");
    unwrap(c, &from_b, RESPONSE("120", HINTED "," DEP("h2") "," DEP("h3") "," DEP("h4")));
    struct bytes all[] = {h1, h2, h3, h4, from_b};
    for (int i = 0; i < 5; i++) free(all[i].data);
    cleanup(a);
    cleanup(b);
    cleanup(c);
}

/* ---- threads and memory ---- */

/* An answer can be read after the call has returned, after thousands more, and after the end of
 * the context. */
static void answers_stay(void) {
    enum { CALLS = 4000 };
    static struct reply replies[CALLS];
    void *ctx = new_context(NULL);
    for (int i = 0; i < CALLS; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        struct bytes bytes = message(id, 1, NULL, "ch", id);
        replies[i] = nothing();
        accepted(SdsUnwrapReceivedMessage(ctx, bytes.data, bytes.len, on_reply, &replies[i]),
                 &replies[i]);
        free(bytes.data);
    }
    for (int i = 0; i < CALLS; i++) can_be_read(&replies[i]);
    cleanup(ctx);
    for (int i = 0; i < CALLS; i++) {
        can_be_read(&replies[i]);
        done(&replies[i]);
    }
}

/* On purpose: a callback that calls its own context is refused, and goes on. */
struct reentrant {
    void *own, *other;
    struct reply on_own, on_own_cleanup, on_other;
    int own_ret, own_cleanup_ret, other_ret;
    int calls;
};

static void on_reentrant(int ret, const char *msg, size_t len, void *user_data) {
    struct reentrant *r = user_data;
    (void)ret, (void)msg, (void)len;
    if (r->calls++ > 0) return;
    r->own_ret = SdsWrapOutgoingMessage(r->own, "x", 1, "i1", "ch", on_reply, &r->on_own);
    r->own_cleanup_ret = SdsCleanupReliabilityManager(r->own, on_reply, &r->on_own_cleanup);
    r->other_ret = SdsWrapOutgoingMessage(r->other, "x", 1, "i1", "ch", on_reply, &r->on_other);
    SdsSetEventCallback(r->own, NULL, NULL);
}

static void calls_from_callbacks(void) {
    struct reentrant r;
    memset(&r, 0, sizeof r);
    r.own = new_context(NULL);
    r.other = new_context(NULL);
    SdsSetEventCallback(r.own, on_reentrant, &r);
    unwrap_hand_made(r.own, message("m1", 1, NULL, "ch", "x"), RESPONSE("120", ""));
    CHECK(r.calls == 1);
    CHECK(r.own_ret == RET_ERR && r.on_own.calls == 1 && r.on_own.ret == RET_ERR);
    CHECK_TEXT(r.on_own.copy,
               "libsds error: called from a callback for which the context itself waits");
    can_be_read(&r.on_own);
    can_be_read(&r.on_own_cleanup);
    CHECK(r.own_cleanup_ret == RET_ERR && r.on_own_cleanup.calls == 1);
    CHECK(r.other_ret == RET_OK && r.on_other.calls == 1 && r.on_other.ret == RET_OK);
    done(&r.on_own);
    done(&r.on_own_cleanup);
    done(&r.on_other);
    free(wrap(r.own, "x", "m2", "ch").data);
    cleanup(r.own);
    cleanup(r.other);
}

/* Two contexts whose callbacks call each other at once. */
struct ring {
    void *next;
    int refused, answered;
};

static void on_ring(int ret, const char *msg, size_t len, void *user_data) {
    struct ring *ring = user_data;
    struct reply r = nothing();
    (void)ret, (void)msg, (void)len;
    /* Not understood, so that there is no event and no call further on. */
    int returned = SdsUnwrapReceivedMessage(ring->next, "x", 1, on_reply, &r);
    CHECK(r.calls == 1 && r.ret == RET_ERR);
    if (returned == RET_ERR) ring->refused++;
    if (returned == RET_OK) ring->answered++;
    done(&r);
}

struct sender {
    void *ctx;
    char name;
};

static void *send_many(void *arg) {
    struct sender *sender = arg;
    for (int i = 0; i < 200; i++) {
        char id[16];
        snprintf(id, sizeof id, "%c%d", sender->name, i);
        unwrap_hand_made(sender->ctx, message(id, 1, NULL, "ch", "x"), RESPONSE("120", ""));
    }
    return NULL;
}

static void rings_of_callbacks(void) {
    void *a = new_context(NULL), *b = new_context(NULL);
    struct ring from_a = {b, 0, 0}, from_b = {a, 0, 0};
    SdsSetEventCallback(a, on_ring, &from_a);
    SdsSetEventCallback(b, on_ring, &from_b);
    struct sender senders[] = {{a, 'a'}, {b, 'b'}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, send_many, &senders[i]) == 0);
    }
    for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(from_a.refused + from_a.answered == 200 && from_b.refused + from_b.answered == 200);
    CHECK(from_a.answered + from_b.answered > 0);
    cleanup(a);
    cleanup(b);
}

static void four_threads_on_one_context(void) {
    void *ctx = new_context(NULL);
    struct sender senders[] = {{ctx, 'a'}, {ctx, 'b'}, {ctx, 'c'}, {ctx, 'd'}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, send_many, &senders[i]) == 0);
    }
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    cleanup(ctx);
}

/* A context that is cleaned up while others call it: each call is answered or refused. */
static void *call_until_gone(void *ctx) {
    for (int i = 0;; i++) {
        struct reply r = nothing();
        struct bytes bytes = message("m", 1, NULL, "ch", "x");
        int returned = SdsUnwrapReceivedMessage(ctx, bytes.data, bytes.len, on_reply, &r);
        CHECK(r.calls == (returned == RET_OK));
        free(bytes.data);
        done(&r);
        if (returned != RET_OK) return NULL;
    }
}

static void cleanup_under_way(void) {
    void *ctx = new_context(NULL);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, call_until_gone, ctx) == 0);
    }
    cleanup(ctx);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void *make_and_end_some(void *arg) {
    (void)arg;
    for (int i = 0; i < 100 / 8 + 1; i++) {
        void *ctx = new_context(NULL);
        struct bytes bytes = wrap(ctx, "hello", "m1", "ch");
        unwrap(ctx, &bytes, RESPONSE("104,101,108,108,111", ""));
        free(bytes.data);
        cleanup(ctx);
    }
    return NULL;
}

static void hundred_contexts_from_eight_threads(void) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        CHECK(pthread_create(&threads[i], NULL, make_and_end_some, NULL) == 0);
    }
    for (int i = 0; i < 8; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(void) {
    RUN(making_contexts);
    RUN(order_of_checks);
    RUN(errors_of_arguments);
    RUN(errors_of_wrap);
    RUN(wrapping_again);
    RUN(wrapping_what_others_name);
    RUN(errors_of_unwrap);
    RUN(what_unwrap_accepts);
    RUN(hostile_messages);
    RUN(deliveries);
    RUN(missing_dependencies);
    RUN(dependencies_met);
    RUN(resetting);
    RUN(periodic_tasks);
    RUN(escapes);
    RUN(no_events);
    RUN(hints);
    RUN(hints_stay);
    RUN(answers_stay);
    RUN(calls_from_callbacks);
    RUN(rings_of_callbacks);
    RUN(four_threads_on_one_context);
    RUN(cleanup_under_way);
    RUN(hundred_contexts_from_eight_threads);
    puts("all passed");
    return 0;
}
