#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""A worker whose inbox never gets empty still reads the kernel's sockets."""

import sys
import threading

import lab_app
from lab import Lab, require_root, run, wait_until
from lab_app import App, record
from lab_report import PATIENCE, Report, expect, expect_equal
from lab_session import Sessions, configuration, endpoint, open_stream
from lab_wire import Wire
from witness import PONG, UNORDERED

NEWS, GAME = endpoint("news", 4000, deliver="app"), endpoint("game", 4001)
BYTES = 60000     # of a record: sealing it takes longer than handing it to the worker
BEFOREHAND = 300  # records: the inbox is full then
PINGS = 5


class Flood(threading.Thread):
    """An application that gives a stream more than its worker can seal, until it is told to stop."""

    def __init__(self, app, opened, stream):
        super().__init__()
        self.app, self.sent, self.over = app, 0, False
        self.datagram = record(lab_app.MESSAGE, b"!" * BYTES, opened.endpoint, opened.session,
                               stream)

    def run(self):
        while not self.over:
            self.app.socket.send(self.datagram)
            self.sent += 1


def check_flood(lab, agent, sessions):
    """Another session's pings are answered meanwhile."""
    app = App(agent.app)
    expect_equal(app.hello("news").kind, lab_app.HELLO, "kind of the answer to hello")
    listener, other = sessions.new(NEWS), sessions.new(GAME)
    opened = app.receive_kind(lab_app.SESSION_OPEN)
    expect(opened is not None, "no session open")
    flood = Flood(app, opened, open_stream(listener, UNORDERED))
    # the wire stays quiet
    run("ip", "-n", lab.server, "route", "add", "blackhole", listener.source + "/32")
    flood.start()
    try:
        wait_until(lambda: flood.sent > BEFOREHAND, PATIENCE, "the flood")
        for number in range(PINGS):
            other.send(other.session.ping(b"ping %d" % number))
            other.expect((PONG, 0, None))
        expect(flood.is_alive(), "the flood has ended by itself")
    finally:
        flood.over = True
        flood.join()
        app.close()


def main():
    require_root()
    report = Report()
    with Lab(queues=1) as lab:  # one worker
        agent = lab.agent({})
        agent.write_config(configuration((NEWS, GAME), mode="socket", app={"socket": agent.app}))
        if report.check("the agent starts", agent.start):
            sessions = Sessions(lab, agent, Wire(lab))
            report.check("an application that floods", check_flood, lab, agent, sessions)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
