#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Duplicates acked in the driver, judged by the witness: the agent never sees them."""

import sys
import time

import witness
from lab import Lab, require_root, wait_until
from lab_report import Report, expect, expect_equal
from lab_session import Sessions, configuration, echo, endpoint, open_stream
from lab_wire import ETH_P_8021Q, Wire
from witness import ACK, PONG

HOUR_MS = 3600 * 1000
BURST = 200  # below the acks a session may have in a second
ENDPOINTS = (endpoint("v4", 4000), endpoint("v6", 4000, "::"),
             endpoint("open", 4001, guard="off"))


class Bench:
    def __init__(self, lab, agent):
        self.agent, self.wire = agent, Wire(lab)
        self.sessions = Sessions(lab, agent, self.wire)

    def counts(self):
        metrics = self.agent.scrape()
        return [metrics.total("packgate_%s_total" % name)
                for name in ("gate_duplicates", "gate_acks", "gate_steered", "frames_received")]


def settle(peer):
    """Until the gate and the agent are done with, and have counted, all that the peer has sent."""
    peer.send(peer.session.ping(b"settled?"))
    peer.expect((PONG, 0, None))


def moved(before, after):
    return [b - a for a, b in zip(before, after)]


def check_acks(bench, where, by_gate, stream_of=None, vlans=(), options=b""):
    """A packet sent again brings an ack of the same form as the first one's, and nothing else."""
    peer = bench.sessions.new(where, vlans=vlans, options=options)
    stream = open_stream(peer) if stream_of else 0
    sent = echo(peer, b"once", stream)
    pack = witness.parse(sent).pack
    settle(peer)  # the ack of the echo
    before = bench.counts()
    for _ in range(3):
        peer.send(sent)
        peer.expect((ACK, stream, pack))
    duplicates, acks, steered, received = moved(before, bench.counts())
    expect_equal(duplicates, 3, "packgate_gate_duplicates_total moved by")
    expect_equal(acks, 3 if by_gate else 0, "packgate_gate_acks_total moved by")
    expect_equal(steered, 0 if by_gate else 3, "packgate_gate_steered_total moved by")
    expect_equal(received, 0 if by_gate else 3, "packgate_frames_received_total moved by")
    echo(peer, b"the session goes on", stream)


def check_burst(bench):
    """Every one of many duplicates is acked."""
    peer = bench.sessions.new(ENDPOINTS[0])
    sent = echo(peer, b"burst")
    pack = witness.parse(sent).pack
    before = bench.counts()
    for _ in range(BURST):
        peer.send(sent)
    for _ in range(BURST):
        peer.expect((ACK, 0, pack))
    expect_equal(moved(before, bench.counts())[1], BURST, "packgate_gate_acks_total moved by")


def check_forged(bench):
    """A duplicate with a wrong guard, or from elsewhere, brings nothing."""
    peer = bench.sessions.new(ENDPOINTS[0])
    sent = echo(peer, b"forged")
    before = bench.agent.scrape()
    peer.send(witness.break_guard(sent))
    wait_until(lambda: bench.agent.scrape().drops()["guard"] > before.drops().get("guard", 0), 2,
               "the drop of a wrong guard")
    echo(peer, b"after")
    expect_equal(bench.agent.scrape().total("packgate_gate_acks_total"),
                 before.total("packgate_gate_acks_total"), "packgate_gate_acks_total")


def repeat(peer, sent):
    """Duplicates acked by the gate and echoes by the agent, in turns: the witness demands that each
    is not older than what came before it was asked for. Returns the last ack of the gate."""
    stream, pack = witness.parse(sent).stream, witness.parse(sent).pack
    for _ in range(3):
        peer.send(sent)
        ack = peer.expect((ACK, stream, pack))
        echo(peer, b"in turns", stream)
    return ack


def check_clock(bench, where, stream_of):
    """The wall clock steps on, back, and back to where it was."""
    peer = bench.sessions.new(where)
    peer.session.clock_slack_ms = 3 * HOUR_MS
    stream = open_stream(peer) if stream_of else 0
    sent = echo(peer, b"at ten", stream)

    def gate_follows(step):
        """Whether the gate has heard of the step: a new session's ack has the new time."""
        other = bench.sessions.new(where)
        other.session.clock_slack_ms = 3 * HOUR_MS
        ack = repeat(other, echo(other, b"new"))
        return abs(ack.timestamp - time.time() * 1000 - step) < HOUR_MS / 2

    try:
        for step in (HOUR_MS, -HOUR_MS, 0):
            bench.agent.step_clock(step)
            repeat(peer, sent)
            wait_until(lambda step=step: gate_follows(step), 5, "the gate's clock", 0.2)
            repeat(peer, sent)
    finally:
        bench.agent.step_clock(0)
    repeat(peer, sent)


def run_gate(report, lab):
    agent = lab.agent(configuration(ENDPOINTS, duplicate_acks="gate"))
    agent.preload()
    agent.start()
    bench = Bench(lab, agent)
    for where in ENDPOINTS[:2]:
        report.check("gate: session, " + where.name, check_acks, bench, where, True)
        report.check("gate: stream, " + where.name, check_acks, bench, where, True, True)
        report.check("gate: VLAN, " + where.name, check_acks, bench, where, True, False,
                     ((ETH_P_8021Q, 5),))
    report.check("gate: guard off, by the agent", check_acks, bench, ENDPOINTS[2], False)
    report.check("gate: IP options, by the agent", check_acks, bench, ENDPOINTS[0], False, False,
                 (), b"\x01\x01\x01\x01")
    report.check("gate: burst", check_burst, bench)
    report.check("gate: forged", check_forged, bench)
    report.check("gate: the clock steps", check_clock, bench, ENDPOINTS[0], False)
    report.check("gate: the clock steps, stream", check_clock, bench, ENDPOINTS[1], True)
    expect("duplicates are acked by the gate" in agent.stderr(5000), "the log says who acks")
    agent.stop()
    agent.detach()


def run_auto(report, lab):
    """On a veth the agent acks unless it is told otherwise."""
    agent = lab.agent(configuration(ENDPOINTS))
    agent.start()
    bench = Bench(lab, agent)
    report.check("auto on a veth: by the agent", check_acks, bench, ENDPOINTS[0], False)
    report.check("auto on a veth: the log says so", lambda: expect(
        "duplicates are acked by the agent" in agent.stderr(5000), "%s", agent.stderr()))
    agent.stop()
    agent.detach()


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        report.check("gate", run_gate, report, lab)
        report.check("auto", run_auto, report, lab)
    report.last("nothing left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
