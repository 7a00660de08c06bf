/*
 * Alice sends Bob three messages and the second is lost: Bob's library says what is missing, the
 * message is sent again, and Bob hears of all three in order.
 *
 * What is "sent" here is handed over in memory; a program would send it over any transport that
 * reaches the group.
 */
#include <libsds.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A message on its way. */
struct datagram {
    unsigned char *bytes;
    size_t len;
};

/* Stops the program if a call failed: its text says why. */
static void on_done(int ret, const char *msg, size_t len, void *user_data) {
    (void)user_data;
    if (ret != RET_OK) {
        fprintf(stderr, "%.*s\n", (int)len, msg);
        exit(1);
    }
}

/* Copies what is to be sent: the library's memory is not ours to keep. */
static void on_wrapped(int ret, const char *msg, size_t len, void *user_data) {
    struct datagram *datagram = user_data;
    on_done(ret, msg, len, NULL);
    datagram->bytes = malloc(len);
    datagram->len = len;
    if (datagram->bytes == NULL) exit(1);
    memcpy(datagram->bytes, msg, len);
}

/* JSON for people to read; a program would parse it. */
static void on_unwrapped(int ret, const char *msg, size_t len, void *user_data) {
    on_done(ret, msg, len, NULL);
    printf("%s received %.*s\n", (const char *)user_data, (int)len, msg);
}

/* Runs on the library's thread, before the call that caused it returns. */
static void on_event(int ret, const char *msg, size_t len, void *user_data) {
    (void)ret;
    printf("%s event    %.*s\n", (const char *)user_data, (int)len, msg);
}

static void *new_participant(char *name) {
    void *participant = SdsNewReliabilityManagerWithConfig(name, NULL, on_done, NULL);
    if (participant == NULL) exit(1);
    SdsSetEventCallback(participant, on_event, name);
    return participant;
}

static struct datagram wrap(void *from, const char *content, const char *id) {
    struct datagram datagram = {NULL, 0};
    int ret = SdsWrapOutgoingMessageBinary(from, content, strlen(content), id, "greetings",
                                           on_wrapped, &datagram);
    if (ret != RET_OK) exit(1); /* the callback has said why */
    return datagram;
}

static void receive(void *participant, char *name, struct datagram datagram) {
    int ret = SdsUnwrapReceivedMessage(participant, datagram.bytes, datagram.len, on_unwrapped, name);
    if (ret != RET_OK) exit(1);
    free(datagram.bytes);
}

int main(void) {
    char alice_name[] = "alice", bob_name[] = "bob";
    printf("libsds %s\n", SdsVersion());
    void *alice = new_participant(alice_name), *bob = new_participant(bob_name);

    receive(bob, bob_name, wrap(alice, "one", "m1"));
    free(wrap(alice, "two", "m2").bytes); /* lost */
    receive(bob, bob_name, wrap(alice, "three", "m3"));
    /* Wrapped again it is the same message. */
    receive(bob, bob_name, wrap(alice, "two", "m2"));
    /* What Bob says next tells Alice that he has them all. */
    receive(alice, alice_name, wrap(bob, "thanks", "m4"));

    SdsCleanupReliabilityManager(alice, on_done, NULL);
    SdsCleanupReliabilityManager(bob, on_done, NULL);
    return 0;
}
