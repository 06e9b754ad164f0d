#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Where the agent's frames go on the link: to where the last authenticated, new frame came from.

Somebody on the link who plays a frame of the client again, byte for byte, with the client's address
and a link address of his own, gets at most the answer to it: what else the session sends stays on
its way.
"""

import sys

from lab import Lab, require_root, wait_until
from lab_report import Report, expect_equal
from lab_session import Sessions, configuration, echo, endpoint, open_stream
from lab_wire import ETH_P_8021Q, Peer, Wire
from witness import ACK, GOAWAY, PONG, STREAMOPEN

GUARDED = endpoint("guarded", 4000)
PLAIN = endpoint("plain", 4001, guard="off")
SIX = endpoint("six", 4002, "::")
STRANGER = bytes.fromhex("02feed000001")
TAGGED = ((ETH_P_8021Q, 77),)


class Watched(Peer):
    """A flow that notes, for each frame that comes, its opcode and its way over the link."""

    def take(self, datagram):
        self.ways = getattr(self, "ways", [])
        self.ways.append((datagram.payload[13], datagram.eth_target, datagram.vlans))
        super().take(datagram)

    def way_of(self, op):
        return [way[1:] for way in self.ways if way[0] == op][-1]

    def elsewhere(self, payload):
        """Send a frame of the session from the stranger's place on the link."""
        self.session.note_sent(payload)
        self.wire.send(self.raw(payload, eth_source=STRANGER, vlans=TAGGED))
        return payload


class Bench:
    def __init__(self, lab, agent):
        self.lab, self.agent = lab, agent
        self.sessions = Sessions(lab, agent, Wire(lab))
        self.home, self.away = (lab.client_mac, ()), (STRANGER, TAGGED)

    def peer(self, where):
        peer = self.sessions.new(where)
        peer.__class__ = Watched
        return peer

    def check_goaway(self, peer, way):
        """What the session sends of its own accord goes this way."""
        session = peer.session
        self.agent.cli_ok("session", "close", "%04x%04x" % (session.client, session.server))
        peer.expect((GOAWAY, 0, None))
        expect_equal(peer.way_of(GOAWAY), way, "way of the goaway")


def check_data(bench, where, stream):
    """A data frame played again: its ack goes back to whoever asked, nothing else."""
    peer = bench.peer(where)
    stream = open_stream(peer) if stream else 0
    sent = [echo(peer, b"once", stream), echo(peer, b"twice", stream)]
    for raw in sent:
        peer.elsewhere(raw)
        peer.expect((ACK, stream, None))
        expect_equal(peer.way_of(ACK), bench.away, "way of the ack")
    bench.check_goaway(peer, bench.home)


def check_control(bench, where):
    """Control frames played again move nothing: their timestamps are not above the last."""
    peer = bench.peer(where)
    old = [peer.send(peer.session.ping(b"old")), peer.session.openstream(peer.session.new_stream())]
    peer.send(old[1])
    peer.expect((PONG, 0, None), (STREAMOPEN, None, None))
    echo(peer, b"after")
    peer.session.pings[b"old"] += 1
    for raw, op in zip(old, (PONG, STREAMOPEN)):
        peer.elsewhere(raw)
        peer.expect((op, None, None))
        expect_equal(peer.way_of(op), bench.home, "way of the answer")
    bench.check_goaway(peer, bench.home)


def check_forged(bench, where):
    """Nor does a frame whose tag is wrong."""
    peer = bench.peer(where)
    echo(peer, b"first")
    raw = bytearray(peer.session.data(b"forged"))
    raw[-20 if peer.session.guard else -10] ^= 1
    bench.sessions.wire.send(peer.raw(bytes(raw), eth_source=STRANGER, vlans=TAGGED))
    peer.expect_silence(0.1)
    bench.check_goaway(peer, bench.home)


def check_new(bench, where):
    """A new data frame moves the way, and so does a new control frame where there is a guard."""
    peer = bench.peer(where)
    echo(peer, b"here")
    peer.elsewhere(peer.session.data(b"there"))
    peer.expect((0, 0, None), (ACK, 0, None))
    expect_equal(peer.way_of(0), bench.away, "way of the echo")
    before = peer.session.clock()
    wait_until(lambda: peer.session.clock() > before, 1, "a later millisecond")
    peer.send(peer.session.ping(b"here again"))
    peer.expect((PONG, 0, None))
    way = bench.home if peer.session.guard else bench.away
    expect_equal(peer.way_of(PONG), way, "way of the pong")
    bench.check_goaway(peer, way)


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        agent = lab.agent(configuration((GUARDED, PLAIN, SIX), limits={"receive_timeout_ms": 12000}))
        if report.check("the agent starts", agent.start):
            bench = Bench(lab, agent)
            for where in (GUARDED, PLAIN, SIX):
                report.check("data again, " + where.name, check_data, bench, where, False)
                report.check("data of a stream again, " + where.name, check_data, bench, where,
                             True)
                report.check("control frames again, " + where.name, check_control, bench, where)
                report.check("forged, " + where.name, check_forged, bench, where)
                report.check("new frames, " + where.name, check_new, bench, where)
            report.check("the agent stops", agent.stop)
            agent.detach()
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
