# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""libpackgate.so through ctypes, as a program of another language sees it."""

import collections
import ctypes
import os
import time
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_int, c_size_t, c_uint16
from ctypes import c_uint32, c_uint64, c_void_p

from lab import build_directory
from lab_report import PATIENCE, Failed, expect

OPEN, MESSAGE, STREAM_OPEN, STREAM_CLOSED, GAP, SENT, FAILED, WRITABLE, CLOSED = range(1, 10)

Event = collections.namedtuple("Event", "kind stream id code bytes")


class Options(Structure):
    _fields_ = [("size", c_size_t), ("server", c_char_p), ("source", c_char_p),
                ("server_key", c_char_p), ("token", c_char_p), ("token_bytes", c_size_t),
                ("idle_seconds", c_uint16), ("streams", c_uint16), ("secret", c_char_p),
                ("client_id", c_uint16), ("server_id", c_uint16), ("newest", c_int),
                ("aead", c_int), ("unguarded", c_int), ("max_payload", c_uint16),
                ("send_buffer_bytes", c_uint32), ("receive_buffer_bytes", c_uint32),
                ("send_timeout_ms", c_uint32), ("receive_timeout_ms", c_uint32),
                ("state", c_char_p)]


class RawEvent(Structure):
    _fields_ = [("kind", c_int), ("stream", c_uint32), ("id", c_uint32), ("code", c_int),
                ("bytes", c_void_p), ("length", c_size_t)]


class Statistics(Structure):
    _fields_ = [("size", c_size_t)] + [(name, c_uint64) for name in (
        "frames_sent", "frames_resent", "frames_opened", "packets_sent", "packets_failed", "gaps",
        "unsettled_bytes", "window_bytes")] + [(name, c_uint32) for name in (
            "rtt_us", "rtt_least_us", "streams", "retry_per_mille")]


def load():
    library = ctypes.CDLL(os.path.join(build_directory(), "libpackgate.so"))
    for name, result, *arguments in (
            ("connect", c_int, POINTER(Options), POINTER(c_void_p), c_char * 256),
            ("free", None, c_void_p), ("fd", c_int, c_void_p), ("close", None, c_void_p, c_int),
            ("new", c_int, POINTER(Options), POINTER(c_void_p), c_char * 256),
            ("timeout_ms", c_int, c_void_p), ("process", c_int, c_void_p),
            ("next", c_int, c_void_p, POINTER(RawEvent)),
            ("wait", c_int, c_void_p, c_int, POINTER(RawEvent)),
            ("flush", c_int, c_void_p, c_int),
            ("send", c_int, c_void_p, c_uint32, c_char_p, c_size_t, c_uint32),
            ("send_max", c_size_t, c_void_p, c_int), ("frame_max", c_size_t, c_void_p),
            ("open_stream", c_int, c_void_p, c_int, POINTER(c_uint32)),
            ("close_stream", c_int, c_void_p, c_uint32),
            ("get_statistics", None, c_void_p, POINTER(Statistics))):
        function = getattr(library, "pg_client_" + name)
        function.restype, function.argtypes = result, arguments
    return library


class Refused(Exception):
    """pg_client_connect failed: its errno and its sentence."""

    def __init__(self, code, text):
        super().__init__("%d: %s" % (code, text))
        self.code, self.text = code, text


class Client:
    """A blocking client. Opened with the keywords of pg_client_options."""

    library = None

    opens = "connect"

    def __init__(self, **options):
        Client.library = Client.library or load()
        self.pointer, error = c_void_p(), (c_char * 256)()
        given = Options(size=ctypes.sizeof(Options), **options)
        code = getattr(self.library, "pg_client_" + self.opens)(
            byref(given), byref(self.pointer), error)
        if code:
            raise Refused(code, error.value.decode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.library.pg_client_free(self.pointer)

    def call(self, name, *arguments):
        return getattr(self.library, "pg_client_" + name)(self.pointer, *arguments)

    def send(self, data, stream=0, tag=0):
        """0 or a negative errno."""
        return self.call("send", stream, data, len(data), tag)

    def open_stream(self, policy):
        stream = c_uint32()
        code = self.call("open_stream", policy, byref(stream))
        expect(code == 0, "open_stream: %d", code)
        return stream.value

    def wait(self, seconds):
        """The next event, or None."""
        raw = RawEvent()
        code = self.call("wait", int(seconds * 1000), byref(raw))
        if code < 0:
            raise Failed("pg_client_wait: %d" % code)
        if not code:
            return None
        return Event(raw.kind, raw.stream, raw.id, raw.code,
                     ctypes.string_at(raw.bytes, raw.length))

    def expect(self, kind, seconds=PATIENCE):
        """The next event of this kind; others are passed over."""
        end = time.monotonic() + seconds
        while True:
            event = self.wait(max(0, end - time.monotonic()))
            expect(event is not None, "no event %d within %g s", kind, seconds)
            if event.kind == kind:
                return event
            expect(event.kind != CLOSED, "closed: %s", event.bytes)

    def next(self):
        """The next event that is there, or None."""
        raw = RawEvent()
        if not self.call("next", byref(raw)):
            return None
        return Event(raw.kind, raw.stream, raw.id, raw.code,
                     ctypes.string_at(raw.bytes, raw.length))

    def statistics(self):
        now = Statistics(size=ctypes.sizeof(Statistics))
        self.call("get_statistics", byref(now))
        return now


class LoopClient(Client):
    """One of many in an event loop: opened by pg_client_new, nothing of it blocks."""

    opens = "new"
