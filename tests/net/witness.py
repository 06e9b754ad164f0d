# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""An independent witness of PROTOCOL.md: frames, guard, keys, sealing and a client's session.

Nothing here is shared with the C side. The names of reasons and opcodes are the document's. The
witness checks everything it receives and raises Fault, with the section it rests on, at the first
thing a server of this protocol may not send.
"""

import bisect
import hashlib
import hmac
import math
import struct
import time
from collections import Counter, namedtuple
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

STRE, PACK, FRAG, SLOW, FIN = 0x80, 0x40, 0x20, 0x02, 0x01
DATA, ACK, PING, PONG = 0x0, 0x4, 0x5, 0x6
OPENSTREAM, STREAMOPEN, CLOSESTREAM = 0x7, 0x8, 0x9
SHAKEHAND, HANDSHAKE, GOAWAY = 0xA, 0xB, 0xC

SERVER, CLIENT = "server", "client"
HEADER_BYTES, GUARD_BYTES, TAG_BYTES = 16, 8, 16
FRAME_MOST = 2048
FRAGMENT_MOST = 512
WINDOW = 1024
AHEAD_MOST = 1 << 20
BLOCK_SHIFT = 14
AEADS = {1: ChaCha20Poly1305, 2: AESGCM}
AEAD_NAMES = {1: "chacha20-poly1305", 2: "aes-256-gcm"}
RELIABLE, NEWEST, UNORDERED = 0, 1, 2

CLOCK_SLACK_MS = 5000


class Fault(Exception):
    """The other end did what PROTOCOL.md forbids."""


# --- the frame (PROTOCOL 1) ----------------------------------------------------------------------

Rule = namedtuple("Rule", "name at sizes")
BOTH = (SERVER, CLIENT)


def sizes(flags, least, most):
    """One payload range for each of the exact flag bytes."""
    return {flag: (least, most) for flag in flags}


RULES = {
    DATA: Rule("data", BOTH, {**sizes((0x40, 0xC0), 16, FRAME_MOST),
                              **sizes((0x60, 0xE0, 0x61, 0xE1), 17, FRAME_MOST)}),
    ACK: Rule("ack", BOTH, {**sizes((0x40, 0xC0, 0x42, 0xC2), 0, 0),
                            **sizes((0x60, 0xE0, 0x61, 0xE1, 0x62, 0xE2, 0x63, 0xE3), 1, 64)}),
    PING: Rule("ping", BOTH, {0x00: (0, 64)}),
    PONG: Rule("pong", BOTH, {0x00: (0, 64)}),
    OPENSTREAM: Rule("openstream", (SERVER,), {0x80: (0, 1)}),
    STREAMOPEN: Rule("streamopen", BOTH, {0x80: (0, 0)}),
    CLOSESTREAM: Rule("closestream", BOTH, {0x80: (0, 0)}),
    SHAKEHAND: Rule("shakehand", (SERVER,), {0x00: (256, 1172)}),
    HANDSHAKE: Rule("handshake", BOTH, {0x00: (1, 256)}),
    GOAWAY: Rule("goaway", BOTH, {0x00: (1, 1)}),
}


@dataclass
class Frame:
    """One frame taken apart; plain is set once a data frame has been opened."""
    client: int
    server: int
    timestamp: int
    flags: int
    op: int
    length: int
    stream: int = 0
    pack: int = 0
    frag: int = 0
    header: bytes = b""
    payload: bytes = b""
    raw: bytes = b""
    plain: bytes = None
    repeat: bool = False

    @property
    def name(self):
        return RULES[self.op].name if self.op in RULES else "opcode %#x" % self.op

    def __str__(self):
        ids = "".join(" %s %d" % pair for pair in
                      (("stream", self.stream), ("packId", self.pack), ("fragId", self.frag))
                      if pair[1])
        return "%s%s, %d bytes of payload" % (self.name, ids, len(self.payload))


def header_length(flags):
    return HEADER_BYTES + 4 * sum(1 for bit in (STRE, PACK, FRAG) if flags & bit)


def header(client, server, timestamp, flags, op, length, stream=0, pack=0, frag=0):
    out = struct.pack(">HHQBBH", client, server, timestamp, flags, op, length)
    for bit, value in ((STRE, stream), (PACK, pack), (FRAG, frag)):
        if flags & bit:
            out += struct.pack(">I", value)
    return out


def parse(raw):
    """Take a frame apart whose header is whole; validity is another question."""
    frame = Frame(*struct.unpack_from(">HHQBBH", raw), raw=raw)
    at = HEADER_BYTES
    for bit, name in ((STRE, "stream"), (PACK, "pack"), (FRAG, "frag")):
        if frame.flags & bit:
            setattr(frame, name, struct.unpack_from(">I", raw, at)[0])
            at += 4
    frame.header, frame.payload = raw[:at], raw[at:]
    return frame


def guard_due(op, at, guard):
    return guard and op != SHAKEHAND and not (op == HANDSHAKE and at == CLIENT)


def server_id_wrong(frame, at):
    if frame.op == SHAKEHAND:
        return frame.server != 0
    if frame.op == HANDSHAKE and at == CLIENT and frame.payload[:1] not in (b"", b"\0"):
        return False
    return frame.server == 0


def ids_zero(frame, at):
    if frame.client == 0 or server_id_wrong(frame, at):
        return True
    return any(frame.flags & bit and value == 0 for bit, value in
               ((STRE, frame.stream), (PACK, frame.pack), (FRAG, frame.frag)))


def payload_size_wrong(frame, rule, at, guard):
    least, most = rule.sizes[frame.flags]
    extra = GUARD_BYTES if guard_due(frame.op, at, guard) else 0
    if len(frame.raw) > FRAME_MOST:
        return True
    return not least + extra <= frame.length <= most + extra


def validate(raw, at, guard):
    """The first failing reason of PROTOCOL 1 for the bytes of one UDP payload, or "none"."""
    if len(raw) < HEADER_BYTES:
        return "frame_short"
    flags, op = raw[12], raw[13]
    if flags & 0x1C or op & 0xF0:
        return "reserved_bits"
    rule = RULES.get(op)
    if rule is None or at not in rule.at:
        return "opcode"
    if flags not in rule.sizes:
        return "flags"
    if len(raw) < header_length(flags):
        return "frame_short"
    frame = parse(raw)
    if len(frame.header) + frame.length != len(raw):
        return "length_mismatch"
    if ids_zero(frame, at):
        return "id_zero"
    if frame.frag > FRAGMENT_MOST:
        return "id_range"
    if payload_size_wrong(frame, rule, at, guard):
        return "payload_size"
    return "none"


# --- the guard (PROTOCOL 3) ----------------------------------------------------------------------

MASK = (1 << 64) - 1


def siphash24(key, data):
    """SipHash-2-4 with an 8-byte result, little-endian, as its authors define it."""
    k0, k1 = struct.unpack("<QQ", key)
    state = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D,
             k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573)
    whole = len(data) & ~7
    words = struct.unpack("<%dQ" % (whole // 8), data[:whole])
    last = int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56
    for word in (*words, last):
        v0, v1, v2, v3 = state
        v0, v1, v2, v3 = sip_rounds(v0, v1, v2, v3 ^ word, 2)
        state = (v0 ^ word, v1, v2, v3)
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = sip_rounds(v0, v1, v2 ^ 0xFF, v3, 4)
    return (v0 ^ v1 ^ v2 ^ v3).to_bytes(8, "little")


def sip_rounds(v0, v1, v2, v3, count):
    for _ in range(count):
        v0 = (v0 + v1) & MASK
        v1 = (v1 << 13 & MASK | v1 >> 51) ^ v0
        v0 = v0 << 32 & MASK | v0 >> 32
        v2 = (v2 + v3) & MASK
        v3 = (v3 << 16 & MASK | v3 >> 48) ^ v2
        v0 = (v0 + v3) & MASK
        v3 = (v3 << 21 & MASK | v3 >> 43) ^ v0
        v2 = (v2 + v1) & MASK
        v1 = (v1 << 17 & MASK | v1 >> 47) ^ v2
        v2 = v2 << 32 & MASK | v2 >> 32
    return v0, v1, v2, v3


def guard_of(key, raw, header_bytes):
    """The guard of a frame whose payload length already counts it; raw ends before the guard."""
    covered = raw[:header_bytes] if raw[13] == DATA else raw
    return siphash24(key, covered)


# --- keys and sealing (PROTOCOL 2) ---------------------------------------------------------------

def hkdf_extract(salt, ikm):
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def hkdf_expand(prk, info, length):
    out, block, count = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([count]), hashlib.sha256).digest()
        out += block
        count += 1
    return out[:length]


class Direction:
    """The keys of one direction of one session."""

    def __init__(self, ikm, name, aead=1):
        self.name, self.aead = name, aead
        self.prk = hkdf_extract(b"udpack/1 session", ikm)
        self.iv = self.expand(b" iv", 12)
        self.guard_key = self.expand(b" guard", 16)
        self.blocks = {}

    def expand(self, label, length):
        return hkdf_expand(self.prk, self.name.encode() + label, length)

    def block_key(self, stream, pack):
        block = pack >> BLOCK_SHIFT
        if (stream, block) not in self.blocks:
            label = b" key" + struct.pack(">II", stream, block)
            self.blocks[stream, block] = self.expand(label, 32)
        return self.blocks[stream, block]

    def nonce(self, stream, pack, frag):
        counter = struct.pack(">III", stream, pack, frag)
        return bytes(a ^ b for a, b in zip(self.iv, counter))

    def cipher(self, stream, pack):
        return AEADS[self.aead](self.block_key(stream, pack))

    def guard(self, raw, header_bytes):
        return guard_of(self.guard_key, raw, header_bytes)

    def seal(self, head, stream, pack, frag, plain, guard):
        """A whole data frame from its header; the header's length is the caller's."""
        nonce = self.nonce(stream, pack, frag)
        raw = head + self.cipher(stream, pack).encrypt(nonce, plain, head)
        return raw + self.guard(raw, len(head)) if guard else raw

    def open(self, frame, guard):
        """The plaintext of a data frame, or Fault; the guard is checked elsewhere."""
        sealed = frame.payload[:-GUARD_BYTES] if guard else frame.payload
        nonce = self.nonce(frame.stream, frame.pack, frame.frag)
        try:
            cipher = self.cipher(frame.stream, frame.pack)
            return cipher.decrypt(nonce, sealed, frame.header)
        except InvalidTag:
            raise Fault("PROTOCOL 2: %s does not open" % frame) from None

    def guard_right(self, frame):
        expected = self.guard(frame.raw[:-GUARD_BYTES], len(frame.header))
        return hmac.compare_digest(expected, frame.raw[-GUARD_BYTES:])


class NonceLedger:
    """Every sealed frame seen, by key and nonce: one (key, nonce), one byte string (PROTOCOL 2)."""

    def __init__(self):
        self.frames = {}
        self.repeats = 0

    def record(self, direction, frame):
        """True when these very bytes were seen before; Fault when other bytes used the nonce."""
        key = direction.block_key(frame.stream, frame.pack)
        entry = (key, frame.stream, frame.pack, frame.frag)
        earlier = self.frames.setdefault(entry, frame.raw)
        if earlier is frame.raw:
            return False
        if earlier != frame.raw:
            raise Fault("PROTOCOL 2: one nonce for two frames: %s stream %d packId %d fragId %d"
                        % (direction.name, frame.stream, frame.pack, frame.frag))
        self.repeats += 1
        return True


def window_verdict(highest, seen, pack, policy):
    """The packId gate of PROTOCOL 4, as one would write it from the text."""
    if policy == "monotonic":
        if pack <= highest:
            return "not_monotonic"
        return "replay_ahead" if pack - highest > AHEAD_MOST else "none"
    if pack > highest:
        return "none" if pack - highest <= AHEAD_MOST else "replay_ahead"
    if highest - pack >= WINDOW:
        return "replay_old"
    return "replay_seen" if pack in seen else "none"


# --- a client's session --------------------------------------------------------------------------

class Clock:
    """Unix milliseconds that never decrease (PROTOCOL 3)."""

    def __init__(self):
        self.last = 0

    def __call__(self):
        self.last = max(self.last, int(time.time() * 1000))
        return self.last


class Session:
    """The client's end of a provisioned session: it seals what is asked and checks what comes."""

    def __init__(self, secret, client, server, aead=1, guard=True, policy=RELIABLE, ledger=None):
        self.secret, self.client, self.server = secret, client, server
        self.aead, self.guard = aead, guard
        self.out = Direction(secret, "c2s", aead)
        self.back = Direction(secret, "s2c", aead)
        self.policies = {0: policy}
        self.ledger = ledger if ledger is not None else NonceLedger()
        self.clock = Clock()
        self.next_pack = Counter()
        self.next_stream = int.from_bytes(secret[:4], "big") % (1 << 31) + 1
        self.copies = Counter()
        self.acked = set()
        self.asked = set()
        self.received = {}
        self.parts = {}
        self.cut = {}
        self.pings = Counter()
        self.clock_slack_ms = CLOCK_SLACK_MS
        self.latest = 0
        self.asked_at, self.answered_at = {}, {}
        self.data_times = {}

    # building

    def control(self, op, payload=b"", flags=None, stream=0, pack=0, frag=0):
        """A control frame with a fresh timestamp, guarded where the session is."""
        if flags is None:
            flags = STRE if stream else 0
        guarded = guard_due(op, SERVER, self.guard)
        length = len(payload) + (GUARD_BYTES if guarded else 0)
        head = header(self.client, self.server, self.clock(), flags, op, length,
                      stream, pack, frag)
        raw = head + payload
        return raw + self.out.guard(raw, len(head)) if guarded else raw

    def data(self, plain, stream=0, pack=None, frag=0, last=False):
        """The next packet of a series as one sealed frame, or the named one.

        A named packId leaves the counter alone; the ledger refuses to seal it twice.
        """
        if pack is None:
            self.next_pack[stream] += 1
            pack = self.next_pack[stream]
        flags = PACK | (STRE if stream else 0) | (FRAG if frag else 0) | (FIN if last else 0)
        length = len(plain) + TAG_BYTES + (GUARD_BYTES if self.guard else 0)
        head = header(self.client, self.server, self.clock(), flags, DATA, length,
                      stream, pack, frag)
        raw = self.out.seal(head, stream, pack, frag, plain, self.guard)
        self.ledger.record(self.out, parse(raw))
        self.copies[stream, pack] += 0
        return raw

    def packet(self, plain, stream=0, pack=None, most=1172, fragments=None):
        """A packet as the frames it travels in: whole where it fits one, else equal fragments.

        most is MAX_PAYLOAD_LEN; fragments=1 sends a packet that would fit as a lone fragment.
        """
        if pack is None:
            self.next_pack[stream] += 1
            pack = self.next_pack[stream]
        room = most - TAG_BYTES - (GUARD_BYTES if self.guard else 0)
        if len(plain) <= room and fragments is None:
            return [self.data(plain, stream, pack)]
        pieces = [plain[at:at + room] for at in range(0, len(plain), room)]
        if len(pieces) > FRAGMENT_MOST:
            raise ValueError("PROTOCOL 2: %d fragments" % len(pieces))
        return [self.data(piece, stream, pack, frag, frag == len(pieces))
                for frag, piece in enumerate(pieces, 1)]

    def ack_parts(self, pack, held, last=False, stream=0, slow=False):
        """The ack of the fragments held (PROTOCOL 1); last: FIN, the last one is among them."""
        top = max(held)
        bits = sum(1 << (8 * math.ceil(top / 8) - 1 - (top - frag)) for frag in held)
        flags = (PACK | FRAG | (STRE if stream else 0) | (SLOW if slow else 0)
                 | (FIN if last else 0))
        return self.control(ACK, bits.to_bytes(math.ceil(top / 8), "big"), flags, stream, pack,
                            top)

    def ack(self, pack, stream=0, slow=False):
        flags = PACK | (STRE if stream else 0) | (SLOW if slow else 0)
        return self.control(ACK, flags=flags, stream=stream, pack=pack)

    def ping(self, payload=b""):
        self.pings[payload] += 1
        return self.control(PING, payload)

    def pong(self, payload=b""):
        return self.control(PONG, payload)

    def new_stream(self, policy=RELIABLE):
        """A stream id nobody used yet and the policy both ends will hold it to."""
        stream, self.next_stream = self.next_stream, self.next_stream + 1
        self.policies[stream] = policy
        return stream

    def openstream(self, stream, policy=None):
        self.asked.add(stream)
        return self.control(OPENSTREAM, b"" if policy is None else bytes([policy]), stream=stream)

    def streamopen(self, stream):
        return self.control(STREAMOPEN, stream=stream)

    def closestream(self, stream):
        return self.control(CLOSESTREAM, stream=stream)

    def goaway(self, code=0):
        return self.control(GOAWAY, bytes([code]))

    def note_sent(self, raw):
        """Remember what went out, and the newest timestamp of the server seen before."""
        frame = parse(raw)
        answer = {DATA: ACK, PING: PONG, OPENSTREAM: STREAMOPEN}.get(frame.op)
        if answer is not None:
            self.asked_at.setdefault(self.answer(answer, frame), []).append(self.latest)
        if frame.op == DATA:
            self.copies[frame.stream, frame.pack] += 1
            if frame.frag:
                sent = self.cut.setdefault((frame.stream, frame.pack), {})
                sent[frame.frag] = bool(frame.flags & FIN)

    # receiving

    def receive(self, raw):
        """Check one frame from the server in full and return it, opened."""
        frame = self.overhear(raw)
        self.check_sense(frame)
        return frame

    def overhear(self, raw):
        """Check a frame that the network is to lose before it arrives: all but what it is about."""
        frame = self.check_form(raw)
        if frame.op == DATA:
            frame.plain = self.back.open(frame, self.guard)
            frame.repeat = self.ledger.record(self.back, frame)
        self.check_time(frame)
        return frame

    def check_form(self, raw):
        reason = validate(raw, CLIENT, self.guard)
        if reason != "none":
            raise Fault("PROTOCOL 1: the server sent a frame of reason %s: %s"
                        % (reason, raw[:32].hex()))
        frame = parse(raw)
        if (frame.client, frame.server) != (self.client, self.server):
            raise Fault("PROTOCOL 1: %s is for session %04x%04x"
                        % (frame, frame.client, frame.server))
        if guard_due(frame.op, CLIENT, self.guard) and not self.back.guard_right(frame):
            raise Fault("PROTOCOL 3: %s has a wrong guard" % frame)
        return frame

    def check_time(self, frame):
        """PROTOCOL 3: timestamps never decrease, whoever wrote the frame, agent or driver.

        Frames may overtake one another on their way, and of a frame sent again the first copy may
        be lost: the order of arrival proves nothing. What does: an answer is written after all
        that was seen before its question was sent, and a series is sealed in the order of its ids.
        """
        if frame.repeat:
            return
        back = (self.behind_series if frame.op == DATA else self.behind_question)(frame)
        if back > 0:
            raise Fault("PROTOCOL 3: the timestamp of %s went back by %d ms" % (frame, back))
        self.latest = max(self.latest, frame.timestamp)
        off = abs(frame.timestamp - int(time.time() * 1000))
        if off > self.clock_slack_ms:
            raise Fault("PROTOCOL 1: the timestamp of %s is %d ms off" % (frame, off))

    def behind_series(self, frame):
        """Milliseconds by which a data frame is out of its series' order."""
        times = self.data_times.setdefault(frame.stream, [])
        entry = (frame.pack, frame.frag, frame.timestamp)
        at = bisect.bisect(times, entry)
        before = times[at - 1][2] if at else 0
        after = times[at][2] if at < len(times) else frame.timestamp
        times.insert(at, entry)
        return max(before - frame.timestamp, frame.timestamp - after)

    def behind_question(self, frame):
        """Milliseconds by which an answer is older than what was seen before it was asked for.

        A question sent n times brings n answers at most: the oldest of them is not older than
        what was seen before the first question, the next not than before the second, and so on.
        """
        answer = self.answer(frame.op, frame)
        asked, answered = self.asked_at.get(answer, []), self.answered_at.setdefault(answer, [])
        bisect.insort(answered, frame.timestamp)
        return max((bound - time_ms for bound, time_ms in zip(asked, answered)), default=0)

    def answer(self, op, frame):
        """The name that a question and the control frames answering it share."""
        return op, frame.stream, frame.pack, self.unguarded(frame) if op == PONG else b""

    def unguarded(self, frame):
        return frame.payload[:-GUARD_BYTES] if self.guard else frame.payload

    def check_sense(self, frame):
        check = {DATA: self.on_data, ACK: self.on_ack, PONG: self.on_pong,
                 STREAMOPEN: self.on_stream, CLOSESTREAM: self.on_stream}.get(frame.op)
        if check:
            check(frame)

    def on_data(self, frame):
        if frame.stream not in self.policies:
            raise Fault("PROTOCOL 1: %s on a stream never opened" % frame)
        if self.policies[frame.stream] == NEWEST and frame.frag:
            raise Fault("PROTOCOL 4: %s in a series of policy newest" % frame)
        held = self.parts.setdefault((frame.stream, frame.pack), {})
        if held and (0 in held) != (frame.frag == 0):
            raise Fault("PROTOCOL 1: %s, which is cut anew" % frame)
        held[frame.frag] = frame
        last = max(held)
        if any(part.flags & FIN for frag, part in held.items() if frag != last):
            raise Fault("PROTOCOL 1: a fragment behind the last one of packId %d" % frame.pack)
        if not frame.frag:
            self.received.setdefault(frame.stream, {})[frame.pack] = frame.plain
        elif held[last].flags & FIN and len(held) == last:
            whole = b"".join(held[frag].plain for frag in range(1, last + 1))
            self.received.setdefault(frame.stream, {})[frame.pack] = whole

    def ack_for(self, frame):
        """The ack that a data frame of the server's reliable series is due now."""
        if frame.pack in self.received.get(frame.stream, {}):
            return self.ack(frame.pack, frame.stream)
        held = self.parts[frame.stream, frame.pack]
        last = bool(held[max(held)].flags & FIN)
        return self.ack_parts(frame.pack, held, last, frame.stream)

    def on_ack(self, frame):
        series = (frame.stream, frame.pack)
        if series not in self.copies:
            raise Fault("PROTOCOL 1: %s names a packet never sent" % frame)
        if self.policies.get(frame.stream) != RELIABLE:
            raise Fault("PROTOCOL 4: %s in a series that is not acked" % frame)
        if frame.frag:
            self.check_ack_bits(frame)
            return
        self.acked.add(series)

    def check_ack_bits(self, frame):
        bits = self.unguarded(frame)
        if len(bits) != math.ceil(frame.frag / 8):
            raise Fault("PROTOCOL 1: %s has %d bytes of ack bits" % (frame, len(bits)))
        padding = int.from_bytes(bits, "big") & ((1 << (8 * len(bits) - frame.frag)) - 1)
        if padding or not bits[0] & 0x80:
            raise Fault("PROTOCOL 1: %s has ack bits %s" % (frame, bits.hex()))
        sent = self.cut.get((frame.stream, frame.pack), {})
        extra = acked_parts(frame) - set(sent)
        if extra:
            raise Fault("PROTOCOL 1: %s acks fragments never sent: %s" % (frame, sorted(extra)))
        if bool(frame.flags & FIN) != sent[frame.frag]:
            raise Fault("PROTOCOL 1: FIN of %s is wrong" % frame)

    def on_pong(self, frame):
        echoed = self.unguarded(frame)
        if not self.pings[echoed]:
            raise Fault("PROTOCOL 1: a pong that answers no ping: %s" % echoed.hex())
        self.pings[echoed] -= 1

    def on_stream(self, frame):
        if frame.stream not in self.asked:
            raise Fault("PROTOCOL 1: %s for a stream never asked for" % frame)


def acked_parts(frame):
    """The fragments that a fragment ack says are there."""
    bits = frame.payload[:math.ceil(frame.frag / 8)]
    return {frame.frag - k for k in range(frame.frag) if bits[k // 8] & 0x80 >> k % 8}


def break_guard(raw):
    """The same frame with a wrong guard."""
    return raw[:-1] + bytes([raw[-1] ^ 0x01])


def break_tag(raw, guard):
    """The same frame with a wrong AEAD tag; a guard, which covers the header only, stays right."""
    at = len(raw) - 1 - (GUARD_BYTES if guard else 0)
    return raw[:at] + bytes([raw[at] ^ 0x01]) + raw[at + 1:]
