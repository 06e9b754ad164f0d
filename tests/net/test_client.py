#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""libpackgate.so against the agent: provisioned and in band, guard on and off, both AEADs, streams
of every policy, loss, and what is refused."""

import errno
import os
import random
import select
import socket
import sys
import time

from lab import (HOST_IPV4, HOST_IPV6, SERVER_IPV4, SERVER_IPV6, Lab, in_namespace,
                 require_root, run)
from lab_client import TOKEN, Served
from lab_library import (CLOSED, FAILED, MESSAGE, OPEN, SENT, STREAM_CLOSED, STREAM_OPEN, WRITABLE,
                         Client, LoopClient, Refused)
from lab_loss import lose
from lab_report import Report, expect, expect_equal
from lab_session import endpoint, in_free_slot
from witness import AEAD_NAMES, Session

MATRIX = tuple(endpoint("%s-%s-%s" % (guard, policy, "v6" if ":" in address else "v4"), port,
                        address, guard, policy)
               for port, guard, policy in ((4000, "on", "window"), (4001, "on", "monotonic"),
                                           (4002, "off", "window"), (4003, "off", "monotonic"))
               for address in ("0.0.0.0", "::"))
ECHO, PLAIN = MATRIX[0], MATRIX[4]
RELIABLE, NEWEST, UNORDERED = range(3)
LOSS, LOSSY_PACKETS = 0.1, 300
EVENT_LOOP_CLIENTS, OPENINGS_MOST = 40, 3


class Bench:
    """The agent, and clients of it that live in the client's namespace."""

    def __init__(self, lab, served):
        self.lab, self.served, self.count = lab, served, 0

    def target(self, where):
        return ("[%s]:%d" % (SERVER_IPV6, where.port) if where.ipv6
                else "%s:%d" % (SERVER_IPV4, where.port)).encode()

    def open(self, where, **options):
        """A client in band; its socket is of the namespace it was made in."""
        options.setdefault("server_key", bytes.fromhex(self.served.public))
        options.setdefault("token", TOKEN.encode())
        options.setdefault("token_bytes", len(options["token"]))
        options.setdefault("unguarded", where.guard == "off")
        return in_namespace(self.lab.client,
                            lambda: Client(server=self.target(where), **options))

    def open_lossy(self, where):
        """The same over a wire that loses: of the five questions of one opening all may be lost,
        or their answers, once in four thousand times."""
        for _ in range(OPENINGS_MOST - 1):
            try:
                return self.open(where)
            except Refused as why:
                if why.code != -errno.ETIMEDOUT:
                    raise
        return self.open(where)

    def add(self, where, aead, address, port, server):
        """A session at the agent."""
        session = Session(os.urandom(32), 0x1000 + 16 * self.count, server, aead,
                          where.guard == "on", RELIABLE)
        self.served.agent.add_session(where.name, session, address, port,
                                      aead_name=AEAD_NAMES[aead])
        return session

    def provision(self, where, aead):
        """Add a session at the agent; the options of the client that it is for."""
        self.count += 1
        address, port = HOST_IPV6 if where.ipv6 else HOST_IPV4, 20000 + self.count
        session = in_free_slot(lambda server: self.add(where, aead, address, port, server),
                               0x100 + self.count)
        source = ("[%s]:%d" if where.ipv6 else "%s:%d") % (address, port)
        return {"server": self.target(where), "source": source.encode(), "secret": session.secret,
                "client_id": session.client, "server_id": session.server, "aead": aead,
                "newest": where.policy == "monotonic", "unguarded": where.guard == "off"}

    def open_provisioned(self, where, aead):
        options = self.provision(where, aead)
        return in_namespace(self.lab.client, lambda: Client(**options))


def exchange(client, stream=0, sizes=(0, 1, 300, 1100)):
    """What is sent comes back; the packets carry their own bytes."""
    for size in sizes:
        data = random.randbytes(size)
        expect_equal(client.send(data, stream), 0, "send")
        event = client.expect(MESSAGE)
        expect_equal((event.stream, event.bytes), (stream, data), "echo")


# --- sessions and streams ------------------------------------------------------------------------

def check_session(client, where):
    with client:
        event = client.expect(OPEN)
        expect_equal(event.code, RELIABLE if where.policy == "window" else NEWEST, "policy")
        exchange(client)
        if where.policy == "window":
            expect_equal(client.send(b"tagged", 0, 77), 0, "send")
            expect_equal(client.expect(SENT).id, 77, "tag")
        client.call("close", 0)
        event = client.expect(CLOSED)
        expect_equal(event.code, 0, "code")


def check_stream(bench, policy):
    with bench.open(ECHO) as client:
        stream = client.open_stream(policy)
        expect_equal(client.expect(STREAM_OPEN).stream, stream, "stream")
        exchange(client, stream)
        expect_equal(client.call("close_stream", stream), 0, "close_stream")
        expect_equal(client.expect(STREAM_CLOSED).stream, stream, "stream")
        expect_equal(client.send(b"late", stream), -errno.ENOENT, "send on a closed stream")


def check_many_streams(bench):
    """Streams do not disturb one another or the session's own series."""
    with bench.open(ECHO) as client:
        streams = [0] + [client.open_stream(RELIABLE) for _ in range(20)]
        wanted = {stream: b"%d" % stream for stream in streams}
        for stream, data in wanted.items():
            expect_equal(client.send(data, stream), 0, "send")
        found = {}
        while len(found) < len(wanted):
            event = client.expect(MESSAGE)
            found[event.stream] = event.bytes
        expect_equal(found, wanted, "echoes")


def check_bounds(bench):
    """The send buffer refuses, says when there is room, and loses nothing."""
    with bench.open(ECHO, send_buffer_bytes=65536) as client:
        most, count, back = client.call("frame_max"), 0, 0
        expect_equal(client.send(bytes(client.call("send_max", RELIABLE) + 1)), -errno.EMSGSIZE,
                     "one byte too many")
        while True:
            code = client.send(bytes(most))
            if code:
                break
            count += 1
            expect(count < 1000, "64 KiB hold %d packets of %d bytes", count, most)
        expect_equal(code, -errno.ENOBUFS, "a full buffer")
        events = []
        while back < count:
            event = client.wait(5)
            expect(event is not None, "%d of %d echoes came", back, count)
            events.append(event.kind)
            back += event.kind == MESSAGE
        if WRITABLE not in events:
            client.expect(WRITABLE)
        expect_equal(client.call("flush", 5000), 0, "flush")


def check_lossy(client, policy=None):
    """Everything comes, once and in order, over a wire that loses a tenth."""
    with client:
        client.expect(OPEN)
        stream = 0 if policy is None else client.open_stream(policy)
        for i in range(LOSSY_PACKETS):
            expect_equal(client.send(b"%d" % i, stream), 0, "send")
        found = [int(client.expect(MESSAGE, 20).bytes) for _ in range(LOSSY_PACKETS)]
        expect_equal(found, list(range(LOSSY_PACKETS)), "echoes")
        expect_equal(client.call("flush", 10000), 0, "flush")
        now = client.statistics()
        expect(now.frames_resent > 0, "nothing was sent again")
        expect_equal(now.packets_failed, 0, "failed packets")


def check_event_loop(bench):
    """Many clients in one epoll loop; each says its own words and hears them."""
    options = {"server": bench.target(ECHO), "token": TOKEN.encode(), "token_bytes": len(TOKEN),
               "server_key": bytes.fromhex(bench.served.public)}
    clients, heard, end = {}, {}, time.monotonic() + 20
    with select.epoll() as loop:
        for _ in range(EVENT_LOOP_CLIENTS):
            client = in_namespace(bench.lab.client, lambda: LoopClient(**options))
            clients[client.call("fd")] = client
            loop.register(client.call("fd"), select.EPOLLIN)
        while len(heard) < len(clients):
            due = min((client.call("timeout_ms") for client in clients.values()), key=lambda ms:
                      ms if ms >= 0 else 60000)
            loop.poll(due / 1000 if due >= 0 else 1)
            expect(time.monotonic() < end, "%d of %d clients", len(heard), len(clients))
            for fd, client in clients.items():
                expect_equal(client.call("process"), 0, "process")
                while (event := client.next()) is not None:
                    expect(event.kind != CLOSED, "closed: %s", event.bytes)
                    if event.kind == OPEN:
                        expect_equal(client.send(b"I am %d" % fd), 0, "send")
                    elif event.kind == MESSAGE:
                        heard[fd] = event.bytes
    expect_equal(heard, {fd: b"I am %d" % fd for fd in clients}, "echoes")
    for client in clients.values():
        client.call("close", 0)
        client.library.pg_client_free(client.pointer)


# --- refusals ------------------------------------------------------------------------------------

def check_refused(bench, code, words, **options):
    try:
        with bench.open(options.pop("where", ECHO), **options):
            pass
    except Refused as why:
        expect_equal(-why.code, code, "errno (%s)" % why.text)
        expect(words in why.text, "the sentence: %s", why.text)
        return
    expect(False, "the session was opened")


def check_nobody(bench):
    """ICMP says that nobody listens; that proves nothing, so the client waits its time."""
    begun = time.monotonic()
    nobody = endpoint("nobody", 4999)
    check_refused(bench, errno.ECONNREFUSED, "ICMP says that nobody listens", where=nobody)
    expect(time.monotonic() - begun > 5, "it gave up after %.1f s", time.monotonic() - begun)


def check_other_key(bench, cookie, code, words):
    """A server with another key is silent, unless it asks for cookies."""
    agent = bench.served.agent
    config = open(agent.config, encoding="ascii").read()
    with open(agent.config, "w", encoding="ascii") as file:
        file.write(config.replace('"never"', '"%s"' % cookie).replace("never", cookie))
    agent.cli_ok("reload")
    check_refused(bench, code, words, server_key=bytes([9] + 31 * [0]))
    with open(agent.config, "w", encoding="ascii") as file:
        file.write(config)
    agent.cli_ok("reload")


def check_mtu(bench):
    """Frames fit the interface by themselves; what was asked for and does not fit is refused."""
    lab = bench.lab
    run("ip", "-n", lab.client, "link", "set", lab.client_if, "mtu", "1100")
    try:
        with bench.open(ECHO) as client:
            expect(client.call("frame_max") <= 1100 - 28 - 28 - 24, "frames of %d bytes",
                   client.call("frame_max"))
            exchange(client, sizes=(5, 1000, 5000))
        check_refused(bench, errno.EMSGSIZE, "at most 1044", max_payload=1172)
        with bench.open(ECHO, max_payload=1000) as client:
            exchange(client, sizes=(5, 5000))
            # the way becomes narrower than what was agreed on
            run("ip", "-n", lab.client, "link", "set", lab.client_if, "mtu", "600")
            expect_equal(client.send(bytes(900), 0, 3), 0, "send")
            event = client.expect(FAILED, 20)
            expect_equal((event.id, event.code), (3, -errno.EMSGSIZE), "FAILED")
            expect(b"max_payload must be at most 544" in event.bytes, "%r", event.bytes)
    finally:
        run("ip", "-n", lab.client, "link", "set", lab.client_if, "mtu", "1500")


def check_server_goes_away(bench):
    """Nothing comes any more: what was sent fails with a reason, and then the session ends."""
    with bench.open(ECHO, send_timeout_ms=1000, idle_seconds=4) as client:
        exchange(client, sizes=(5,))
        bench.served.agent.stop()
        expect_equal(client.send(b"into the dark", 0, 9), 0, "send")
        event = client.expect(FAILED, 10)
        expect_equal((event.id, event.code), (9, -errno.ETIMEDOUT), "FAILED")
        expect(b"not acked in time" in event.bytes, "%r", event.bytes)
        event = client.expect(CLOSED, 20)
        expect_equal(event.code, -errno.ETIMEDOUT, "code")
        expect(b"nothing came from the server for 4 s" in event.bytes, "%r", event.bytes)
    bench.served.agent.start()


def check_server_ends(bench):
    with bench.open(ECHO) as client:
        exchange(client, sizes=(5,))
        with socket.socket(fileno=os.dup(client.call("fd"))) as own:
            port = own.getsockname()[1]
        row = next(row for row in bench.served.agent.cli_ok("session", "list", "--json")
                   .json["sessions"] if row["peer"].endswith(":%d" % port))
        bench.served.agent.cli_ok("session", "close", str(row["session"]), "--code", "error")
        expect_equal(client.expect(CLOSED).code, 1, "code")
        expect_equal(client.send(b"late"), -errno.ESHUTDOWN, "send")


# --- the run -------------------------------------------------------------------------------------

def matrix(report, bench):
    for where in MATRIX:
        for aead in (1, 2):
            name = "%s, %s" % (where.name, AEAD_NAMES[aead])
            report.check("provisioned, " + name, lambda where=where, aead=aead: check_session(
                bench.open_provisioned(where, aead), where))
            report.check("in band, " + name, lambda where=where, aead=aead: check_session(
                bench.open(where, aead=aead), where))


def checks(report, bench):
    matrix(report, bench)
    for name, policy in (("reliable", RELIABLE), ("newest", NEWEST), ("unordered", UNORDERED)):
        report.check("a stream, " + name, check_stream, bench, policy)
    report.check("many streams", check_many_streams, bench)
    report.check("an event loop", check_event_loop, bench)
    report.check("bounds of the send buffer", check_bounds, bench)
    report.check("a wrong token", lambda: check_refused(bench, errno.EACCES, "token",
                                                        token=b"wrong", token_bytes=5))
    report.check("no guard, not allowed", lambda: check_refused(
        bench, errno.EPERM, "guard", where=PLAIN, unguarded=0))
    report.check("the server ends it", check_server_ends, bench)
    report.check("nobody answers", check_nobody, bench)
    report.check("another key", check_other_key, bench, "never", errno.ETIMEDOUT, "did not answer")
    report.check("another key, cookies", check_other_key, bench, "always", errno.EKEYREJECTED,
                 "another key than the one given")
    report.check("a narrow way", check_mtu, bench)
    lose(bench.lab, LOSS)
    report.check("loss, in band", lambda: check_lossy(bench.open_lossy(ECHO)))
    report.check("loss, provisioned", lambda: check_lossy(bench.open_provisioned(ECHO, 1)))
    report.check("loss, guard off", lambda: check_lossy(bench.open_lossy(PLAIN)))
    report.check("loss, a stream", lambda: check_lossy(bench.open_lossy(ECHO), RELIABLE))
    lose(bench.lab, 0)
    report.check("the server goes away", check_server_goes_away, bench)


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        served = Served(lab, MATRIX)
        if report.check("the agent starts", served.agent.start):
            checks(report, Bench(lab, served))
            report.check("the agent stops", served.agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
