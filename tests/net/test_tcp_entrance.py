#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""The TCP entrances: messages in any segmentation, half-close, slow readers, bounds, TLS."""

import random
import re
import resource
import select
import socket
import ssl
import struct
import sys
import time

import lab_app
import lab_messages as m
from lab import SERVER_IPV4, SERVER_IPV6, Lab, in_namespace, require_root, run, wait_until
from lab_app import App
from lab_report import PATIENCE, Report, expect, expect_equal
from lab_session import Sessions, configuration, endpoint
from lab_wire import Wire
from witness import DATA

ECHO = endpoint("echo", 4000, deliver="echo", format="message")
QUIET = endpoint("quiet", 4002, deliver="discard", format="message")
GAME = endpoint("game", 4003, deliver="app", format="message")
LONELY = endpoint("lonely", 4004, deliver="app", format="message")
ENTRANCES = (
    {"name": "echo", "endpoint": "echo", "port": 5000, "max_connections": 1000,
     "max_connections_per_source": 1000},
    {"name": "echo6", "endpoint": "echo", "port": 5000, "address": "::"},
    {"name": "quiet", "endpoint": "quiet", "port": 5002},
    {"name": "game", "endpoint": "game", "port": 5003, "max_connections": 1000,
     "max_connections_per_source": 1000},
    {"name": "lonely", "endpoint": "lonely", "port": 5004},
    {"name": "small", "endpoint": "echo", "port": 5005, "max_connections": 3},
    {"name": "idle", "endpoint": "echo", "port": 5006, "idle_seconds": 1},
    {"name": "fair", "endpoint": "echo", "port": 5007, "max_connections_per_source": 2},
    {"name": "fair6", "endpoint": "echo", "port": 5007, "address": "::", "max_connections": 4,
     "max_connections_per_source": 2},
)
FENCE = m.message(77777)
CONNECTIONS = 10000


class Bench:
    """What the checks of this file share."""

    def __init__(self, lab, agent, entrances):
        self.lab, self.agent, self.entrances = lab, agent, entrances

    def connect(self, port, address=SERVER_IPV4, **more):
        return Client(self.lab, port, address, **more)

    def moved(self, name, before, **labels):
        return self.agent.scrape().total(name, **labels) - before.total(name, **labels)

    def wait_moved(self, count, name, before, **labels):
        wait_until(lambda: self.moved(name, before, **labels) == count, 3,
                   "%s%r to move by %d" % (name, labels, count), 0.05)


class Client:
    """A TCP connection from the client's namespace."""

    def __init__(self, lab, port, address=SERVER_IPV4, window=None, context=None, source=None):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = in_namespace(lab.client, socket.socket, family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(5)
        self.socket.connect((address, port))
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="packgate.test")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def by_byte(self, data):
        for byte in data:
            self.socket.sendall(bytes([byte]))

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            expect(part, "the connection ended after %d of %d bytes", len(data), count)
            data += part
        return data

    def expect(self, data, what="what came back"):
        expect_equal(self.read(len(data)), data, what)

    def expect_end(self):
        """The agent ended the connection, and nothing came before."""
        try:
            data = self.socket.recv(100)
        except ConnectionResetError:
            data = b""
        expect_equal(data, b"", "bytes before the end")

    def expect_silence(self, seconds):
        expect(not select.select([self.socket], [], [], seconds)[0], "something came")

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


# --- bytes ---------------------------------------------------------------------------------------

def check_heartbeat(bench, port, address=SERVER_IPV4):
    with bench.connect(port, address) as client:
        client.send(m.HEARTBEAT)
        client.expect(m.ANSWER)
        client.by_byte(m.HEARTBEAT)
        client.expect(m.ANSWER)
        client.expect_silence(0.05)


def check_pipelined(bench):
    before = bench.agent.scrape()
    with bench.connect(5000) as client:
        client.send(m.HEARTBEAT * 1000 + m.ANSWER + FENCE)
        client.expect(m.ANSWER * 1000 + FENCE)
    expect_equal(bench.moved("packgate_heartbeats_answered_total", before), 1000, "answered")
    expect_equal(bench.moved("packgate_heartbeat_answers_dropped_total", before), 1, "dropped")


def check_segments(bench):
    """Every way to cut two messages in two, and a body at the maximum in odd pieces."""
    data = m.HEARTBEAT + m.message(300, b"body")
    with bench.connect(5000) as client:
        for cut in range(1, len(data)):
            client.send(data[:cut])
            client.send(data[cut:])
            client.expect(m.ANSWER + m.message(300, b"body"), "cut at %d" % cut)
        large = m.message(4, bytes(range(256)) * (m.BODY_MOST // 256))
        client.send(large[:7])
        client.send(large[7:4099])
        client.send(large[4099:])
        client.expect(large)


def check_malformed(bench, data, reason):
    """What stands in front is answered; then the connection ends, counted and logged."""
    before = bench.agent.scrape()
    labels = {"entrance": "echo", "reason": reason}
    with bench.connect(5000) as client:
        client.send(m.HEARTBEAT)
        client.expect(m.ANSWER)
        try:
            client.by_byte(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        client.expect_end()
    with bench.connect(5000) as client:
        client.send(data)
        client.expect_end()
    expect_equal(bench.moved("packgate_tcp_entrance_malformed_total", before, **labels), 2,
                 "malformed{reason=%s}" % reason)
    labels["reason"] = "malformed"
    expect_equal(bench.moved("packgate_tcp_entrance_closed_total", before, **labels), 2, "closed")


def check_truncated(bench):
    whole = m.message(1000, b"cut me")
    before = bench.agent.scrape()
    for cut in range(1, len(whole)):
        with bench.connect(5000) as client:
            client.send(whole[:cut])
            client.half_close()
            client.expect_end()
    expect_equal(bench.moved("packgate_tcp_entrance_malformed_total", before, reason="truncated"),
                 len(whole) - 1, "truncated")


def check_log(bench):
    """Five lines a second at most; the next says how many were left out."""
    lines = bench.agent.stderr().count("connection from")
    expect(lines > 0, "no line about a malformed connection")
    for _ in range(60):
        with bench.connect(5000) as client:
            client.send(b"\0")
            client.expect_end()
    more = bench.agent.stderr().count("connection from") - lines
    expect(more <= 40, "%d lines for 60 connections", more)


# --- connections ---------------------------------------------------------------------------------

def check_half_close(bench):
    with bench.connect(5000) as client:
        client.send(m.HEARTBEAT * 3 + FENCE)
        client.half_close()
        client.expect(m.ANSWER * 3 + FENCE)
        client.expect_end()


def check_reset(bench):
    before = bench.agent.scrape()
    client = bench.connect(5000)
    client.send(m.HEARTBEAT)
    client.expect(m.ANSWER)
    client.reset()
    bench.wait_moved(1, "packgate_tcp_entrance_closed_total", before, reason="reset")


def check_slow_reader(bench):
    """A client that does not read is not read either; when it reads, all is there in order."""
    with bench.connect(5000, window=4096) as client:
        client.socket.setblocking(False)
        body, sent, data = bytes(1000), 0, b""
        stuck = time.monotonic()
        while time.monotonic() - stuck < 0.5:
            if not data:
                data = m.message(3 + sent % 1000, body)
                sent += 1
            try:
                data = data[client.socket.send(data):]
                stuck = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
            expect(sent < 50000, "the agent takes what it cannot give back")
        client.socket.setblocking(True)
        client.socket.settimeout(5)
        sent -= bool(data)
        for number in range(sent):
            client.expect(m.message(3 + number % 1000, body), "message %d" % number)
        expect(sent > 200, "only %d messages were taken", sent)


def check_limit(bench):
    """Three may enter, the fourth is reset at once, and one that leaves makes room."""
    before = bench.agent.scrape()
    clients = [bench.connect(5005) for _ in range(3)]
    for client in clients:
        client.send(m.HEARTBEAT)
        client.expect(m.ANSWER)
    try:
        with bench.connect(5005) as client:
            client.expect_end()
    except ConnectionResetError:
        pass
    expect_equal(bench.moved("packgate_tcp_entrance_refused_total", before, entrance="small"), 1,
                 "refused")
    clients.pop().socket.close()
    wait_until(lambda: bench.agent.scrape().total("packgate_tcp_entrance_connections",
                                                  entrance="small") == 2, 3, "room")
    clients.append(bench.connect(5005))
    clients[-1].send(m.HEARTBEAT)
    clients[-1].expect(m.ANSWER)
    for client in clients:
        client.socket.close()


def expect_refused(bench, *where, source):
    """The connection is reset at once."""
    try:
        with bench.connect(*where, source=source) as client:
            client.expect_end()
    except ConnectionResetError:
        pass


def enter(bench, *where, source):
    client = bench.connect(*where, source=source)
    client.send(m.HEARTBEAT)
    client.expect(m.ANSWER)
    return client


def client_addresses(bench):
    """Addresses of the client's host: two IPv4, two of one IPv6 /64, one of another."""
    lab = bench.lab
    found = ["10.77.0.201", "10.77.0.202", "fd77::201", "fd77::202", "fd77:0:0:1::201"]
    for address in found:
        run("ip", "-n", lab.client, "address", "add", address + ("/64" if ":" in address else "/24"),
            "dev", lab.client_if, *(["nodad"] if ":" in address else []))
    run("ip", "-n", lab.server, "-6", "route", "add", "fd77:0:0:1::/64", "dev", lab.server_if)
    return found


def check_source_limit(bench):
    """A source has its share, whatever others have; one that leaves makes room in it."""
    first, second, one6, same6, other6 = client_addresses(bench)
    before = bench.agent.scrape()
    refused = "packgate_tcp_entrance_refused_total"
    clients = [enter(bench, 5007, source=first) for _ in range(2)]
    expect_refused(bench, 5007, source=first)
    expect_refused(bench, 5007, source=first)
    clients += [enter(bench, 5007, source=second) for _ in range(2)]
    expect_refused(bench, 5007, source=second)
    expect_equal(bench.moved(refused, before, entrance="fair", reason="source"), 3, "refused")
    six = (5007, SERVER_IPV6)
    clients += [enter(bench, *six, source=one6), enter(bench, *six, source=same6)]
    expect_refused(bench, *six, source=one6)
    clients.append(enter(bench, *six, source=other6))
    clients.append(enter(bench, *six, source=other6))
    expect_refused(bench, *six, source=other6)
    expect_equal(bench.moved(refused, before, entrance="fair6", reason="source"), 1, "of a /64")
    expect_equal(bench.moved(refused, before, entrance="fair6", reason="full"), 1, "full")
    clients.pop(0).socket.close()
    wait_until(lambda: bench.agent.scrape().total("packgate_tcp_entrance_connections",
                                                  entrance="fair") == 3, 3, "room")
    clients.append(enter(bench, 5007, source=first))
    expect_equal(bench.moved(refused, before), 5, "refused in all")

    def said():
        """The log names the source and its limit; of many refusals in a second it leaves some out."""
        expect_refused(bench, 5007, source=first)
        return re.search(r"entrance fair: connection from %s:\d+ refused: "
                         r".*max_connections_per_source already \(2\)" % re.escape(first),
                         bench.agent.stderr(100000))

    wait_until(said, 5, "the log to name the source", 0.1)
    for client in clients:
        client.socket.close()


def check_entrance_list(bench):
    """What the limits did, by reason, over the control API and for people."""
    rows = {row["name"]: row for row in bench.agent.cli_ok("entrance", "list", "--json").json
            ["entrances"]}
    fair = rows["fair6"]
    expect_equal({key: fair[key] for key in ("endpoint", "address", "port", "tls", "connections",
                                             "max_connections", "max_connections_per_source",
                                             "accepted")},
                 {"endpoint": "echo", "address": "::", "port": 5007, "tls": False,
                  "connections": 0, "max_connections": 4, "max_connections_per_source": 2,
                  "accepted": 4}, "the row of an entrance")
    refused = {row["reason"]: row["connections"] for row in fair["refused"]}
    expect_equal(refused, {"full": 1, "source": 1, "descriptors": 0, "memory": 0}, "refused")
    expect_equal(sum(row["connections"] for row in fair["closed"]), 4, "closed")
    out = bench.agent.cli_ok("entrance", "list").out
    for text in ("A SOURCE", "fair6", "full 1, source 1"):
        expect(text in out, "%r is not in %s", text, out)
    expect(list(rows) == [row["name"] for row in ENTRANCES], "entrances: %s", ", ".join(rows))


def check_idle(bench):
    before = bench.agent.scrape()
    with bench.connect(5006) as quiet, bench.connect(5006) as half, bench.connect(5006) as busy:
        half.send(m.message(9, b"half")[:-1])
        for _ in range(8):
            busy.send(m.HEARTBEAT)
            busy.expect(m.ANSWER)
            time.sleep(0.2)
        quiet.expect_end()
        half.expect_end()
        busy.send(m.HEARTBEAT)
        busy.expect(m.ANSWER)
    expect_equal(bench.moved("packgate_tcp_entrance_closed_total", before, entrance="idle",
                             reason="idle"), 2, "idle connections closed")


def check_listeners(bench):
    rows = bench.agent.cli("listeners", "--json").json
    text = str(rows)
    for port in (5000, 5003):
        expect("%d" % port in text, "port %d is not in packgate listeners", port)


# --- an application ------------------------------------------------------------------------------

def hello(bench, where):
    app = App(bench.agent.app)
    answer = app.hello(where.name)
    expect_equal(answer.kind, lab_app.HELLO, "kind of the answer to hello (%r)" % answer.body)
    return app


def expect_record(app, kind, number, body):
    item = app.receive()
    expect(item is not None, "no record, wanted message %d", number)
    expect_equal((item.kind, item.transport, item.message, item.body), (kind, 1, number, body),
                 "record")
    return item


def open_client(bench, app, port=5003):
    client = bench.connect(port)
    opened = app.receive_kind(lab_app.SESSION_OPEN)
    expect(opened is not None, "no session open")
    host, number = client.socket.getsockname()[:2]
    expect_equal(opened.body.decode(), "%s:%d" % (host, number), "the peer as text")
    return client, opened


def check_delivery(bench, app):
    client, opened = open_client(bench, app)
    with client:
        client.send(m.message(3) + m.HEARTBEAT + m.message(0x7FFFFFFF, b"b" * 500))
        client.expect(m.ANSWER)
        expect_record(app, lab_app.MESSAGE, 3, b"")
        item = expect_record(app, lab_app.MESSAGE, 0x7FFFFFFF, b"b" * 500)
        expect_equal((item.session, item.endpoint, item.stream),
                     (opened.session, app.ids["game"], 0), "session, endpoint, stream")
        app.send(b"answer", item.endpoint, item.session, message=4711, transport=1)
        client.expect(m.message(4711, b"answer"))
        whole = m.message(20, b"a") + m.message(21, b"b")
        app.send(whole, item.endpoint, item.session, message=0, transport=1)
        client.expect(whole)
    expect_record(app, lab_app.STREAM_CLOSED, 0, b"")
    closed = expect_record(app, lab_app.SESSION_CLOSED, 0, b"\0")
    expect_equal(closed.session, opened.session, "session")


def check_long_messages(bench, app):
    """Beyond a datagram of the application's socket, both ways."""
    client, opened = open_client(bench, app)
    body = random.Random(1).randbytes(m.BODY_MOST)
    with client:
        for size in (65000, 65507, 65508, 65509, 65535, 65536):
            client.send(m.message(size, body[:size]))
            item = expect_record(app, lab_app.MESSAGE, size, body[:size])
            app.send(body[:size] * 3, item.endpoint, item.session, message=5, transport=1)
            client.expect(m.message(5, body[:size] * 3))
        client.reset()
    expect_record(app, lab_app.SESSION_CLOSED, 0, b"\1")


def check_app_closes(bench, app):
    client, opened = open_client(bench, app)
    with client:
        app.send(b"last words", opened.endpoint, opened.session, message=9, transport=1)
        app.socket.send(lab_app.record(lab_app.SESSION_CLOSED, session=opened.session,
                                       transport=1))
        client.expect(m.message(9, b"last words"))
        client.expect_end()
    expect_record(app, lab_app.SESSION_CLOSED, 0, b"\0")


def check_app_half_close(bench, app):
    """The application still answers a client that sends nothing more."""
    client, opened = open_client(bench, app)
    with client:
        client.send(m.message(8, b"question"))
        client.half_close()
        expect_record(app, lab_app.MESSAGE, 8, b"question")
        expect_record(app, lab_app.STREAM_CLOSED, 0, b"")
        app.send(b"answer", opened.endpoint, opened.session, message=9, transport=1)
        app.socket.send(lab_app.record(lab_app.SESSION_CLOSED, session=opened.session,
                                       transport=1))
        client.expect(m.message(9, b"answer"))
        client.expect_end()
    expect_record(app, lab_app.SESSION_CLOSED, 0, b"\0")


def check_app_refused(bench, app):
    client, opened = open_client(bench, app)
    head = dict(session=opened.session, transport=1)
    with client:
        for what, data in (
                ("unknown session", lab_app.record(lab_app.MESSAGE, b"x", session=opened.session + 1,
                                                   message=5, transport=1)),
                ("id too large", lab_app.record(lab_app.MESSAGE, b"x", message=1 << 31, **head)),
                ("not whole", lab_app.record(lab_app.MESSAGE, b"x", message=0, **head)),
                ("a stream", lab_app.record(lab_app.MESSAGE, b"x", stream=1, message=5, **head)),
                ("stream open", lab_app.record(lab_app.STREAM_OPEN, stream=1, **head)),
                ("transport 2", lab_app.record(lab_app.MESSAGE, b"x", transport=2))):
            app.socket.send(data)
            item = app.receive()
            expect(item is not None and item.kind == lab_app.ERROR, "%s: %s", what, item)
        client.expect_silence(0.05)
        client.reset()
    expect_record(app, lab_app.SESSION_CLOSED, 0, b"\1")


def check_other_app(bench, app):
    """An application of another endpoint cannot write to the connection."""
    client, opened = open_client(bench, app)
    other = hello(bench, LONELY)
    with client:
        other.send(b"x", 0, opened.session, message=5, transport=1)
        item = other.receive()
        expect_equal(item and item.kind, lab_app.ERROR, "kind of the answer")
        client.reset()
    other.close()
    expect_record(app, lab_app.SESSION_CLOSED, 0, b"\1")


def check_no_application(bench):
    """Heartbeats are answered, a message waits, and what is behind it keeps its order."""
    before = bench.agent.scrape()
    with bench.connect(5004) as client:
        client.send(m.HEARTBEAT)
        client.expect(m.ANSWER)
        client.send(m.HEARTBEAT + m.message(5, b"patience") + m.HEARTBEAT + m.message(6, b"more"))
        client.expect(m.ANSWER)
        client.expect_silence(0.1)
        expect_equal(bench.moved("packgate_tcp_entrance_stalls_total", before, entrance="lonely"),
                     1, "stalls")
        app = hello(bench, LONELY)
        client.expect(m.ANSWER)
        expect_equal(app.receive().kind, lab_app.SESSION_OPEN, "the first record")
        expect_record(app, lab_app.MESSAGE, 5, b"patience")
        expect_record(app, lab_app.MESSAGE, 6, b"more")
        app.close()


def check_slow_application(bench, app):
    """An application that does not read stops its clients; nothing is lost."""
    client, opened = open_client(bench, app)
    count, sent = 8000, 0
    body = random.Random(2).randbytes(8000)
    data = b"".join(m.message(10 + number, body) for number in range(count))
    with client:
        client.socket.setblocking(False)
        stuck = time.monotonic()
        while sent < len(data) and time.monotonic() - stuck < 0.5:
            try:
                sent += client.socket.send(data[sent:sent + 65536])
                stuck = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
        expect(sent < len(data), "%d bytes were taken that nobody read", sent)
        number = 0
        while number < count:
            if sent < len(data):
                try:
                    sent += client.socket.send(data[sent:sent + 65536])
                except BlockingIOError:
                    pass
            item = app.receive(PATIENCE if sent == len(data) else 0.2)
            if item is None:
                expect(sent < len(data), "message %d of %d did not come", number, count)
                continue
            expect_equal((item.message, item.body), (10 + number, body), "record")
            number += 1
        client.reset()
    expect_record(app, lab_app.SESSION_CLOSED, 0, b"\1")


# --- many ----------------------------------------------------------------------------------------

class Chatter:
    """One of many clients: pipelined messages in random segments, and what must come back."""

    def __init__(self, bench, seed):
        self.random = random.Random(seed)
        self.data = b"".join(
            m.HEARTBEAT if self.random.random() < 0.3 else
            m.message(self.random.choice((3, 200, 70000)), self.random.randbytes(
                self.random.choice((0, 1, 30, 300))))
            for _ in range(self.random.randrange(1, 12)))
        self.wanted = self.data.replace(m.HEARTBEAT, m.ANSWER)
        self.came = b""
        self.socket = bench.socket()

    def step_send(self):
        """Send one segment; True when all was sent."""
        cut = self.random.choice((1, 2, 7, 20, len(self.data)))
        self.data = self.data[self.socket.send(self.data[:cut]):]
        if not self.data:
            self.socket.shutdown(socket.SHUT_WR)
        return not self.data

    def step_receive(self):
        """Read; True at the end of the stream."""
        part = self.socket.recv(65536)
        self.came += part
        return not part


class Crowd:
    """Opens non-blocking sockets in the client's namespace, from addresses of its own."""

    def __init__(self, lab):
        self.lab = lab

    def socket(self):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        sock.connect_ex((SERVER_IPV4, 5000))
        return sock


def run_crowd(crowd, total, at_once):
    """All messages of every connection come back in order."""
    poll, chatters, begun, done = select.epoll(), {}, 0, 0
    end = time.monotonic() + 120
    while done < total:
        while begun < total and len(chatters) < at_once:
            chatter = Chatter(crowd, begun)
            chatters[chatter.socket.fileno()] = chatter
            poll.register(chatter.socket, select.EPOLLIN | select.EPOLLOUT)
            begun += 1
        for fd, events in poll.poll(1):
            chatter = chatters[fd]
            if events & select.EPOLLOUT and chatter.step_send():
                poll.modify(fd, select.EPOLLIN)
            if events & (select.EPOLLIN | select.EPOLLHUP) and chatter.step_receive():
                expect_equal(chatter.came, chatter.wanted, "what came back to one of many")
                poll.unregister(fd)
                del chatters[fd]
                chatter.socket.close()
                done += 1
        expect(time.monotonic() < end, "%d of %d connections were served in 120 s", done, total)
    poll.close()
    return done


def check_many(bench):
    """10,000 connections, as many at once as descriptors and the entrance allow."""
    before = bench.agent.scrape()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2000 <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (2000, hard))
    at_once = min(900, max(soft, min(2000, hard)) - 200)
    done = in_namespace(bench.lab.client, run_crowd, Crowd(bench.lab), CONNECTIONS, at_once)
    expect_equal(done, CONNECTIONS, "connections served")
    expect_equal(bench.moved("packgate_tcp_entrance_accepted_total", before, entrance="echo"),
                 CONNECTIONS, "accepted")
    bench.wait_moved(CONNECTIONS, "packgate_tcp_entrance_closed_total", before, entrance="echo",
                     reason="client")


# --- TLS -----------------------------------------------------------------------------------------

def make_certificate(bench, name):
    certificate, key = bench.agent.path(name + ".pem"), bench.agent.path(name + ".key")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=packgate.test",
        "-addext", "subjectAltName=DNS:packgate.test")
    return {"certificate": certificate, "key": key}


def tls_context(paths, version=None):
    context = ssl.create_default_context(cafile=paths["certificate"])
    if version:
        context.maximum_version = context.minimum_version = version
    return context


def check_tls(bench, context):
    data = m.HEARTBEAT + m.message(300, bytes(60000)) + m.message(5)
    with bench.connect(5010, context=context) as client:
        client.send(m.HEARTBEAT)
        client.expect(m.ANSWER)
        client.by_byte(m.HEARTBEAT)
        client.expect(m.ANSWER)
        client.send(data)
        client.expect(m.ANSWER + data[8:])
        client.send(b"\x08\x00")
        client.expect_end()


def check_tls_close(bench, context):
    before = bench.agent.scrape()
    with bench.connect(5010, context=context) as client:
        client.send(m.HEARTBEAT)
        client.expect(m.ANSWER)
        client.socket.unwrap().close()
    bench.wait_moved(1, "packgate_tcp_entrance_closed_total", before, entrance="tls",
                     reason="client")


def check_tls_plain_client(bench):
    before = bench.agent.scrape()
    with bench.connect(5010) as client:
        client.send(m.HEARTBEAT)
        try:
            client.socket.recv(100)
        except ConnectionResetError:
            pass
    bench.wait_moved(1, "packgate_tcp_entrance_closed_total", before, entrance="tls", reason="tls")


# --- reload --------------------------------------------------------------------------------------

def reload(bench, entrances):
    bench.agent.write_config(settings(bench.agent, entrances))
    return bench.agent.cli("reload")


def check_reload(bench):
    """A connection outlives a reload; entrances come and go."""
    tls = make_certificate(bench, "tls")
    with bench.connect(5000) as stays, bench.connect(5002) as goes:
        entrances = [row for row in ENTRANCES if row["name"] != "quiet"]
        entrances.append({"name": "tls", "endpoint": "echo", "port": 5010, "tls": tls})
        done = reload(bench, entrances)
        expect_equal(done.code, 0, "exit code of reload: " + done.err)
        goes.expect_end()
        stays.send(m.HEARTBEAT)
        stays.expect(m.ANSWER)
    try:
        bench.connect(5002)
    except ConnectionRefusedError:
        pass
    else:
        expect(False, "an entrance that was removed still accepts")
    check_heartbeat(bench, 5000)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        check_tls(bench, tls_context(tls, version))
    check_tls_close(bench, tls_context(tls))
    check_tls_plain_client(bench)
    return entrances, tls


def check_reload_bad(bench, entrances):
    """A port that is taken, or a certificate that is none, changes nothing."""
    nowhere = bench.agent.path("nowhere")
    blocker = bench.lab.server_socket(socket.AF_INET, socket.SOCK_STREAM)
    blocker.bind((SERVER_IPV4, 5020))
    blocker.listen()
    for what, row in (("taken", {"port": 5020, "address": SERVER_IPV4}),
                      ("no certificate", {"port": 5021, "tls": {
                          "certificate": bench.agent.config, "key": bench.agent.config}}),
                      ("no file", {"port": 5021, "tls": {
                          "certificate": nowhere, "key": nowhere}})):
        done = reload(bench, entrances + [dict(row, name="bad", endpoint="echo")])
        expect_equal(done.code, 1, "exit code of reload, %s: %s" % (what, done.err))
        expect("bad" in done.err, "the entrance is not named: %s", done.err)
        check_heartbeat(bench, 5000)
    blocker.close()
    reload(bench, entrances)


def check_udp_beside(bench):
    """The endpoint of an entrance serves sessions as before."""
    peer = Sessions(bench.lab, bench.agent, Wire(bench.lab)).new(ECHO)
    peer.send(peer.session.data(m.HEARTBEAT))
    while True:
        frame = peer.receive()
        expect(frame is not None, "no answer on the session")
        if frame.op == DATA:
            break
    expect_equal(frame.plain, m.ANSWER, "the answer on a session")


def checks(bench, report):
    report.check("heartbeat", check_heartbeat, bench, 5000)
    report.check("heartbeat, IPv6", check_heartbeat, bench, 5000, SERVER_IPV6)
    report.check("heartbeat, deliver: discard", check_heartbeat, bench, 5002)
    report.check("pipelined", check_pipelined, bench)
    report.check("segments", check_segments, bench)
    for name, data, reason in m.MALFORMED:
        report.check("malformed: " + name, check_malformed, bench, bytes.fromhex(data), reason)
    report.check("malformed: cut anywhere", check_truncated, bench)
    report.check("malformed: the log", check_log, bench)
    report.check("half-close", check_half_close, bench)
    report.check("reset", check_reset, bench)
    report.check("slow reader", check_slow_reader, bench)
    report.check("connections are bounded", check_limit, bench)
    report.check("limit of a source", check_source_limit, bench)
    report.check("entrance list", check_entrance_list, bench)
    report.check("idle connections end", check_idle, bench)
    report.check("its listeners are seen", check_listeners, bench)
    report.check("the endpoint's sessions", check_udp_beside, bench)
    app = hello(bench, GAME)
    for label, function in (("delivery", check_delivery), ("long messages", check_long_messages),
                            ("closes", check_app_closes),
                            ("answers after half-close", check_app_half_close),
                            ("is refused", check_app_refused), ("of another", check_other_app),
                            ("is slow", check_slow_application)):
        report.check("application: " + label, function, bench, app)
    app.close()
    report.check("no application", check_no_application, bench)
    report.check("%d connections" % CONNECTIONS, check_many, bench)
    made = []
    if report.check("reload and TLS", lambda: made.append(check_reload(bench))):
        report.check("reload refused", check_reload_bad, bench, made[0][0])


def settings(agent, entrances):
    return configuration((ECHO, QUIET, GAME, LONELY), limits={"message_bytes": m.BODY_MOST},
                         app={"socket": agent.app}, tcp_entrances=list(entrances))


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        agent = lab.agent({})
        agent.write_config(settings(agent, ENTRANCES))
        if report.check("the agent starts", agent.start):
            checks(Bench(lab, agent, ENTRANCES), report)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
