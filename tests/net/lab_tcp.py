# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""TCP handshakes by hand, and what a namespace's kernel counts and queues meanwhile.

    caller = Caller(lab, is_ipv6)
    call = caller.call(port)
    call.syn()
    wait_until(lambda: call.syn_ack, 2, "the SYN-ACK")
    call.ack()

The addresses a Caller calls from answer nothing by themselves: a SYN-ACK meets no stack, so nothing
is acknowledged and nothing reset but by the test. Nothing here shares code with packgate.
"""

import logging
import socket
import struct
import time

logging.getLogger("scapy").setLevel(logging.ERROR)

# pylint: disable=wrong-import-position
from scapy.all import IP, TCP, Ether, IPv6, raw

from lab import SERVER_IPV4, SERVER_IPV6, in_namespace, wait_until
from lab_report import expect

CALLERS_IPV4 = ["10.77.0.%d" % host for host in range(150, 154)]
CALLERS_IPV6 = ["fd77::%d" % host for host in range(150, 154)]
ETH_P_ALL = 3
SYN, RST, ACK = 2, 4, 16
SYN_RECEIVED = 3
REPEAT_MARGIN = 0.4  # seconds before a SYN-ACK is due again in which nothing is begun


class Call:
    """One connection attempt: what was sent, and what came back so far."""

    def __init__(self, caller, source, source_port, port):
        self.caller, self.source, self.source_port, self.port = caller, source, source_port, port
        self.sequence = 1000 + 64000 * (caller.made % 60000)
        self.replies = []
        self.asked_at = None

    def send(self, flags, sequence, acknowledge=0, payload=b""):
        lab, options = self.caller.lab, [("MSS", 1400)] if flags == "S" else []
        self.caller.wire.send(raw(
            Ether(src=lab.client_mac, dst=lab.server_mac)
            / self.caller.layer(src=self.source, dst=self.caller.address)
            / TCP(sport=self.source_port, dport=self.port, flags=flags, seq=sequence,
                  ack=acknowledge, window=64240, options=options) / payload))

    def syn(self):
        self.asked_at = time.monotonic()
        self.send("S", self.sequence)

    def let_repeat(self):
        """Waits where the kernel is about to send the SYN-ACK of a queued request again: after 1,
        3, 7 ... seconds. What comes next from here on is then no repeat."""
        def due():
            passed = time.monotonic() - self.asked_at + REPEAT_MARGIN
            return 1 + sum(passed >= (1 << number) - 1 for number in range(1, 6))
        wait_until(lambda: len(self.syn_acks) >= due(), 10, "the SYN-ACK again")

    def ack(self, payload=b""):
        """The final ACK."""
        self.send("PA" if payload else "A", self.sequence + 1, (self.syn_ack + 1) & 0xffffffff,
                  payload)

    def seen(self, flags, mask):
        """Sequence numbers of the replies with these flags, in order."""
        self.caller.receive()
        return [number for found, number in self.replies if found & mask == flags]

    @property
    def syn_acks(self):
        return self.seen(SYN | ACK, SYN | ACK | RST)

    @property
    def syn_ack(self):
        """The sequence number of the last SYN-ACK, or None."""
        return (self.syn_acks or [None])[-1]

    @property
    def resets(self):
        return len(self.seen(RST, RST))


class Caller:
    """Who calls the server, over one IP version."""

    def __init__(self, lab, is_ipv6):
        self.lab = lab
        self.name = "IPv6" if is_ipv6 else "IPv4"
        self.family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        self.address = SERVER_IPV6 if is_ipv6 else SERVER_IPV4
        self.layer = IPv6 if is_ipv6 else IP
        self.sources = [lab.peer_address(address)
                        for address in (CALLERS_IPV6 if is_ipv6 else CALLERS_IPV4)]
        self.made, self.calls = 0, {}
        self.wire = lab.client_socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        in_namespace(lab.client, self.wire.bind, (lab.client_if, ETH_P_ALL))
        self.wire.setblocking(False)

    def call(self, port):
        """A new connection attempt, from an address and port nobody called from before."""
        source = self.sources[self.made % len(self.sources)]
        call = Call(self, source, 10000 + self.made, port)
        self.calls[source, call.source_port, port] = call
        self.made += 1
        expect(self.made < 50000, "no source ports left")
        return call

    def listen(self, backlog, port, options=()):
        """A listener of the server."""
        sock = self.lab.server_socket(self.family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option in options:
            sock.setsockopt(*option)
        sock.bind((self.address, port))
        sock.listen(backlog)
        return sock

    def receive(self):
        """Hands what has arrived to the calls it is for."""
        while True:
            try:
                frame, where = self.wire.recvfrom(2048)
            except BlockingIOError:
                return
            if where[2] != socket.PACKET_OUTGOING:
                self.take(frame)

    def take(self, frame):
        kind = frame[12:14]
        if kind == b"\x08\x00" and frame[23] == socket.IPPROTO_TCP:
            at, target = 14 + (frame[14] & 15) * 4, socket.inet_ntop(socket.AF_INET, frame[30:34])
        elif kind == b"\x86\xdd" and frame[20] == socket.IPPROTO_TCP:
            at, target = 54, socket.inet_ntop(socket.AF_INET6, frame[38:54])
        else:
            return
        port, target_port, number = struct.unpack_from("!HHI", frame, at)
        call = self.calls.get((target, target_port, port))
        if call:
            call.replies.append((frame[at + 13], number))


class Witness:
    """A namespace as its own /proc tells it; the files stay open, and with them the namespace."""

    def __init__(self, namespace):
        self.namespace = namespace
        self.files = {name: in_namespace(namespace, open, "/proc/thread-self/net/" + name, "rb", 0)
                      for name in ("netstat", "snmp", "tcp", "tcp6")}

    def close(self):
        for file in self.files.values():
            file.close()

    def lines(self, name):
        file = self.files[name]
        file.seek(0)
        return b"".join(iter(lambda: file.read(65536), b"")).decode("ascii").splitlines()

    def counters(self):
        """{name: value} of the tables TcpExt and Tcp."""
        found = {}
        for name in ("netstat", "snmp"):
            lines = self.lines(name)
            for names, values in zip(lines[::2], lines[1::2]):
                if names.split(":")[0] in ("TcpExt", "Tcp"):
                    found.update(zip(names.split()[1:], map(int, values.split()[1:])))
        return found

    def in_state(self, port, state):
        """Sockets with this local port in a state, as the kernel numbers them."""
        found = 0
        for name in ("tcp", "tcp6"):
            for line in self.lines(name)[1:]:
                words = line.split()
                found += (int(words[1].split(":")[1], 16), int(words[3], 16)) == (port, state)
        return found

    def requests(self, port):
        return self.in_state(port, SYN_RECEIVED)


def accept_queue(listener):
    """(length, limit) as the listening socket itself reports them."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return struct.unpack_from("II", info, 24)
