#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Every kind of frame between an independent client and the agent, over AF_XDP on a veth.

The matrix is guard on and off, IPv4 and IPv6, both session policies and both AEADs. Each answer is
verified by the witness: form, guard, tag, timestamps, and that it makes sense at all.
"""

import itertools
import sys
import time

import lab_app
import witness
from lab import SERVER_IPV4, SERVER_IPV6, Lab, require_root, wait_until
from lab_app import App
from lab_report import Report, expect, expect_equal
from lab_session import Sessions, configuration, echo, endpoint, open_stream, reliable
from lab_wire import ETH_P_8021AD, ETH_P_8021Q, Wire
from witness import ACK, CLOSESTREAM, DATA, PONG, STREAMOPEN

PAYLOAD_MOST = 1172  # MAX_PAYLOAD_LEN: the whole payload of a frame, tag and guard included
SILENCE_SECONDS = 0.15

# One port carries an IPv4 and an IPv6 endpoint, wildcard or exact: look-up along the chain too.
MATRIX = tuple(
    endpoint("%s-%s-%s" % (guard, policy, "v6" if ":" in address else "v4"), port, address,
             guard, policy)
    for port, guard, policy, addresses in (
        (4000, "on", "window", ("0.0.0.0", "::")),
        (4001, "on", "monotonic", (SERVER_IPV4, SERVER_IPV6)),
        (4002, "off", "window", (SERVER_IPV4, "::")),
        (4003, "off", "monotonic", ("0.0.0.0", SERVER_IPV6)))
    for address in addresses)
APPS = (endpoint("app-on", 4010, guard="on", deliver="app"),
        endpoint("app-off", 4011, "::", guard="off", deliver="app"))
LONELY = endpoint("lonely", 4012, deliver="app")


class Bench:
    """What the checks of this file share."""

    def __init__(self, lab, agent):
        self.agent, self.wire = agent, Wire(lab)
        self.sessions = Sessions(lab, agent, self.wire)

    def counted(self, *names):
        metrics = self.agent.scrape()
        return [metrics.total(name) for name in names]


# --- one endpoint that echoes --------------------------------------------------------------------

def check_data(peer):
    most = PAYLOAD_MOST - witness.TAG_BYTES
    most -= witness.GUARD_BYTES if peer.session.guard else 0
    for size in (1, 5, 64, 256, most):
        echo(peer, bytes([size & 0xFF]) * size)


def check_empty(peer):
    echo(peer, b"")


def check_series(peer):
    """The echoes so far are a series that starts at 1 and rises by one."""
    packs = sorted(peer.session.received[0])
    expect_equal(packs, list(range(1, len(packs) + 1)), "packIds of the echoes")


def check_opened(bench, peer):
    before, = bench.counted("packgate_frames_opened_total")
    for count in range(5):
        echo(peer, b"counted %d" % count)
    after, = bench.counted("packgate_frames_opened_total")
    expect_equal(after - before, 5, "packgate_frames_opened_total moved by")


def check_duplicate(bench, peer, stream=0):
    """A copy is acked again in a reliable series, else dropped; it is never delivered."""
    sent = echo(peer, b"twice", stream)
    pack = witness.parse(sent).pack
    before = bench.agent.scrape()
    peer.send(sent)
    if reliable(peer, stream):
        peer.expect((ACK, stream, pack))
    echo(peer, b"after the copy", stream)
    after = bench.agent.scrape()
    moved = {key: after.drops()[key] - before.drops().get(key, 0) for key in after.drops()}
    moved = {key: value for key, value in moved.items() if value}
    policy = peer.session.policies[stream]
    wanted = {witness.RELIABLE: {}, witness.NEWEST: {"not_monotonic": 1},
              witness.UNORDERED: {"replay_seen": 1}}[policy]
    expect_equal(moved, wanted, "drop reasons moved")
    name = "packgate_gate_duplicates_total"
    expect_equal(after.total(name) - before.total(name), int(policy == witness.RELIABLE), name)


def check_ping(peer):
    for size in (0, 8, 64):
        payload = bytes(range(size))
        peer.send(peer.session.ping(payload))
        peer.expect((PONG, None, None))


def check_stream(peer, policy, third):
    stream = open_stream(peer, policy, third)
    for count in range(3):
        echo(peer, b"stream packet %d" % count, stream)
    packs = sorted(peer.session.received[stream])
    expect_equal(packs, [1, 2, 3], "packIds of the stream's echoes")


def check_reopen(peer):
    """openstream is repeated until streamopen comes; a repeat gets streamopen again."""
    session = peer.session
    stream = session.new_stream(witness.RELIABLE)
    for _ in range(3):
        peer.send(session.openstream(stream, 0))
        peer.expect((STREAMOPEN, stream, None))
    peer.send(session.streamopen(stream))
    echo(peer, b"opened once", stream)
    peer.send(session.openstream(stream, 0))
    peer.expect((STREAMOPEN, stream, None))


def check_two_streams(peer):
    """Streams and the session have packIds of their own."""
    first, second = open_stream(peer), open_stream(peer)
    for stream in (first, second, 0, first, second):
        echo(peer, b"own series", stream)
    for stream in (first, second):
        expect_equal(sorted(peer.session.received[stream]), [1, 2], "packIds of a stream")


def check_unknown_policy(peer):
    session = peer.session
    stream = session.new_stream()
    peer.send(session.openstream(stream, 7))
    peer.expect((CLOSESTREAM, stream, None))
    echo(peer, b"one closestream, no more")


def check_close(peer):
    """PROTOCOL 1, closing by the client: C1, C2, CLOSE here against R1, CLOSE there."""
    session = peer.session
    stream = open_stream(peer)
    echo(peer, b"before the close", stream)
    peer.send(session.closestream(stream))
    peer.expect((CLOSESTREAM, stream, None))
    late = peer.send(session.data(b"accepted until CLOSE", stream))
    peer.expect((ACK, stream, witness.parse(late).pack), (DATA, stream, None))
    for _ in range(3):
        peer.send(session.closestream(stream))
        peer.expect((CLOSESTREAM, stream, None))
    echo(peer, b"nothing else came")
    peer.send(session.openstream(stream, 0))
    echo(peer, b"a stream opened before is not opened again")
    peer.send(session.data(b"after CLOSE", stream))
    echo(peer, b"no ack after CLOSE", allowed=(CLOSESTREAM,))


def check_goaway(bench, peer):
    session = peer.session
    ids = (session.client, session.server)
    expect(ids in bench.agent.session_ids(), "the session is not in session list")
    peer.send(session.goaway(0))
    wait_until(lambda: ids not in bench.agent.session_ids(), 2, "the session to go")
    before = bench.agent.scrape().drops()
    for count in range(3):
        peer.send(session.data(b"to nobody %d" % count))
    peer.expect_silence(SILENCE_SECONDS)
    after = bench.agent.scrape().drops()
    moved = sum(after[reason] - before.get(reason, 0) for reason in ("no_session", "session_state"))
    expect_equal(moved, 3, "frames dropped as no_session or session_state")


def matrix_checks(bench, report, where, aead):
    name = "guard %s, %s, %s, %s" % (where.guard, "IPv6" if where.ipv6 else "IPv4", where.policy,
                                     witness.AEAD_NAMES[aead])
    made = []
    if not report.check(name + ": session add",
                        lambda: made.append(bench.sessions.new(where, aead))):
        return
    peer = made[0]
    for label, function, *args in (
            ("data, echo and ack", check_data, peer),
            ("empty data", check_empty, peer),
            ("echoes are a series", check_series, peer),
            ("opened frames are counted", check_opened, bench, peer),
            ("a duplicate is not delivered", check_duplicate, bench, peer),
            ("ping and pong", check_ping, peer),
            ("stream, no policy byte, third frame is data", check_stream, peer, None, False),
            ("stream, reliable", check_stream, peer, 0, True),
            ("stream, newest", check_stream, peer, 1, True),
            ("stream, unordered", check_stream, peer, 2, True),
            ("openstream repeated", check_reopen, peer),
            ("series are separate", check_two_streams, peer),
            ("openstream, unknown policy", check_unknown_policy, peer),
            ("closestream to CLOSE", check_close, peer),
            ("goaway", check_goaway, bench, peer)):
        if not report.check("%s: %s" % (name, label), function, *args):
            peer.discard()


def duplicate_on_stream(bench, where, policy):
    peer = bench.sessions.new(where)
    check_duplicate(bench, peer, open_stream(peer, policy))


def check_tagged(bench, vlans):
    peer = bench.sessions.new(MATRIX[0], vlans=vlans)
    echo(peer, b"through a tag")
    echo(peer, b"and again")
    expect_equal(peer.seen_vlans, {vlans}, "VLAN tags of the answers")


# --- an endpoint with an application -------------------------------------------------------------

def say_hello(bench, where):
    app = App(bench.agent.app)
    answer = app.hello(where.name)
    expect_equal(answer.kind, lab_app.HELLO, "kind of the answer to hello (%r)" % answer.body)
    return app


def expect_message(app, body, stream=0):
    item = app.receive_kind(lab_app.MESSAGE, lab_app.GAP)
    expect(item is not None, "no message, wanted %r", body)
    expect_equal((item.kind, item.body, item.stream), (lab_app.MESSAGE, body, stream), "record")
    return item


def deliver(peer, app, plain, stream=0):
    sent = peer.send(peer.session.data(plain, stream))
    peer.expect((ACK, stream, witness.parse(sent).pack))
    return expect_message(app, plain, stream)


def check_out_of_order(bench, where, app):
    """What arrives 1, 3, 2 is acked as it comes and handed over 1, 2, 3."""
    peer = bench.sessions.new(where)
    frames = [peer.session.data(b"packet %d" % pack) for pack in (1, 2, 3)]
    for index in (0, 2, 1):
        peer.send(frames[index])
        peer.expect((ACK, 0, index + 1))
    for pack in (1, 2, 3):
        expect_message(app, b"packet %d" % pack)


def check_gap(bench, where, app):
    """A packet missing longer than the receive timeout is skipped, reported, and refused later."""
    peer = bench.sessions.new(where)
    frames = [peer.session.data(b"gap %d" % pack) for pack in (1, 2, 3)]
    started = time.monotonic()
    for index in (0, 2):
        peer.send(frames[index])
        peer.expect((ACK, 0, index + 1))
    expect_message(app, b"gap 1")
    item = app.receive_kind(lab_app.MESSAGE, lab_app.GAP)
    expect(item is not None, "no gap")
    expect_equal(item.kind, lab_app.GAP, "kind of the record before message 3")
    waited = time.monotonic() - started
    expect(waited >= 0.9, "the gap was reported after %.2f s, before the timeout of 1 s", waited)
    expect_message(app, b"gap 3")
    peer.send(frames[1])
    deliver(peer, app, b"after the gap")


def check_app_sends(bench, where, app):
    """An application's message goes out sealed; its ack comes back as `sent`."""
    peer = bench.sessions.new(where)
    item = deliver(peer, app, b"question")
    for stream in (0, open_stream(peer)):
        if stream:
            item = deliver(peer, app, b"question on a stream", stream)
        number = app.send(b"answer", item.endpoint, item.session, stream, message=77 + stream % 5)
        frame = peer.expect((DATA, stream, None))
        expect_equal(frame.plain, b"answer", "bytes of the application's message")
        peer.send(peer.session.ack(frame.pack, stream))
        done = app.receive_kind(lab_app.SENT, lab_app.FAILED, lab_app.ERROR)
        expect(done is not None, "no record of the sent message")
        expect_equal((done.kind, done.message), (lab_app.SENT, number), "kind and message id")


def check_stream_records(bench, where, app):
    """stream open, messages with the stream's id, stream closed, session closed."""
    peer = bench.sessions.new(where)
    item = deliver(peer, app, b"known")
    stream = open_stream(peer)
    deliver(peer, app, b"on it", stream)
    for _ in range(2):
        peer.send(peer.session.closestream(stream))
        peer.expect((CLOSESTREAM, stream, None))
    closed = app.receive_kind(lab_app.STREAM_CLOSED)
    expect(closed is not None, "no record of the stream's end")
    expect_equal((closed.session, closed.stream), (item.session, stream), "session and stream")
    peer.send(peer.session.goaway())
    gone = app.receive_kind(lab_app.SESSION_CLOSED)
    expect(gone is not None, "no record of the session's end")
    expect_equal(gone.session, item.session, "session handle")


def check_duplicate_app(bench, where, app):
    peer = bench.sessions.new(where)
    sent = peer.send(peer.session.data(b"once"))
    peer.expect((ACK, 0, 1))
    for _ in range(20):
        peer.send(sent)
        peer.expect((ACK, 0, 1))
    expect_message(app, b"once")
    deliver(peer, app, b"next")


def check_second_app(bench, where):
    """One application an endpoint; the second is told so and the first goes on."""
    answer = App(bench.agent.app).hello(where.name)
    expect_equal(answer.kind, lab_app.ERROR, "kind of the answer to hello")
    expect(answer.body, "a refusal without a text")


def check_unknown_endpoint(bench):
    answer = App(bench.agent.app).hello("nobody")
    expect_equal(answer.kind, lab_app.ERROR, "kind of the answer to hello")
    expect(answer.body, "an error without a text")


def check_lonely(bench):
    """Without an application nothing is committed or acked; nothing is lost either."""
    peer = bench.sessions.new(LONELY)
    sent = peer.send(peer.session.data(b"patience"))
    peer.expect_silence(SILENCE_SECONDS)
    counted = [value for (_, labels), value in bench.agent.scrape().items()
               if ("reason", "no_application") in labels]
    expect(sum(counted) >= 1, "no_application is not counted")
    app = say_hello(bench, LONELY)
    peer.send(sent)
    peer.expect((ACK, 0, 1))
    expect_message(app, b"patience")
    app.close()


def app_checks(bench, report, where):
    name = "guard %s, %s, application" % (where.guard, "IPv6" if where.ipv6 else "IPv4")
    made = []
    if not report.check(name + ": hello", lambda: made.append(say_hello(bench, where))):
        return
    app = made[0]
    for label, function in (("out of order", check_out_of_order), ("gap", check_gap),
                            ("sends", check_app_sends), ("records", check_stream_records),
                            ("duplicates", check_duplicate_app)):
        report.check("%s: %s" % (name, label), function, bench, where, app)
    report.check(name + ": a second one is refused", check_second_app, bench, where)
    report.check(name + ": the first one goes on", check_duplicate_app, bench, where, app)
    app.close()


def checks(bench, report):
    for where, aead in itertools.product(MATRIX, witness.AEADS):
        matrix_checks(bench, report, where, aead)
    for policy in (0, 1, 2):
        report.check("duplicate on a stream of policy %d" % policy, duplicate_on_stream, bench,
                     MATRIX[0], policy)
    report.check("one VLAN tag", check_tagged, bench, ((ETH_P_8021Q, 5),))
    report.check("two VLAN tags", check_tagged, bench, ((ETH_P_8021AD, 6), (ETH_P_8021Q, 7)))
    for where in APPS:
        app_checks(bench, report, where)
    report.check("hello for an unknown endpoint", check_unknown_endpoint, bench)
    report.check("no application", check_lonely, bench)


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        agent = lab.agent(configuration(MATRIX + APPS + (LONELY,)))
        if report.check("the agent starts", agent.start):
            checks(Bench(lab, agent), report)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
