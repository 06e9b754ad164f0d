#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Stopping, killing and restarting the agent under traffic.

A client that resends what is not acked, byte for byte, must get everything through once; sessions
and streams survive; what was sent before a restart is refused after it; and no frame of the agent
ever shares a key and a nonce with different bytes: the ledger holds every frame captured.
"""

import os
import struct
import sys
import time
from collections import Counter

import lab_app
from lab import PINS, Lab, require_root, wait_until
from lab_app import App
from lab_report import PATIENCE, Report, expect, expect_equal
from lab_session import Sessions, configuration, echo, endpoint, open_stream
from lab_wire import Peer, Wire
from witness import ACK, DATA, PING, PONG, parse

RESEND_SECONDS = 0.2
IN_FLIGHT = 32
TRAFFIC_SECONDS = 0.6
CRASHES = 4

ECHO = endpoint("echo", 4000)
PLAIN = endpoint("plain", 4001, "::", guard="off")
ROAM = endpoint("roam", 4003, roaming="on")
GUARDED_APP = endpoint("app", 4002, deliver="app")


class Client:
    """A reliable sender on one series: it resends what is not acked and acks what comes. It counts
    how often each of its packets was echoed."""

    def __init__(self, peer, stream):
        self.peer, self.stream = peer, stream
        self.waiting, self.history = {}, {}
        self.echoes, self.echo_packs = Counter(), []

    def step(self, fresh):
        """Send something new if allowed and asked for, resend what is late."""
        session, now = self.peer.session, time.monotonic()
        if fresh and len(self.waiting) < IN_FLIGHT:
            pack = session.next_pack[self.stream] + 1
            raw = session.data(struct.pack(">II", self.stream, pack), self.stream)
            self.peer.send(raw)
            self.history[pack] = raw
            self.waiting[pack] = now
        for pack, sent in self.waiting.items():
            if now - sent > RESEND_SECONDS:
                self.peer.send(self.history[pack])
                self.waiting[pack] = now

    def take(self, frame):
        if frame.op == ACK:
            self.waiting.pop(frame.pack, None)
        elif frame.op == DATA:
            self.echoes[frame.plain] += 1
            self.echo_packs.append(frame.pack)
            self.peer.send(self.peer.session.ack(frame.pack, self.stream))


class Traffic:
    """Several clients on their peers, driven in turns."""

    def __init__(self, wire):
        self.wire, self.clients = wire, {}

    def add(self, peer, stream):
        self.clients[peer, stream] = Client(peer, stream)

    def collect(self):
        self.wire.drain()
        for peer in {peer for peer, _ in self.clients}:
            peer.assert_clean()
            while peer.inbox:
                frame = peer.inbox.popleft()
                expect((peer, frame.stream) in self.clients, "unexpected: %s", frame)
                self.clients[peer, frame.stream].take(frame)

    def run(self, seconds, fresh=True):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for client in self.clients.values():
                client.step(fresh)
            self.wire.pump(0.002)
            self.collect()

    def settle(self, seconds=PATIENCE):
        """Send nothing new until everything is acked."""
        end = time.monotonic() + seconds
        while any(client.waiting for client in self.clients.values()):
            expect(time.monotonic() < end, "%d packets are not acked %d s after the restart",
                   sum(len(client.waiting) for client in self.clients.values()), seconds)
            self.run(0.02, fresh=False)
        self.run(0.1, fresh=False)

    def packets(self):
        return sum(len(client.history) for client in self.clients.values())

    def assert_once(self):
        """No packet was echoed twice, and no packId of the server carried two packets."""
        for client in self.clients.values():
            twice = [plain for plain, count in client.echoes.items() if count > 1]
            expect(not twice, "%d packets echoed more than once", len(twice))
            packs = client.echo_packs
            expect_equal(len(set(packs)), len(packs), "different packIds of the echoes")


class Bench:
    """Two peers with a session series and streams of two policies each, under one ledger."""

    def __init__(self, lab, agent):
        self.lab, self.agent, self.wire = lab, agent, Wire(lab)
        self.sessions = Sessions(lab, agent, self.wire)
        self.traffic, self.streams = Traffic(self.wire), {}
        self.peers = [self.sessions.new(ECHO), self.sessions.new(ECHO, aead=2),
                      self.sessions.new(PLAIN)]
        for peer in self.peers:
            self.streams[peer] = open_stream(peer)
            for stream in (0, self.streams[peer]):
                self.traffic.add(peer, stream)

    def ids(self):
        return {(peer.session.client, peer.session.server) for peer in self.peers}

    def history(self):
        """Every data frame that a client has sent and seen acked, by peer."""
        return [(client.peer, raw) for client in self.traffic.clients.values()
                for pack, raw in client.history.items() if pack not in client.waiting]


def stop_under_traffic(bench, end):
    """Traffic, the end of the agent in its midst, a restart, and everything gets through."""
    traffic = bench.traffic
    traffic.run(TRAFFIC_SECONDS)
    opened = traffic.packets()
    end()
    traffic.run(0.2)
    bench.agent.start()
    traffic.run(TRAFFIC_SECONDS)
    traffic.settle()
    expect(traffic.packets() > opened, "no packet was sent after the restart")
    traffic.assert_once()
    missing = bench.ids() - bench.agent.session_ids()
    expect(not missing, "sessions lost: %r", missing)


def check_replays(bench, streams=True):
    """Every frame accepted so far, sent again after the restart, is opened no second time."""
    frames = [(peer, raw) for peer, raw in bench.history() if streams or not parse(raw).stream]
    before = bench.agent.scrape()
    for peer, raw in frames:
        peer.send(raw)
        bench.traffic.collect()
    bench.traffic.run(0.3, fresh=False)
    bench.traffic.assert_once()
    after = bench.agent.scrape()
    opened = "packgate_frames_opened_total"
    expect_equal(after.total(opened) - before.total(opened), 0, "%d replays opened" % len(frames))
    refused = sum(after.drops().get(reason, 0) - before.drops().get(reason, 0)
                  for reason in ("replay_seen", "replay_old"))
    copies = "packgate_gate_duplicates_total"
    refused += after.total(copies) - before.total(copies)
    expect_equal(refused, len(frames), "replays refused")


def check_replay_while_down(bench):
    """Replays that wait for the new agent at its start are refused too."""
    frames = bench.history()[-200:]
    bench.agent.kill()
    bench.agent.start()
    for peer, raw in frames:
        peer.send(raw)
    bench.traffic.run(0.3, fresh=False)
    bench.traffic.assert_once()


def check_streams(bench):
    """A stream opened before the restarts still carries data, both ways; so does the session."""
    for peer in bench.peers:
        for stream in (bench.streams[peer], 0):
            echo(peer, b"after the restart", stream)
        peer.send(peer.session.ping(b"alive"))
        peer.expect((PONG, None, None))
        stream = open_stream(peer)
        echo(peer, b"a new stream", stream)


def check_gap_after_crash(bench):
    """What was acked and waited for an earlier packet is lost with the process: a gap, said."""
    app = App(bench.agent.app)
    expect_equal(app.hello(GUARDED_APP.name).kind, lab_app.HELLO, "kind of the answer to hello")
    peer = bench.sessions.new(GUARDED_APP)
    frames = [peer.session.data(b"packet %d" % pack) for pack in (1, 2, 3, 4)]
    for index in (0, 2):
        peer.send(frames[index])
        peer.expect((ACK, 0, index + 1))
    expect_equal(app.receive_kind(lab_app.MESSAGE).body, b"packet 1", "message")
    bench.agent.kill()
    app.close()
    bench.agent.start()
    app = App(bench.agent.app)
    expect_equal(app.hello(GUARDED_APP.name).kind, lab_app.HELLO, "kind of the answer to hello")
    for index in (1, 2, 3):
        peer.send(frames[index])
        peer.expect((ACK, 0, index + 1))
    kinds = []
    while not kinds or kinds[-1] != (lab_app.MESSAGE, b"packet 4"):
        item = app.receive_kind(lab_app.MESSAGE, lab_app.GAP)
        expect(item is not None, "no packet 4, only %r", kinds)
        kinds.append((item.kind, item.body if item.kind == lab_app.MESSAGE else b""))
    app.close()
    wanted = [(lab_app.MESSAGE, b"packet 2"), (lab_app.GAP, b""), (lab_app.MESSAGE, b"packet 4")]
    expect_equal(sorted(kinds), sorted(wanted), "records after the crash")
    expect(kinds.index((lab_app.GAP, b"")) < 2, "the gap was reported after packet 4")


def roam(peer, port, text):
    """The same session from another port, with the server's ping as it came there."""
    away = Peer(peer.wire, peer.session, peer.source, port, peer.target, peer.dport)
    away.send(away.session.data(text))
    ping, _, _ = away.expect((PING, 0, None), (DATA, 0, None), (ACK, 0, None))
    return away, ping


def check_roaming(bench):
    """An address that has not proven itself when the agent dies is not kept; one that has is."""
    home = bench.sessions.new(ROAM)
    echo(home, b"at home")
    roam(home, home.sport ^ 1, b"unproven")
    bench.agent.kill()
    bench.agent.start()
    home.send(home.session.ping(b"still at home"))
    home.expect((PONG, 0, None))
    away, ping = roam(home, home.sport ^ 2, b"proven")
    before = bench.agent.scrape().total("packgate_roamed_total")
    away.send(away.session.pong(away.session.unguarded(ping)))
    wait_until(lambda: bench.agent.scrape().total("packgate_roamed_total") > before, 2, "the proof")
    time.sleep(0.5)  # the store commits every 10 ms, and nobody tells when
    bench.agent.kill()
    bench.agent.start()
    away.send(away.session.ping(b"moved"))
    away.expect((PONG, 0, None))


def check_without_pins(bench):
    """Stopped and detached, only the store is left: sessions return, no nonce does."""
    bench.agent.stop()
    done = bench.agent.detach()
    expect(done.code == 0, "detach without an agent: exit %d: %s", done.code, done.err.strip())
    left = os.path.join(PINS, bench.agent.instance)
    expect(not os.path.exists(left), "%s exists after detach", left)
    bench.agent.start()
    missing = bench.ids() - bench.agent.session_ids()
    expect(not missing, "sessions lost: %r", missing)
    for peer in bench.peers:
        echo(peer, b"from the store")


def check_ledger(bench):
    """The ledger would have failed at once; here it shows that it saw something."""
    ledger = bench.sessions.ledger
    own = sum(len(client.history) for client in bench.traffic.clients.values())
    echoes = sum(sum(client.echoes.values()) for client in bench.traffic.clients.values())
    print("# %d frames in the ledger: %d sent, %d echoed" % (len(ledger.frames), own, echoes),
          flush=True)
    expect(len(ledger.frames) >= own + echoes, "the ledger misses frames")
    expect(echoes > own // 2, "only %d of %d packets were echoed", echoes, own)


def checks(report, lab, agent):
    bench = Bench(lab, agent)
    for name, end in [("SIGTERM", agent.stop)] + [("kill -9, %d" % (count + 1), agent.kill)
                                                  for count in range(CRASHES)]:
        report.check("%s under traffic and restart" % name, stop_under_traffic, bench, end)
        report.check("%s: replays are refused" % name, check_replays, bench)
    report.check("replays at the start of the agent", check_replay_while_down, bench)
    report.check("sessions and streams go on", check_streams, bench)
    report.check("gap after a crash", check_gap_after_crash, bench)
    report.check("an address is kept when it is proven", check_roaming, bench)
    report.check("no nonce twice", check_ledger, bench)
    report.check("start from the store alone", check_without_pins, bench)
    report.check("from the store: replays are refused", check_replays, bench, False)


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        limits = {"receive_timeout_ms": 2000}
        agent = lab.agent(configuration((ECHO, PLAIN, GUARDED_APP, ROAM), limits=limits))
        if report.check("the agent starts", agent.start):
            report.check("the restarts run to their end", checks, report, lab, agent)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
