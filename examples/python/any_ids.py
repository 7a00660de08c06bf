"""Ids that are not UTF-8 come and go unharmed: what Alice wraps and Bob is told are the same."""

import sds

ID, CHANNEL, NAME = (raw.decode(errors="surrogateescape") for raw in (b"m\xff1", b"c\xfeh", b"\xe9va"))

# The form of nim-sds 0.4 carries the ids of senders; that of 0.3.3, which is the default, does not.
FORM = {"nimForm": "0.4"}

events = []
with sds.Participant(NAME, FORM) as alice, sds.Participant("bob", on_event=events.append) as bob:
    lost = alice.wrap(CHANNEL, ID, b"one")
    header, content = bob.unwrap(alice.wrap(CHANNEL, "m2", b"two"))
    assert (header["channelId"], content) == (CHANNEL, b"two"), header
    assert [entry["messageId"] for entry in header["missingDeps"]] == [ID], header
    bob.unwrap(lost)
    assert bob.status(CHANNEL)["logged"] == 2
ready = [event for event in events if event["eventType"] == "message_ready"]
assert [event["messageId"] for event in ready] == [ID, "m2"], events
assert {event["senderId"] for event in ready} == {NAME}, events
try:
    sds.Participant("bob\0by")
except ValueError:
    print("ids of any bytes but NUL: passed")
else:
    raise AssertionError("a name with a NUL was taken")
