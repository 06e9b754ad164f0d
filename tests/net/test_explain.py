#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""`packgate listeners --explain` against the kernel: what it said beforehand is what then happens.

Every packet is made by hand and followed by one to a port nobody listens on: when the reset for that
is back, the kernel is done with the first. What it did is read from its answer, from the lengths of
both queues and from its counters. docs/tcp-queues.md tells the experiments; each names its check.
"""

import itertools
import re
import socket
import sys

from lab import HOST_IPV4, HOST_IPV6, Lab, require_root, run, wait_until
from lab_report import Report, expect, expect_equal
from lab_session import configuration, endpoint
from lab_tcp import Caller, Witness, accept_queue

WATCHED = ("ListenOverflows", "ListenDrops", "TCPReqQFullDoCookies", "TCPReqQFullDrop",
           "SyncookiesSent", "SyncookiesRecv", "SyncookiesFailed", "EmbryonicRsts",
           "TCPDeferAcceptDrop", "PassiveOpens")
USUAL = {"net.ipv4.tcp_syncookies": 1, "net.ipv4.tcp_abort_on_overflow": 0,
         "net.ipv4.tcp_max_syn_backlog": 2048, "net.core.somaxconn": 4096}
BACKLOG, CLOSED_PORT, TIME_WAIT = 3, 9, 6
BRACKETS = 20


class Bench:
    """The server with its agent, and one IP version to call it over."""

    def __init__(self, lab, agent, is_ipv6):
        self.lab, self.agent, self.is_ipv6 = lab, agent, is_ipv6
        self.caller = Caller(lab, is_ipv6)
        self.witness = Witness(lab.server)
        self.port = 7500 if is_ipv6 else 7000
        self.opened, self.sysctls = [], {}

    @property
    def name(self):
        return self.caller.name

    def close(self):
        self.witness.close()

    def check(self, function, *args):
        """A check from usual sysctls; its listeners end with it."""
        self.set_sysctls(**USUAL)
        try:
            function(self, *args)
        finally:
            for sock in self.opened:
                sock.close()
            self.opened.clear()

    def set_sysctls(self, **values):
        run("nsenter", "--net=/run/netns/" + self.lab.server, "sysctl", "-qw",
            *["%s=%d" % pair for pair in values.items()])
        self.sysctls.update(values)

    def set_tcp(self, **values):
        self.set_sysctls(**{"net.ipv4.tcp_" + name: value for name, value in values.items()})

    def listen(self, backlog=BACKLOG, options=()):
        self.port += 1
        sock = self.caller.listen(backlog, self.port, options)
        self.opened.append(sock)
        return sock

    def explain(self):
        """What packgate says of the newest listener."""
        rows = self.agent.cli_ok("listeners", "--explain", "--port", str(self.port),
                                 "--json").json["listeners"]
        expect_equal([row["port"] for row in rows], [self.port], "listeners explained")
        return rows[0]

    def settle(self):
        """Returns once the kernel has dealt with everything sent so far."""
        call = self.caller.call(CLOSED_PORT)
        call.syn()
        wait_until(lambda: call.resets, 2, "the reset of a closed port")

    def counters(self):
        found = self.witness.counters()
        return {name: found[name] for name in WATCHED}

    # --- states ---

    def request(self, count=1):
        """Requests that stay in the SYN queue."""
        calls = [self.caller.call(self.port) for _ in range(count)]
        before = self.witness.requests(self.port)
        for call in calls:
            call.syn()
        self.settle()
        expect_equal(self.witness.requests(self.port), before + count, "requests queued")
        return calls

    def cookie(self):
        """A call that was answered with a cookie."""
        now = self.sysctls["net.ipv4.tcp_syncookies"]
        self.set_tcp(syncookies=2)
        call = self.caller.call(self.port)
        call.syn()
        self.settle()
        expect(call.syn_ack is not None, "no cookie was sent")
        self.set_tcp(syncookies=now)
        return call

    def fill_accept_queue(self, listener):
        """By cookies, so that it works whatever the SYN queue holds."""
        length, limit = accept_queue(listener)
        while length <= limit:
            self.cookie().ack()
            self.settle()
            expect_equal(accept_queue(listener)[0], length + 1, "connections in the accept queue")
            length += 1

    # --- one packet ---

    def expect_packet(self, listener, packet, send, call):
        """Sends and compares: what --explain said, with the counters it named."""
        rows = [row for row in self.explain()["decisions"] if row["packet"] == packet]
        expect_equal(len(rows), 1, "decisions about " + packet)
        counters, resets, answers = self.counters(), call.resets, len(call.syn_acks)
        requests, waiting = self.witness.requests(self.port), accept_queue(listener)[0]
        send()
        self.settle()
        seen = (len(call.syn_acks) - answers, call.resets - resets,
                self.witness.requests(self.port) - requests, accept_queue(listener)[0] - waiting)
        found = VERDICTS[packet.split("_known")[0]].get(seen, seen)
        moved = {name: value - counters[name] for name, value in self.counters().items()
                 if value != counters[name]}
        expect_equal((found, moved), (rows[0]["decision"], dict.fromkeys(rows[0]["counters"], 1)),
                     "%s, explained as %s" % (packet, rows[0]["outcome"]))
        return rows[0]["outcome"]


# packet -> (SYN-ACKs, resets, change of the SYN queue, change of the accept queue) -> verdict
VERDICTS = {
    "syn": {(1, 0, 1, 0): "queued", (1, 0, 0, 0): "cookie", (0, 0, 0, 0): "dropped"},
    "final_ack": {(0, 0, -1, 1): "accepted", (0, 0, 0, 0): "ignored", (0, 1, -1, 0): "reset"},
    "cookie_ack": {(0, 0, 0, 1): "accepted", (0, 0, 0, 0): "dropped", (0, 1, 0, 0): "reset"},
}


def expect_syn(bench, listener):
    call = bench.caller.call(bench.port)
    return bench.expect_packet(listener, "syn", call.syn, call)


def expect_ack(bench, listener, call):
    call.let_repeat()
    return bench.expect_packet(listener, "final_ack", call.ack, call)


def expect_cookie_ack(bench, listener, call):
    return bench.expect_packet(listener, "cookie_ack", call.ack, call)


# --- every combination ---------------------------------------------------------------------------

COMBINATIONS = list(itertools.product((0, 1, 2), (0, 1), (False, True), (False, True)))


def check_combination(bench, cookies, abort, accept_full, syn_full):
    """The SYN, the final ACK of a request, and that of a cookie, each as --explain had said."""
    listener = bench.listen()
    requests = bench.request(BACKLOG + 1 if syn_full else 2)
    cookie = bench.cookie()
    if accept_full:
        bench.fill_accept_queue(listener)
    bench.set_tcp(syncookies=cookies, abort_on_overflow=abort)
    said = bench.explain()
    expect_equal((said["tcp_syncookies"], said["tcp_abort_on_overflow"]), (cookies, abort),
                 "sysctls")
    expect_equal((said["accept_queue_full"], said["syn_queue_full"]),
                 (accept_full, syn_full and cookies != 2), "full queues")
    expect_syn(bench, listener)
    expect_ack(bench, listener, requests[0])
    expect_cookie_ack(bench, listener, cookie)


# --- limits --------------------------------------------------------------------------------------

# name, tcp_syncookies, tcp_max_syn_backlog, backlog, room, who limits it, what the SYN beyond meets
SYN_ROWS = [
    ("cookies: the backlog", 1, 2, 5, 6, "backlog", "cookie_syn_queue_full"),
    ("no cookies: the backlog", 0, 2048, 5, 6, "backlog", "dropped_syn_queue_full"),
    ("no cookies: tcp_max_syn_backlog", 0, 8, 16, 7, "tcp_max_syn_backlog", "dropped_reserved"),
    ("no cookies: both alike", 0, 8, 6, 7, "backlog", "dropped_syn_queue_full"),
    ("no cookies: listen(fd, 0)", 0, 2048, 0, 1, "backlog", "dropped_syn_queue_full"),
]


def check_syn_room(bench, row):
    """The SYN queue takes as many as it has room for, then what was said happens."""
    _, cookies, max_syn_backlog, backlog, room, limiter, outcome = row
    bench.set_tcp(syncookies=cookies, max_syn_backlog=max_syn_backlog)
    listener = bench.listen(backlog)
    said = bench.explain()
    expect_equal((said["syn_queue_room"], said["syn_queue_limiter"]), (room, limiter), "the limit")
    expect_equal(said["syn_queue_room_known"], backlog + 1, "room for known clients")
    bench.request(room - 1)
    expect_equal(expect_syn(bench, listener), "queued", "the last that fits")
    expect_equal(expect_syn(bench, listener), outcome, "the first that does not")


def check_known_client(bench):
    """What tcp_max_syn_backlog keeps back, it keeps for clients whose round trip is known."""
    lab, caller = bench.lab, bench.caller
    bench.set_tcp(syncookies=0, max_syn_backlog=8)
    listener = bench.listen(16)
    host = HOST_IPV6 if bench.is_ipv6 else HOST_IPV4

    def connect():
        sock = lab.client_socket(caller.family, socket.SOCK_STREAM)
        bench.opened.append(sock)
        sock.settimeout(2)
        sock.connect((caller.address, bench.port))
        return sock

    first, (served, _) = connect(), listener.accept()
    first.close()
    expect_equal(served.recv(1), b"", "the end")
    served.close()
    wait_until(lambda: "rtt" in run("ip", "-n", lab.server, "tcp_metrics", "show", host), 2,
               "tcp_metrics of the client")
    bench.request(7)
    said = {row["packet"]: row["outcome"] for row in bench.explain()["decisions"]}
    expect_equal((said["syn"], said["syn_known"]), ("dropped_reserved", "queued"), "decisions")
    expect_equal(expect_syn(bench, listener), "dropped_reserved", "a client nobody knows")
    connect()
    expect_equal(accept_queue(listener)[0], 1, "connections of the known client")


def check_time_wait(bench):
    """A SYN that takes over a connection in TIME_WAIT is queued beyond the limit."""
    bench.set_tcp(syncookies=0)
    listener = bench.listen()
    call = bench.request()[0]
    call.ack()
    bench.settle()
    listener.accept()[0].close()
    bench.settle()
    call.send("FA", call.sequence + 1, (call.syn_ack + 2) & 0xffffffff)
    bench.settle()
    expect_equal(bench.witness.in_state(bench.port, TIME_WAIT), 1, "connections in TIME_WAIT")
    bench.request(BACKLOG + 1)
    expect_equal(expect_syn(bench, listener), "dropped_syn_queue_full", "any other SYN")
    call.sequence += 50000
    call.syn()
    bench.settle()
    expect_equal(bench.witness.requests(bench.port), BACKLOG + 2, "requests")


def check_somaxconn(bench):
    """A limit is fixed at listen(); the advice, done to the letter, raises it."""
    bench.set_sysctls(**{"net.core.somaxconn": 20})
    listener = bench.listen(1000)
    said = bench.explain()
    expect_equal((said["accept_queue_limit"], said["accept_queue_limiter"]), (20, "somaxconn"),
                 "the limit")
    advice = [row for row in said["advice"] if row["reason"] == "raise_accept_queue"][0]
    sysctl, listen = advice["changes"]
    run("sh", "-c", sysctl["sysctl"])
    said = bench.explain()
    expect_equal((said["somaxconn"], said["accept_queue_limit"], said["accept_queue_limiter"]),
                 (4096, 20, "backlog"), "after the sysctl alone")
    listener.listen(int(re.fullmatch(r"listen\(fd, (\d+)\)", listen["listen"])[1]))
    expect_equal(bench.explain()["accept_queue_limit"], 4096, "the limit after listen()")
    bench.set_sysctls(**{"net.core.somaxconn": 100})
    said = bench.explain()
    expect_equal((said["accept_queue_limit"], said["advice"][0]["reason"]),
                 (4096, "somaxconn_lowered"), "a somaxconn that was lowered")


def check_advised_syn_backlog(bench):
    """The tcp_max_syn_backlog that is advised lets the SYN queue grow to the backlog."""
    bench.set_tcp(syncookies=0, max_syn_backlog=8)
    bench.listen(50)
    advice = {row["reason"]: row for row in bench.explain()["advice"]}
    expect_equal(advice["syncookies_off"]["changes"][0]["sysctl"],
                 "nsenter --net=/run/netns/%s sysctl -w net.ipv4.tcp_syncookies=1"
                 % bench.lab.server, "what comes first")
    run("sh", "-c", advice["raise_syn_queue"]["changes"][0]["sysctl"])
    expect_equal(bench.explain()["syn_queue_room"], 51, "room")
    bench.request(51)


# --- what time adds ------------------------------------------------------------------------------

def check_young(bench):
    """With the accept queue full a SYN is dropped whether there are young requests or none."""
    for count in (0, 1, 3):
        for _ in range(BRACKETS):
            listener = bench.listen()
            requests = bench.request(count) if count else []
            bench.fill_accept_queue(listener)
            said = bench.explain()["syn_queue_young"]
            outcome = expect_syn(bench, listener)
            if all(len(call.syn_acks) == 1 for call in requests):
                break  # no request has aged meanwhile
        expect_equal(said, count, "young requests")
        expect_equal(outcome, "dropped_accept_queue_full", "all young")
    wait_until(lambda: all(len(call.syn_acks) > 1 for call in requests), 4, "SYN-ACKs again", 0.05)
    wait_until(lambda: bench.explain()["syn_queue_young"] == 0, 2, "no young request")
    expect_equal(expect_syn(bench, listener), "dropped_accept_queue_full", "none young")


def check_ignored(bench):
    """An ignored final ACK: the SYN-ACK comes again, and the next ACK may be taken."""
    listener = bench.listen()
    call = bench.request()[0]
    bench.fill_accept_queue(listener)
    expect_equal(expect_ack(bench, listener, call), "ignored_accept_queue_full", "the final ACK")
    wait_until(lambda: len(call.syn_acks) > 1, 4, "the SYN-ACK again", 0.05)
    bench.opened.append(listener.accept()[0])
    expect_equal(expect_ack(bench, listener, call), "accepted", "the ACK of the next SYN-ACK")


def check_cookie_dropped(bench):
    """A cookie's final ACK that is dropped: no SYN-ACK again; data may still bring it in."""
    listener = bench.listen()
    call = bench.cookie()
    bench.fill_accept_queue(listener)
    for _ in range(2):
        expect_equal(expect_cookie_ack(bench, listener, call), "cookie_dropped", "the final ACK")
    bench.opened.append(listener.accept()[0])
    later = bench.request()[0]
    wait_until(lambda: len(later.syn_acks) > 1, 4, "the SYN-ACK of a request again", 0.05)
    expect_equal(len(call.syn_acks), 1, "SYN-ACKs of the cookie")
    bench.expect_packet(listener, "cookie_ack", lambda: call.ack(b"late"), call)
    for _ in range(BACKLOG):
        bench.opened.append(listener.accept()[0])
    served = listener.accept()[0]
    bench.opened.append(served)
    expect_equal(served.recv(16), b"late", "what came with it")


def check_drops(bench):
    """How much the listener's own count of drops rises for each packet."""
    def drops():
        rows = bench.agent.cli_ok("listeners", "--netns", "own", "--json").json["listeners"]
        return [row["drops"] for row in rows if row["port"] == bench.port][0]

    listener = bench.listen()
    requests, cookie = bench.request(2), bench.cookie()
    bench.fill_accept_queue(listener)
    risen = [drops()]
    for step in (lambda: expect_syn(bench, listener),
                 lambda: expect_ack(bench, listener, requests[0]),
                 lambda: expect_cookie_ack(bench, listener, cookie),
                 lambda: bench.set_tcp(abort_on_overflow=1),
                 lambda: expect_ack(bench, listener, requests[1])):
        step()
        risen.append(drops())
    expect_equal([after - before for before, after in zip(risen, risen[1:])], [1, 2, 1, 0, 2],
                 "drops for a SYN, an ACK, a cookie's ACK, nothing, an ACK that is reset")


def check_deferred(bench):
    """TCP_DEFER_ACCEPT: the bare final ACK is ignored, one with data is not."""
    listener = bench.listen(options=[(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 10)])
    expect_equal(bench.explain()["defer_accept"], True, "defer_accept")
    call = bench.request()[0]
    expect_equal(expect_ack(bench, listener, call), "ignored_deferred", "the final ACK")
    call.ack(b"hello")
    bench.settle()
    expect_equal(accept_queue(listener)[0], 1, "connections")
    cookie = bench.cookie()
    expect_equal(expect_cookie_ack(bench, listener, cookie), "cookie_accepted", "a cookie's ACK")


def check_retries(bench):
    """Old requests of a SYN queue over its half are given up after two SYN-ACKs more, until the
    queue is no more than half full."""
    bench.listen(8)
    few, port = bench.request(2), bench.port
    expect_equal(bench.explain()["synack_retries"], 5, "retries of a short queue")
    bench.listen(8)
    many = bench.request(6)
    expect_equal(bench.explain()["synack_retries"], 5, "retries while all are young")
    wait_until(lambda: bench.explain()["syn_queue_young"] == 0, 4, "no young request", 0.05)
    expect_equal(bench.explain()["synack_retries"], 2, "retries of old requests")
    wait_until(lambda: sum(len(call.syn_acks) == 4 for call in many) == 4, 15,
               "the fourth SYN-ACK", 0.05)
    expect_equal(bench.witness.requests(bench.port), 4, "requests left of the long queue")
    expect_equal(sorted(len(call.syn_acks) for call in many), [3, 3, 4, 4, 4, 4], "SYN-ACKs")
    expect_equal(bench.explain()["synack_retries"], 5, "retries of a queue half full")
    expect_equal(bench.witness.requests(port), len(few), "requests left of the short queue")


# --- how it is shown -----------------------------------------------------------------------------

def check_text(bench):
    listener = bench.listen()
    bench.fill_accept_queue(listener)
    out = bench.agent.cli_ok("listeners", "--explain", "--port", str(bench.port)).out
    for wanted in (":%d in " % bench.port, "4 of 4, full; backlog is the limit",
                   "tcp_syncookies 1, tcp_abort_on_overflow 0", "dropped: the accept queue is full",
                   "ignored: ", "ListenOverflows, ListenDrops", "listen(fd, 4096)"):
        expect(wanted in out, "%r is not in %s", wanted, out)


def check_other_namespace(bench):
    """The sysctl that is advised enters the namespace of its listener."""
    lab = bench.lab
    run("nsenter", "--net=/run/netns/" + lab.client, "sysctl", "-qw", "net.ipv4.tcp_syncookies=2")
    sock = lab.client_socket(bench.caller.family, socket.SOCK_STREAM)
    bench.opened.append(sock)
    bench.port += 1
    sock.bind(("", bench.port))
    sock.listen(5)
    said = bench.explain()
    expect_equal(said["netns"], lab.client, "namespace")
    advice = {row["reason"]: row for row in said["advice"]}["syncookies_always"]
    run("sh", "-c", advice["changes"][0]["sysctl"])
    expect_equal(bench.explain()["tcp_syncookies"], 1, "tcp_syncookies of the other namespace")


# --- the run -------------------------------------------------------------------------------------

def checks(report, bench):
    for row in COMBINATIONS:
        report.check("%s: tcp_syncookies %d, tcp_abort_on_overflow %d, accept queue %s, SYN queue "
                     "%s" % ((bench.name,) + row[:2] + tuple("full" if full else "not full"
                                                             for full in row[2:])),
                     bench.check, check_combination, *row)
    for row in SYN_ROWS:
        report.check("%s: SYN queue: %s" % (bench.name, row[0]), bench.check, check_syn_room, row)
    for name, function in (("known client", check_known_client),
                           ("TIME_WAIT taken over", check_time_wait),
                           ("somaxconn is read at listen()", check_somaxconn),
                           ("advised tcp_max_syn_backlog", check_advised_syn_backlog),
                           ("young requests decide nothing", check_young),
                           ("after an ignored ACK", check_ignored),
                           ("after a cookie's dropped ACK", check_cookie_dropped),
                           ("drops of the listener", check_drops),
                           ("TCP_DEFER_ACCEPT", check_deferred),
                           ("retries of a crowded SYN queue", check_retries),
                           ("text", check_text),
                           ("another namespace", check_other_namespace)):
        report.check("%s: %s" % (bench.name, name), bench.check, function)


def main():
    require_root()
    report = Report()
    with Lab(queues=1) as lab:
        config = configuration([endpoint("any", 4000)], tcp={"namespaces": ["all"]})
        agent = lab.agent(config).start()
        for is_ipv6 in (False, True):
            bench = Bench(lab, agent, is_ipv6)
            checks(report, bench)
            bench.close()
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
