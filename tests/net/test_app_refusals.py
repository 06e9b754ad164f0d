#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""An application that does not read: every record it sent has its answer, and none is lost."""

import select
import socket
import sys

import lab_app
import lab_messages as m
from lab import Lab, require_root
from lab_app import App, record
from lab_report import Report, expect, expect_equal
from lab_session import Sessions, configuration, endpoint
from lab_wire import Wire
from test_tcp_entrance import Bench

GAME = endpoint("game", 4000, deliver="app")
CHAT = endpoint("chat", 4001, deliver="app", format="message")
OTHER = endpoint("other", 4002, deliver="app")
MOST = 200000       # records: an agent that reads them all keeps them all
FULL_AT_LEAST = 4000  # answers that the agent's end of a socket holds
QUIET_SECONDS = 1


class Deaf:
    """An application that writes and does not read, until it is told to."""

    def __init__(self, bench, *names):
        self.app, self.sent = App(bench.agent.app), 0
        if names:
            expect_equal(self.app.hello(*names).kind, lab_app.HELLO, "kind of the answer to hello")

    def fill(self, batch, make):
        """Sends datagrams of records, numbered from 1, until the agent takes no more."""
        sock = self.app.socket
        while self.sent < MOST:
            data = b"".join(make(self.sent + 1 + i) for i in range(batch))
            try:
                sock.send(data, socket.MSG_DONTWAIT)
                self.sent += batch
            except BlockingIOError:
                if not select.select([], [sock], [], QUIET_SECONDS)[1]:
                    break
        expect(self.sent < MOST, "the agent goes on reading after %d records", self.sent)

    def expect_answers(self, words):
        """The answer to every record, in order, each with the reason."""
        expect(self.sent >= FULL_AT_LEAST, "%d records and the socket was full", self.sent)
        for number in range(1, self.sent + 1):
            item = self.app.receive_kind(lab_app.ERROR, timeout=5)
            expect(item is not None, "no answer to record %d of %d", number, self.sent)
            expect_equal(item.message, number, "the record that is answered")
            expect(words in item.body, "the reason: %r", item.body)

    def expect_nothing(self):
        item = self.app.receive(0.1)
        expect(item is None, "one more record: %s", item)


def check_others(bench):
    """An application beside it is served at once."""
    app = App(bench.agent.app)
    expect_equal(app.hello("other").kind, lab_app.HELLO, "kind of the answer to hello")
    app.close()


def check_before_hello(bench, batch):
    """Refused in the thread of the sockets; the answer to a late hello comes behind."""
    deaf = Deaf(bench)
    deaf.fill(batch, lambda n: record(lab_app.MESSAGE, b"?", session=5, message=n))
    check_others(bench)
    deaf.expect_answers(b"hello first")
    deaf.expect_nothing()
    expect_equal(deaf.app.hello("other").kind, lab_app.HELLO, "kind of the answer to hello")
    deaf.app.close()


def check_worker(bench, sessions):
    """Refused by the worker that has the session."""
    deaf = Deaf(bench, "game")
    peer = sessions.new(GAME)
    opened = deaf.app.receive_kind(lab_app.SESSION_OPEN)
    expect(opened is not None, "no session open")
    deaf.fill(40, lambda n: record(lab_app.MESSAGE, b"?", opened.endpoint, opened.session, 9, n))
    check_others(bench)
    deaf.expect_answers(b"no such stream")
    # and what is right still goes through
    deaf.app.send(b"after all", opened.endpoint, opened.session, message=7)
    answer, = [peer.expect((0, None, None))]
    expect_equal(answer.plain, b"after all", "what the client gets")
    peer.send(peer.session.ack(answer.pack))
    sent = deaf.app.receive_kind(lab_app.SENT, lab_app.ERROR)
    expect_equal(sent and (sent.kind, sent.message), (lab_app.SENT, 7), "what became of it")
    deaf.app.close()


def check_tcp(bench):
    """Refused by the thread of the TCP entrances."""
    deaf = Deaf(bench, "chat")
    with bench.connect(5000) as client:
        opened = deaf.app.receive_kind(lab_app.SESSION_OPEN)
        expect(opened is not None, "no session open")
        deaf.fill(40, lambda n: record(lab_app.MESSAGE, b"?", opened.endpoint, opened.session, 1,
                                       n, transport=1))
        check_others(bench)
        client.send(m.HEARTBEAT)
        client.expect(m.ANSWER)
        deaf.expect_answers(b"has no streams")
    deaf.app.close()


def check_leaver(bench):
    """One that goes with all its answers unread costs the others nothing."""
    for batch in (1, 40):
        deaf = Deaf(bench)
        deaf.fill(batch, lambda n: record(lab_app.STREAM_OPEN, session=5, message=n))
        deaf.app.close()
    check_others(bench)


def check_half_closer(bench):
    """What was sent in front of the end of an application's reading is still taken."""
    deaf = Deaf(bench)
    deaf.fill(1, lambda n: record(lab_app.MESSAGE, b"?", session=5, message=n))
    deaf.app.socket.shutdown(socket.SHUT_RD)
    check_others(bench)
    deaf.app.close()
    check_others(bench)


def check_gone_session(bench, sessions):
    """A record for a session that ended on the way, or belongs to others, is answered too."""
    app, strange = App(bench.agent.app), App(bench.agent.app)
    app.hello("other")
    strange.hello("game")
    peer = sessions.new(OTHER)
    opened = app.receive_kind(lab_app.SESSION_OPEN)
    strange.send(b"not mine", opened.endpoint, opened.session, message=5)
    refused = strange.receive_kind(lab_app.ERROR)
    expect(refused is not None and b"no such session" in refused.body, "the answer: %s", refused)
    expect_equal((refused.session, refused.message), (opened.session, 5), "what is answered")
    app.socket.send(record(lab_app.SESSION_CLOSED, b"\0", opened.endpoint, opened.session)
                    + record(lab_app.MESSAGE, b"late", opened.endpoint, opened.session, message=6))
    kinds = {lab_app.SESSION_CLOSED, lab_app.ERROR}
    while kinds:
        item = app.receive_kind(*kinds)
        expect(item is not None, "nothing of the kinds %r came", kinds)
        kinds.remove(item.kind)
        if item.kind == lab_app.ERROR:
            expect_equal(item.message, 6, "the record that is answered")
    peer.receive()
    app.close()
    strange.close()


def settings(agent):
    return configuration((GAME, CHAT, OTHER), app={"socket": agent.app},
                         tcp_entrances=[{"name": "chat", "endpoint": "chat", "port": 5000}])


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        agent = lab.agent({})
        agent.write_config(settings(agent))
        bench = Bench(lab, agent, ())
        if report.check("the agent starts", agent.start):
            sessions = Sessions(lab, agent, Wire(lab))
            for batch in (1, 1000):
                report.check("refused before hello, %d a datagram" % batch, check_before_hello,
                             bench, batch)
            report.check("refused by the worker", check_worker, bench, sessions)
            report.check("refused by the TCP entrances", check_tcp, bench)
            report.check("gone with its answers unread", check_leaver, bench)
            report.check("deaf on purpose", check_half_closer, bench)
            report.check("a session that is gone", check_gone_session, bench, sessions)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
