#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""The client written from docs/protocol.md against the agent, through XDP on a veth.

Handshake and provisioned sessions, guard on and off, both AEADs, IPv4 and IPv6; then loss,
fragments, streams, messages, another address, and every end of a session.
"""

import os
import random
import socket
import sys
import types

import lab_app
from lab import HOST_IPV4, HOST_IPV6, SERVER_IPV4, SERVER_IPV6, Lab, require_root, wait_until
from lab_app import App
from lab_report import Report, expect, expect_equal
from lab_session import configuration, endpoint, in_free_slot
from secondclient import Client, Refused
from secondclient_series import NEWEST, RELIABLE, UNORDERED, page

MATRIX = tuple(endpoint("%s-%s" % (guard, version), port, address, guard)
               for port, guard in ((4000, "on"), (4001, "off"))
               for version, address in (("v4", "0.0.0.0"), ("v6", "::")))
GUARDED, PLAIN = MATRIX[0], MATRIX[2]
MONOTONIC = endpoint("newest", 4002, policy="monotonic")
ROAMING = endpoint("roaming", 4003, roaming="on")
APP = endpoint("app", 4004, deliver="app")
MESSAGES = endpoint("messages", 4005, deliver="app", format="message")
ENDPOINTS = MATRIX + (MONOTONIC, ROAMING, APP, MESSAGES)
AEADS = {1: "chacha20-poly1305", 2: "aes-256-gcm"}
TOKEN = b"second"
SECONDS = 10


class Bench:
    """An agent, and clients of it."""

    def __init__(self, lab, agent, public):
        self.lab, self.agent, self.public, self.count = lab, agent, public, 0

    def socket(self, where, address=None):
        sock = self.lab.client_socket(socket.AF_INET6 if where.ipv6 else socket.AF_INET,
                                      socket.SOCK_DGRAM)
        sock.bind((address or (HOST_IPV6 if where.ipv6 else HOST_IPV4), 0))
        return sock

    @staticmethod
    def target(where):
        return (SERVER_IPV6 if where.ipv6 else SERVER_IPV4), where.port

    def connect(self, where, **more):
        more.setdefault("token", TOKEN)
        more.setdefault("allow_unguarded", where.guard == "off")
        public = more.pop("public", self.public)
        return Client.connect(self.socket(where), self.target(where), public, **more)

    def provisioned(self, where, aead=1):
        self.count += 1
        client = random.randrange(1, 0x1000) << 4
        sock = self.socket(where)
        address, port = sock.getsockname()[:2]

        def add(server):
            given = types.SimpleNamespace(client=client, server=server, secret=os.urandom(32))
            self.agent.add_session(where.name, given, address, port, aead_name=AEADS[aead])
            return given
        given = in_free_slot(add, 0x7000 + self.count)
        return Client.provisioned(sock, self.target(where), given.client << 16 | given.server,
                                  given.secret, aead, where.guard == "on",
                                  RELIABLE if where.policy == "window" else NEWEST)

    def steered(self):
        return self.agent.scrape().total("packgate_gate_steered_total")

    def listed(self, session):
        return (session >> 16, session & 0xFFFF) in self.agent.session_ids()


def expect_packets(client, plains, stream=0, seconds=SECONDS):
    """Exactly these packets have come, in this order."""
    client.run(until=lambda: len(client.received) >= len(plains), seconds=seconds)
    for number, (found, wanted) in enumerate(zip((plain for _, plain in client.received), plains)):
        expect(found == wanted, "packet %d is not what was sent: %d bytes, wanted %d", number,
               len(found), len(wanted))
    expect_equal(len(client.received), len(plains), "packets")
    expect_equal({number for number, _ in client.received}, {stream}, "stream")
    client.received.clear()


def exchange(client, plains, stream=0):
    """Each packet comes back and, on a reliable series, each becomes SUCC."""
    packets = [client.send(plain, stream) for plain in plains]
    expect_packets(client, plains, stream)
    if client.series[stream].reliable:
        client.run(until=lambda: not client.series[stream].unsettled, seconds=SECONDS)
        expect_equal({packet.state for packet in packets}, {"SUCC"}, "states")


def loser(numbers, way, opcode):
    """Loses the n-th frames of one opcode and direction, n from 0."""
    seen = [-1]

    def lose(its_way, frame):
        if its_way != way or frame[13] != opcode:
            return False
        seen[0] += 1
        return seen[0] in numbers
    return lose


# --- the matrix ----------------------------------------------------------------------------------

PLAINS = (b"", b"x", bytes(300), os.urandom(1148))


def check_session(client):
    exchange(client, PLAINS)
    client.ping(b"are you there")
    expect(client.run(until=lambda: client.pongs, seconds=SECONDS), "no pong")
    expect_equal(client.pongs, [b"are you there"], "pongs")
    stream = client.open_stream()
    exchange(client, PLAINS, stream)
    expect(not client.refused, "refused at the client: %s", dict(client.refused))
    client.leave()


def check_handshake(bench, where, aead):
    before = bench.steered()
    client = bench.connect(where, wish=aead)
    expect_equal(client.terms[:3], (aead, where.guard == "on", RELIABLE), "terms")
    session = client.id
    expect_equal(client.terms[3], session & 0xFFFF, "server id")
    check_session(client)
    wait_until(lambda: not bench.listed(session), SECONDS, "the session to go")
    expect(bench.steered() - before >= 2 * len(PLAINS), "the gate has steered too little")


def check_provisioned(bench, where, aead):
    before = bench.steered()
    client = bench.provisioned(where, aead)
    check_session(client)
    expect(bench.steered() - before >= 2 * len(PLAINS), "the gate has steered too little")


# --- opening -------------------------------------------------------------------------------------

def check_refused(bench, why, where=GUARDED, **more):
    try:
        bench.connect(where, **more)
    except Refused as refusal:
        expect(why in str(refusal), "refused: %s", refusal)
        return
    expect(False, "a session was granted")


def check_lost(bench, way, opcode, numbers=(0,), **more):
    """The first question, answer or confirmation is lost; the session comes all the same."""
    client = bench.connect(GUARDED, lose=loser(numbers, way, opcode), **more)
    exchange(client, PLAINS)


def check_answer_again(bench):
    """An answer that comes once more is confirmed once more."""
    client = bench.connect(GUARDED, confirm=False)
    client.ping(b"confirms")
    expect(client.run(until=lambda: client.pongs, seconds=SECONDS), "no pong")
    exchange(client, PLAINS)


def check_cookie(bench, where):
    before = bench.agent.scrape().total("packgate_gate_cookies_total")
    client = bench.connect(where)
    exchange(client, PLAINS)
    expect(bench.agent.scrape().total("packgate_gate_cookies_total") > before, "no cookie was sent")


# --- the transport -------------------------------------------------------------------------------

def check_loss(bench, where):
    """Many frames and acks are lost, each once at most: all packets arrive, in order, once."""
    dice, lost = random.Random(7), set()

    def lose(way, frame):
        frame_id = (way, frame[13], *page.ids(frame))
        if frame_id in lost or dice.random() < 0.75:
            return False
        lost.add(frame_id)
        return True

    client = bench.connect(where)
    client.lose = lose
    plains = [bytes([i]) * (i * 7) for i in range(100)]
    packets = [client.send(plain) for plain in plains]
    expect_packets(client, plains, seconds=2 * SECONDS)
    client.run(until=lambda: not client.series[0].unsettled, seconds=SECONDS)
    expect_equal({packet.state for packet in packets}, {"SUCC"}, "states")
    expect(client.resent > 0, "nothing was sent again")
    expect(client.refused["replay_seen"] > 0, "no copy came")


def check_duplicate(bench, where):
    """A copy of an acked packet is acked again and not delivered."""
    client = bench.connect(where)
    exchange(client, [b"once"])
    before = client.acks["whole"]
    client.put(client.sealed[0, 1, 0])
    expect(client.run(until=lambda: client.acks["whole"] > before, seconds=SECONDS), "no ack")
    exchange(client, [b"twice"])


def check_keep_alive(bench, where):
    """A client that said nothing for long pings; with the guard off it sends an empty packet."""
    client = bench.connect(where)
    client.last_sent -= 60
    expect(client.run(until=lambda: client.pongs or client.received, seconds=SECONDS), "no answer")
    expect_equal(list(client.received), [] if where.guard == "on" else [(0, b"")], "packets")


def check_newest(bench):
    """A series of policy newest is not acked; what is old does not come back."""
    client = bench.connect(MONOTONIC)
    expect_equal(client.terms[2], NEWEST, "policy")
    exchange(client, PLAINS)
    client.put(client.sealed[0, 1, 0])
    exchange(client, [b"newer"])
    expect_equal(client.acks["whole"], 0, "acks")


def check_gap(bench):
    """A packet of the server that never comes is skipped and said; its late copy is not taken."""
    client = bench.connect(GUARDED)
    client.series[0].receive_timeout = 0.5
    client.lose = lambda way, frame: (way == "s2c" and frame[13] == 0
                                      and page.ids(frame)[1] == 2)
    for plain in (b"1", b"2", b"3"):
        client.send(plain)
    expect_packets(client, [b"1", b"3"])
    expect_equal(client.gaps, [(0, 2, 1)], "gaps")
    client.lose = lambda way, frame: False
    expect(client.run(until=lambda: client.refused["replay_old"], seconds=SECONDS),
           "no copy came late")
    exchange(client, [b"4"])


# --- streams -------------------------------------------------------------------------------------

def check_streams(bench, where):
    client = bench.connect(where)
    numbers = [client.open_stream(policy) for policy in (None, RELIABLE, NEWEST, UNORDERED)]
    for number in numbers:
        exchange(client, [b"a", b"b"], number)
        expect_equal(client.streams[number].state, "READY", "state")
    for number in numbers:
        client.close_stream(number)
    client.run(until=lambda: all(client.streams[n].state == "CLOSE" for n in numbers),
               seconds=SECONDS)
    expect_equal({client.streams[n].state for n in numbers}, {"CLOSE"}, "states")
    exchange(client, [b"the session goes on"])


def check_stream_refused(bench):
    client = bench.connect(GUARDED)
    number = client.open_stream(7)
    expect(client.run(until=lambda: client.streams[number].state == "CLOSE", seconds=SECONDS),
           "a stream of policy 7 is %s", client.streams[number].state)
    exchange(client, [b"the session goes on"])


def check_stream_lost_frames(bench):
    """openstream, streamopen and closestream are lost once each."""
    client = bench.connect(GUARDED)
    losers = (loser((0,), "c2s", 7), loser((0,), "s2c", 8), loser((0,), "s2c", 9))
    client.lose = lambda way, frame: any([lose(way, frame) for lose in losers])
    number = client.open_stream()
    exchange(client, [b"a"], number)
    client.close_stream(number)
    expect(client.run(until=lambda: client.streams[number].state == "CLOSE", seconds=2 * SECONDS),
           "state %s", client.streams[number].state)


def open_app(bench, where):
    """An application of an endpoint, a client, and the session's handle."""
    app = App(bench.agent.app)
    app.hello(where.name)
    client = bench.connect(where)
    record = app.receive_kind(lab_app.SESSION_OPEN)
    expect(record is not None, "the application did not hear of the session")
    return app, client, record.session


def check_server_closes_stream(bench):
    app, client, session = open_app(bench, APP)
    number = client.open_stream()
    client.send(b"request", number)
    client.run(until=lambda: not client.series[number].unsettled, seconds=SECONDS)
    expect_equal(app.receive_kind(lab_app.MESSAGE).body, b"request", "message")
    app.send(b"answer", app.ids["app"], session, number)
    app.socket.send(lab_app.record(lab_app.STREAM_CLOSED, endpoint=app.ids["app"], session=session,
                                   stream=number))
    expect_packets(client, [b"answer"], number)
    expect(client.run(until=lambda: client.streams[number].state == "R1", seconds=SECONDS),
           "state %s", client.streams[number].state)
    expect(client.run(until=lambda: client.streams[number].state == "CLOSE", seconds=SECONDS),
           "state %s", client.streams[number].state)
    app.close()


# --- fragments and messages ----------------------------------------------------------------------

def check_fragments_down(bench, lost):
    """A packet of the server in fragments, of which some are lost once."""
    app, client, session = open_app(bench, APP)
    seen = set()

    def lose(way, frame):
        fragment = page.ids(frame)[2]
        if way == "c2s" or frame[13] != 0 or fragment not in lost or fragment in seen:
            return False
        seen.add(fragment)
        return True

    client.lose = lose
    plain = os.urandom(20000)
    app.send(plain, app.ids["app"], session, message=5)
    expect_packets(client, [plain])
    expect(app.receive_kind(lab_app.SENT) is not None, "the server does not know that it came")
    expect_equal(seen, set(lost), "lost")
    expect(not client.refused or lost, "refused: %s", dict(client.refused))
    app.close()


def check_fragments_up(bench, where, lost):
    """Packets of the client in fragments, of which some are lost once; the echo comes likewise."""
    client = bench.connect(where)
    seen = set()

    def lose(way, frame):
        frame_id = way, page.ids(frame)[2]
        if frame[13] != 0 or frame_id[1] not in lost or frame_id in seen:
            return False
        seen.add(frame_id)
        return True

    client.lose = lose
    exchange(client, [os.urandom(size) for size in (1148, 1149, 2300, 20000)])
    expect_equal(seen, {(way, number) for way in ("c2s", "s2c") for number in lost}, "lost")
    expect(client.acks["fragments"] > 0, "no ack of fragments")
    stream = client.open_stream(UNORDERED)
    exchange(client, [os.urandom(5000)], stream)


def check_messages(bench):
    app, client, session = open_app(bench, MESSAGES)
    client.send(page.message(1) + page.message(300, b"hello") + page.message(1))
    expect_packets(client, [page.message(2) * 2])
    record = app.receive_kind(lab_app.MESSAGE)
    expect_equal((record.message, record.body), (300, b"hello"), "message")
    app.send(b"good-bye", app.ids["messages"], session, message=301)
    client.run(until=lambda: client.received, seconds=SECONDS)
    expect_equal([page.split_messages(plain) for _, plain in client.received],
                 [[(301, b"good-bye")]], "messages")
    app.close()


# --- addresses and ends --------------------------------------------------------------------------

def check_new_address(bench):
    """From another port: data moves the session, the server's ping is answered."""
    client = bench.connect(ROAMING)
    exchange(client, [b"here"])
    client.sock = bench.socket(ROAMING)
    exchange(client, [b"there"])
    exchange(client, [bytes(1000)] * 20)


def check_server_closes(bench):
    client = bench.connect(GUARDED)
    exchange(client, [b"a"])
    session = client.id
    bench.agent.cli_ok("session", "close", "%08x" % session)
    expect(client.run(until=lambda: client.goaway is not None, seconds=SECONDS), "no goaway")
    expect_equal(client.goaway, 0, "code")
    expect(not bench.listed(session), "it is still listed")


# --- the run -------------------------------------------------------------------------------------

def setup_agent(lab, **more):
    agent = lab.agent({})
    with open(os.open(agent.path("tokens"), os.O_CREAT | os.O_WRONLY, 0o600), "wb") as tokens:
        tokens.write(TOKEN + b" somebody\n")
    done = agent.packgate("keygen", agent.path("server.key"))
    expect(done.code == 0, "keygen: %s", done.err)

    def configure(cookie):
        section = {"key": agent.path("server.key"), "tokens": agent.path("tokens"),
                   "cookie": cookie}
        agent.write_config(configuration(ENDPOINTS, handshake=section, **more))

    configure("never")
    return agent, bytes.fromhex(done.out.strip()), configure


def matrix(report, bench):
    for where in MATRIX:
        for aead, name in AEADS.items():
            report.check("handshake, guard %s, %s" % (where.name, name), check_handshake, bench,
                         where, aead)
            report.check("provisioned, guard %s, %s" % (where.name, name), check_provisioned, bench,
                         where, aead)


def openings(report, bench):
    report.check("refused: token", lambda: check_refused(bench, "token", token=b"third"))
    report.check("refused: no guard", lambda: check_refused(bench, "guard", PLAIN,
                                                            allow_unguarded=False))
    report.check("lost: shakehand", check_lost, bench, "c2s", 0xA)
    report.check("lost: the answer", check_lost, bench, "s2c", 0xB)
    report.check("lost: the confirmation", check_lost, bench, "c2s", 0xB)
    report.check("any frame confirms", check_answer_again, bench)


def transport(report, bench):
    for where in (GUARDED, PLAIN):
        for lost in ((), (1, 7, 18)):
            report.check("fragments both ways, guard %s, lost %s" % (where.guard, lost),
                         check_fragments_up, bench, where, lost)
        report.check("loss, guard " + where.guard, check_loss, bench, where)
        report.check("a duplicate, guard " + where.guard, check_duplicate, bench, where)
        report.check("streams, guard " + where.guard, check_streams, bench, where)
        report.check("keep alive, guard " + where.guard, check_keep_alive, bench, where)
    report.check("newest", check_newest, bench)
    report.check("a gap", check_gap, bench)
    report.check("a stream is refused", check_stream_refused, bench)
    report.check("streams, frames lost", check_stream_lost_frames, bench)
    report.check("the server closes a stream", check_server_closes_stream, bench)
    report.check("fragments from the server", check_fragments_down, bench, ())
    report.check("fragments from the server, some lost", check_fragments_down, bench, (1, 7, 18))
    report.check("messages", check_messages, bench)
    report.check("a new address", check_new_address, bench)
    report.check("the server ends the session", check_server_closes, bench)


def in_socket_mode(report):
    """The agent on plain UDP sockets, without the gate."""
    with Lab() as lab:
        agent, public, _ = setup_agent(lab, mode="socket")
        if report.check("the agent starts in socket mode", agent.start):
            bench = Bench(lab, agent, public)
            for where in (GUARDED, PLAIN):
                for lost in ((), (1, 7, 18)):
                    report.check("fragments both ways, guard %s, lost %s" % (where.guard, lost),
                                 check_fragments_up, bench, where, lost)
        report.last("nothing is left behind", lab.assert_clean)


def main():
    require_root()
    report = Report()
    in_socket_mode(report)
    with Lab() as lab:
        agent, public, configure = setup_agent(lab)
        if report.check("the agent starts", agent.start):
            bench = Bench(lab, agent, public)
            matrix(report, bench)
            openings(report, bench)
            transport(report, bench)
            configure("always")
            report.check("reload", agent.cli_ok, "reload")
            for where in MATRIX:
                report.check("cookie, guard " + where.name, check_cookie, bench, where)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
