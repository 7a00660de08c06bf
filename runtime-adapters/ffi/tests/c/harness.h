/* What the C tests share: checks, recorded callbacks, and hand-made messages of nim-sds. */
#ifndef HARNESS_H
#define HARNESS_H

#include <libsds.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);       \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

/* Two texts that must be equal, both shown if they are not. */
#define CHECK_TEXT(found, wanted)                                                           \
    do {                                                                                    \
        const char *found_ = (found), *wanted_ = (wanted);                                  \
        if (strcmp(found_, wanted_) != 0) {                                                 \
            fprintf(stderr, "%s:%d:\n  found  %s\n  wanted %s\n", __FILE__, __LINE__,       \
                    found_, wanted_);                                                       \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

#define RUN(test)                                                                           \
    do {                                                                                    \
        test();                                                                             \
        printf("ok %s\n", #test);                                                           \
    } while (0)

/* What a response callback was called with. */
struct reply {
    int calls;
    int ret;
    const char *msg; /* as it was given */
    char *copy;      /* what it was then */
    size_t len;
    pthread_t thread;
    int events_before; /* events seen when it came, of all contexts */
};

/* Events of one context, one a line, in order. */
struct events {
    char text[8192];
    pthread_t thread;
    int count;
};

static int all_events;

static void on_reply(int ret, const char *msg, size_t len, void *user_data) {
    struct reply *reply = user_data;
    reply->calls++;
    reply->ret = ret;
    reply->msg = msg;
    reply->len = len;
    reply->thread = pthread_self();
    reply->events_before = all_events;
    free(reply->copy);
    reply->copy = NULL;
    if (msg != NULL) {
        CHECK(msg[len] == '\0');
        reply->copy = malloc(len + 1);
        CHECK(reply->copy != NULL);
        memcpy(reply->copy, msg, len + 1);
    }
}

__attribute__((unused)) static void on_event(int ret, const char *msg, size_t len, void *user_data) {
    struct events *events = user_data;
    size_t used = strlen(events->text);
    CHECK(ret == RET_OK);
    CHECK(msg != NULL && msg[len] == '\0');
    CHECK(used + len + 2 < sizeof events->text);
    memcpy(events->text + used, msg, len);
    events->text[used + len] = '\n';
    events->text[used + len + 1] = '\0';
    events->thread = pthread_self();
    events->count++;
    all_events++;
}

/* The reply is new; its copy is freed by `done`. */
static struct reply nothing(void) {
    struct reply reply;
    memset(&reply, 0, sizeof reply);
    return reply;
}

static void done(struct reply *reply) {
    free(reply->copy);
    reply->copy = NULL;
}

/* Bytes that grow. */
struct bytes {
    unsigned char *data;
    size_t len;
};

static void put(struct bytes *bytes, const void *data, size_t len) {
    bytes->data = realloc(bytes->data, bytes->len + len + 1);
    CHECK(bytes->data != NULL);
    if (len > 0) memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

static void put_varint(struct bytes *bytes, uint64_t value) {
    unsigned char byte;
    do {
        byte = value & 0x7f;
        value >>= 7;
        if (value != 0) byte |= 0x80;
        put(bytes, &byte, 1);
    } while (value != 0);
}

/* A field of bytes, left out if there are none to put. */
static void put_field(struct bytes *bytes, int field, const void *data, size_t len) {
    if (data == NULL) return;
    put_varint(bytes, (uint64_t)field << 3 | 2);
    put_varint(bytes, len);
    put(bytes, data, len);
}

static void put_text(struct bytes *bytes, int field, const char *text) {
    put_field(bytes, field, text, text == NULL ? 0 : strlen(text));
}

/* A message of nim-sds; what is NULL is left out, and so is a lamport of 0. `history` is a list of
 * ids that ends in NULL; an id behind a '+' is one of the old format. */
static struct bytes message(const char *id, uint64_t lamport, const char *const *history,
                            const char *channel, const char *content) {
    struct bytes bytes = {NULL, 0};
    put_text(&bytes, 1, id);
    if (lamport != 0) {
        put_varint(&bytes, 2 << 3);
        put_varint(&bytes, lamport);
    }
    for (; history != NULL && *history != NULL; history++) {
        if (**history == '+') {
            put_text(&bytes, 3, *history + 1);
        } else {
            struct bytes entry = {NULL, 0};
            put_text(&entry, 1, *history);
            put_field(&bytes, 3, entry.data, entry.len);
            free(entry.data);
        }
    }
    put_text(&bytes, 4, channel);
    put_text(&bytes, 5, content);
    return bytes;
}

#endif
