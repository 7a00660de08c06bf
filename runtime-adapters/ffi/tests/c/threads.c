/*
 * Many threads call one context and read what it answered 100 ms after the callback, as programs in
 * other languages do: a callback puts the pointer away, and whoever made the call reads it when it
 * gets to run. Meanwhile the others call on.
 */
#include "harness.h"

#include <sched.h>
#include <time.h>

enum { THREADS = 12, LATE_READS = 400, PENDING = 1 << 15 };

/* An answer to be read later, and what it must be then. */
struct pending {
    const char *msg;
    size_t len;
    int64_t since; /* µs */
    int number;    /* which message; -1: the text of an error */
};

struct caller {
    void *ctx;
    int name;
    int late_reads;
    struct pending *pending; /* a ring */
    size_t first, count;
};

static pthread_barrier_t all_ready;
static int still_reading;
/* Messages far behind what others have sent count as repeats. */
static uint64_t lamport;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000) + time.tv_nsec / 1000;
}

static void put_away(int ret, const char *msg, size_t len, void *user_data) {
    struct pending *pending = user_data;
    (void)ret;
    pending->msg = msg;
    pending->len = len;
    pending->since = now();
}

/* The content of a message: whose it is and which. */
static int content(char *text, const struct caller *caller, int number) {
    return sprintf(text, "%02d-%08d", caller->name, number);
}

static void check_answer(const struct caller *caller, const struct pending *pending) {
    static const char error[] = "error processing UNWRAP_MESSAGE request: reDeserializationError";
    char wanted[256] = "{\"message\":[", text[32];
    size_t used = strlen(wanted);
    if (pending->number < 0) {
        CHECK_TEXT(pending->msg, error);
        CHECK(pending->len == sizeof error - 1);
        return;
    }
    content(text, caller, pending->number);
    for (const char *at = text; *at != '\0'; at++) {
        used += (size_t)sprintf(wanted + used, "%s%d", at == text ? "" : ",", *at);
    }
    used += (size_t)sprintf(wanted + used, "],\"channelId\":\"ch\",\"missingDeps\":[]}");
    CHECK_TEXT(pending->msg, wanted);
    CHECK(pending->len == used);
}

/* One call, whose answer is read later. */
static void call(struct caller *caller, int number) {
    CHECK(caller->count < PENDING);
    struct pending *pending = &caller->pending[(caller->first + caller->count++) % PENDING];
    char id[32], text[32];
    memset(pending, 0, sizeof *pending);
    if (number % 16 == 15) {
        pending->number = -1;
        CHECK(SdsUnwrapReceivedMessage(caller->ctx, "\xff", 1, put_away, pending) == RET_OK);
        return;
    }
    pending->number = number;
    sprintf(id, "m%d-%d", caller->name, number);
    content(text, caller, number);
    struct bytes bytes =
        message(id, __atomic_add_fetch(&lamport, 1, __ATOMIC_SEQ_CST), NULL, "ch", text);
    CHECK(SdsUnwrapReceivedMessage(caller->ctx, bytes.data, bytes.len, put_away, pending) == RET_OK);
    CHECK(pending->msg != NULL);
    free(bytes.data);
}

/* The oldest answer, unless the machine was so busy that it need not be there any more. */
static void read_oldest(struct caller *caller) {
    const struct pending *pending = &caller->pending[caller->first];
    if (now() - pending->since < 9000000) {
        check_answer(caller, pending);
        caller->late_reads++;
    }
    caller->first = (caller->first + 1) % PENDING;
    caller->count--;
}

static void *call_and_read_late(void *arg) {
    struct caller *caller = arg;
    int reading = 1;
    pthread_barrier_wait(&all_ready);
    /* Those who have read enough go on calling until all have. */
    for (int number = 0; __atomic_load_n(&still_reading, __ATOMIC_SEQ_CST) > 0; number++) {
        if (caller->count < PENDING) {
            call(caller, number);
        } else {
            sched_yield();
        }
        int64_t due = now() - 100000;
        while (caller->count > 0 && caller->pending[caller->first].since <= due) {
            read_oldest(caller);
        }
        if (reading && caller->late_reads >= LATE_READS) {
            reading = 0;
            __atomic_fetch_sub(&still_reading, 1, __ATOMIC_SEQ_CST);
        }
    }
    /* The last answers are still there, though nobody waits any more. */
    while (caller->count > 0) read_oldest(caller);
    return NULL;
}

/* Answers that come faster than they may be freed: calls wait, and nothing is freed too soon. */
static void large_answers(void) {
    enum { LEN = 30 << 20, CALLS = 12 };
    const size_t most = (size_t)256 << 20;
    struct pending answers[CALLS];
    struct reply r = nothing();
    char *large = malloc(LEN + 1);
    void *ctx = SdsNewReliabilityManager(on_reply, &r);
    CHECK(ctx != NULL && large != NULL);
    memset(large, 'y', LEN);
    large[LEN] = '\0';
    struct bytes bytes = message("m", 1, NULL, "ch", large);
    for (int i = 0; i < CALLS; i++) {
        size_t young = 0;
        CHECK(SdsUnwrapReceivedMessageBinary(ctx, bytes.data, bytes.len, put_away, &answers[i]) ==
              RET_OK);
        for (int j = 0; j <= i; j++) {
            if (now() - answers[j].since >= 1000000) continue;
            /* The length of the header, the header, and the content. */
            const char *end = answers[j].msg + answers[j].len;
            CHECK(answers[j].len > (size_t)LEN && *end == '\0');
            CHECK(memcmp(answers[j].msg + 4, "{\"messageId\":\"m\",", 17) == 0);
            CHECK(end[-LEN] == 'y' && end[-LEN / 2] == 'y' && end[-1] == 'y');
            young += answers[j].len;
        }
        CHECK(young <= most);
    }
    CHECK(SdsCleanupReliabilityManager(ctx, on_reply, &r) == RET_OK);
    free(bytes.data);
    free(large);
    done(&r);
}

static void small_answers(void) {
    struct caller callers[THREADS];
    pthread_t threads[THREADS];
    struct reply r = nothing();
    int reads = 0;
    void *ctx = SdsNewReliabilityManager(on_reply, &r);
    CHECK(ctx != NULL);
    done(&r);
    CHECK(pthread_barrier_init(&all_ready, NULL, THREADS) == 0);
    still_reading = THREADS;
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){ctx, i, 0, calloc(PENDING, sizeof(struct pending)), 0, 0};
        CHECK(callers[i].pending != NULL);
        CHECK(pthread_create(&threads[i], NULL, call_and_read_late, &callers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        reads += callers[i].late_reads;
        free(callers[i].pending);
    }
    CHECK(SdsCleanupReliabilityManager(ctx, on_reply, &r) == RET_OK);
    printf("%d answers were read 100 ms late\n", reads);
}

int main(void) {
    RUN(small_answers);
    RUN(large_answers);
    puts("all passed");
    return 0;
}
