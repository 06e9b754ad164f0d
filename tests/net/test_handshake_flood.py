#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""A flood of shakehands from addresses that are not the sender's, and honest clients in it.

Every honest client gets its session, no half-open state grows, no answer is longer than its
question, and of the flood nothing reaches the agent once cookies are demanded. What the agent's CPU
did meanwhile is printed, not judged: the machine is shared.
"""

import os
import select
import socket
import sys
import threading
import time

import witness
from lab import SERVER_IPV4, Lab, in_namespace, require_root, wait_until
from lab_report import Report, expect, expect_equal
from lab_session import configuration, endpoint
from lab_wire import ETH_P_IPV4, Bulk, Wire, ethernet, ipv4, packed, udp
from witness_handshake import Opening

GAME = endpoint("game", 4000)
HONEST = 1000
AT_ONCE = 50
TRIES = 5
FLOOD_FRAMES = 8192
FLOOD_SECONDS = 60  # the flood ends by itself, whatever happens
RETRY_SECONDS = 0.5
HANDSHAKES_PER_SECOND = 1000


def spoofed(lab, count):
    """Shakehands of the smallest size that look right until their key is tried."""
    frames = []
    for number in range(count):
        noise = os.urandom(4 + 238)
        payload = bytes([1, 1]) + bytes(16) + noise[4:]
        client = int.from_bytes(noise[:2], "big") | 1
        head = witness.header(client, 0, 1700000000000, 0, witness.SHAKEHAND, len(payload))
        source = packed("10.78.%d.%d" % (number >> 8, number & 255))
        body = udp(source, packed(SERVER_IPV4), 1024 + number, GAME.port, head + payload)
        frames.append(ethernet(lab.server_mac, lab.client_mac, ETH_P_IPV4,
                               ipv4(source, packed(SERVER_IPV4), body)))
    return frames


class Flood:
    """Sends as fast as it can, in a thread that lives in the C library."""

    def __init__(self, lab):
        wire = Wire(lab)
        wire.back.close()  # the answers would fill it
        self.bulk, self.sent, self.stopping = Bulk(wire, spoofed(lab, FLOOD_FRAMES)), 0, False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        end = time.monotonic() + FLOOD_SECONDS
        while not self.stopping and time.monotonic() < end:
            self.bulk.send(1024)
            self.sent += 1024

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()


class Client:
    """One honest client over a UDP socket of its own, as patient as PROTOCOL 5 asks."""

    def __init__(self, lab, public):
        self.socket = in_namespace(lab.client, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((SERVER_IPV4, GAME.port))
        self.socket.setblocking(False)
        self.opening = Opening(public)
        self.tries, self.again_at = 0, 0.0

    def fileno(self):
        return self.socket.fileno()

    def ask(self):
        raw = self.opening.shakehand()
        self.opening.note_sent(raw)
        self.socket.send(raw)

    def poll(self, now):
        if now >= self.again_at and self.tries < TRIES:
            self.again_at = now + RETRY_SECONDS * (1 << self.tries)
            self.tries += 1
            self.ask()

    def take(self):
        """Whether the session is there; the final handshake has then been sent."""
        had = self.opening.cookie
        self.opening.receive(self.socket.recv(2048))
        if self.opening.verdict == "accepted":
            session = self.opening.session()
            self.socket.send(self.opening.final(session))
            return True
        if self.opening.cookie != had:
            self.ask()
        return False


def open_all(lab, public, count):
    """How many of so many clients got a session; at most AT_ONCE ask at a time."""
    waiting, started, done = [], 0, 0
    while waiting or started < count:
        while len(waiting) < AT_ONCE and started < count:
            waiting.append(Client(lab, public))
            started += 1
        now = time.monotonic()
        for client in waiting:
            client.poll(now)
        for client in select.select(waiting, [], [], 0.05)[0]:
            if client.take():
                done += 1
                client.socket.close()
                waiting.remove(client)
        for client in [c for c in waiting if c.tries == TRIES and time.monotonic() > c.again_at]:
            client.socket.close()
            waiting.remove(client)
    return done


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def flood_alone(agent, flood):
    """What the agent does while nobody honest asks."""
    before, cpu, sent = agent.scrape(), cpu_seconds(agent.process.pid), flood.sent
    start = time.monotonic()
    time.sleep(2)
    used = (cpu_seconds(agent.process.pid) - cpu) / (time.monotonic() - start)
    after = agent.scrape()
    print("# %.0f shakehands/s, agent at %.1f %% of a core"
          % ((flood.sent - sent) / (time.monotonic() - start), 100 * used))
    expect_equal(after.total("packgate_shakehands_total"),
                 before.total("packgate_shakehands_total"), "shakehands that reached the agent")
    expect(after.total("packgate_gate_cookies_total") >
           before.total("packgate_gate_cookies_total"), "the gate made no cookies")


def settled(agent):
    """Whether the agent is done with what was steered before cookies were demanded."""
    first = agent.scrape().total("packgate_shakehands_total")
    time.sleep(0.2)
    return agent.scrape().total("packgate_shakehands_total") == first


def check_flood(lab, agent, public):
    with Flood(lab) as flood:
        wait_until(lambda: agent.scrape().total("packgate_gate_cookies_total") > 0, 5,
                   "the demand for cookies")
        wait_until(lambda: settled(agent), 5, "the last shakehand from before it")
        flood_alone(agent, flood)
        before, cpu, start = agent.scrape(), cpu_seconds(agent.process.pid), time.monotonic()
        done = open_all(lab, public, HONEST)
        took = time.monotonic() - start
        used = cpu_seconds(agent.process.pid) - cpu
        after = agent.scrape()
    print("# %d honest handshakes in %.1f s, agent at %.1f %% of a core, %d spoofed shakehands"
          % (done, took, 100 * used / took, flood.sent))
    expect_equal(done, HONEST, "honest handshakes")
    reached = [m.total("packgate_shakehands_total") for m in (before, after)]
    expect(reached[1] - reached[0] <= HONEST * TRIES, "%d shakehands reached the agent for %d "
           "honest ones", reached[1] - reached[0], HONEST)
    expect(after.total("packgate_sessions", state="open") <= AT_ONCE, "half-open sessions grew: %d",
           after.total("packgate_sessions", state="open"))
    wait_until(lambda: agent.scrape().total("packgate_handshakes_ready_total") >= HONEST, 2,
               "every session to be READY")
    expect_equal(agent.scrape().total("packgate_sessions", state="open"), 0, "half-open sessions")


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        agent = lab.agent({})
        public = bytes.fromhex(agent.packgate("keygen", agent.path("server.key")).out.strip())
        agent.write_config(configuration(
            (GAME,), handshake={"key": agent.path("server.key")},
            limits={"handshakes_per_second": HANDSHAKES_PER_SECOND, "half_open": 256,
                    "sessions": 65536, "unmatched_per_source_per_second": 100000}))
        if report.check("the agent starts", agent.start):
            report.check("a flood", check_flood, lab, agent, public)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
