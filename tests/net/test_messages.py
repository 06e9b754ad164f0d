#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Endpoints with format: message: packets are split, heartbeats answered, the rest delivered."""

import sys

import lab_app
import lab_messages as m
import witness
from lab import Lab, require_root
from lab_app import App
from lab_report import Report, expect, expect_equal
from lab_session import Sessions, configuration, endpoint, open_stream
from lab_wire import Wire
from witness import ACK, DATA

ECHO = endpoint("echo", 4000, deliver="echo", format="message")
NEWEST = endpoint("newest", 4001, deliver="echo", format="message", policy="monotonic")
QUIET = endpoint("quiet", 4002, deliver="discard", format="message")
GAME = endpoint("game", 4003, deliver="app", format="message")
CHAT_ONLY = endpoint("alone", 4004, deliver="app", format="message")
RAW = endpoint("raw", 4005, deliver="app")
PACKET_MOST = 1172 - 16 - 8
FENCE = 77777  # Id of the message that shows that nothing else came


class Bench:
    """What the checks of this file share."""

    def __init__(self, lab, agent):
        self.agent, self.wire = agent, Wire(lab)
        self.sessions = Sessions(lab, agent, self.wire)

    def moved(self, name, before, **labels):
        return self.agent.scrape().total(name, **labels) - before.total(name, **labels)


def send(peer, plain, stream=0):
    """Send one packet and wait for its ack, where the series has one."""
    sent = peer.send(peer.session.data(plain, stream))
    return witness.parse(sent).pack


def ask(peer, plain, stream=0):
    """Send one packet that is answered by one; returns the answer's plain text."""
    pack = send(peer, plain, stream)
    if peer.session.policies[stream] == witness.RELIABLE:
        answer, _ = peer.expect((DATA, stream, None), (ACK, stream, pack))
        peer.send(peer.session.ack(answer.pack, stream))
    else:
        answer = peer.expect((DATA, stream, None))
    return answer.plain


# --- heartbeats ----------------------------------------------------------------------------------

def check_heartbeat(peer):
    expect_equal(ask(peer, m.HEARTBEAT), m.ANSWER, "the answer to a heartbeat")


def check_heartbeat_on_streams(bench, where):
    peer = bench.sessions.new(where)
    for policy in (0, 1, 2):
        stream = open_stream(peer, policy)
        expect_equal(ask(peer, m.HEARTBEAT, stream), m.ANSWER, "the answer on stream %d" % stream)


def check_heartbeats_of_one_packet(bench, peer):
    before = bench.agent.scrape()
    count = PACKET_MOST // 8
    expect_equal(ask(peer, m.HEARTBEAT * count), m.ANSWER * count, "the answers")
    expect_equal(bench.moved("packgate_heartbeats_answered_total", before), count, "counted")


def check_body_of_heartbeat(peer):
    expect_equal(ask(peer, m.message(1, b"with a body")), m.ANSWER, "the answer")


def check_answer_dropped(bench, peer):
    before = bench.agent.scrape()
    expect_equal(ask(peer, m.ANSWER + m.message(FENCE)), m.message(FENCE), "what came back")
    expect_equal(bench.moved("packgate_heartbeat_answers_dropped_total", before), 1, "counted")


def check_empty(peer):
    """A packet of no messages is whole; it is acked and brings nothing."""
    pack = send(peer, b"")
    peer.expect((ACK, 0, pack))
    expect_equal(ask(peer, m.message(FENCE)), m.message(FENCE), "what came back")


def check_mixed(peer):
    plain = m.HEARTBEAT + m.message(300, b"a") + m.ANSWER + m.HEARTBEAT + m.message(3, b"b" * 300)
    expect_equal(ask(peer, plain), m.ANSWER + m.message(300, b"a") + m.ANSWER
                 + m.message(3, b"b" * 300), "the answer")


def check_discard(peer):
    expect_equal(ask(peer, m.message(9, b"gone") + m.HEARTBEAT), m.ANSWER, "the answer")


# --- malformed packets ---------------------------------------------------------------------------

def check_malformed(bench, peer, plain, reason):
    """Nothing of a malformed packet is answered or delivered, wherever the fault stands."""
    before = bench.agent.scrape()
    for packet in (plain, m.HEARTBEAT + plain, m.message(50, b"x") + m.HEARTBEAT + plain):
        peer.expect((ACK, 0, send(peer, packet)))
    expect_equal(ask(peer, m.message(FENCE)), m.message(FENCE), "what came back")
    expect_equal(bench.moved("packgate_messages_malformed_total", before, reason=reason), 3,
                 "packgate_messages_malformed_total{reason=%s}" % reason)
    expect_equal(bench.moved("packgate_frames_rejected_total", before, reason="malformed"), 3,
                 "packgate_frames_rejected_total{reason=malformed}")


def check_truncated(bench, peer):
    whole = m.message(1000, b"cut me")
    before = bench.agent.scrape()
    for cut in range(1, len(whole)):
        peer.expect((ACK, 0, send(peer, whole[:cut])))
    expect_equal(ask(peer, m.message(FENCE)), m.message(FENCE), "what came back")
    expect_equal(bench.moved("packgate_messages_malformed_total", before, reason="truncated"),
                 len(whole) - 1, "truncated packets")


# --- an application ------------------------------------------------------------------------------

def hello(bench, where, path=None):
    app = App(path or bench.agent.app)
    answer = app.hello(where.name)
    expect_equal(answer.kind, lab_app.HELLO, "kind of the answer to hello (%r)" % answer.body)
    return app


def expect_record(app, number, body, kinds=(lab_app.MESSAGE, lab_app.GAP)):
    item = app.receive_kind(*kinds)
    expect(item is not None, "no record, wanted message %d", number)
    expect_equal((item.kind, item.message, item.body), (kinds[0], number, body), "record")
    expect_equal(item.transport, 0, "transport")
    return item


def check_delivery(bench, where, app):
    peer = bench.sessions.new(where)
    for stream in (0, open_stream(peer)):
        plain = m.message(3) + m.HEARTBEAT + m.message(0x7FFFFFFF, b"b" * 500)
        expect_equal(ask(peer, plain, stream), m.ANSWER, "the answer")
        expect_record(app, 3, b"")
        item = expect_record(app, 0x7FFFFFFF, b"b" * 500)
        expect_equal(item.stream, stream, "stream of the record")


def check_delivery_of_many(bench, where, app):
    """The most messages that one packet holds: their records are far longer than it."""
    peer = bench.sessions.new(where)
    count = PACKET_MOST // 8
    for _ in range(20):
        peer.expect((ACK, 0, send(peer, m.message(5) * count)))
    for _ in range(20 * count):
        expect_record(app, 5, b"")


def check_gap_of_malformed(bench, where, app):
    peer = bench.sessions.new(where)
    peer.expect((ACK, 0, send(peer, m.message(8, b"good"))))
    peer.expect((ACK, 0, send(peer, m.message(9, b"fine") + b"\x08")))
    peer.expect((ACK, 0, send(peer, m.message(10, b"good again"))))
    expect_record(app, 8, b"good")
    expect_record(app, 2, b"\0\0\0\1", (lab_app.GAP, lab_app.MESSAGE))
    expect_record(app, 10, b"good again")


def known(bench, where, app):
    """A fresh session and a record of it."""
    peer = bench.sessions.new(where)
    peer.expect((ACK, 0, send(peer, m.message(11, b"hello"))))
    return peer, expect_record(app, 11, b"hello")


def check_app_sends(bench, where, app):
    peer, item = known(bench, where, app)
    app.send(b"wrapped", item.endpoint, item.session, message=4711)
    frame = peer.expect((DATA, 0, None))
    expect_equal(frame.plain, m.message(4711, b"wrapped"), "the packet")
    peer.send(peer.session.ack(frame.pack))
    expect_record(app, 4711, b"", (lab_app.SENT, lab_app.FAILED, lab_app.ERROR))
    whole = m.message(20, b"a") + m.message(21, b"b")
    app.send(whole, item.endpoint, item.session, message=0)
    frame = peer.expect((DATA, 0, None))
    expect_equal(frame.plain, whole, "a packet that the application wrote")
    peer.send(peer.session.ack(frame.pack))


def check_app_refused(bench, where, app):
    peer, item = known(bench, where, app)
    for number, body in ((0, b"no message"), (0, m.HEARTBEAT[:-1]), (0x80000000, b"")):
        app.send(body, item.endpoint, item.session, message=number)
        refused = app.receive_kind(lab_app.ERROR)
        expect(refused is not None, "no error for message id %d", number)
        expect_equal(refused.message, number, "message id of the error")
    peer.expect_silence(0.1)


def check_app_sends_in_parts(bench, where, app):
    """Records with MORE are one message; one that is not continued is refused."""
    peer, item = known(bench, where, app)
    head = dict(endpoint=item.endpoint, session=item.session, message=70)
    for part, flags in ((b"one ", lab_app.MORE), (b"", lab_app.MORE), (b"two", 0)):
        app.socket.send(lab_app.record(lab_app.MESSAGE, part, flags=flags, **head))
    frame = peer.expect((DATA, 0, None))
    expect_equal(frame.plain, m.message(70, b"one two"), "the packet")
    peer.send(peer.session.ack(frame.pack))
    app.receive_kind(lab_app.SENT)
    app.socket.send(lab_app.record(lab_app.MESSAGE, b"lost", flags=lab_app.MORE, **head))
    head["message"] = 71
    app.socket.send(lab_app.record(lab_app.MESSAGE, b"sent", **head))
    refused = app.receive_kind(lab_app.ERROR)
    expect(refused is not None, "no error for a message without its end")
    expect_equal(refused.message, 70, "message id of the error")
    frame = peer.expect((DATA, 0, None))
    expect_equal(frame.plain, m.message(71, b"sent"), "the packet")
    peer.send(peer.session.ack(frame.pack))


# --- routes --------------------------------------------------------------------------------------

def check_routes(bench, where, app):
    """Ids 1000-1999 go to the chat application while it is there, else to the main one."""
    peer, _ = known(bench, where, app)
    chat = hello(bench, where, bench.agent.path("chat.sock"))
    plain = b"".join(m.message(number, b"%d" % number) for number in (999, 1000, 1999, 2000, 1500))
    peer.expect((ACK, 0, send(peer, plain)))
    opened = chat.receive()
    expect_equal(opened.kind, lab_app.SESSION_OPEN, "the first record of a session")
    for number in (1000, 1999, 1500):
        item = expect_record(chat, number, b"%d" % number)
    for number in (999, 2000):
        expect_record(app, number, b"%d" % number)
    chat.send(b"from chat", item.endpoint, item.session, message=1001)
    frame = peer.expect((DATA, 0, None))
    expect_equal(frame.plain, m.message(1001, b"from chat"), "the packet")
    peer.send(peer.session.ack(frame.pack))
    expect_record(chat, 1001, b"", (lab_app.SENT, lab_app.FAILED, lab_app.ERROR))
    chat.close()
    for _ in range(50):  # what is on its way to an application that ends is lost with it
        peer.expect((ACK, 0, send(peer, m.message(1000, b"orphan"))))
        item = app.receive_kind(lab_app.MESSAGE, timeout=0.1)
        if item:
            break
    expect(item is not None, "nothing came to the main application")
    expect_equal((item.message, item.body), (1000, b"orphan"), "record")
    chat = hello(bench, where, bench.agent.path("chat.sock"))
    peer.expect((ACK, 0, send(peer, m.message(1000, b"back"))))
    expect_record(chat, 1000, b"back")
    peer.send(peer.session.goaway())
    for each in (app, chat):
        expect(each.receive_kind(lab_app.SESSION_CLOSED) is not None, "no session closed")
    chat.close()


def check_route_alone(bench):
    """The application of a route does not stand for the main one."""
    chat = hello(bench, CHAT_ONLY, bench.agent.path("chat.sock"))
    peer = bench.sessions.new(CHAT_ONLY)
    before = bench.agent.scrape()
    sent = peer.send(peer.session.data(m.message(1000, b"patience")))
    peer.expect_silence(0.15)
    expect(bench.moved("packgate_frames_rejected_total", before, reason="no_application") >= 1,
           "no_application is not counted")
    app = hello(bench, CHAT_ONLY)
    peer.send(sent)
    peer.expect((ACK, 0, 1))
    expect_record(chat, 1000, b"patience")
    app.close()
    chat.close()


def check_route_hello(bench):
    refusals = (("second", GAME.name), ("raw", RAW.name), ("unknown", "nobody"))
    chat = hello(bench, GAME, bench.agent.path("chat.sock"))
    for what, name in refusals:
        answer = App(bench.agent.path("chat.sock")).hello(name)
        expect_equal(answer.kind, lab_app.ERROR, "kind of the answer to hello, %s" % what)
    chat.close()


def check_socket_modes(bench):
    import os
    import stat
    mode = stat.S_IMODE(os.stat(bench.agent.path("chat.sock")).st_mode)
    expect_equal(mode, 0o600, "mode of the route's socket")


def checks(bench, report):
    echo = bench.sessions.new(ECHO)
    report.check("heartbeat on a session", check_heartbeat, echo)
    report.check("heartbeat, newest", check_heartbeat, bench.sessions.new(NEWEST))
    report.check("heartbeat on streams", check_heartbeat_on_streams, bench, ECHO)
    report.check("a packet full of heartbeats", check_heartbeats_of_one_packet, bench, echo)
    report.check("a heartbeat with a body", check_body_of_heartbeat, echo)
    report.check("a heartbeat's answer is dropped", check_answer_dropped, bench, echo)
    report.check("an empty packet", check_empty, echo)
    report.check("several messages", check_mixed, echo)
    report.check("deliver: discard", check_discard, bench.sessions.new(QUIET))
    for name, plain, reason in m.MALFORMED:
        report.check("malformed: " + name, check_malformed, bench, echo, bytes.fromhex(plain),
                     reason)
    report.check("malformed: cut anywhere", check_truncated, bench, echo)
    app = hello(bench, GAME)
    for label, function in (("delivery", check_delivery),
                            ("delivery of many", check_delivery_of_many),
                            ("a malformed packet is a gap", check_gap_of_malformed),
                            ("sends", check_app_sends), ("is refused", check_app_refused),
                            ("sends in parts", check_app_sends_in_parts),
                            ("routes", check_routes)):
        report.check("application: " + label, function, bench, GAME, app)
    app.close()
    report.check("a route alone", check_route_alone, bench)
    report.check("hello on a route", check_route_hello, bench)
    report.check("mode of a route's socket", check_socket_modes, bench)


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        agent = lab.agent({})
        agent.write_config(configuration(
            (ECHO, NEWEST, QUIET, GAME, CHAT_ONLY, RAW), limits={"message_bytes": m.BODY_MOST},
            app={"socket": agent.app,
                 "routes": [{"name": "chat", "ids": "1000-1999", "mode": "0600",
                             "socket": agent.path("chat.sock")}]}))
        if report.check("the agent starts", agent.start):
            checks(Bench(lab, agent), report)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
