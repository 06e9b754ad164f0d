#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Where the agent reads TCP listeners when the kernel refuses its best way, and what it says then:
the iterator of each namespace, inet_diag; and listeners beyond the bound of a reading."""

import json
import os
import subprocess
import sys

from lab import Lab, binary, require_root, run, wait_until
from lab_report import Report, expect, expect_equal
from lab_session import configuration
from test_listeners import accept_queues, listeners_by_ss, requests_by_ss, syn_queues
from test_netns import BRACKETS, Namespace, fill

MOST = 3
LISTENERS, REQUESTS = 5, 7


def denying(what):
    """The environment of a process whose kernel refuses tracking, or the iterator too."""
    return {"LD_PRELOAD": binary("tests/net/deny_bpf.so"), "PG_DENY_BPF": what}


class World:
    """An agent that sees two namespaces, started where something is refused."""

    def __init__(self, lab, what):
        self.namespaces = [Namespace(lab, number, **{"net.core.somaxconn": 64})
                           for number in range(2)]
        self.older = self.namespaces[0].listen(999, 3)
        os.environ.update(denying(what))
        try:
            self.agent = lab.agent(configuration([], tcp={"namespaces": ["all"]})).start()
        finally:
            for name in denying(what):
                del os.environ[name]

    def ask(self, *words):
        return self.agent.cli_ok("listeners", *words, "--json").json

    def rows(self, namespace):
        return [row for row in self.ask("--netns", namespace.name)["listeners"]]

    def close(self):
        for namespace in self.namespaces:
            namespace.remove()


def check_said(world, source, word):
    """The source and why there is no better one: in JSON, for people, in the log, as a metric."""
    answer = world.ask()
    expect_equal(answer["source"], source, "source")
    expect(word in answer["source_why"], "why: %r", answer["source_why"])
    out = world.agent.cli_ok("listeners").out
    expect("read through %s: " % source in out and word in out, "packgate listeners: %s", out)
    expect("read through %s: " % source in world.agent.stderr(100000), "the log is silent")
    sources = world.agent.scrape().by_label("packgate_tcp_source", "source")
    expect_equal({name for name, on in sources.items() if on}, {source}, "metric")


def check_rows(world):
    """The queues of every namespace, as ss shows them between two equal readings."""
    for number, namespace in enumerate(world.namespaces):
        fill(namespace, number)
        for _ in range(BRACKETS):
            before = world.rows(namespace)
            by_ss = (listeners_by_ss(namespace.name),
                     requests_by_ss(namespace.name, {row["port"] for row in before}))
            after = world.rows(namespace)
            if (accept_queues(before), syn_queues(before)) == \
                    (accept_queues(after), syn_queues(after)):
                break
        expect_equal(accept_queues(before), by_ss[0], "accept queues of " + namespace.name)
        expect_equal(syn_queues(before), by_ss[1], "SYN queues of " + namespace.name)
        expect(any(row["syn_queue_length"] for row in before), "no SYN queue holds anything")
        expect(any(row["accept_queue_full"] for row in before), "no accept queue is full")


def check_no_marks(world):
    """Nothing is marked: the high-water marks are what the queues hold now."""
    rows = [row for namespace in world.namespaces for row in world.rows(namespace)]
    expect(rows, "no rows")
    for row in rows:
        expect(not row["marked"] and not row["synack_retransmits"], "a mark: %r", row)
        expect_equal((row["accept_queue_high"], row["syn_queue_high"]),
                     (row["accept_queue_length"], row["syn_queue_length"]), "high-water marks")


def check_new_and_gone(world):
    """A listener is there at once, and gone at once; so is one of the time before the agent."""
    namespace = world.namespaces[0]
    ports = {row["port"] for row in world.rows(namespace)}
    expect(999 in ports, "the older one is missing")
    late = namespace.listen(5999, 4)
    row = [row for row in world.rows(namespace) if row["port"] == 5999]
    expect_equal([(row["accept_queue_limit"], row["owner_pid"]) for row in row],
                 [(4, os.getpid())], "the new one")
    late.close()
    expect_equal({row["port"] for row in world.rows(namespace)}, ports, "ports")


def check_counters(world):
    answer = world.ask()
    names = {namespace.name for namespace in world.namespaces}
    readable = {row["netns"] for row in answer["namespaces"] if row["readable"]}
    expect(names <= readable, "readable: %s", ", ".join(readable))
    dropped = {row["netns"]: row["listen_drops"] for row in answer["counters"]}
    expect(all(dropped[name] > 0 for name in names), "listen_drops: %r", dropped)
    samples = world.agent.scrape()
    for name in names:
        expect(samples.total("packgate_tcp_listen_drops_total", netns=name) > 0, "metric")


def checks(report, lab, what, source, word):
    world = World(lab, what)
    try:
        for name, function, more in (("said", check_said, (source, word)), ("rows", check_rows, ()),
                                     ("no marks", check_no_marks, ()),
                                     ("listeners come and go", check_new_and_gone, ()),
                                     ("counters", check_counters, ())):
            report.check("%s: %s" % (source, name), function, world, *more)
        report.check("%s: the agent stops" % source, world.agent.stop)
    finally:
        world.close()


# --- the bound of a reading ----------------------------------------------------------------------

def dump(namespace, *words, deny=None):
    done = subprocess.run([*namespace.enter, binary("tests/net/tcpq_dump"), *words],
                          env=dict(os.environ, **(denying(deny) if deny else {})), timeout=10,
                          capture_output=True, text=True, check=False)
    expect_equal(done.returncode, 0, "tcpq_dump: " + done.stderr)
    return json.loads(done.stdout), done.stderr


def check_bound_of_diag(namespace):
    """inet_diag: listeners and requests beyond the bound are counted, those within are read."""
    whole, _ = dump(namespace, "diag")
    expect_equal((len(whole["listeners"]), whole["cut"], whole["requests_cut"]), (LISTENERS, 0, 0),
                 "rows, cut and requests cut without a bound in the way")
    expect_equal(sum(row["syn_queue_length"] for row in whole["listeners"]), REQUESTS, "requests")
    for most in (LISTENERS, MOST, 1, 0):
        found, _ = dump(namespace, "diag", str(most))
        expect_equal((len(found["listeners"]), found["cut"]), (most, LISTENERS - most),
                     "rows and cut at %d" % most)
        expect_equal(found["requests_cut"], max(REQUESTS - most, 0), "requests cut at %d" % most)


def check_bound_of_reading(namespace, deny, source):
    """The same over a reading of namespaces, which says it in the log."""
    found, log = dump(namespace, "own", deny=deny)
    expect_equal((found["source"], len(found["listeners"]), found["cut"], found["requests_cut"]),
                 (source, LISTENERS, 0, 0), "source, rows and cut without a bound in the way")
    expect("left away" not in log, "the log says %r", log)
    found, log = dump(namespace, "own", str(MOST), deny=deny)
    expect_equal((found["source"], len(found["listeners"]), found["cut"], found["namespace_cut"]),
                 (source, MOST, LISTENERS - MOST, LISTENERS - MOST), "source, rows and cut")
    requests = REQUESTS - MOST if source == "inet_diag" else 0
    expect_equal(found["requests_cut"], requests, "requests cut")
    expect("%d are left away and %d requests" % (LISTENERS - MOST, requests) in log,
           "the log says %r", log)


def bounds(report, lab):
    namespace = Namespace(lab, 7)
    try:
        for number in range(LISTENERS):
            namespace.listen(2000 + number, 50)
        namespace.flood(2000, REQUESTS)
        wait_until(lambda: len(run(*namespace.enter, "ss", "-tnH", "state",
                                   "syn-recv").splitlines()) == REQUESTS, 3, "the requests")
        report.check("bound: inet_diag", check_bound_of_diag, namespace)
        for deny, source in (("iterator", "inet_diag"), ("tracking", "iterator")):
            report.check("bound: a reading through " + source, check_bound_of_reading, namespace,
                         deny, source)
    finally:
        namespace.remove()


def main():
    require_root()
    report = Report()
    for what, source, word in (("tracking", "iterator", "tp_btf"),
                               ("iterator", "inet_diag", "attaching the TCP listener iterator")):
        with Lab(queues=1) as lab:
            checks(report, lab, what, source, word)
            report.last("%s: nothing is left behind" % source, lab.assert_clean)
    with Lab(queues=1) as lab:
        bounds(report, lab)
        report.last("bounds: nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
