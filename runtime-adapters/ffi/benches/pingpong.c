/*
 * Wraps and unwraps per second through the C functions: one caller, two contexts that answer each
 * other, 64 bytes a message.
 *
 *   pingpong [messages, 40000] [messages in a channel, 50]
 */
#include <libsds.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONTENT 64

typedef int (*wrap_fn)(void *, const void *, size_t, const char *, const char *, SdsCallBack, void *);
typedef int (*unwrap_fn)(void *, const void *, size_t, SdsCallBack, void *);

struct wrapped {
    unsigned char *bytes;
    size_t len, room;
    int text;
};

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static unsigned char *room_for(struct wrapped *wrapped, size_t len) {
    if (wrapped->room < len) {
        wrapped->bytes = realloc(wrapped->bytes, len);
        wrapped->room = len;
        if (wrapped->bytes == NULL) fail("no memory");
    }
    return wrapped->bytes;
}

/* What a program does that has a message to send: it copies it, or reads the numbers. */
static void on_wrapped(int ret, const char *msg, size_t len, void *user_data) {
    struct wrapped *wrapped = user_data;
    if (ret != RET_OK) fail(msg);
    unsigned char *bytes = room_for(wrapped, len);
    if (!wrapped->text) {
        memcpy(bytes, msg, len);
        wrapped->len = len;
        return;
    }
    size_t count = 0;
    unsigned number = 0;
    for (size_t i = 0; i < len; i++) {
        if (msg[i] == ',') {
            bytes[count++] = (unsigned char)number;
            number = 0;
        } else {
            number = number * 10 + (unsigned)(msg[i] - '0');
        }
    }
    bytes[count++] = (unsigned char)number;
    wrapped->len = count;
}

static void on_unwrapped(int ret, const char *msg, size_t len, void *user_data) {
    if (ret != RET_OK) fail(msg);
    *(size_t *)user_data += len;
}

static void on_done(int ret, const char *msg, size_t len, void *user_data) {
    (void)len, (void)user_data;
    if (ret != RET_OK) fail(msg);
}

static void on_event(int ret, const char *msg, size_t len, void *user_data) {
    (void)ret, (void)msg;
    *(size_t *)user_data += len;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void measure(const char *name, int text, const char *config, long messages, long in_channel) {
    wrap_fn wrap = text ? SdsWrapOutgoingMessage : SdsWrapOutgoingMessageBinary;
    unwrap_fn unwrap = text ? SdsUnwrapReceivedMessage : SdsUnwrapReceivedMessageBinary;
    void *contexts[2];
    size_t told = 0;
    for (int i = 0; i < 2; i++) {
        contexts[i] = SdsNewReliabilityManagerWithConfig(NULL, config, on_done, NULL);
        if (contexts[i] == NULL) fail("no context");
        SdsSetEventCallback(contexts[i], on_event, &told);
    }
    struct wrapped wrapped = {NULL, 0, 0, text};
    char content[CONTENT];
    size_t sent = 0;
    memset(content, 'x', sizeof content);

    double start = seconds();
    for (long i = 0; i < messages; i++) {
        char id[24], channel[24];
        snprintf(id, sizeof id, "m%ld", i);
        snprintf(channel, sizeof channel, "c%ld", i / in_channel);
        void *from = contexts[i % 2], *to = contexts[1 - i % 2];
        if (wrap(from, content, CONTENT, id, channel, on_wrapped, &wrapped) != RET_OK) fail("wrap");
        if (unwrap(to, wrapped.bytes, wrapped.len, on_unwrapped, &told) != RET_OK) fail("unwrap");
        sent += wrapped.len;
    }
    double taken = seconds() - start;

    printf("%-22s %8.0f wraps and unwraps a second, %5.1f us each, %zu bytes a message\n", name,
           2 * (double)messages / taken, taken * 1e6 / (2 * (double)messages),
           sent / (size_t)messages);
    free(wrapped.bytes);
    for (int i = 0; i < 2; i++) SdsCleanupReliabilityManager(contexts[i], on_done, NULL);
}

int main(int argc, char **argv) {
    long messages = argc > 1 ? atol(argv[1]) : 40000;
    long in_channel = argc > 2 ? atol(argv[2]) : 50;
    if (messages < 1 || in_channel < 1) fail("how many?");
    printf("libsds %s, %ld messages of %d bytes, %ld in a channel\n", SdsVersion(), messages,
           CONTENT, in_channel);
    measure("binary, spinning", 0, "{\"spinMicros\":50}", messages, in_channel);
    measure("binary, parked", 0, "{\"spinMicros\":0}", messages, in_channel);
    measure("decimal text, spinning", 1, "{\"spinMicros\":50}", messages, in_channel);
    measure("decimal text, parked", 1, "{\"spinMicros\":0}", messages, in_channel);
    return 0;
}
