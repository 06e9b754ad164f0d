#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Reads an endpoint of packgate: reader.py SOCKET ENDPOINT [--echo]"""

import socket
import struct
import sys

HEADER = struct.Struct(">BBHIQIII")  # see include/packgate/app.h
KINDS = ("hello", "message", "session open", "session closed", "stream open", "stream closed",
         "gap", "sent", "failed", "error")
HELLO, MESSAGE, GAP, ERROR = 0, 1, 6, 9
MORE, PART_MOST = 1, 65536 - HEADER.size


def records(datagram):
    """One datagram holds one or more whole records: a header, then `length` bytes."""
    while datagram:
        *fields, length = HEADER.unpack_from(datagram)
        yield fields, datagram[HEADER.size:HEADER.size + length]
        datagram = datagram[HEADER.size + length:]


def send(agent, transport, number, session, stream, message, data):
    """What is longer than a datagram goes on in the next record, under the same header."""
    while True:
        part, data = data[:PART_MOST], data[PART_MOST:]
        agent.send(HEADER.pack(MESSAGE, transport, MORE if data else 0, number, session, stream,
                               message, len(part)) + part)
        if not data:
            return


def main(path, endpoint, echo):
    """Say hello for one endpoint, then print what comes until the agent goes."""
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    agent.connect(path)
    name = endpoint.encode()
    agent.send(HEADER.pack(HELLO, 0, 0, 0, 0, 0, 0, len(name)) + name)
    parts = {}
    while datagram := agent.recv(65536):
        for (kind, transport, flags, number, session, stream, message), data in records(datagram):
            series = kind, transport, number, session, stream
            data = parts.pop(series, b"") + data
            if flags & MORE:
                parts[series] = data
                continue
            what = "%d missing" % int.from_bytes(data, "big") if kind == GAP else repr(data)
            print(KINDS[kind], "session", session, "stream", stream, "id", message, what,
                  flush=True)
            if kind == ERROR and not session:
                return 1
            if kind == MESSAGE and echo:
                send(agent, transport, number, session, stream, message, data)
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["--echo"]):
        print("usage:", __doc__.split(": ")[1], file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(main(sys.argv[1], sys.argv[2], "--echo" in sys.argv))
    except OSError as why:
        sys.exit("%s: %s" % (sys.argv[1], why.strerror))
    except KeyboardInterrupt:
        sys.exit(130)
