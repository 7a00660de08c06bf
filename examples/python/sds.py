"""libsds from Python, by ctypes; no package needed.

    cargo build --release -p libsds
    python3 examples/python/lost_message.py

The library is looked for in `target/release`, or where SDS_LIBRARY says.

Ids and channels are bytes to the library, and others may send any. Here they are texts: what is not
UTF-8 becomes surrogates, as in Python's file names, and becomes the same bytes again.
"""

import base64
import ctypes
import json
import os
from pathlib import Path

CALLBACK = ctypes.CFUNCTYPE(
    None, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
)
OUTGOING = ctypes.CFUNCTYPE(
    None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
)


def _load():
    built = Path(__file__).parents[2] / "target" / "release" / "libsds.so"
    lib = ctypes.CDLL(os.environ.get("SDS_LIBRARY", str(built)))
    context, text, bytes_, size = (
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
    )
    reply = [CALLBACK, ctypes.c_void_p]
    lib.SdsVersion.restype = text
    lib.SdsNewReliabilityManagerWithConfig.restype = context
    lib.SdsNewReliabilityManagerWithConfig.argtypes = [text, text, *reply]
    lib.SdsSetEventCallback.restype = None
    lib.SdsSetEventCallback.argtypes = [context, *reply]
    lib.SdsSetOutgoingCallback.restype = None
    lib.SdsSetOutgoingCallback.argtypes = [context, OUTGOING, ctypes.c_void_p]
    lib.SdsCleanupReliabilityManager.argtypes = [context, *reply]
    lib.SdsWrapOutgoingMessageBinary.argtypes = [context, bytes_, size, text, text, *reply]
    lib.SdsUnwrapReceivedMessageBinary.argtypes = [context, bytes_, size, *reply]
    lib.SdsChannelStatus.argtypes = [context, text, *reply]
    return lib


_LIB = _load()
VERSION = _LIB.SdsVersion().decode()


class SdsError(Exception):
    """The library refused a call, and says why."""


class Participant:
    """One participant. `on_event` gets each event as a dictionary, `on_outgoing` the bytes that
    the participant wants sent by itself; both on the library's thread, where this participant must
    not be called."""

    def __init__(self, name, config=None, on_event=None, on_outgoing=None):
        # ctypes forgets callbacks that nobody holds; the library may call these until the end.
        self._event = CALLBACK(lambda _, msg, size, __: on_event(_json(_bytes(msg, size))))
        self._outgoing = OUTGOING(lambda _, __, msg, size, ___: on_outgoing(_bytes(msg, size)))
        self._context = None
        config = json.dumps(config or {}).encode()

        def create(reply):
            self._context = _LIB.SdsNewReliabilityManagerWithConfig(
                _text(name), config, reply, None
            )
            return 0 if self._context else 1

        _call(create)
        if on_event:
            _LIB.SdsSetEventCallback(self._context, self._event, None)
        if on_outgoing:
            _LIB.SdsSetOutgoingCallback(self._context, self._outgoing, None)

    def wrap(self, channel, message_id, content):
        """The bytes to send for a message of 1 byte to 1 MiB."""
        return _call(
            lambda reply: _LIB.SdsWrapOutgoingMessageBinary(
                self._context, content, len(content), _text(message_id), _text(channel),
                reply, None,
            )
        )

    def unwrap(self, datagram):
        """The header and the content of a message of somebody else."""
        answer = _call(
            lambda reply: _LIB.SdsUnwrapReceivedMessageBinary(
                self._context, datagram, len(datagram), reply, None
            )
        )
        header = 4 + int.from_bytes(answer[:4], "little")
        return _json(answer[4:header]), answer[header:]

    def status(self, channel):
        """Where a channel stands."""
        return _json(
            _call(
                lambda reply: _LIB.SdsChannelStatus(self._context, _text(channel), reply, None)
            )
        )

    def close(self):
        """Ends the participant; it cannot be used any more."""
        context, self._context = self._context, None
        if context:
            _call(lambda reply: _LIB.SdsCleanupReliabilityManager(context, reply, None))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def hint(missing):
    """The retrieval hint of an entry of "missingDeps"; empty if there is none."""
    return base64.b64decode(missing["retrievalHint"])


def _text(text):
    """The bytes of a text, for C; it would not see what is behind a NUL."""
    encoded = text.encode(errors="surrogateescape")
    if b"\0" in encoded:
        raise ValueError("a name has a NUL")
    return encoded


def _json(answer):
    return json.loads(answer.decode(errors="surrogateescape"))


def _bytes(msg, size):
    return ctypes.string_at(msg, size) if size else b""


def _call(function):
    """Calls and returns what the callback got, which was called by then."""
    replies = []
    reply = CALLBACK(lambda ret, msg, size, _: replies.append((ret, _bytes(msg, size))))
    returned = function(reply)
    if not replies:
        raise SdsError("the participant is closed")
    ((ret, answer),) = replies
    if returned or ret:
        raise SdsError(answer.decode(errors="replace"))
    return answer
