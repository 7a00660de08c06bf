"""Alice sends Bob three messages and the second is lost: Bob's library says what is missing, the
message is sent again, and Bob hears of all three in order."""

import sds

CHANNEL = "greetings"


def show(name):
    return lambda event: print(f"{name} event    {event}")


def receive(participant, name, datagram):
    header, content = participant.unwrap(datagram)
    missing = [entry["messageId"] for entry in header["missingDeps"]]
    print(f"{name} received {content.decode()!r}, missing {missing}")


print("libsds", sds.VERSION)
with (
    sds.Participant("alice", on_event=show("alice")) as alice,
    sds.Participant("bob", on_event=show("bob")) as bob,
):
    receive(bob, "bob", alice.wrap(CHANNEL, "m1", b"one"))
    alice.wrap(CHANNEL, "m2", b"two")  # lost
    receive(bob, "bob", alice.wrap(CHANNEL, "m3", b"three"))
    # Wrapped again it is the same message.
    receive(bob, "bob", alice.wrap(CHANNEL, "m2", b"two"))
    # What Bob says next tells Alice that he has them all.
    receive(alice, "alice", bob.wrap(CHANNEL, "m4", b"thanks"))
    for name, participant in (("alice", alice), ("bob", bob)):
        status = participant.status(CHANNEL)
        print(f"{name} has {status['logged']} messages and misses {status['missing']}")
        assert (status["logged"], status["missing"]) == (4, 0)
