#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Socket mode names the reasons of the gate (DESIGN 4): the same datagrams, one agent beside another.

Two labs are alike but for the agent's mode. Every datagram goes to both, one at a time, from the same
address; what both say of it must be the same, whichever of gate and agent says it: a reason, or
none.
"""

import contextlib
import random
import socket
import struct
import sys

import witness
import witness_handshake
from lab import Lab, require_root, wait_until
from lab_report import Failed, Report, expect, expect_equal
from lab_session import configuration, endpoint
from lab_wire import ETH_P_IPV4, ETH_P_IPV6, Peer, Wire, ethernet, ipv4, ipv6, packed, udp

DROPS, REJECTED = "packgate_gate_drops_total", "packgate_frames_rejected_total"
RATE = 25
NOISE = 150
SEED = 20
PEER_PORT = 30100
ENDPOINTS = (endpoint("game", 4000, deliver="discard"),
             endpoint("roam", 4001, roaming="on", deliver="discard"),
             endpoint("open", 4002, guard="off", deliver="discard"),
             endpoint("newest", 4003, policy="monotonic", deliver="discard"),
             endpoint("six", 4004, "::", deliver="discard"))
FLAG_BYTES = (0x40, 0xC0, 0x60, 0xE0, 0x61, 0xE1)


class Side:
    """One lab with its agent, and what its counters said last."""

    def __init__(self, lab, limits, **more):
        self.lab, self.sent, self.more = lab, 0, dict(more, limits=limits)
        self.known = set()  # addresses that the server can answer
        lab.__enter__()
        self.agent = lab.agent({})
        done = self.agent.packgate("keygen", self.agent.path("server.key"))
        expect_equal(done.code, 0, "keygen")
        self.public = bytes.fromhex(done.out.strip())
        self.configure("never")
        self.agent.start()
        self.wire = Wire(lab)
        self.last = self.agent.scrape()

    def configure(self, cookie):
        handshake = {"key": self.agent.path("server.key"), "tokens": "none", "cookie": cookie}
        self.agent.write_config(configuration(ENDPOINTS, handshake=handshake, **self.more))

    def send(self, source, sport, where, payload):
        ends = packed(source), packed(where.target)
        body = udp(*ends, sport, where.port, payload)
        kind, build = (ETH_P_IPV6, ipv6) if where.ipv6 else (ETH_P_IPV4, ipv4)
        if source not in self.known:
            self.known.add(self.lab.peer_address(source))
        self.wire.send(ethernet(self.lab.server_mac, self.lab.client_mac, kind,
                                build(*ends, body)))
        self.sent += 1

    @staticmethod
    def seen(metrics):
        """How many datagrams have been judged: by the gate alone, or by the agent."""
        return sum(metrics.total(name) for name in
                   (DROPS, "packgate_gate_acks_total", "packgate_gate_cookies_total",
                    "packgate_frames_received_total"))

    def verdict(self):
        """{reason: count} of what was sent since the last call, gate and agent together."""
        first = self.seen(self.last)
        wait_until(lambda: self.seen(self.agent.scrape()) >= first + self.sent, 2,
                   "%d datagrams to be judged" % self.sent)
        self.sent, self.before = 0, self.last
        return self.moved()

    def moved(self):
        """The same, read anew."""
        self.last, moved = self.agent.scrape(), {}
        for name in (DROPS, REJECTED):
            was = self.before.by_label(name, "reason")
            for reason, count in self.last.by_label(name, "reason").items():
                moved[reason] = moved.get(reason, 0) + int(count - was.get(reason, 0))
        moved["opened"] = int(self.last.total("packgate_frames_opened_total")
                              - self.before.total("packgate_frames_opened_total"))
        return {reason: count for reason, count in moved.items() if count}


class Client:
    """A session that both agents know, and what it can send."""

    def __init__(self, sides, where, number):
        self.where = where
        self.source = "fd77::1:7" if where.ipv6 else "10.77.0.%d" % (100 + number)
        policy = witness.RELIABLE if where.policy == "window" else witness.NEWEST
        secret = bytes([number + 1]) * 32
        self.session = witness.Session(secret, 0x1235, 0x2000 + number, 1, where.guard == "on",
                                       policy)
        for side in sides:
            side.agent.add_session(where.name, self.session, self.source, PEER_PORT,
                                   aead_name=witness.AEAD_NAMES[1])


class Pair:
    """Both sides and the clients they share."""

    def __init__(self, xdp, plain):
        self.sides = xdp, plain
        self.clients = {where.name: Client(self.sides, where, number)
                        for number, where in enumerate(ENDPOINTS)}

    def judge(self, client, payload, source=None, sport=PEER_PORT, where=None, wanted=None):
        """What both sides say of one datagram; they must agree."""
        for side in self.sides:
            side.send(source or client.source, sport, where or client.where, payload)
        xdp, plain = found = [side.verdict() for side in self.sides]

        def agreed():
            found[:] = [side.moved() for side in self.sides]
            return found[0] == found[1] and wanted in (None, found[0])

        if xdp != plain or wanted not in (None, xdp):
            # an agent counts a datagram when it comes, and a moment later what became of it
            with contextlib.suppress(Failed):
                wait_until(agreed, 2, "the same verdict")
            xdp, plain = found
        expect_equal(plain, xdp, "socket mode, of %s at %s, flags %#x, opcode %#x, %d bytes"
                     % (payload[:28].hex(), client.where.name, payload[12] if len(payload) > 12
                        else 0, payload[13] if len(payload) > 13 else 0, len(payload)))
        return xdp

    def demand(self, wanted, client, payload, **more):
        expect_equal(self.judge(client, payload, wanted=wanted, **more), wanted, "both sides")


# --- frames that break one rule, or two ----------------------------------------------------------

def bare(session, flags, op, stream=0, pack=0, frag=0, payload=bytes(24), guard=True):
    """A frame with a right guard, or a wrong one, over any payload."""
    head = witness.header(session.client, session.server, session.clock(), flags, op,
                          len(payload) + (8 if session.guard else 0), stream, pack, frag)
    if not session.guard:
        return head + payload
    raw = head + payload
    raw += session.out.guard(raw, len(head))
    return raw if guard else witness.break_guard(raw)


def check_order(pair):
    """Where a frame breaks two rules the earlier one names it, from stream to packId."""
    client = pair.clients["game"]
    session = client.session
    data, ping = (lambda **more: bare(session, 0x40, witness.DATA, **more),
                  lambda **more: bare(session, 0, witness.PING, payload=b"", **more))
    streamed = bare(session, 0xC0, witness.DATA, 77, 1, guard=False)
    pair.demand({"opened": 1}, client, session.data(b"first", pack=2000))
    for want, frame, more in (
            ("no_stream", streamed, {"sport": 1}), ("no_stream", streamed, {}),
            ("no_stream", bare(session, 0xC0, witness.ACK, 77, 1, payload=b"", guard=False), {}),
            ("no_stream", bare(session, 0x80, witness.CLOSESTREAM, 77, payload=b"", guard=False),
             {"sport": 1}),
            ("peer_mismatch", data(pack=1, guard=False), {"sport": 1}),
            ("peer_mismatch", data(pack=2001), {"source": "10.77.0.9"}),
            ("peer_mismatch", ping(guard=False), {"sport": 1}),
            ("guard", data(pack=1, guard=False), {}), ("guard", data(pack=2001, guard=False), {}),
            ("guard", ping(guard=False), {}), ("replay_old", data(pack=1), {}),
            ("replay_ahead", data(pack=2001 + (1 << 20)), {}), ("tag", data(pack=2001), {}),
            ("frame_short", data(pack=1)[:15], {"sport": 1})):
        pair.demand({want: 1}, client, frame, **more)


def check_streams(pair):
    """The rules of a stream by its policy, fragments included, and of one that is closed."""
    client = pair.clients["game"]
    session = client.session
    for policy, fragment in ((0, "tag"), (1, "fragment_unsupported"), (2, "tag")):
        stream = session.new_stream(policy)
        pair.demand({}, client, session.openstream(stream, policy))
        pair.demand({}, client, session.streamopen(stream))
        pair.demand({"opened": 1}, client, session.data(b"one", stream))
        for flags in (0xE0, 0xE1):
            pair.demand({fragment: 1}, client,
                        bare(session, flags, witness.DATA, stream, 2, 1))
            pair.demand({"guard": 1}, client,
                        bare(session, flags, witness.DATA, stream, 2, 1, guard=False))
        pair.demand({"peer_mismatch": 1}, client,
                    bare(session, 0xE0, witness.DATA, stream, 1, 1), sport=1)
        old = bare(session, 0xC0, witness.DATA, stream, 1)
        pair.judge(client, old)
    pair.demand({}, client, session.closestream(stream))
    pair.demand({}, client, session.closestream(stream))
    pair.judge(client, session.data(b"late", stream))


def check_fragments(pair):
    """A packet in fragments, its copies and its contradictions."""
    client = pair.clients["game"]
    session = client.session
    frames = [session.data(b"part", pack=2100, frag=frag, last=frag == 3) for frag in (1, 2, 3)]
    pair.demand({"opened": 1}, client, frames[0])
    pair.demand({}, client, frames[0])
    pair.demand({"opened": 1}, client, frames[2])
    pair.demand({"fragment_conflict": 1}, client, session.data(b"four", pack=2100, frag=4))
    pair.demand({"opened": 1}, client, frames[1])
    for frame in frames:
        pair.demand({}, client, frame)


def check_newest(pair):
    client = pair.clients["newest"]
    session = client.session
    high = session.data(b"high", pack=9)
    pair.demand({"opened": 1}, client, high)
    pair.demand({"not_monotonic": 1}, client, high)
    pair.demand({"fragment_unsupported": 1}, client, session.data(b"x", pack=10, frag=1))
    pair.demand({"fragment_unsupported": 1}, client, session.data(b"x", pack=9, frag=1))
    pair.demand({"guard": 1}, client, bare(session, 0x60, 0, 0, 10, 1, guard=False))
    pair.demand({"peer_mismatch": 1}, client, session.data(b"x", pack=11, frag=2), sport=2)


def check_roaming(pair):
    """Candidates: what may prove a new address, and what counts as peer_mismatch."""
    client = pair.clients["roam"]
    session = client.session
    pair.demand({"opened": 1}, client, session.data(b"here", pack=5))
    pair.demand({"peer_mismatch": 1}, client, bare(session, 0x40, 0, 0, 6, guard=False), sport=9)
    pair.demand({"peer_mismatch": 1}, client, bare(session, 0x40, 0, 0, 5), sport=9)
    pair.demand({"peer_mismatch": 1}, client, session.ping(), sport=9)
    pair.demand({"no_stream": 1}, client, bare(session, 0xC0, 0, 5, 6), sport=9)
    pair.demand({"replay_ahead": 1}, client, bare(session, 0x40, 0, 0, 6 + (1 << 20)), sport=9)
    pair.demand({"tag": 1}, client, bare(session, 0x40, 0, 0, 6), sport=9)
    pair.demand({"opened": 1}, client, session.data(b"moved", pack=6), sport=9)
    pair.demand({"peer_mismatch": 1}, client, session.ping())
    pair.demand({"opened": 1}, client, session.data(b"frag", pack=7, frag=1), sport=10)
    pair.demand({"opened": 1}, client, session.data(b"frag", pack=7, frag=2, last=True), sport=10)


def check_unmatched(pair):
    """Sessions that are not there, at the other endpoint, or over."""
    client = pair.clients["game"]
    other = witness.Session(bytes(32), 0x4444, 0x4444)
    wrong = witness.Session(bytes(32), client.session.client ^ 0x10, client.session.server)
    for session in (other, wrong):
        pair.demand({"no_session": 1}, client, session.data(b"who"), source="10.77.0.77")
    pair.demand({"no_session": 1}, client, client.session.ping(),
                where=pair.clients["roam"].where)
    six = pair.clients["six"]
    pair.demand({"no_session": 1}, six, other.ping(), source="fd77::2:1")
    pair.demand({"opened": 1}, six, six.session.data(b"six"))
    pair.demand({}, six, six.session.goaway())
    pair.demand({"session_state": 1}, six, six.session.data(b"late"))
    pair.demand({"session_state": 1}, six, six.session.ping(), sport=7)


def check_rate(pair):
    """A burst of unmatched frames of one source is looked at, the rest is limited; others are not."""
    other = witness.Session(bytes(32), 0x4444, 0x4445)
    client = pair.clients["game"]
    for side in pair.sides:
        for _ in range(4 * RATE):
            side.send("10.77.0.88", 30, client.where, other.data(b"flood"))
        moved = side.verdict()
        expect_equal(set(moved), {"no_session", "rate_limited"}, "reasons of the flood")
        expect_equal(sum(moved.values()), 4 * RATE, "frames counted")
        expect(RATE <= moved["no_session"] <= 3 * RATE, "%r of %d a second", moved, RATE)
    pair.demand({"no_session": 1}, client, other.ping(), source="10.77.0.89")


class Shakehands:
    """Clients of one source and one side that ask once each."""

    def __init__(self, side, where, source):
        self.side, self.where, self.source = side, where, source
        self.wire = Wire(side.lab)

    def send(self, count, cookie=b"", version=1):
        """Questions that cost the server nothing: none of their messages 1 can be opened."""
        for number in range(count):
            opening = witness_handshake.Opening(self.side.public, client=0x2001 + number,
                                                version=version)
            opening.message = bytes(len(opening.message))
            opening.cookie = cookie or opening.cookie
            self.side.send(self.source, 31, self.where, opening.shakehand())

    def total(self, *names):
        return sum(self.side.agent.scrape().total(name) for name in names)


def flood(side, where, source, **more):
    """What a side makes of four times as many shakehands as a source may send a second."""
    Shakehands(side, where, source).send(4 * RATE, **more)
    return side.verdict()


def expect_limited(moved, reason):
    expect_equal(set(moved), {reason, "rate_limited"}, "reasons of the flood")
    expect_equal(sum(moved.values()), 4 * RATE, "shakehands counted")
    expect(RATE <= moved[reason] <= 3 * RATE, "%r of %d a second", moved, RATE)


def check_shakehand_rate(pair):
    """Shakehands take from the bucket that unmatched frames take from, whatever becomes of them."""
    other = witness.Session(bytes(32), 0x4444, 0x4446)
    for number, name in enumerate(("game", "six")):
        where = pair.clients[name].where
        for side in pair.sides:
            source = ("fd77::3:%x" if where.ipv6 else "10.77.0.%d") % (90 + number)
            expect_limited(flood(side, where, source), "handshake_key")
            for _ in range(4 * RATE):
                side.send(source, 32, where, other.data(b"more"))
            moved = side.verdict()
            expect(moved.get("rate_limited", 0) >= 2 * RATE, "no bucket in common: %r", moved)
            # an IPv6 source is a /64
            beside = "fd77:0:0:1::9" if where.ipv6 else "10.77.0.99"
            Shakehands(side, where, beside).send(1, version=2)
            expect_equal(side.verdict(), {"handshake_version": 1}, "another source")


def check_shakehand_order(pair):
    """What is not valid is not counted against its source, as in the gate."""
    where = pair.clients["game"].where
    for side in pair.sides:
        opening = witness_handshake.Opening(side.public, client=0x2001)
        for _ in range(4 * RATE):
            side.send("10.77.0.93", 33, where, opening.shakehand()[:-1])
        expect_equal(side.verdict(), {"length_mismatch": 4 * RATE}, "reasons")
        Shakehands(side, where, "10.77.0.93").send(1)
        expect_equal(side.verdict(), {"handshake_key": 1}, "one that is valid")


def check_cookie_rate(pair):
    """While cookies are due, only shakehands with a good one take from the bucket."""
    where, counters = pair.clients["game"].where, ("packgate_gate_cookies_total",
                                                   "packgate_cookies_sent_total")
    for side in pair.sides:
        side.configure("always")
        side.agent.cli_ok("reload")
        source = "10.77.0.94"
        asked = Shakehands(side, where, source)
        before, side.last = asked.total(*counters), side.agent.scrape()
        asked.send(4 * RATE)
        wait_until(lambda: asked.total(*counters) == before + 4 * RATE, 3, "the cookies")
        moved = side.verdict()
        expect("rate_limited" not in moved and "handshake_key" not in moved, "%r", moved)
        opening = witness_handshake.Opening(side.public, client=0x2001)
        peer = Peer(side.wire, opening, source, 31, where.target, where.port)
        peer.send(opening.shakehand())
        peer.expect((witness.HANDSHAKE, 0, None))
        expect(opening.cookie != witness_handshake.NO_COOKIE, "no cookie came")
        side.sent, side.last = 0, side.agent.scrape()
        opening.message = bytes(len(opening.message))
        for _ in range(4 * RATE):
            side.send(source, 31, where, opening.shakehand())
        expect_limited(side.verdict(), "handshake_key")


# --- noise ---------------------------------------------------------------------------------------

def noise_frame(rng, session, streams):
    """A frame with legal flags and ids near what is legal; now and then a byte or two are changed."""
    op = rng.choice((0, 0, 0, 0, 4, 4, 5, 6, 7, 8, 9, 0xB))
    flags = {0: rng.choice(FLAG_BYTES), 4: rng.choice(FLAG_BYTES) | rng.choice((0, 2)),
             7: 0x80, 8: 0x80, 9: 0x80}.get(op, 0)
    stream = rng.choice(streams + [1, 2])
    size = {0: rng.choice((15, 16, 17, 40, 900)), 4: rng.choice((0, 1, 2, 64, 65)),
            5: rng.choice((0, 64, 65)), 7: rng.choice((0, 1, 2)), 0xB: rng.choice((0, 1, 256))
            }.get(op, 0)
    raw = bytearray(bare(session, flags, op, stream, rng.choice((1, 900, 2001, 2100, 1 << 22)),
                         rng.choice((1, 2, 512, 513)), rng.randbytes(size),
                         rng.random() > 0.2))
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        at = rng.randrange(min(len(raw), 28))
        raw[at] ^= 1 << rng.randrange(8)
    if rng.random() < 0.1:
        del raw[rng.randrange(len(raw)):]
    return bytes(raw)


def check_noise(pair, name):
    """Random frames, nearly right: the same reason on both sides, frame by frame."""
    rng = random.Random("%s %d" % (name, SEED))
    client, kinds = pair.clients[name], set()
    streams = [stream for stream in client.session.policies if stream] or [3]
    for _ in range(NOISE):
        frame = noise_frame(rng, client.session, streams)
        if len(frame) > 13 and frame[13] & 0x0F in (witness.GOAWAY, witness.SHAKEHAND):
            continue
        sport = PEER_PORT if rng.random() < 0.8 else PEER_PORT + 1
        kinds |= set(pair.judge(client, frame, sport=sport))
    expect(len(kinds) >= 10, "the noise met %s alone", ", ".join(sorted(kinds)))


def check_long(pair):
    """Datagrams around the longest frame; a socket gives more than the gate's MTU would."""
    client = pair.clients["game"]
    session = client.session
    for size in (1400, 1427, 1428):
        pair.judge(client, session.data(bytes(size), pack=3000 + size))
    liar = bytearray(session.data(bytes(1400), pack=5000))
    liar[14:16] = struct.pack(">H", 2020)
    pair.demand({"length_mismatch": 1}, client, bytes(liar))


def check_longest(plain):
    """In socket mode a datagram above 2048 bytes is judged by its own length."""
    client_of = witness.Session(bytes(32), 0x5555, 0x5555)
    sock = plain.lab.server_socket(socket.AF_INET, socket.SOCK_DGRAM)
    for size, want in ((2048, "no_session"), (2049, "payload_size"), (3000, "payload_size"),
                       (60000, "payload_size")):
        payload = client_of.data(bytes(size - 20 - 16 - 8))
        expect_equal(len(payload), size, "bytes of the datagram")
        sock.sendto(payload, ("127.0.0.1", 4000))
        plain.sent = 1
        expect_equal(plain.verdict(), {want: 1}, "%d bytes" % size)


def checks(report, xdp, plain):
    pair = Pair(xdp, plain)
    for name, function in (("order of the rules", check_order), ("streams", check_streams),
                           ("fragments", check_fragments), ("policy newest", check_newest),
                           ("roaming", check_roaming), ("unmatched frames", check_unmatched),
                           ("rate of a source", check_rate), ("long datagrams", check_long),
                           ("rate of shakehands", check_shakehand_rate),
                           ("shakehands that are not valid", check_shakehand_order)):
        report.check(name, function, pair)
    for name in ("game", "open", "newest"):
        report.check("noise at " + name, check_noise, pair, name)
    report.check("datagrams above 2048 bytes", check_longest, plain)
    report.check("rate of shakehands with cookies", check_cookie_rate, pair)


def main():
    require_root()
    report = Report()
    labs = Lab(queues=1), Lab(queues=1)
    limits = {"unmatched_per_source_per_second": RATE}
    try:
        sides = []
        report.check("the gate's agent starts",
                     lambda: sides.append(Side(labs[0], limits, mode="auto")))
        report.check("socket mode starts",
                     lambda: sides.append(Side(labs[1], limits, mode="socket")))
        if len(sides) == 2:
            checks(report, *sides)
            for side in sides:
                report.check("the agent stops", side.agent.stop)
    finally:
        for lab in labs:
            report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
