#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""The queues of TCP listeners as packgate reads them, against ss and against what the kernel does.

The rows come from PG_LISTENERS_COMMAND, run inside the namespace with {netns} replaced by its name;
it prints {"listeners": [...], "counters": [...]}. Without it they come from tests/net/tcpq_dump.
"""

import collections
import json
import logging
import os
import resource
import shlex
import socket
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)

# pylint: disable=wrong-import-position
from scapy.all import IP, TCP, Ether, IPv6, raw

from lab import SERVER_IPV4, SERVER_IPV6, Lab, binary, in_namespace, require_root, run, wait_until
from lab_report import Failed, Report, Skipped, expect, expect_equal

SPOOFED_IPV4 = ["10.77.0.%d" % host for host in range(100, 104)]
SPOOFED_IPV6 = ["fd77::%d" % host for host in range(100, 104)]
BRACKETS = 20
MANY = 1000
TCP_FASTOPEN = 23


# --- two accounts of one namespace ---------------------------------------------------------------

def reading(namespace):
    """What packgate says about a namespace at this moment."""
    command = os.environ.get("PG_LISTENERS_COMMAND") or shlex.quote(binary("tests/net/tcpq_dump"))
    words = [word.replace("{netns}", namespace) for word in shlex.split(command)]
    tree = json.loads(run("nsenter", "--net=/run/netns/" + namespace, *words))
    for part in ("listeners", "counters"):
        tree[part] = [row for row in tree[part] if row["netns"] == namespace]
    return tree


def listeners(namespace, port=None):
    return [row for row in reading(namespace)["listeners"] if port in (None, row["port"])]


def listener(namespace, port):
    rows = listeners(namespace, port)
    expect_equal(len(rows), 1, "listeners on port %d" % port)
    return rows[0]


def counters(namespace):
    rows = reading(namespace)["counters"]
    expect_equal(len(rows), 1, "rows of counters")
    return rows[0]


def ss(namespace, *words):
    """The lines of ss, split."""
    text = run("nsenter", "--net=/run/netns/" + namespace, "ss", "-ntH", *words)
    return [line.split() for line in text.splitlines()]


def endpoint(text):
    """(address, port) from ss; both spellings of the IPv6 wildcard are "::"."""
    host, port = text.rsplit(":", 1)
    host = host.split("%")[0].strip("[]")
    return "::" if host == "*" else host, int(port)


def listeners_by_ss(namespace):
    return sorted(endpoint(line[3]) + (int(line[1]), int(line[2])) for line in ss(namespace, "-l"))


def requests_by_ss(namespace, ports):
    """{port: connections in SYN_RECV}; those of a closed listener stay for a while without one."""
    found = (endpoint(line[2])[1] for line in ss(namespace, "state", "syn-recv"))
    return collections.Counter(port for port in found if port in ports)


def accept_queues(rows):
    return sorted((row["address"], row["port"], row["accept_queue_length"],
                   row["accept_queue_limit"]) for row in rows)


def syn_queues(rows):
    found = collections.Counter()
    for row in rows:
        found[row["port"]] += row["syn_queue_length"]
    return +found


def expect_same(namespace):
    """Both accounts agree; the queues move, so ss is taken between two equal readings."""
    for _ in range(BRACKETS):
        before = listeners(namespace)
        by_ss = listeners_by_ss(namespace)
        requests = requests_by_ss(namespace, {row["port"] for row in before})
        after = listeners(namespace)
        if (accept_queues(before), syn_queues(before)) == (accept_queues(after), syn_queues(after)):
            break
    else:
        raise Failed("the queues never stood still over %d readings" % BRACKETS)
    expect_equal(accept_queues(before), by_ss, "listeners and accept queues")
    expect_equal(syn_queues(before), requests, "SYN_RECV by port")


# --- listeners and who calls them ----------------------------------------------------------------

class Family:
    """One IP version: addresses, sockets and SYNs."""

    def __init__(self, lab, is_ipv6):
        self.lab = lab
        self.name = "IPv6" if is_ipv6 else "IPv4"
        self.number = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        self.address = SERVER_IPV6 if is_ipv6 else SERVER_IPV4
        self.layer = IPv6 if is_ipv6 else IP
        self.spoofed = [lab.peer_address(address)
                        for address in (SPOOFED_IPV6 if is_ipv6 else SPOOFED_IPV4)]
        self.wire = lab.client_socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        in_namespace(lab.client, self.wire.bind, (lab.client_if, 0))
        self.next_port = 6000 if is_ipv6 else 5000
        self.sent = 0
        self.opened = []

    def keep(self, sock):
        self.opened.append(sock)
        return sock

    def check(self, function, *args):
        """Run a check; what it opened is closed also when it fails, or the next would see it."""
        try:
            function(self, *args)
        finally:
            for sock in self.opened:
                sock.close()
            self.opened.clear()

    def listen(self, backlog, address=None, port=None, options=()):
        """A listener of the server, the options set before bind. Returns it and its port."""
        if port is None:
            self.next_port += 1
            port = self.next_port
        sock = self.keep(self.lab.server_socket(self.number, socket.SOCK_STREAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option in options:
            sock.setsockopt(*option)
        sock.bind((self.address if address is None else address, port))
        sock.listen(backlog)
        return sock, port

    def connect(self, port):
        """A connection attempt; it may never succeed."""
        sock = self.keep(self.lab.client_socket(self.number, socket.SOCK_STREAM))
        sock.setblocking(False)
        sock.connect_ex((self.address, port))
        return sock

    def send_syns(self, port, count):
        """SYNs from addresses of the client's network that answer nothing, none of them twice."""
        for _ in range(count):
            source = self.spoofed[self.sent % len(self.spoofed)]
            self.wire.send(raw(Ether(src=self.lab.client_mac, dst=self.lab.server_mac)
                               / self.layer(src=source, dst=self.address)
                               / TCP(sport=10000 + self.sent, dport=port, flags="S",
                                     seq=1000 + self.sent, options=[("MSS", 1400)])))
            self.sent += 1


def set_sysctls(namespace, **values):
    words = ["net.ipv4.%s=%d" % pair for pair in values.items()]
    run("nsenter", "--net=/run/netns/" + namespace, "sysctl", "-qw", *words)


# --- the SYN queue -------------------------------------------------------------------------------

# name, tcp_syncookies, tcp_max_syn_backlog, backlog, the length the kernel lets it reach
SYN_ROWS = [
    ("cookies, backlog 8", 1, 2048, 8, 9),
    ("cookies, backlog 100", 1, 16, 100, 101),
    ("no cookies, the backlog decides", 0, 256, 16, 17),
    ("no cookies, max_syn_backlog decides", 0, 40, 64, 31),
    ("no cookies, max_syn_backlog 43", 0, 43, 64, 34),
    ("no cookies, max_syn_backlog too small for a quarter", 0, 3, 64, 4),
    ("no cookies, no backlog", 0, 256, 0, 1),
    ("cookies, no backlog", 1, 256, 0, 1),
]
BEYOND = 5


def wait_for_requests(namespace, port, count):
    wait_until(lambda: listener(namespace, port)["syn_queue_length"] >= count, 2,
               "%d requests on port %d" % (count, port))


def refused(namespace):
    """SYNs of this namespace that were not queued."""
    row = counters(namespace)
    return row["listen_drops"] + row["syncookies_sent"]


def expect_queue(namespace, port, length, limit):
    row = listener(namespace, port)
    expect_equal(row["syn_queue_limit"], limit, "SYN queue limit")
    expect_equal(row["syn_queue_length"], length, "SYN queue length")
    expect_equal(row.get("syn_queue_full", length >= limit), length >= limit, "SYN queue full")
    expect(row["syn_queue_young"] <= length, "more young requests than requests")
    expect_same(namespace)


def check_syn_limit(family, row):
    """One below the limit, at it and beyond: the kernel stops where the row says it will."""
    _, cookies, max_syn_backlog, backlog, limit = row
    server = family.lab.server
    set_sysctls(server, tcp_syncookies=cookies, tcp_max_syn_backlog=max_syn_backlog)
    _, port = family.listen(backlog)
    before = counters(server)
    if limit > 1:
        family.send_syns(port, limit - 1)
        wait_for_requests(server, port, limit - 1)
    expect_queue(server, port, limit - 1, limit)
    family.send_syns(port, 1)
    wait_for_requests(server, port, limit)
    expect_queue(server, port, limit, limit)
    full_from = refused(server)
    expect_equal(full_from, before["listen_drops"] + before["syncookies_sent"],
                 "SYNs refused below the limit")
    family.send_syns(port, BEYOND)
    wait_until(lambda: refused(server) >= full_from + BEYOND, 2, "refused SYNs")
    expect_queue(server, port, limit, limit)
    expect_equal(refused(server) - full_from, BEYOND, "SYNs refused at the limit")
    sent = counters(server)["syncookies_sent"] - before["syncookies_sent"]
    expect_equal(sent, BEYOND if cookies else 0, "cookies sent")
    if not cookies and "drops" in listener(server, port):
        expect_equal(listener(server, port)["drops"], BEYOND, "drops of this listener")


def check_cookies_always(family):
    """With tcp_syncookies 2 nothing is queued, and the limit says so."""
    server = family.lab.server
    set_sysctls(server, tcp_syncookies=2, tcp_max_syn_backlog=2048)
    _, port = family.listen(64)
    before = counters(server)["syncookies_sent"]
    family.send_syns(port, BEYOND)
    wait_until(lambda: counters(server)["syncookies_sent"] >= before + BEYOND, 2, "cookies")
    expect_queue(server, port, 0, 0)


def check_young(family):
    """A request is young until its SYN-ACK has been sent again."""
    server = family.lab.server
    set_sysctls(server, tcp_syncookies=1, tcp_max_syn_backlog=2048)
    _, port = family.listen(64)
    family.send_syns(port, 10)
    wait_for_requests(server, port, 10)
    expect(listener(server, port)["syn_queue_young"] > 0, "no request is young at first")
    wait_until(lambda: listener(server, port)["syn_queue_young"] == 0, 4, "the SYN-ACKs' repeat",
               pause=0.1)
    expect_equal(listener(server, port)["syn_queue_length"], 10, "requests after the repeat")


def check_flood(family, cookies):
    """Some hundred SYNs at a small backlog: the length stays at the limit and equals SYN_RECV."""
    server = family.lab.server
    set_sysctls(server, tcp_syncookies=cookies, tcp_max_syn_backlog=2048)
    _, port = family.listen(50)
    _, quiet_port = family.listen(50)
    family.send_syns(port, 300)
    wait_for_requests(server, port, 51)
    expect_queue(server, port, 51, 51)
    expect_queue(server, quiet_port, 0, 51)


# --- the accept queue ----------------------------------------------------------------------------

def check_accept_queue(family, cookies):
    """It takes one more than its limit; then SYNs are dropped and counted."""
    server, backlog = family.lab.server, 3
    set_sysctls(server, tcp_syncookies=cookies, tcp_max_syn_backlog=2048)
    _, port = family.listen(backlog)
    before = counters(server)
    for length in range(1, backlog + 2):
        family.connect(port)
        wait_until(lambda: listener(server, port)["accept_queue_length"] == length, 2,
                   "%d connections in the queue" % length)
        row = listener(server, port)
        expect_equal(row["accept_queue_limit"], backlog, "accept queue limit")
        expect_equal(row.get("accept_queue_full", length > backlog), length > backlog,
                     "full at %d" % length)
        expect_same(server)
    expect_equal(counters(server)["listen_overflows"], before["listen_overflows"],
                 "overflows before it was full")
    for _ in range(2):
        family.connect(port)
    wait_until(lambda: counters(server)["listen_overflows"] >= before["listen_overflows"] + 2, 2,
               "overflows")
    row = listener(server, port)
    expect_equal(row["accept_queue_length"], backlog + 1, "connections in the full queue")
    expect(row.get("drops", 2) >= 2, "the listener counts %r drops", row.get("drops"))
    expect_same(server)


def check_somaxconn(family):
    """The limit is the smaller of backlog and somaxconn at the moment of listen()."""
    server = family.lab.server
    enter = ["nsenter", "--net=/run/netns/" + server, "sysctl"]
    usual = run(*enter, "-n", "net.core.somaxconn").strip()
    run(*enter, "-qw", "net.core.somaxconn=20")
    try:
        _, port = family.listen(1000)
    finally:
        run(*enter, "-qw", "net.core.somaxconn=" + usual)
    expect_equal(listener(server, port)["accept_queue_limit"], 20, "accept queue limit")
    expect_same(server)


# --- what a row says about its socket ------------------------------------------------------------

def field(row, name):
    if name not in row:
        raise Skipped("the rows have no %s" % name)
    return row[name]


def check_identity(family):
    sock, port = family.listen(5)
    row = listener(family.lab.server, port)
    expect_equal(row["address"], family.address, "address")
    expect_equal(field(row, "ipv6"), family.number == socket.AF_INET6, "ipv6")
    expect_equal(field(row, "uid"), os.getuid(), "uid")
    expect_equal(field(row, "inode"), os.fstat(sock.fileno()).st_ino, "inode")
    expect_equal(field(row, "owner_pid"), os.getpid(), "owner")
    with open("/proc/self/comm", encoding="ascii") as comm:
        expect_equal(field(row, "owner_comm"), comm.read().rstrip("\n"), "command")
    sock.close()
    expect(not listeners(family.lab.server, port), "the closed listener is still there")


def check_nobody_owns(family):
    """A listener whose last descriptor waits in a socket nobody reads has no owner."""
    sock, port = family.listen(5)
    left, right = socket.socketpair()
    socket.send_fds(left, [b"x"], [sock.fileno()])
    sock.close()
    row = listener(family.lab.server, port)
    left.close()
    right.close()
    expect_equal(field(row, "owner_pid"), 0, "owner")


def check_wildcards(family):
    any_address = "::" if family.number == socket.AF_INET6 else "0.0.0.0"
    _, port = family.listen(5, any_address)
    row = listener(family.lab.server, port)
    expect_equal(row["address"], any_address, "address")
    expect_equal(field(row, "v6only"), False, "v6only")
    expect_same(family.lab.server)


def check_v6only(family):
    _, port = family.listen(5, "::", options=[(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)])
    expect_equal(field(listener(family.lab.server, port), "v6only"), True, "v6only")


def check_reuseport(family):
    option = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    first, port = family.listen(5, options=[option])
    family.listen(7, port=port, options=[option])
    rows = listeners(family.lab.server, port)
    expect_equal([field(row, "reuseport_sockets") for row in rows], [2, 2], "size of the group")
    expect_equal([row["reuseport"] for row in rows], [True, True], "reuseport")
    expect_equal(sorted(row["accept_queue_limit"] for row in rows), [5, 7], "limits")
    expect(rows[0]["cookie"] != rows[1]["cookie"], "two sockets with one cookie")
    expect_same(family.lab.server)
    first.close()
    expect_equal(listener(family.lab.server, port)["reuseport_sockets"], 1, "size after a close")


def check_fastopen(family):
    _, port = family.listen(64, options=[(socket.IPPROTO_TCP, TCP_FASTOPEN, 7)])
    expect_equal(field(listener(family.lab.server, port), "fastopen_queue_limit"), 7, "limit")


def check_bound_interface(family):
    device = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, family.lab.server_if.encode())
    _, port = family.listen(5, options=[device])
    index = in_namespace(family.lab.server, socket.if_nametoindex, family.lab.server_if)
    expect_equal(field(listener(family.lab.server, port), "bound_interface"), index, "interface")
    expect_same(family.lab.server)


# --- the whole namespace -------------------------------------------------------------------------

def check_empty(namespace):
    expect_equal(listeners(namespace), [], "listeners of an empty namespace")


def check_other_namespace(family):
    """A listener is seen in its own namespace only."""
    sock = family.keep(family.lab.client_socket(family.number, socket.SOCK_STREAM))
    sock.bind(("", 7777))
    sock.listen(5)
    expect_equal(len(listeners(family.lab.client, 7777)), 1, "listeners in its own namespace")
    expect_equal(len(listeners(family.lab.server, 7777)), 0, "listeners in the other namespace")


def check_sysctls(namespace):
    set_sysctls(namespace, tcp_syncookies=0, tcp_max_syn_backlog=77, tcp_abort_on_overflow=1)
    try:
        found = reading(namespace).get("sysctls")
    finally:
        set_sysctls(namespace, tcp_abort_on_overflow=0)
    if found is None:
        raise Skipped("the reading has no sysctls")
    expect_equal({key: found[key] for key in ("tcp_syncookies", "tcp_max_syn_backlog",
                                              "tcp_abort_on_overflow")},
                 {"tcp_syncookies": 0, "tcp_max_syn_backlog": 77, "tcp_abort_on_overflow": 1},
                 "sysctls")


def check_many(family, other):
    """More listeners than one read holds, among established connections, in order."""
    server = family.lab.server
    full = family.listen(6, port=20006)[0]
    for i in range(MANY):
        if i != 6:
            (other if i % 2 else family).listen(i % 7, port=20000 + i)
    for _ in range(5):
        family.connect(20006)
    wait_until(lambda: listener(server, 20006)["accept_queue_length"] == 5, 2, "connections")
    taken = [full.accept()[0] for _ in range(3)]
    rows = listeners(server)
    expect_equal(len(rows), MANY, "listeners")
    keys = [(socket.inet_pton(socket.AF_INET6, "::ffff:" + row["address"])
             if "." in row["address"] else socket.inet_pton(socket.AF_INET6, row["address"]),
             row["port"]) for row in rows]
    expect(keys == sorted(keys), "the rows are not ordered by address and port")
    expect_same(server)
    for sock in taken:
        sock.close()


# --- the run -------------------------------------------------------------------------------------

def family_checks(report, family):
    for row in SYN_ROWS:
        report.check("%s: SYN queue: %s" % (family.name, row[0]), family.check, check_syn_limit,
                     row)
    for cookies in (0, 1):
        report.check("%s: SYN flood, tcp_syncookies %d" % (family.name, cookies), family.check,
                     check_flood, cookies)
        report.check("%s: accept queue, tcp_syncookies %d" % (family.name, cookies),
                     family.check, check_accept_queue, cookies)
    for name, function in (
            ("SYN queue: cookies always", check_cookies_always),
            ("SYN queue: young", check_young),
            ("accept queue: somaxconn", check_somaxconn),
            ("identity and owner", check_identity),
            ("a listener nobody owns", check_nobody_owns),
            ("wildcard", check_wildcards),
            ("reuseport group", check_reuseport),
            ("fastopen", check_fastopen),
            ("bound interface", check_bound_interface),
            ("other namespace", check_other_namespace)):
        report.check("%s: %s" % (family.name, name), family.check, function)


def checks(report, lab):
    # the lab has no listener of its own, so a namespace starts empty
    report.check("an empty namespace", check_empty, lab.server)
    families = [Family(lab, is_ipv6) for is_ipv6 in (False, True)]
    lab.queue_before_veth()
    for family in families:
        family_checks(report, family)
    report.check("IPv6: v6only", families[1].check, check_v6only)
    report.check("sysctls", check_sysctls, lab.server)
    report.check("%d listeners" % MANY, families[0].check, check_many,
                 families[1])


def main():
    require_root()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = Report()
    with Lab(queues=1) as lab:
        checks(report, lab)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
