#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Sessions that move to the worker of another queue, as each may after a restart.

What the first owner wrote leaves before anything of the next one, however slow its way into the
kernel is: the timestamps of a session, in the order in which they arrive, do not go back. What an
application sends meanwhile is neither lost nor turned around.
"""

import os
import sys
import time

import lab_app
from lab import Lab, require_root, wait_until
from lab_app import App
from lab_report import Report, expect, expect_equal
from lab_session import Sessions, configuration, endpoint, open_stream
from lab_wire import Wire
from witness import ACK, DATA

ECHO = endpoint("echo", 4000)
APP = endpoint("app", 4001, deliver="app")
SLOW_MS = 400
PACKETS = 40


class Bench:
    def __init__(self, lab, agent):
        self.agent = agent
        self.sessions = Sessions(lab, agent, Wire(lab))

    def slowed(self):
        """Whether the worker that was to be slow is."""
        return not os.path.exists(self.agent.path("preload.slow"))

    def moved(self):
        return self.agent.scrape().total("packgate_handed_over_total")


def check_order(bench):
    """Sessions on both workers, until one moves because its frames come through the other queue.
    The first frames that its old owner sends are held up; the client goes on sending meanwhile."""
    before, behind = bench.moved(), []
    for low in (4, 5) * 8:
        if bench.moved() > before:
            break
        peer = bench.sessions.new(ECHO, low=low)
        arrived = []
        bench.agent.slow(SLOW_MS)
        for count in range(PACKETS):
            peer.send(peer.session.data(b"packet %d" % count))
            time.sleep(SLOW_MS / PACKETS / 1000)
            bench.sessions.wire.drain()
        while len([frame for frame in arrived if frame.op == ACK]) < PACKETS:
            frame = peer.receive()
            expect(frame is not None, "%d packets are not acked", PACKETS)
            arrived.append(frame)
        behind.append(max(early.timestamp - late.timestamp
                          for early, late in zip(arrived, arrived[1:])))
    expect(bench.moved() > before, "no session moved")
    # two queues deliver side by side: what matters is a frame that waited
    expect(max(behind) < SLOW_MS // 2, "a frame was overtaken by %d ms", max(behind))


def check_application(bench):
    """What the application answers while its session moves goes with it, in order."""
    app = App(bench.agent.app)
    expect_equal(app.hello(APP.name).kind, lab_app.HELLO, "kind of the answer to hello")
    before = bench.moved()
    for low in (4, 5) * 8:
        if bench.moved() > before:
            break
        peer = bench.sessions.new(APP, low=low)
        bench.agent.slow(SLOW_MS)
        peer.send(peer.session.data(b"question"))
        question = app.receive_kind(lab_app.MESSAGE)
        for count in range(PACKETS):
            app.send(b"answer %d" % count, question.endpoint, question.session)
        answers = {}
        while len(answers) < PACKETS:
            frame = peer.receive()
            expect(frame is not None, "%d of %d answers came", len(answers), PACKETS)
            if frame.op == DATA:
                answers[frame.pack] = frame.plain
                peer.send(peer.session.ack(frame.pack))
        expect_equal([answers[pack] for pack in sorted(answers)],
                     [b"answer %d" % count for count in range(PACKETS)], "answers by packId")
    expect(bench.moved() > before, "no session moved")
    app.close()


def check_requests(bench):
    """A session that moves is there for who asks for it, and can be closed. It moves to the first
    worker, which says what it has before the second is asked."""
    before = bench.moved()
    for group, verb in (("session", "show"), ("session", "list"), ("stream", "list"),
                        ("session", "close")):
        for _ in range(16):
            peer = bench.sessions.new(ECHO, low=5)
            name = "%04x%04x" % (peer.session.client, peer.session.server)
            open_stream(peer)
            bench.agent.slow(SLOW_MS)
            peer.send(peer.session.data(b"first"))
            wait_until(bench.slowed, 2, "the old owner to be held up")
            done = bench.agent.cli(group, verb, *([] if verb == "list" else [name]))
            expect(done.code == 0, "%s %s: %s", group, verb, done.err.strip())
            if verb == "list":
                expect_equal(done.out.count(name), 1, "times that %s list has it" % group)
            if bench.moved() > before:
                break
        expect(bench.moved() > before, "no session moved")
        before = bench.moved()


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        agent = lab.agent(configuration((ECHO, APP)))
        agent.preload()
        if report.check("the agent starts", agent.start):
            bench = Bench(lab, agent)
            report.check("nothing overtakes a session that moves", check_order, bench)
            report.check("an application's answers follow it", check_application, bench)
            report.check("requests find a session that moves", check_requests, bench)
            report.check("the agent stops", agent.stop)
            agent.detach()
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
