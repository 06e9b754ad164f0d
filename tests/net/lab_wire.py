# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Raw Ethernet frames between the client's namespace and the gate.

A Wire holds one AF_PACKET socket for sending and one for capturing. A Peer is one UDP flow on it,
from an address that no stack of the client's namespace owns, so nothing but the test answers.
"""

import collections
import ctypes
import ipaddress
import os
import select
import socket
import struct
import time

import witness
from lab import LIBC, in_namespace
from lab_report import PATIENCE, Failed, expect

ETH_P_ALL, ETH_P_IPV4, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
ETH_P_8021Q, ETH_P_8021AD = 0x8100, 0x88A8
VLAN_TYPES = (ETH_P_8021Q, ETH_P_8021AD)
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
RECEIVE_BUFFER_BYTES = 128 << 20
UDP = 17
IPV4_DF = 0x4000

Datagram = collections.namedtuple(
    "Datagram", "source sport target dport payload vlans eth_source eth_target dont_fragment")


def checksum(data):
    """The one's complement sum of RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo_header(source, target, length):
    return source + target + struct.pack(">IxxxB", length, UDP)


def udp(source, target, sport, dport, payload):
    """A UDP datagram with its checksum, over packed addresses."""
    length = 8 + len(payload)
    head = struct.pack(">HHHH", sport, dport, length, 0)
    value = checksum(pseudo_header(source, target, length) + head + payload) or 0xFFFF
    return head[:6] + struct.pack(">H", value) + payload


def ipv4(source, target, body, flags=IPV4_DF, options=b"", protocol=UDP, total=None, ident=0):
    """An IPv4 packet; total lies about the length where a test wants it to."""
    size = 20 + len(options)
    head = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0,
                       size + len(body) if total is None else total, ident, flags, 64,
                       protocol, 0) + source + target + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


def ipv6(source, target, body, next_header=UDP, length=None):
    head = struct.pack(">IHBB", 6 << 28, len(body) if length is None else length,
                       next_header, 64)
    return head + source + target + body


def ethernet(target, source, ethertype, body, vlans=()):
    """An Ethernet frame; vlans are (ethertype, tag) pairs, outermost first."""
    tags = b"".join(struct.pack(">HH", *vlan) for vlan in vlans)
    return target + source + tags + struct.pack(">H", ethertype) + body


def packed(address):
    return ipaddress.ip_address(address).packed


class Broken(Exception):
    """A captured frame whose headers or checksums are wrong."""


def take_apart(raw, outer=()):
    """A captured frame as a Datagram; None when it is no unfragmented UDP; Broken when wrong."""
    eth_source, at = raw[6:12], 12
    kind, vlans = struct.unpack_from(">H", raw, at)[0], list(outer)
    while kind in VLAN_TYPES:
        vlans.append((kind, struct.unpack_from(">H", raw, at + 2)[0]))
        at += 4
        kind = struct.unpack_from(">H", raw, at)[0]
    split = {ETH_P_IPV4: split_ipv4, ETH_P_IPV6: split_ipv6}.get(kind)
    parts = split(raw[at + 2:]) if split else None
    if parts is None:
        return None
    source, target, body, dont_fragment = parts
    sport, dport, length, value = struct.unpack_from(">HHHH", body)
    if length != len(body):
        raise Broken("UDP length %d in %d bytes of IP payload" % (length, len(body)))
    if value or kind == ETH_P_IPV6:
        if not value or checksum(pseudo_header(source, target, length) + body):
            raise Broken("UDP checksum %#06x from port %d is wrong" % (value, sport))
    return Datagram(str(ipaddress.ip_address(source)), sport, str(ipaddress.ip_address(target)),
                    dport, body[8:], tuple(vlans), eth_source, raw[:6], dont_fragment)


def split_ipv4(packet):
    size, total = (packet[0] & 0x0F) * 4, struct.unpack_from(">H", packet, 2)[0]
    fragment = struct.unpack_from(">H", packet, 6)[0]
    if packet[9] != UDP or fragment & 0x3FFF:
        return None
    if checksum(packet[:size]):
        raise Broken("the IPv4 header checksum is wrong")
    return packet[12:16], packet[16:20], packet[size:total], bool(fragment & IPV4_DF)


def split_ipv6(packet):
    if packet[6] != UDP:
        return None
    length = struct.unpack_from(">H", packet, 4)[0]
    return packet[8:24], packet[24:40], packet[40:40 + length], True


class Wire:
    """The client's end of the veth, raw."""

    def __init__(self, lab):
        self.lab = lab
        self.out = lab.keep(in_namespace(lab.client, self.open, lab.client_if, 0))
        self.back = lab.keep(in_namespace(lab.client, self.open, lab.client_if, ETH_P_ALL))
        self.back.setblocking(False)
        self.peers, self.others, self.faults = {}, collections.deque(maxlen=1000), []

    @staticmethod
    def open(interface, protocol):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        sock.bind((interface, protocol))
        return sock

    def send(self, raw):
        """Send one Ethernet frame; waits where a queue in front of the veth is full."""
        while True:
            try:
                return self.out.send(raw)
            except BlockingIOError:
                select.select([], [self.out], [], 0.1)
            except OSError as why:
                if why.errno != 105:  # ENOBUFS: the device's queue is full this very moment
                    raise
                time.sleep(0.0002)

    def capture(self, timeout):
        """One captured frame and its outer VLAN tag, or None when the time is up."""
        try:
            raw, extra, _, _ = self.back.recvmsg(4096, 128)
        except BlockingIOError:
            if timeout <= 0 or not select.select([self.back], [], [], timeout)[0]:
                return None
            return self.capture(0)
        return raw, outer_vlan(extra)

    def pump(self, timeout):
        """Hand one captured frame to its peer. False when the time is up."""
        caught = self.capture(timeout)
        if caught is None:
            return False
        raw, vlans = caught
        try:
            datagram = take_apart(raw, vlans)
        except Broken as why:
            self.faults.append(str(why))
            return True
        peer = datagram and self.peers.get((datagram.target, datagram.dport))
        if peer:
            peer.take(datagram)
        else:
            self.others.append(raw)
        return True

    def drain(self):
        while self.pump(0):
            pass

    def find_other(self, predicate, timeout):
        """The first captured frame of nobody's flow that the predicate likes, or None."""
        end = time.monotonic() + timeout
        while True:
            while self.others:
                raw = self.others.popleft()
                if predicate(raw):
                    return raw
            if not self.pump(end - time.monotonic()):
                return None


def outer_vlan(extra):
    """The tag that the kernel took off before the capture, from PACKET_AUXDATA."""
    for level, kind, data in extra:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack_from("=IIIHHHH", data)
            if status & TP_STATUS_VLAN_VALID:
                return ((tpid if status & TP_STATUS_VLAN_TPID_VALID else ETH_P_8021Q, tci),)
    return ()


class Peer:
    """One UDP flow and the session spoken on it. All that arrives is checked by the witness.

    A data frame that the server sends again byte for byte is legal, counted and not shown.
    """

    def __init__(self, wire, session, source, sport, target, dport, vlans=(), options=b""):
        self.wire, self.session = wire, session
        self.source, self.sport, self.target, self.dport = source, sport, target, dport
        self.vlans, self.options = vlans, options
        self.inbox, self.faults, self.seen_vlans = collections.deque(), [], set()
        self.repeats = 0
        wire.peers[source, sport] = self

    def raw(self, payload, sport=None, source=None, eth_source=None, vlans=None):
        """The Ethernet frame that carries one UDP payload to the endpoint."""
        source = packed(source or self.source)
        target, sport = packed(self.target), sport or self.sport
        body = udp(source, target, sport, self.dport, payload)
        if len(source) == 4:
            kind, packet = ETH_P_IPV4, ipv4(source, target, body, options=self.options)
        else:
            kind, packet = ETH_P_IPV6, ipv6(source, target, body)
        lab = self.wire.lab
        return ethernet(lab.server_mac, eth_source or lab.client_mac, kind, packet,
                        self.vlans if vlans is None else vlans)

    def send(self, payload):
        """Send one frame of the session; returns it, so that it can be sent again."""
        self.session.note_sent(payload)
        self.wire.send(self.raw(payload))
        return payload

    def take(self, datagram):
        """Check a datagram that arrived for this flow and keep it."""
        try:
            if (datagram.source, datagram.sport) != (self.target, self.dport):
                raise witness.Fault("answered from %s:%d" % (datagram.source, datagram.sport))
            if not datagram.dont_fragment:
                raise witness.Fault("PROTOCOL 2: a frame without DF")
            frame = self.session.receive(datagram.payload)
        except witness.Fault as why:
            self.faults.append(str(why))
            return
        self.seen_vlans.add(datagram.vlans)
        if frame.repeat:
            self.repeats += 1
        else:
            self.inbox.append(frame)

    def receive(self, timeout=PATIENCE):
        """The next verified frame, or None when the time is up."""
        end = time.monotonic() + timeout
        while not self.inbox:
            if not self.wire.pump(end - time.monotonic()):
                break
        self.assert_clean()
        return self.inbox.popleft() if self.inbox else None

    def expect(self, *wanted, timeout=PATIENCE, allowed=()):
        """Wait for frames in any order, each named as (op, stream, pack) with None for any.

        Anything else that comes meanwhile fails, unless its opcode is allowed. Returns the frames
        in the order asked for.
        """
        missing, found = list(range(len(wanted))), [None] * len(wanted)
        while missing:
            frame = self.receive(timeout)
            names = ", ".join(describe(wanted[index]) for index in missing)
            expect(frame is not None, "waited %g s for %s", timeout, names)
            index = next((index for index in missing if matches(frame, wanted[index])), None)
            if index is None and frame.op in allowed:
                continue
            expect(index is not None, "got %s while waiting for %s", frame, names)
            missing.remove(index)
            found[index] = frame
        return found if len(found) > 1 else found[0]

    def expect_silence(self, seconds):
        frame = self.receive(seconds)
        expect(frame is None, "unexpected: %s", frame)

    def discard(self):
        """Forget what came: a check that failed must not fail the next one."""
        self.wire.drain()
        self.inbox.clear()
        self.faults, self.wire.faults = [], []

    def assert_clean(self):
        if self.faults or self.wire.faults:
            faults = self.faults + self.wire.faults
            self.faults, self.wire.faults = [], []
            raise Failed("; ".join(faults[:3]))


def matches(frame, wanted):
    op, stream, pack = wanted
    return frame.op == op and stream in (None, frame.stream) and pack in (None, frame.pack)


def describe(wanted):
    op, stream, pack = wanted
    return "%s of %s%s" % (witness.RULES[op].name, "stream %d" % stream if stream else "session",
                           "" if pack is None else " packId %d" % pack)


# --- floods --------------------------------------------------------------------------------------

class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class MsgHdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
                ("iov", ctypes.POINTER(IoVec)), ("iov_length", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class MMsgHdr(ctypes.Structure):
    _fields_ = [("header", MsgHdr), ("length", ctypes.c_uint)]


class Bulk:
    """Prebuilt Ethernet frames, sent in rounds through sendmmsg, without Python a frame."""

    def __init__(self, wire, frames):
        self.fd, self.count, self.next = wire.out.fileno(), len(frames), 0
        self.memory = ctypes.create_string_buffer(b"".join(frames))
        self.vectors, self.headers = (IoVec * self.count)(), (MMsgHdr * self.count)()
        base = ctypes.addressof(self.memory)
        for index, frame in enumerate(frames):
            self.vectors[index] = IoVec(base, len(frame))
            self.headers[index].header.iov = ctypes.pointer(self.vectors[index])
            self.headers[index].header.iov_length = 1
            base += len(frame)

    def send(self, count):
        """Send the next count frames, every one of them; waits where a queue is full."""
        while count:
            batch = min(count, self.count - self.next, 1024)
            sent = LIBC.sendmmsg(self.fd, ctypes.byref(self.headers[self.next]), batch, 0)
            if sent < 0:
                code = ctypes.get_errno()
                if code not in (11, 105):  # EAGAIN, ENOBUFS
                    raise OSError(code, os.strerror(code))
                time.sleep(0.0002)
                continue
            self.next = (self.next + sent) % self.count
            count -= sent
