#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""What one client of a TCP entrance can cost the others: shared memory, half-open TLS."""

import random
import re
import sys

import lab_app
import lab_messages as m
from lab import Lab, require_root, run, wait_until
from lab_report import Report, expect, expect_equal
from lab_session import configuration, endpoint
from test_tcp_entrance import (GAME, Bench, expect_record, hello, make_certificate, open_client,
                               tls_context)

ECHO = endpoint("echo", 4000, deliver="echo", format="message")
SHARED = 1048576  # limits.tcp_buffer_bytes
OWN = 4096        # bytes that every connection may hold beside it
CLOSED = "packgate_tcp_entrance_closed_total"


def was_read(bench, port, count):
    """Whether the agent has read so many bytes from the client with this port, or closed it."""
    rows = run("nsenter", "--net=/run/netns/" + bench.lab.server, "ss", "-tinOH")
    for row in rows.splitlines():
        words = row.split()
        if words[0] == "ESTAB" and words[4].endswith(":%d" % port):
            came = re.search(r"bytes_received:(\d+)", row)
            return words[1] == "0" and came and int(came.group(1)) >= count
    return True


def begin(bench, body, count):
    """A client that has sent count bytes of a message with so long a body, and no more."""
    client = bench.connect(5000)
    client.send(m.message(7, bytes(body))[:count])
    port = client.socket.getsockname()[1]
    wait_until(lambda: was_read(bench, port, count), 5, "the agent to read", 0.02)
    return client


def check_hogs(bench):
    """Clients that took the shared memory with halves of messages stop nobody else's."""
    before = bench.agent.scrape()
    with begin(bench, SHARED, 600000), begin(bench, SHARED, 6000), bench.connect(5000) as honest:
        with begin(bench, SHARED, 6000) as late:
            late.expect_end()
        bench.wait_moved(1, CLOSED, before, entrance="echo", reason="memory")
        for body in (b"", b"a", bytes(2000)):
            honest.send(m.HEARTBEAT)
            honest.expect(m.ANSWER)
            whole = m.message(9, body)
            honest.send(whole[:-1])
            honest.send(whole[-1:])
            honest.expect(whole)
    expect_equal(bench.moved(CLOSED, before, entrance="echo", reason="memory"), 1,
                 "closed for want of memory")


def check_app_at_the_bound(bench, app):
    """What an application sends beyond the bound is refused; its client stays."""
    before = bench.agent.scrape()
    body = bytes(400000)
    with begin(bench, 600000, 550000):
        client, opened = open_client(bench, app)
        with client:
            app.send(body, opened.endpoint, opened.session, message=5, transport=1)
            item = app.receive()
            expect(item is not None and item.kind == lab_app.ERROR, "instead of a refusal: %s",
                   item)
            expect(b"tcp_buffer_bytes" in item.body, "the reason: %r", item.body)
            app.send(b"short", opened.endpoint, opened.session, message=6, transport=1)
            client.expect(m.message(6, b"short"))
            client.reset()
        expect_record(app, lab_app.SESSION_CLOSED, 0, b"\1")
    expect_equal(bench.moved(CLOSED, before, reason="memory"), 0, "closed for want of memory")


def check_last_words(bench, app, port, context=None):
    """A client gets all that was sent before its application closed, also one that goes on
    sending: what nobody reads must not take back what is on its way."""
    body = random.Random(5).randbytes(900000)
    with bench.connect(port, window=16384, context=context) as client:
        opened = app.receive_kind(lab_app.SESSION_OPEN)
        expect(opened is not None, "no session open")
        app.send(body, opened.endpoint, opened.session, message=5, transport=1)
        app.socket.send(lab_app.record(lab_app.SESSION_CLOSED, session=opened.session,
                                       transport=1))
        # a refusal says that the gateway has taken the record in front of it
        app.send(b"late", opened.endpoint, opened.session, message=6, transport=1)
        item = app.receive()
        expect(item is not None and item.kind == lab_app.ERROR and b"closing" in item.body,
               "instead of a refusal: %s", item)
        client.read(1000)
        client.send(m.HEARTBEAT)
        expect_equal(client.read(len(m.message(5, body)) - 1000), m.message(5, body)[1000:],
                     "the last words")
        client.send(m.HEARTBEAT)
        client.expect_end()
        item = None if context else app.receive(0.2)
        expect(item is None, "closed before the client was: %s", item)
    expect_record(app, lab_app.SESSION_CLOSED, 0, b"\0")


def check_half_open_tls(bench, app, context):
    """An application hears of a connection when its TLS handshake is done, not before."""
    before = bench.agent.scrape()
    with bench.connect(5010) as silent:
        bench.wait_moved(1, "packgate_tcp_entrance_accepted_total", before, entrance="tls")
        client, _ = open_client(bench, app)
        client.reset()
        expect_record(app, lab_app.SESSION_CLOSED, 0, b"\1")
        silent.send(m.HEARTBEAT)
        bench.wait_moved(1, CLOSED, before, entrance="tls", reason="tls")
    with bench.connect(5010, context=context) as client:
        opened = app.receive()
        expect_equal(opened and opened.kind, lab_app.SESSION_OPEN, "the first record")
        app.send(b"welcome", opened.endpoint, opened.session, message=6, transport=1)
        client.expect(m.message(6, b"welcome"))
    # no close_notify came: for all that is known the stream was cut
    expect_record(app, lab_app.SESSION_CLOSED, 0, b"\1")


def settings(agent, tls):
    return configuration((ECHO, GAME), app={"socket": agent.app},
                         limits={"message_bytes": SHARED, "tcp_buffer_bytes": SHARED},
                         tcp_entrances=[{"name": "echo", "endpoint": "echo", "port": 5000},
                                        {"name": "game", "endpoint": "game", "port": 5003},
                                        {"name": "tls", "endpoint": "game", "port": 5010,
                                         "tls": tls}])


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        agent = lab.agent({})
        bench = Bench(lab, agent, ())
        tls = make_certificate(bench, "tls")
        agent.write_config(settings(agent, tls))
        if report.check("the agent starts", agent.start):
            report.check("memory: clients that hold it", check_hogs, bench)
            app = hello(bench, GAME)
            report.check("memory: an application", check_app_at_the_bound, bench, app)
            report.check("TLS: half-open", check_half_open_tls, bench, app, tls_context(tls))
            report.check("last words", check_last_words, bench, app, 5003)
            report.check("last words, TLS", check_last_words, bench, app, 5010, tls_context(tls))
            app.close()
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
