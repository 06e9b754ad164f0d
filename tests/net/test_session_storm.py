#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Forged and replayed frames in great number, with honest frames among them.

1,000,000 frames with the ids of a living session, far-ahead packIds and a wrong guard, and 100,000
with a wrong tag where the guard is off, must neither move a window nor burn a packId: every honest
frame sent between them is acked and delivered, once and in order. 100,000 replays deliver nothing.

The honest client keeps few frames in flight and the flood waits for it, so that a frame can only
be missing because it was refused, never because a ring of the test's own making ran over.
"""

import os
import random
import struct
import sys
import time

import lab_app
import witness
from lab import Lab, require_root, wait_until
from lab_app import App
from lab_report import Failed, Report, expect, expect_equal
from lab_session import Sessions, configuration, endpoint
from lab_wire import Bulk, Wire
from witness import ACK

FORGED_GUARDS, FORGED_TAGS, REPLAYS = 1_000_000, 100_000, 100_000
POOL = 16384
IN_FLIGHT = 8
LOST_SECONDS = 10.0
ACKS_PER_SECOND = 1000

GUARDED = endpoint("guarded", 4000, guard="on", deliver="app")
OPEN = endpoint("open", 4001, guard="off", deliver="app")


class Storm:
    """An honest client and a reading application, with something to send in between."""

    def __init__(self, agent, peer, app):
        self.agent, self.peer, self.app = agent, peer, app
        self.sent, self.acked, self.delivered = 0, set(), []
        self.acks_again = 0

    def turn(self, between):
        """The flood's share, then one honest frame behind it, then whatever has come back."""
        between()
        frame = self.peer.session.data(struct.pack(">I", self.sent + 1))
        self.peer.send(frame)
        self.sent += 1
        self.collect(0)
        self.wait(IN_FLIGHT)
        return frame

    def wait(self, in_flight):
        deadline = time.monotonic() + LOST_SECONDS
        while self.sent - len(self.acked) > in_flight:
            self.collect(0.01)
            if time.monotonic() > deadline:
                raise Failed("lost honest frames: " + self.missing())

    def missing(self):
        lost = sorted(set(range(1, self.sent + 1)) - self.acked)
        return "%d of %d have no ack, packIds %s" % (len(lost), self.sent, lost[:5])

    def collect(self, timeout):
        wire = self.peer.wire
        if timeout and not self.peer.inbox:
            wire.pump(timeout)
        wire.drain()
        self.peer.assert_clean()
        while self.peer.inbox:
            frame = self.peer.inbox.popleft()
            expect(frame.op == ACK and not frame.stream, "unexpected: %s", frame)
            self.acks_again += frame.pack in self.acked
            self.acked.add(frame.pack)
        self.read_application(0)

    def read_application(self, timeout):
        item = self.app.receive(timeout)
        while item is not None:
            expect(item.kind != lab_app.GAP, "the agent reports a gap")
            if item.kind == lab_app.MESSAGE:
                self.delivered.append(struct.unpack(">I", item.body)[0])
            item = self.app.receive(0)

    def finish(self):
        """Everything sent is acked and was delivered once, in order."""
        self.wait(0)
        deadline = time.monotonic() + LOST_SECONDS
        while len(self.delivered) < self.sent and time.monotonic() < deadline:
            self.read_application(0.05)
        expect(self.delivered == list(range(1, self.sent + 1)),
               "sent 1..%d, the application got %d messages, %d of them different, in order: %s",
               self.sent, len(self.delivered), len(set(self.delivered)),
               self.delivered == sorted(self.delivered))


def forged_frames(peer, count):
    """Frames with the session's ids, valid in form, a packId far ahead, and random seals."""
    session = peer.session
    for _ in range(count):
        pack = random.randrange(1 << 17, 1 << 20)
        sealed = os.urandom(48)
        head = witness.header(session.client, session.server, session.clock(), witness.PACK,
                              witness.DATA, len(sealed), pack=pack)
        yield peer.raw(head + sealed)


def counters(agent):
    metrics = agent.scrape()
    return {"drops": metrics.drops(),
            "rejected": metrics.total("packgate_frames_rejected_total"),
            "duplicates": metrics.total("packgate_gate_duplicates_total"),
            "opened": metrics.total("packgate_frames_opened_total")}


def moved_drops(before, after):
    moved = {reason: int(value - before["drops"].get(reason, 0))
             for reason, value in after["drops"].items()}
    return {reason: value for reason, value in moved.items() if value}


def flood(storm, total, share):
    """total forged frames, share of them in front of each honest one."""
    bulk = Bulk(storm.peer.wire, list(forged_frames(storm.peer, POOL)))
    started = time.monotonic()
    for _ in range(total // share):
        storm.turn(lambda: bulk.send(share))
    storm.finish()
    print("# %d forged and %d honest frames in %.1f s"
          % (total, storm.sent, time.monotonic() - started), flush=True)


def check_forged_guards(storm):
    before = counters(storm.agent)
    flood(storm, FORGED_GUARDS, 200)
    after = counters(storm.agent)
    expect_equal(moved_drops(before, after), {"guard": FORGED_GUARDS}, "drop reasons moved")
    expect_equal(after["opened"] - before["opened"], storm.sent, "frames opened")


def check_forged_tags(storm):
    before = counters(storm.agent)
    flood(storm, FORGED_TAGS, 50)
    wait_until(lambda: counters(storm.agent)["rejected"] - before["rejected"] >= FORGED_TAGS, 5,
               "the agent to reject %d frames" % FORGED_TAGS)
    after = counters(storm.agent)
    expect_equal(after["rejected"] - before["rejected"], FORGED_TAGS, "frames rejected")
    expect_equal(moved_drops(before, after), {}, "drop reasons moved")
    expect_equal(after["opened"] - before["opened"], storm.sent, "frames opened")


def check_replays(storm):
    """Copies of 2,000 honest frames, half of them still inside the window at first."""
    frames = [storm.peer.raw(storm.turn(lambda: None)) for _ in range(2000)]
    storm.finish()
    honest, acks = storm.sent, storm.acks_again
    before = counters(storm.agent)
    bulk, started = Bulk(storm.peer.wire, frames), time.monotonic()
    for _ in range(REPLAYS // 200):
        storm.turn(lambda: bulk.send(200))
    storm.finish()
    seconds = time.monotonic() - started
    after = counters(storm.agent)
    expect_equal(after["opened"] - before["opened"], storm.sent - honest, "frames opened")
    check_replay_counts(before, after, storm.acks_again - acks, seconds)


def check_replay_counts(before, after, acks, seconds):
    """Every copy is counted once, and acks to copies keep to the rate of PROTOCOL 4."""
    moved = moved_drops(before, after)
    expect(not set(moved) - {"replay_seen", "replay_old"}, "drop reasons moved: %r", moved)
    duplicates = after["duplicates"] - before["duplicates"]
    print("# %d replays in %.1f s: %r, %d duplicates, %d acks"
          % (REPLAYS, seconds, moved, duplicates, acks), flush=True)
    expect_equal(sum(moved.values()) + duplicates, REPLAYS, "replays counted")
    expect(moved.get("replay_old", 0) > 0, "no replay was counted replay_old")
    expect(acks <= ACKS_PER_SECOND * (seconds + 1.5), "%d acks for copies in %.1f s", acks, seconds)
    expect(acks > 0, "no copy was acked")


def check_goes_on(storm):
    for _ in range(50):
        storm.turn(lambda: None)
    storm.finish()


def storm_checks(report, agent, sessions):
    for where, label, function in (
            (GUARDED, "%d forged guards" % FORGED_GUARDS, check_forged_guards),
            (OPEN, "%d forged tags, guard off" % FORGED_TAGS, check_forged_tags),
            (GUARDED, "%d replays" % REPLAYS, check_replays),
            (OPEN, "%d replays, guard off" % REPLAYS, check_replays)):
        app = App(agent.app)
        try:
            answer = app.hello(where.name)
            expect_equal(answer.kind, lab_app.HELLO, "kind of the answer to hello")
            storm = Storm(agent, sessions.new(where), app)
            report.check(label, function, storm)
            report.check(label + ": the session goes on", check_goes_on, storm)
        finally:
            app.close()


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        agent = lab.agent(configuration((GUARDED, OPEN)))
        if report.check("the agent starts", agent.start):
            lab.queue_before_veth()
            sessions = Sessions(lab, agent, Wire(lab))
            report.check("the storm runs to its end", storm_checks, report, agent, sessions)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
