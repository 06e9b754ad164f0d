#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""TCP listeners of several network namespaces, as the agent shows them, against ss in each.

The agent sees the listeners of the whole machine, those of other tests too: what is counted over
all namespaces is never expected to be exact.
"""

import contextlib
import ctypes
import json
import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading

logging.getLogger("scapy").setLevel(logging.ERROR)

# pylint: disable=wrong-import-position
from scapy.all import IP, TCP, raw

from lab import CLONE_NEWNET, LIBC, Lab, binary, in_namespace, require_root, run, wait_until
from lab_report import Failed, Report, Skipped, expect, expect_equal
from lab_session import configuration
from test_listeners import accept_queues, listeners_by_ss, requests_by_ss, syn_queues

BRACKETS = 20
SPOOFED = "10.99.0.%d"
MANY, PER_NETNS = 8200, 8192
SOCKETS_LEFT_FOR_OTHERS = 100


class Namespace:
    """A namespace of its own with a loopback, and listeners in it."""

    def __init__(self, lab, number, **sysctls):
        self.lab = lab
        self.name = "pgn%sn%d" % (lab.tag, number)
        run("ip", "netns", "add", self.name)
        self.enter = ["nsenter", "--net=/run/netns/" + self.name]
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        # SYN-ACKs to these addresses leave through lo and are dropped: a SYN stays half open
        run("ip", "-n", self.name, "route", "add", "10.99.0.0/16", "dev", "lo")
        self.sysctl(**{"net.ipv4.tcp_syncookies": 0, **sysctls})
        self.opened, self.sent = [], 0

    def sysctl(self, **values):
        run(*self.enter, "sysctl", "-qw", *("%s=%d" % pair for pair in values.items()))

    def inode(self):
        return os.stat("/run/netns/" + self.name).st_ino

    def socket(self, *args):
        sock = in_namespace(self.name, socket.socket, *args)
        self.opened.append(sock)
        return sock

    def listen(self, port, backlog, address="127.0.0.1", options=()):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = self.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option in options:
            sock.setsockopt(*option)
        sock.bind((address, port))
        sock.listen(backlog)
        return sock

    def connect(self, port, count=1, address="127.0.0.1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for _ in range(count):
            sock = self.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.connect_ex((address, port))

    def flood(self, port, count):
        """SYNs that are never followed by anything."""
        wire = self.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        for _ in range(count):
            self.sent += 1
            wire.sendto(raw(IP(src=SPOOFED % (self.sent % 200 + 1), dst="127.0.0.1")
                            / TCP(sport=1024 + self.sent, dport=port, flags="S", seq=self.sent)),
                        ("127.0.0.1", 0))

    def drop_sockets(self):
        for sock in self.opened:
            sock.close()
        self.opened.clear()

    def remove(self):
        self.drop_sockets()
        if os.path.exists("/run/netns/" + self.name):
            run("ip", "netns", "del", self.name)


class World:
    """A lab, an agent that watches everything, and three namespaces with other limits each."""

    def __init__(self, lab):
        self.lab = lab
        self.namespaces = [Namespace(lab, number, **{"net.core.somaxconn": somaxconn})
                           for number, somaxconn in enumerate((5, 40, 4096))]
        self.older = self.namespaces[0].listen(999, 3)
        self.agent = lab.agent(configuration([], tcp={"namespaces": ["all"]})).start()

    def ask(self, *words):
        return self.agent.cli_ok("listeners", *words, "--json").json

    def rows(self, namespace, port=None):
        """Listeners in a namespace, by its name."""
        return [row for row in self.ask("--netns", "all")["listeners"]
                if row["netns"] == namespace.name and port in (None, row["port"])]

    def row(self, namespace, port):
        rows = self.rows(namespace, port)
        expect_equal(len(rows), 1, "listeners on port %d" % port)
        return rows[0]

    def namespace(self, name):
        found = [row for row in self.ask()["namespaces"] if row["netns"] == name]
        expect_equal(len(found), 1, "namespaces named " + name)
        return found[0]

    def check(self, function):
        """Run a check; its sockets are closed also when it fails."""
        try:
            function(self)
        finally:
            for namespace in self.namespaces:
                kept = [self.older] if namespace is self.namespaces[0] else []
                namespace.opened = [sock for sock in namespace.opened if sock not in kept]
                namespace.drop_sockets()
                namespace.opened = kept

    def close(self):
        for namespace in self.namespaces:
            namespace.remove()


# --- against ss ----------------------------------------------------------------------------------

def fill(namespace, number):
    """Listeners with many backlogs, full and empty accept queues, floods."""
    for index, backlog in enumerate((0, 1, 7, 60, 5000)):
        namespace.listen(2000 + index, backlog)
        namespace.listen(3000 + index, backlog, "::1")
        namespace.connect(2000 + index, min(backlog, 10) + 3)
        namespace.connect(3000 + index, index + number, "::1")
    namespace.listen(4000, 30, "::")
    namespace.listen(4001, 30, "0.0.0.0")
    group = [(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]
    namespace.listen(4002, 9, options=group)
    namespace.listen(4002, 11, options=group)
    for port in (2003, 4000, 4001, 4002):
        namespace.flood(port, 15 + number)


def same_as_ss(world):
    """All namespaces at once between two equal readings."""
    for _ in range(BRACKETS):
        before = [world.rows(namespace) for namespace in world.namespaces]
        by_ss = [(listeners_by_ss(namespace.name),
                  requests_by_ss(namespace.name, {row["port"] for row in rows}))
                 for namespace, rows in zip(world.namespaces, before)]
        after = [world.rows(namespace) for namespace in world.namespaces]
        if [(accept_queues(rows), syn_queues(rows)) for rows in before] == \
                [(accept_queues(rows), syn_queues(rows)) for rows in after]:
            break
    else:
        raise Failed("the queues never stood still over %d readings" % BRACKETS)
    for namespace, rows, (queues, requests) in zip(world.namespaces, before, by_ss):
        expect_equal(accept_queues(rows), queues, "listeners and accept queues, " + namespace.name)
        expect_equal(syn_queues(rows), requests, "SYN_RECV by port, " + namespace.name)
    return before


def check_three_namespaces(world):
    for number, namespace in enumerate(world.namespaces):
        fill(namespace, number)
    wait_until(lambda: sum(row["syn_queue_length"] for row in world.rows(world.namespaces[2]))
               >= 4 * 17 - 6, 3, "the floods")
    before = same_as_ss(world)
    limits = [sorted({row["accept_queue_limit"] for row in rows if row["port"] < 3000})
              for rows in before]
    expect_equal(limits, [[0, 1, 3, 5], [0, 1, 7, 40], [0, 1, 7, 60, 4096]], "accept queue limits")
    for namespace, rows in zip(world.namespaces, before):
        somaxconn = world.namespace(namespace.name)["somaxconn"]
        for row in rows:
            expect_equal(row["backlog_capped"], row["accept_queue_limit"] == somaxconn,
                         "capped at %d" % row["port"])
        expect(any(row["accept_queue_full"] for row in rows), "no accept queue is full")
        expect(any(row["syn_queue_length"] for row in rows), "no request waits")
    expect(any(row["syn_queue_full"] for row in before[0]), "no SYN queue is full")


def check_sockets_by_state(world):
    """The kernel's sums, against ss in the namespace."""
    namespace = world.namespaces[1]
    server = namespace.listen(2000, 20)
    namespace.connect(2000, 6)
    wait_until(lambda: world.row(namespace, 2000)["accept_queue_length"] == 6, 2, "connections")
    taken = [server.accept()[0] for _ in range(6)]
    taken[0].close()
    namespace.opened[-1].close()
    namespace.flood(2000, 4)
    wait_until(lambda: world.namespace(namespace.name)["sockets_syn_received"] == 4, 2,
               "4 requests")
    for _ in range(BRACKETS):
        found = world.namespace(namespace.name)
        lines = run(*namespace.enter, "ss", "-Htano").splitlines()
        if found == world.namespace(namespace.name):
            break
    else:
        raise Failed("the sockets never stood still over %d readings" % BRACKETS)
    waiting = sum("timer:(timewait" in line for line in lines)
    states = [line.split()[0] for line in lines if "timer:(timewait" not in line]
    expect_equal(found["sockets_listen"], states.count("LISTEN"), "LISTEN")
    expect_equal(found["sockets_established"],
                 states.count("ESTAB") + states.count("CLOSE-WAIT"), "ESTABLISHED")
    expect_equal(found["sockets_time_wait"], waiting, "TIME_WAIT")
    expect(waiting, "nothing waits")
    expect_equal(found["sockets_other"], states.count("FIN-WAIT-1") + states.count("FIN-WAIT-2")
                 + states.count("LAST-ACK"), "other states")
    for word, name in (("established", "ESTAB"), ("close_wait", "CLOSE-WAIT"),
                       ("fin_wait2", "FIN-WAIT-2"), ("time_wait", "TIME-WAIT"),
                       ("syn_recv", "SYN-RECV"), ("listen", "LISTEN"), ("syn_sent", "SYN-SENT")):
        expect_equal(found["states_" + word], sum(line.split()[0] == name for line in lines), name)
    expect(found["states_syn_recv"] >= 4 and found["states_established"], "nothing was counted")
    for sock in taken:
        sock.close()


# --- which namespaces ----------------------------------------------------------------------------

def expected_name(pid):
    """What a namespace without an ip-netns name is called, from its lowest process."""
    with open("/proc/%d/cgroup" % pid, encoding="ascii") as cgroup:
        ids = re.findall(r"[/:-]([0-9a-f]{64})(?=[/.\n])", cgroup.read())
    with open("/proc/%d/comm" % pid, encoding="ascii") as comm:
        return ids[-1][:12] if ids else "%d/%s" % (pid, comm.read().rstrip("\n"))


def check_names(world):
    """ip-netns name, inode, process; a namespace is found by each of them."""
    namespace = world.namespaces[0]
    row = world.namespace(namespace.name)
    expect_equal(row["inode"], namespace.inode(), "inode")
    expect(not row["own"] and row["readable"], "not own, readable")
    expect_equal(world.namespace(world.lab.server)["own"], True, "own")
    with subprocess.Popen(["unshare", "--net", "sleep", "60"]) as child:
        try:
            wait_until(lambda: open("/proc/%d/comm" % child.pid, encoding="ascii").read()
                       == "sleep\n", 2, "the process")
            name = expected_name(child.pid)
            found = world.namespace(name)
            expect_equal((found["pid"], found["command"]), (child.pid, "sleep"), "process")
            for word in (name, str(found["inode"])):
                expect_equal([row["netns"] for row in world.ask("--netns", word)["namespaces"]],
                             [name], "--netns " + word)
        finally:
            child.kill()
    names = [row["netns"] for row in world.ask()["namespaces"]]
    expect(name not in names, "the namespace of an ended process is still there")
    reachable = [row["netns"] for row in world.ask()["namespaces"]
                 if "no process" not in row["why"]]
    expect_equal(reachable, sorted(reachable), "order of the namespaces")


def check_odd_names(world):
    """Whatever `ip netns add` takes: no answer and no scrape breaks, and each keeps a row."""
    odd = [b"pg\xff\x1b[31m\"x", b"pg\xfe\x1b[31m\"x", b"pg a b", b"pg'$(x)"]

    def named():
        """Namespaces of ours; what else the machine has may come and go."""
        return [row for row in world.ask()["namespaces"] if row["netns"].startswith("pg")]

    before = len(named())
    try:
        for name in odd:
            subprocess.run([b"ip", b"netns", b"add", name], check=True, timeout=10)
        rows = named()
        expect_equal(len(rows), before + len(odd), "namespaces")
        names = {row["netns"] for row in rows}
        expect({'pg??[31m"x', "pg a b", "pg'$(x)"} < names, "names: %r", names)
        expect_equal(len(names), len(rows), "different names")
        expect(any(re.match(r'pg\?\?\[31m"x@\d+$', name) for name in names), "%r", names)
        world.agent.scrape()  # it is decoded as UTF-8
        expect_equal([row["netns"] for row in world.ask("--netns", "pg a b")["namespaces"]],
                     ["pg a b"], "--netns")
        world.agent.cli_ok("listeners", "--explain", "--json")
    finally:
        for name in odd:
            subprocess.run([b"ip", b"netns", b"del", name], check=False, timeout=10)


def check_questions(world):
    namespace = world.namespaces[0]
    agent = world.agent
    expect_equal({row["netns"] for row in world.ask("--netns", namespace.name)["listeners"]},
                 {namespace.name}, "--netns NAME")
    own = world.ask("--netns", "own")
    expect_equal([row["netns"] for row in own["namespaces"]], [world.lab.server], "--netns own")
    done = agent.cli("listeners", "--netns", "no such & name")
    expect_equal(done.code, 1, "exit code")
    expect("there is none with this name" in done.err, "%s", done.err)
    expect_equal(agent.cli("listeners", "--netns", "").code, 2, "an empty name")
    out = agent.cli_ok("listeners", "--netns", namespace.name).out
    for word in ("ACCEPT QUEUE", "DROPS", "OWNER", "999", "python3[%d]" % os.getpid(), "SOMAXCONN"):
        expect(word in out, "the table has no %s: %s", word, out)


def check_configured(world):
    """The configuration bounds what is shown; a reload moves the bound."""
    first, second, _ = world.namespaces
    agent = world.agent
    agent.write_config(configuration([], tcp={"namespaces": [first.name]}))
    agent.cli_ok("reload")
    try:
        expect_equal([row["netns"] for row in world.ask()["namespaces"]], [first.name], "watched")
        done = agent.cli("listeners", "--netns", second.name)
        expect(done.code == 1 and "does not watch it" in done.err, "%s", done.err)
        labels = set(agent.scrape().by_label("packgate_tcp_sockets", "netns"))
        expect_equal(labels, {first.name}, "label netns")
        agent.write_config(configuration([], tcp={"namespaces": ["own"]}))
        agent.cli_ok("reload")
        expect_equal([row["netns"] for row in world.ask()["namespaces"]], [world.lab.server],
                     "watched with own")
        done = agent.cli("listeners", "--netns", "all")
        expect(done.code == 1 and "own network namespace only" in done.err, "%s", done.err)
    finally:
        agent.write_config(configuration([], tcp={"namespaces": ["all"]}))
        agent.cli_ok("reload")


def check_hidden(world):
    """A namespace that nothing but a listening socket keeps alive."""
    made = []

    def body():
        if LIBC.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        sock = socket.socket()
        made.extend((os.stat("/proc/thread-self/ns/net").st_ino, sock))
        sock.bind(("127.0.0.1", 4321))
        sock.listen(3)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    inode, sock = made
    name = "net:[%d]" % inode
    with contextlib.closing(sock):
        found = world.namespace(name)
        expect_equal((found["readable"], found["listeners"]), (False, 1), name)
        rows = world.ask("--netns", name)["listeners"]
        expect_equal([(row["port"], row["accept_queue_limit"]) for row in rows], [(4321, 3)], name)
        samples = world.agent.scrape()
        expect_equal(samples.total("packgate_tcp_accept_queue_limit", netns=name), 3, "metric")
        expect(samples.total("packgate_tcp_netns_unreadable") >= 1, "not counted as unreadable")
        expect_equal(samples.total("packgate_tcp_netns_info", netns=name), 0, "info")
    expect(name not in [row["netns"] for row in world.ask()["namespaces"]], "still there")


def check_vanishing(world):
    """Namespaces come and go while the agent reads: nothing fails, nothing is kept open."""
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            namespace = Namespace(world.lab, 99)
            namespace.listen(80, 5)
            namespace.remove()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(15):
            answer = world.ask("--netns", "all")
            expect({namespace.name for namespace in world.namespaces}
                   <= {row["netns"] for row in answer["namespaces"]}, "a namespace is missing")
            expect(world.rows(world.namespaces[0], 999), "a listener is missing")
            world.agent.scrape()
    finally:
        stop.set()
        thread.join()
    directory = "/proc/%d/fd" % world.agent.process.pid
    for fd in os.listdir(directory):
        with contextlib.suppress(OSError):
            target = os.readlink(os.path.join(directory, fd))
            expect(not target.startswith("net:") and "/netns/" not in target, "%s is open", target)
    threads = "/proc/%d/task" % world.agent.process.pid
    own = os.stat("/run/netns/" + world.lab.server).st_ino
    for task in os.listdir(threads):
        with contextlib.suppress(OSError):
            expect_equal(os.stat("%s/%s/ns/net" % (threads, task)).st_ino, own,
                         "namespace of thread " + task)


# --- marks and counters --------------------------------------------------------------------------

def check_high_water(world):
    """A queue that was full and is empty again shows until the next scrape; old listeners too."""
    namespace = world.namespaces[0]
    world.agent.scrape()
    world.row(namespace, 999)
    namespace.connect(999, 2)
    namespace.flood(999, 2)
    wait_until(lambda: (lambda row: row["accept_queue_high"] >= 2 and row["syn_queue_high"] >= 2)(
        world.row(namespace, 999)), 3, "the marks")
    for _ in range(2):
        world.older.accept()[0].close()
    row = world.row(namespace, 999)
    expect(row["marked"], "the listener that was there before the agent has no mark")
    expect_equal((row["accept_queue_length"], row["accept_queue_high"]), (0, 2), "length and mark")
    labels = {"netns": namespace.name, "port": 999}
    expect("packgate_tcp_accept_queue_high" in world.agent.cli_ok("metrics").out, "no metric")
    samples = world.agent.scrape()
    expect_equal(samples.total("packgate_tcp_accept_queue_high", **labels), 2, "first scrape")
    expect(samples.total("packgate_tcp_syn_queue_high", **labels) >= 2, "SYN queue, first scrape")
    expect_equal(world.agent.scrape().total("packgate_tcp_accept_queue_high", **labels), 0,
                 "second scrape")


def check_victim(world):
    """Of two listeners one overflows: its drops rise, the other's do not."""
    namespace = world.namespaces[2]
    for port in (2000, 2001):
        namespace.listen(port, 2)
    before = world.agent.scrape()
    namespace.connect(2000, 3)
    wait_until(lambda: world.row(namespace, 2000)["accept_queue_full"], 2, "a full queue")
    namespace.flood(2000, 7)
    wait_until(lambda: world.row(namespace, 2000)["drops"] >= 7, 2, "drops")
    expect_equal(world.row(namespace, 2001)["drops"], 0, "drops of the other")
    after = world.agent.scrape()
    labels = {"netns": namespace.name}
    expect(after.total("packgate_tcp_listener_drops_total", port=2000, **labels) >= 7, "metric")
    expect_equal(after.total("packgate_tcp_listener_drops_total", port=2001, **labels), 0, "metric")
    expect(after.total("packgate_tcp_listen_overflows_total", **labels)
           - before.total("packgate_tcp_listen_overflows_total", **labels) >= 7, "overflows")
    counters = [row for row in world.ask()["counters"] if row["netns"] == namespace.name]
    expect(counters[0]["listen_drops"] >= 7, "listen_drops")


def check_group_counter(world):
    """The counter of a reuseport group does not fall when one of its sockets closes."""
    namespace = world.namespaces[2]
    group = [(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]
    socks = [namespace.listen(2000, 0, options=group) for _ in range(2)]
    labels = {"netns": namespace.name, "port": 2000}

    def drops():
        return world.agent.scrape().total("packgate_tcp_listener_drops_total", **labels)

    namespace.flood(2000, 30)
    expect_equal(world.agent.scrape().total("packgate_tcp_listener_sockets", **labels), 2, "group")
    whole = wait_until(lambda: min(row["drops"] for row in world.rows(namespace, 2000))
                       and drops(), 2, "drops of both")
    socks[0].close()
    expect(drops() >= whole, "the counter fell")
    expect_equal(world.agent.scrape().total("packgate_tcp_listener_sockets", **labels), 1, "group")


def check_synack_retransmits(world):
    namespace = world.namespaces[2]
    namespace.listen(2000, 20)
    namespace.flood(2000, 5)
    wait_until(lambda: world.row(namespace, 2000)["synack_retransmits"] >= 5, 4,
               "repeated SYN-ACKs", pause=0.1)
    expect(world.agent.scrape().total("packgate_tcp_syn_retransmits_total", netns=namespace.name)
           >= 5, "metric")


def check_identity(world):
    namespace = world.namespaces[1]
    namespace.listen(2000, 5, "::", [(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)])
    namespace.listen(2001, 5, "::")
    only, dual = world.row(namespace, 2000), world.row(namespace, 2001)
    expect_equal((only["ipv6_only"], dual["ipv6_only"]), (True, False), "IPv6 only")
    expect_equal((only["owner_pid"], only["uid"]), (os.getpid(), 0), "owner")


NAMED_BADLY = """
import ctypes, socket, sys
ctypes.CDLL(None).prctl(15, b"\\x1b[2J\\xff a\\nb")
sock = socket.socket()
sock.bind(("127.0.0.1", 2002))
sock.listen(5)
print("ready", flush=True)
sys.stdin.read()
"""


def check_owner_named_badly(world):
    """Any process may call itself what it likes: no terminal and no parser gets to feel it."""
    namespace = world.namespaces[1]
    with subprocess.Popen([*namespace.enter, "/usr/bin/python3", "-c", NAMED_BADLY],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        expect_equal(process.stdout.readline(), b"ready\n", "the listener")
        row = world.row(namespace, 2002)
        table = world.agent.cli_ok("listeners", "--netns", namespace.name).out
        process.stdin.close()
    expect_equal((row["owner_pid"], row.get("owner_command")), (process.pid, "?[2J? a?b"), "owner")
    expect("\x1b" not in table and "?[2J? a?b[%d]" % process.pid in table, "the table: %r", table)


# --- other sources, bounds -----------------------------------------------------------------------

def check_inet_diag(world):
    """The fallback agrees with BPF on everything it can know.

    Requests outlive their listener for a while, and inet_diag would count them at a new one of
    the same port: this namespace has had none on these ports.
    """
    namespace = world.namespaces[0]
    fill(namespace, 2)
    dump = [*namespace.enter, binary("tests/net/tcpq_dump")]
    same = ("address", "port", "ipv6", "v6only", "cookie", "inode", "uid", "accept_queue_length",
            "accept_queue_limit", "syn_queue_limit", "drops", "bound_interface")
    for _ in range(BRACKETS):
        before, diag, after = (json.loads(run(*dump, *words))["listeners"]
                               for words in ((), ("diag",), ()))
        if before == after:
            break
    else:
        raise Failed("the queues never stood still")
    expect_equal([{key: row[key] for key in same} for row in diag],
                 [{key: row[key] for key in same} for row in before], "rows")
    expect_equal(syn_queues(diag), syn_queues(before), "SYN queues by port")


def check_fallback(world):
    """Without the right to use BPF inet_diag is taken, and it is said why."""
    namespace = world.namespaces[1]
    namespace.listen(2000, 5)
    answer = json.loads(subprocess.run(
        [*namespace.enter, "setpriv", "--bounding-set=-all", "--inh-caps=-all",
         binary("tests/net/tcpq_dump"), "own"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        timeout=10, check=True).stdout)
    expect_equal(answer["source"], "inet_diag", "source")
    expect("CAP_BPF" in answer["source_why"], "%s", answer["source_why"])
    expect_equal([row["port"] for row in answer["listeners"]], [2000], "listeners")
    expect_equal(world.ask()["source"], "tracked", "the agent's own source")


def check_bound(world):
    """More listeners in one namespace than are shown: said, and no other is kept out."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < MANY + SOCKETS_LEFT_FOR_OTHERS:
        raise Skipped("only %d open files are allowed" % resource.getrlimit(
            resource.RLIMIT_NOFILE)[0])
    namespace = world.namespaces[2]

    def open_all():
        for number in range(MANY):
            sock = socket.socket()
            namespace.opened.append(sock)
            sock.bind(("127.0.0.1", 10000 + number))
            sock.listen(1)

    in_namespace(namespace.name, open_all)
    answer = world.ask()
    expect(answer["listeners_cut"] >= MANY - PER_NETNS, "%d listeners cut", answer["listeners_cut"])
    found = world.namespace(namespace.name)
    expect_equal((found["listeners"], found["listeners_cut"]), (PER_NETNS, MANY - PER_NETNS),
                 "listeners shown and cut")
    expect(world.rows(world.namespaces[0], 999), "another namespace's listener is missing")
    samples = world.agent.scrape()
    expect(samples.total("packgate_tcp_listeners_cut") >= MANY - PER_NETNS, "metric")
    shown = sum(name == "packgate_tcp_accept_queue_limit" for name, _ in samples)
    expect(4000 < shown <= 4096, "%d series", shown)
    expect(samples.total("packgate_tcp_series_cut") >= PER_NETNS - 4096, "series cut")


CHECKS = (("three namespaces, as ss shows them", check_three_namespaces),
          ("sockets by state", check_sockets_by_state),
          ("names of namespaces", check_names),
          ("odd names", check_odd_names),
          ("which namespaces are shown", check_questions),
          ("the configuration bounds them", check_configured),
          ("a namespace only a socket keeps", check_hidden),
          ("namespaces that vanish", check_vanishing),
          ("high-water marks", check_high_water),
          ("whose overflow it was", check_victim),
          ("the counter of a group never falls", check_group_counter),
          ("repeated SYN-ACKs", check_synack_retransmits),
          ("families and owners", check_identity),
          ("an owner with a bad name", check_owner_named_badly),
          ("inet_diag against BPF", check_inet_diag),
          ("fallback without privilege", check_fallback),
          ("%d listeners in one namespace" % MANY, check_bound))


def main():
    require_root()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = Report()
    with Lab(queues=1) as lab:
        world = World(lab)
        try:
            for name, function in CHECKS:
                report.check(name, world.check, function)
        finally:
            world.close()
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
