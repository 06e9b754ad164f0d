# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""The application's end of the delivery socket (DESIGN 4), written from the document."""

import collections
import re
import select
import socket
import struct
import time

from lab_report import PATIENCE, expect

HEADER = struct.Struct(">BBHIQIII")
HELLO, MESSAGE, SESSION_OPEN, SESSION_CLOSED, STREAM_OPEN, STREAM_CLOSED = range(6)
GAP, SENT, FAILED, ERROR = range(6, 10)
MORE = 0x0001
DATAGRAM_MOST = 64 << 10

Record = collections.namedtuple(
    "Record", "kind transport flags endpoint session stream message body")


def split_records(datagram):
    """The whole records of one datagram; anything else is a fault of the agent."""
    at = 0
    while at < len(datagram):
        expect(len(datagram) - at >= HEADER.size, "half a record header in a datagram")
        *fields, length = HEADER.unpack_from(datagram, at)
        at += HEADER.size
        expect(at + length <= len(datagram), "half a record in a datagram")
        yield Record(*fields, datagram[at:at + length])
        at += length


def record(kind, body=b"", endpoint=0, session=0, stream=0, message=0, flags=0, transport=0):
    return HEADER.pack(kind, transport, flags, endpoint, session, stream, message,
                       len(body)) + body


class App:
    """A connected application that may read, and write, the messages of its endpoints."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)
        self.records, self.parts = collections.deque(), {}
        self.ids = {}
        self.messages = 0

    def hello(self, *names):
        """Ask for endpoints by name; returns the agent's answer and learns their ids."""
        self.socket.send(record(HELLO, "\n".join(names).encode()))
        answer = self.receive()
        expect(answer is not None, "no answer to hello within %d s", PATIENCE)
        if answer.kind == HELLO:
            for name in names:
                match = re.search(rb"\b%s\b\D*?(\d+)|(\d+)\D*?\b%s\b"
                                  % (name.encode(), name.encode()), answer.body)
                if match:
                    self.ids[name] = int(match[1] or match[2])
        return answer

    def poll(self, timeout):
        """Read what waits; False when nothing came within the time."""
        if not select.select([self.socket], [], [], max(timeout, 0))[0]:
            return False
        datagram = self.socket.recv(DATAGRAM_MOST + 1)
        expect(datagram, "the agent closed the application socket")
        expect(len(datagram) <= DATAGRAM_MOST, "a datagram of %d bytes", len(datagram))
        self.records.extend(split_records(datagram))
        return True

    def receive(self, timeout=PATIENCE):
        """The next record, or None when the time is up; messages cut by MORE are joined."""
        end = time.monotonic() + timeout
        while True:
            while self.records:
                item = self.join(self.records.popleft())
                if item:
                    return item
            if not self.poll(end - time.monotonic()):
                return None

    def join(self, item):
        series = (item.kind, item.transport, item.session, item.stream)
        body = self.parts.pop(series, b"") + item.body
        if item.flags & MORE:
            self.parts[series] = body
            return None
        return item._replace(body=body)

    def receive_kind(self, *kinds, timeout=PATIENCE):
        """The next record of these kinds; others are passed over."""
        end = time.monotonic() + timeout
        while True:
            item = self.receive(end - time.monotonic())
            if item is None or item.kind in kinds:
                return item

    def send(self, body, endpoint, session, stream=0, message=None, transport=0):
        """Send a message to a session or stream; returns the message id given to it.

        What is longer than a datagram goes on in the next record.
        """
        if message is None:
            self.messages += 1
            message = self.messages
        most = DATAGRAM_MOST - HEADER.size
        while len(body) > most:
            self.socket.send(record(MESSAGE, body[:most], endpoint, session, stream, message, MORE,
                                    transport))
            body = body[most:]
        self.socket.send(record(MESSAGE, body, endpoint, session, stream, message, 0, transport))
        return message

    def close(self):
        self.socket.close()
