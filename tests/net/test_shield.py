#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""The shield against real listeners, real clients and a spoofed SYN flood, with either cookie.

Clients and listener are the kernel's; what travels is looked at by a packet socket beside them.
"""

import contextlib
import json
import logging
import os
import select
import socket
import struct
import subprocess
import sys
import threading

logging.getLogger("scapy").setLevel(logging.ERROR)

# pylint: disable=wrong-import-position
from scapy.all import IP, TCP, Dot1Q, Ether, IPv6, raw

from lab import (HOST_IPV4, HOST_IPV6, PINS, SERVER_IPV4, SERVER_IPV6, Lab, binary, in_namespace,
                 require_root, run, wait_until)
from lab_report import Failed, Report, expect, expect_equal
from test_cli import check_keys, get

BACKLOG = 16
HONEST = 1000
FLOOD_RATE = 20000
REUSE_RATE = 100000  # so that most of a tick's SYNs are not looked up
LAST_WORDS = b"close first"
TCP_REPAIR = 19
TIMEOUT = 3
TCP_INFO = 11
SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 0x10
TIMESTAMPS, SACK, WSCALE = 1, 2, 4
PORT = 8080


def sysctl(namespace, name, value=None):
    words = ["sysctl", "-n", "net.ipv4." + name] if value is None else \
            ["sysctl", "-qw", "net.ipv4.%s=%s" % (name, value)]
    return run("nsenter", "--net=/run/netns/" + namespace, *words).strip()


class Service:
    """Listeners of the server that echo what they get; while accepting is clear the queue fills."""

    def __init__(self, lab, port=PORT, backlog=BACKLOG, options=()):
        self.port, self.accepting = port, threading.Event()
        self.listeners = []
        for family, address in ((socket.AF_INET, SERVER_IPV4), (socket.AF_INET6, SERVER_IPV6)):
            sock = lab.server_socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for option in options:
                sock.setsockopt(*option)
            sock.bind((address, port))
            sock.listen(backlog)
            sock.settimeout(0.2)
            self.listeners.append(sock)
        self.accepting.set()
        self.ended = False
        self.threads = [threading.Thread(target=self.serve, args=(sock,))
                        for sock in self.listeners]
        for thread in self.threads:
            thread.start()

    def serve(self, listener):
        """Accept and answer; connections are served by the thread that accepted them."""
        open_now = []
        while not self.ended:
            self.accepting.wait(0.2)
            wait_for = open_now + ([listener] if self.accepting.is_set() else [])
            for sock in select.select(wait_for, [], [], 0.1)[0]:
                try:
                    if sock is listener:
                        open_now.append(sock.accept()[0])
                        continue
                    data = sock.recv(65536)
                    if data and not data.endswith(LAST_WORDS):
                        sock.sendall(data)
                        continue
                except OSError:
                    pass
                if sock is not listener:
                    open_now.remove(sock)
                    sock.close()
        for sock in open_now:
            sock.close()

    def close(self):
        self.ended = True
        self.accepting.set()
        for thread in self.threads:
            thread.join()
        for sock in self.listeners:
            sock.close()


class Connection:
    """A client's connection; what its kernel negotiated."""

    def __init__(self, lab, ipv6=False, port=PORT, timeout=TIMEOUT, options=()):
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        self.sock = in_namespace(lab.client, socket.socket, family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        for option in options:
            self.sock.setsockopt(*option)
        try:
            self.sock.connect((SERVER_IPV6 if ipv6 else SERVER_IPV4, port))
        except OSError:
            self.sock.close()
            raise

    def talk(self, data=b"both ways"):
        self.sock.sendall(data)
        left = len(data)
        answer = b""
        while len(answer) < left:
            part = self.sock.recv(65536)
            if not part:
                break
            answer += part
        return answer == data

    def options(self):
        info = self.sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 104)
        return info[5] & (TIMESTAMPS | SACK | WSCALE), info[6] & 15, info[6] >> 4

    def mss(self):
        return struct.unpack_from("<I", self.sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 104),
                                  16)[0]

    def close(self):
        self.sock.close()


def honest(lab, count, ipv6=False, timeout=TIMEOUT):
    """How many of so many connects succeed with data both ways."""
    good = 0
    for _ in range(count):
        try:
            connection = Connection(lab, ipv6, timeout=timeout)
        except OSError:
            continue
        try:
            good += connection.talk()
        except OSError:
            pass
        connection.close()
    return good


class Flood:
    """Spoofed SYNs from the live-frame generator, for the length of a with block."""

    def __init__(self, lab, ipv6=False, rate=FLOOD_RATE, port=PORT, cpu=None):
        mac = [lab.client_mac.hex(":"), lab.server_mac.hex(":")]
        pinned = [] if cpu is None else ["taskset", "-c", str(cpu)]
        self.command = pinned + ["nsenter", "--net=/run/netns/" + lab.client, binary("tests/net/syn_flood"),
                        lab.client_if, *mac, SERVER_IPV6 if ipv6 else SERVER_IPV4, str(port),
                        "120", str(rate)]
        self.process = None
        self.began_ms = None  # Unix time

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.began_ms = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        expect(self.process.poll() is None, "the flood ended: %s",
               self.process.stderr.read() if self.process.poll() is not None else "")
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def vlan_tag(ancillary):
    """The VLAN id of a received frame; the kernel takes the tag out of the bytes."""
    for _, _, data in ancillary:
        status, tci = struct.unpack_from("<I12xH", data)
        if status & TP_STATUS_VLAN_VALID:
            return tci & 0xfff
    return None


class Wire:
    """Segments by hand, and what the server answers them."""

    def __init__(self, lab):
        self.lab = lab
        self.sock = lab.client_socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        in_namespace(lab.client, self.sock.bind, (lab.client_if, 3))
        self.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.tag = None  # of the last answer
        self.source = {4: lab.peer_address("10.77.0.99"), 6: lab.peer_address("fd77::99")}
        self.port = 20000

    def send(self, tcp, version=4, tags=0):
        layer = Ether(src=self.lab.client_mac, dst=self.lab.server_mac)
        for tag in range(tags):
            layer /= Dot1Q(vlan=7 + tag)
        if version == 4:
            layer /= IP(src=self.source[4], dst=SERVER_IPV4)
        else:
            layer /= IPv6(src=self.source[6], dst=SERVER_IPV6)
        while select.select([self.sock], [], [], 0)[0]:
            self.sock.recv(2000)
        self.sock.send(raw(layer / tcp))

    def answer(self, port, seconds=1.0):
        """The next TCP segment to our port, None when time is up."""
        while select.select([self.sock], [], [], seconds)[0]:
            data, ancillary, _, _ = self.sock.recvmsg(2000, 256)
            frame = Ether(data)
            self.tag = vlan_tag(ancillary)
            if TCP in frame and frame[TCP].dport == port and frame.src != frame.dst and \
                    frame.dst == self.lab.client_mac.hex(":"):
                return frame
        return None

    def syn(self, version=4, tags=0, options=(), port=PORT, seq=1000):
        self.port += 1
        self.send(TCP(sport=self.port, dport=port, seq=seq, flags="S", window=1000,
                      options=list(options)), version, tags)
        return self.port


class World:
    """A server namespace with an agent, a service, and a route to the flood's sources."""

    def __init__(self, lab, cookie):
        self.lab, self.cookie = lab, cookie
        run("ip", "-n", lab.server, "route", "add", "default", "via", HOST_IPV4)
        run("ip", "-n", lab.server, "route", "add", "default", "via", HOST_IPV6)
        lab.neighbour(lab.server, lab.server_if, HOST_IPV4, lab.client_mac)
        lab.neighbour(lab.server, lab.server_if, HOST_IPV6, lab.client_mac)
        sysctl(lab.server, "tcp_syncookies", 0)
        sysctl(lab.server, "tcp_synack_retries", 1)
        # sequences of connects must not meet their own TIME_WAIT
        sysctl(lab.client, "ip_local_port_range", "10000 65000")
        self.agent = lab.agent({"shield": {"cookie": cookie}}).start()
        self.service = Service(lab)

    def shield(self, *words):
        return self.agent.cli_ok("shield", *words)

    def status(self):
        return get(self.agent, "/v1/shield")

    def row(self, port=PORT):
        return next(row for row in self.status()["shields"] if row["port"] == port)

    def queued(self):
        return len(run("nsenter", "--net=/run/netns/" + self.lab.server, "ss", "-ntH", "state",
                       "syn-recv").splitlines())

    def drain(self):
        """Wait until what a flood has left in the SYN queue is gone."""
        wait_until(lambda: not self.queued(), 20, "an empty SYN queue", 0.1)

    def close(self):
        self.service.close()


# --- checks --------------------------------------------------------------------------------------

def check_flood_without(world):
    """The flood does harm: without a shield honest connects fail."""
    with Flood(world.lab):
        wait_until(lambda: world.queued() >= BACKLOG / 2, 5, "the flood")
        good = honest(world.lab, 10, timeout=0.3)
    expect(good < 5, "%d of 10 honest connects succeed under the flood", good)
    world.drain()


def check_missing_sysctl(world):
    """`shield on` names what is missing and changes nothing; --set-sysctl sets it."""
    done = world.shield("on", str(PORT))
    wanted = "2" if world.cookie == "kernel" else "1"
    expect("tcp_syncookies is 0" in done.err and "=%s" % wanted in done.err, "says %r", done.err)
    expect_equal(sysctl(world.lab.server, "tcp_syncookies"), "0", "tcp_syncookies")
    doctor = world.agent.cli("doctor").out
    expect("net.ipv4.tcp_syncookies is 0" in doctor, "doctor does not say it: %s", doctor)
    done = world.shield("on", str(PORT), "--set-sysctl")
    expect_equal(done.err, "", "warnings")
    expect_equal(sysctl(world.lab.server, "tcp_syncookies"), wanted, "tcp_syncookies")
    expect_equal(sysctl(world.lab.server, "tcp_timestamps"),
                 "2" if world.cookie == "kernel" else "1", "tcp_timestamps")
    way = world.status()["interfaces"][0]["way"]
    expect_equal(way, "kernel" if world.cookie == "kernel" else "own", "whose cookie")
    expect("shield: %s: the " % world.lab.server_if in world.agent.stderr(4000), "not said aloud")


def check_options(world, ipv6):
    """Window scaling, SACK, timestamps and MSS are those that the kernel alone would agree on."""
    world.shield("off", str(PORT))
    plain = Connection(world.lab, ipv6)
    wanted, mss = plain.options(), plain.mss()
    plain.close()
    before = world.status()
    world.shield("on", str(PORT), "--set-sysctl")
    shielded = Connection(world.lab, ipv6)
    expect_equal(shielded.options(), wanted, "options and scales")
    expect_equal(shielded.mss(), mss, "MSS")
    expect(shielded.talk(os.urandom(30000)), "data is lost")
    shielded.close()
    expect(world.row()["cookies"] > before["shields"][0]["cookies"], "no cookie was made")
    small = Connection(world.lab, ipv6, options=((socket.IPPROTO_TCP, socket.TCP_MAXSEG, 600),))
    expect_equal(small.options()[0], wanted[0], "flags with a small MSS")
    expect(small.talk(os.urandom(20000)), "data is lost with a small MSS")
    small.close()


def check_flood_with(world, ipv6):
    """999 of 1,000 honest connects succeed under the flood, with data both ways."""
    count = HONEST
    before = world.row()
    with Flood(world.lab, ipv6):
        wait_until(lambda: world.row()["cookies"] > before["cookies"], 5, "the flood")
        good = honest(world.lab, count, ipv6)
    after = world.row()
    expect(good >= count * 0.999, "%d of %d honest connects succeed", good, count)
    expect(after["accepted"] - before["accepted"] >= good, "accepted %d",
           after["accepted"] - before["accepted"])
    expect(after["cookies"] - before["cookies"] > after["accepted"] - before["accepted"],
           "the flood was not answered")


def check_untouched(world):
    """A connection made before, and another port, do not notice the shield."""
    world.shield("off", str(PORT))
    other = Service(world.lab, PORT + 1)
    try:
        connection = Connection(world.lab)
        expect(connection.talk(), "talks without a shield")
        world.shield("on", str(PORT), "--set-sysctl")
        before = world.row()
        for _ in range(20):
            expect(connection.talk(os.urandom(3000)), "an established connection is cut")
        connection.close()
        second = Connection(world.lab, port=PORT + 1)
        expect(second.talk(), "another port is cut")
        second.close()
        expect_equal({key: world.row()[key] for key in ("cookies", "accepted", "refused")},
                     {key: before[key] for key in ("cookies", "accepted", "refused")}, "counters")
    finally:
        other.close()


def check_syn_ack(world, wire, version):
    """The answer on the wire: checksums, sequence numbers, only options that were asked for."""
    world.shield("on", str(PORT), "--set-sysctl")
    full = [("MSS", 1400), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 9)]
    timed = [] if world.cookie == "kernel" else [("SAckOK", b""), ("WScale", 9)]
    rows = ((full, {"MSS", "SAckOK", "Timestamp", "WScale"}), ([], set()),
            ([("MSS", 1200)], {"MSS"}),
            ([("MSS", 1400), ("NOP", None), ("WScale", 3), ("SAckOK", b"")],
             {"MSS"} | {name for name, _ in timed}))
    for options, wanted in rows:
        port = wire.syn(version, options=options, seq=0xffffffff)
        frame = wire.answer(port)
        expect(frame is not None, "no answer to %r", options)
        tcp = frame[TCP]
        expect_equal((str(tcp.flags), tcp.ack, tcp.sport), ("SA", 0, PORT), "SYN-ACK")
        names = {name for name, _ in tcp.options} - {"NOP", "EOL"}
        expect_equal(names, wanted, "options of the answer to %r" % (options,))
        if "MSS" in names:
            expect_equal(dict(tcp.options)["MSS"], 1460 if version == 4 else 1440, "our MSS")
        if "Timestamp" in names:
            expect_equal(dict(tcp.options)["Timestamp"][1], 7, "TSecr")
        whole = frame[IP] if version == 4 else frame[IPv6]
        again = whole.__class__(raw(whole))
        checks = (tcp.chksum, whole.chksum if version == 4 else None)
        del again[TCP].chksum
        if version == 4:
            del again.chksum
        again = whole.__class__(raw(again))
        expect_equal((again[TCP].chksum, again.chksum if version == 4 else None), checks,
                     "checksums")


def check_vlan(world, wire):
    """A tag goes back as it came; under two tags nothing is answered."""
    port = wire.syn(tags=1)
    frame = wire.answer(port)
    expect(frame is not None, "no answer to a tagged SYN")
    expect_equal(wire.tag, 7, "the tag of the answer")
    expect(wire.answer(wire.syn(tags=2), 0.3) is None, "an answer under two tags")


def check_bogus_acks(world, wire, version):
    """ACKs without a cookie end in XDP; the kernel answers none by a reset."""
    before = world.row()
    drops = world.agent.scrape().drops()["shield_ack"]
    count = 200
    for number in range(count):
        wire.port += 1
        wire.send(TCP(sport=wire.port, dport=PORT, seq=number, ack=number * 7919, flags="A"),
                  version)
    wait_until(lambda: world.row()["refused"] - before["refused"] >= count, 5, "refused ACKs")
    expect_equal(world.agent.scrape().drops()["shield_ack"] - drops, count, "shield_ack")
    expect_equal(world.row()["accepted"], before["accepted"], "accepted")
    expect(wire.answer(wire.port, 0.2) is None, "a reset was sent")


def check_lost_ack(world, wire):
    """The final ACK is lost: the first data segment makes the connection."""
    port = wire.syn(options=[("MSS", 1400)])
    frame = wire.answer(port)
    expect(frame is not None, "no SYN-ACK")
    wire.send(TCP(sport=port, dport=PORT, seq=1001, ack=frame[TCP].seq + 1, flags="PA")
              / b"hello")
    answers = []
    while len(answers) < 5:
        frame = wire.answer(port)
        expect(frame is not None, "no data back, only %r", answers)
        expect("R" not in str(frame[TCP].flags), "a reset")
        answers.append(str(frame[TCP].flags))
        if bytes(frame[TCP].payload)[:5] == b"hello":
            break
    wire.send(TCP(sport=port, dport=PORT, seq=1006, ack=frame[TCP].seq + 5, flags="R"))


def check_changed_cookie(world, wire):
    """One bit of the cookie, another port, another sequence number: refused."""
    rows = [(1 ^ 0x80, 0, 0), (1, 0, 1), (1 ^ 0x40000000, 0, 0)]
    if world.cookie == "own":
        rows.append((1, 1, 0))  # the kernel's cookie takes that for another MSS
    for ack, seq, move in rows:
        port = wire.syn(options=[("MSS", 1400)])
        frame = wire.answer(port)
        expect(frame is not None, "no SYN-ACK")
        before = world.row()["refused"]
        number = frame[TCP].seq + 1 if ack == 1 else (frame[TCP].seq ^ (ack ^ 1)) + 1
        wire.send(TCP(sport=port + 5000 * move, dport=PORT, seq=1001 + seq, ack=number & 0xffffffff,
                      flags="A"))
        wait_until(lambda: world.row()["refused"] > before, 2, "a refusal")  # pylint: disable=W0640


def check_full_accept_queue(world):
    """With nobody accepting, SYNs beyond the backlog get no cookie; later everything goes on."""
    world.service.accepting.clear()
    before = world.row()
    opened = []
    try:
        for _ in range(BACKLOG + 8):
            try:
                opened.append(Connection(world.lab, timeout=0.4))
            except OSError:
                pass
        # a SYN in one batch with the ACK before it still finds room
        expect(BACKLOG + 1 <= len(opened) <= BACKLOG + 3,
               "%d connections with nobody accepting", len(opened))
        expect(world.row()["full"] > before["full"], "shield_full was not counted")
        world.service.accepting.set()
        for connection in opened:
            connection.sock.settimeout(TIMEOUT)
            expect(connection.talk(), "a connection that waited is broken")
        expect_equal(honest(world.lab, 20), 20, "connects after the queue was full")
    finally:
        world.service.accepting.set()
        for connection in opened:
            connection.close()


def check_auto(world, ipv6):
    """On within a second of the flood, off after it; each switch is seen in three places."""
    world.shield("off", str(PORT))
    world.shield("auto", str(PORT), "--set-sysctl", "--threshold", "50")
    # with 2 the kernel queues nothing, and there is nothing to switch by
    sysctl(world.lab.server, "tcp_syncookies", 1)
    before, events = world.row(), len(world.status()["events"])
    expect(not before["active"], "active before the flood")
    expect_equal(honest(world.lab, 20, ipv6), 20, "connects before the flood")
    expect_equal(world.row()["cookies"], before["cookies"], "cookies before the flood")
    with Flood(world.lab, ipv6) as flood:
        wait_until(lambda: world.row()["active"], 1 + TIMEOUT, "the shield to go on")
        good = honest(world.lab, HONEST, ipv6)
        expect(good >= HONEST * 0.999, "%d of %d honest connects succeed", good, HONEST)
        expect(world.row()["active"], "off during the flood")
    wait_until(lambda: not world.row()["active"], 30, "the shield to go off", 0.1)
    row = world.row()
    switches = [row[key] - before[key] for key in ("switched_on", "switched_off")]
    expect_equal(switches, [1, 1], "switches on and off")
    new = world.status()["events"][events:]
    expect_equal([(event["port"], event["active"]) for event in new],
                 [(PORT, True), (PORT, False)], "events")
    # the kernel's coarse clock and the rounding of two clocks to ms: some ms each
    after_ms = new[0]["time_ms"] - flood.began_ms
    expect(-20 <= after_ms <= 1000, "it went on %d ms after the flood began", after_ms)
    expect_equal(honest(world.lab, 20, ipv6), 20, "connects after the flood")


def check_auto_is_told(world):
    """Every switch is in the log and in the metrics."""
    row = world.row()
    check_keys("GET /v1/shield", world.status())
    log = world.agent.stderr(8000)
    expect("on, the SYN queue holds" in log and "off, the flood is over" in log, "the log: %s", log)
    scrape = world.agent.scrape()
    expect_equal(scrape.by_label("packgate_shield_switches_total", "to"),
                 {"on": row["switched_on"], "off": row["switched_off"]},
                 "packgate_shield_switches_total")


@contextlib.contextmanager
def beside_flood(world, ipv6):
    """A flood on the CPU that the block runs on too, so that its SYNs are among those of the flood."""
    before = os.sched_getaffinity(0)
    cpu = min(before)
    try:
        os.sched_setaffinity(0, {cpu})
        with Flood(world.lab, ipv6, rate=REUSE_RATE, cpu=cpu):
            wait_until(lambda: marks_are_whole(world), 10, "the marks of all sockets")
            yield
    finally:
        os.sched_setaffinity(0, before)


def from_port(world, ipv6, port, timeout=TIMEOUT):
    """A connection from a port of ours, that an earlier one may still hold."""
    wildcard = "::" if ipv6 else "0.0.0.0"
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    sock = in_namespace(world.lab.client, socket.socket, family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(timeout)
    try:
        sock.bind((wildcard, port))
        sock.connect((SERVER_IPV6 if ipv6 else SERVER_IPV4, PORT))
    except OSError:
        sock.close()
        raise
    return sock


def forget(sock):
    """Closes without a word to the other end."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.close()


def marks_are_whole(world):
    """The agent has marked what sockets there are: from here on the gate looks few SYNs up."""
    path = os.path.join(PINS, world.agent.instance, "pg_shield_env")
    dump = json.loads(run("bpftool", "-j", "map", "dump", "pinned", path))
    return dump[0]["formatted"]["value"]["tuples"] > 0


def waiting(world, port):
    """How many sockets of the server wait after a connection from this port."""
    return len(run("nsenter", "--net=/run/netns/" + world.lab.server, "ss", "-ntH", "state",
                   "time-wait", "dport", "= :%d" % port).splitlines())


def check_reuse(world, ipv6):
    """A tuple that the server still waits for makes a new connection, in the midst of a flood."""
    world.shield("on", str(PORT), "--set-sysctl")
    port = 9000 + ipv6
    count = 5
    with beside_flood(world, ipv6):
        for turn in range(count):
            sock = from_port(world, ipv6, port)
            sock.sendall(b"last words")
            expect_equal(sock.recv(100), b"last words", "connection %d of a port" % turn)
            # the server closes first, on what it cannot make sense of: so it is the one to wait
            sock.sendall(LAST_WORDS)
            while sock.recv(100):
                pass
            sock.close()
            wait_until(lambda: waiting(world, port), 5, "the server to wait")


def check_forgotten(world, ipv6):
    """A client that forgot its connection gets the port again, though the server knows it still."""
    world.shield("on", str(PORT), "--set-sysctl")
    with beside_flood(world, ipv6):
        for port in range(9100, 9105):
            lost = from_port(world, ipv6, port)
            lost.sendall(b"before")
            expect_equal(lost.recv(100), b"before", "before")
            forget(lost)
            again = from_port(world, ipv6, port, timeout=5)
            again.sendall(b"after")
            expect_equal(again.recv(100), b"after", "after")
            again.close()


def check_restart(world):
    """A shield that is on stays so through kill -9, and the next agent keeps it."""
    world.shield("on", str(PORT), "--set-sysctl")
    before = world.row()
    world.agent.kill()
    expect_equal(honest(world.lab, 30), 30, "connects without an agent")
    world.agent.start()
    row = world.row()
    expect(row["mode"] == "on" and row["cookies"] >= before["cookies"] + 30,
           "the shield after the restart: %r", row)
    expect_equal(honest(world.lab, 30), 30, "connects with the next agent")
    expect(world.status()["sysctls"][0]["before"] == 0, "what the sysctl was is forgotten")


def check_sysctl_back(world):
    """The last shield off: the sysctls are what they were."""
    world.shield("off", str(PORT))
    expect_equal((sysctl(world.lab.server, "tcp_syncookies"),
                  sysctl(world.lab.server, "tcp_timestamps")), ("0", "1"), "sysctls")


def check_detach(world):
    """Detach removes gate, TC program and pins, and nothing else."""
    world.shield("on", str(PORT), "--set-sysctl")
    pins = os.path.join(PINS, world.agent.instance, world.lab.server_if)
    expect_equal(os.path.exists(pins + "/shield_link"), world.cookie != "kernel", "the pinned link")
    world.agent.kill()
    done = world.agent.detach()
    expect(done.code == 0, "detach: %s", done.err)
    expect(not os.path.exists(pins), "pins are left")
    sysctl(world.lab.server, "tcp_syncookies", 1)
    expect_equal(honest(world.lab, 5), 5, "connects after the detach")
    left = run("nsenter", "--net=/run/netns/" + world.lab.server, "bpftool", "-j", "net", "show")
    expect("pg_" not in left, "still attached: %s", left)


def check_config(lab):
    """Shields of the file: made at the start, changed and removed by a reload."""
    row = {"port": 9443, "address": SERVER_IPV4, "mode": "auto", "threshold": 25}
    config = {"shield": {"cookie": "auto", "listeners": [row, {"port": 9444, "mode": "off"}]}}
    agent = lab.agent(config).start()
    rows = {item["port"]: item for item in get(agent, "/v1/shield")["shields"]}
    expect_equal((rows[9443]["address"], rows[9443]["mode"], rows[9443]["threshold"],
                  rows[9443]["configured"], rows[9444]["mode"], rows[9444]["address"]),
                 (SERVER_IPV4, "auto", 25, True, "off", None), "shields of the file")
    row["mode"] = "on"
    config["shield"]["listeners"] = [row]
    agent.write_config(config)
    agent.cli_ok("reload")
    rows = {item["port"]: item for item in get(agent, "/v1/shield")["shields"]}
    expect_equal((rows[9443]["mode"], rows[9443]["active"]), ("on", True), "after a reload")
    expect_equal(rows[9444]["mode"], "off", "a shield that left the file")
    agent.stop()
    agent.detach()


def run_world(report, cookie):
    with Lab() as lab:
        world = World(lab, cookie)
        try:
            wire = Wire(lab)
            name = lambda text: "%s cookie: %s" % (cookie, text)
            report.check(name("flood without a shield"), check_flood_without, world)
            report.check(name("missing sysctl"), check_missing_sysctl, world)
            for version in (4, 6):
                report.check(name("options, IPv%d" % version), check_options, world, version == 6)
                report.check(name("flood, IPv%d" % version), check_flood_with, world, version == 6)
                report.check(name("SYN-ACK, IPv%d" % version), check_syn_ack, world, wire, version)
                report.check(name("bogus ACKs, IPv%d" % version), check_bogus_acks, world, wire,
                             version)
                report.check(name("reuse, IPv%d" % version), check_reuse, world, version == 6)
                report.check(name("forgotten, IPv%d" % version), check_forgotten, world,
                             version == 6)
            report.check(name("untouched"), check_untouched, world)
            report.check(name("VLAN"), check_vlan, world, wire)
            report.check(name("lost ACK"), check_lost_ack, world, wire)
            report.check(name("changed cookie"), check_changed_cookie, world, wire)
            report.check(name("full accept queue"), check_full_accept_queue, world)
            for version in (4, 6):
                report.check(name("auto, IPv%d" % version), check_auto, world, version == 6)
            report.check(name("auto is told"), check_auto_is_told, world)
            report.check(name("restart"), check_restart, world)
            report.check(name("sysctls put back"), check_sysctl_back, world)
            report.check(name("detach"), check_detach, world)
        finally:
            world.close()
        report.last("%s cookie: nothing is left" % cookie, lab.assert_clean)


def has_own():
    """Whether this kernel can take the gate's own cookie back (Linux 6.9)."""
    release = os.uname().release.split(".")
    return (int(release[0]), int(release[1].split("-")[0])) >= (6, 9)


def main():
    require_root()
    report = Report()
    if has_own():
        run_world(report, "own")
    else:
        report.skip("own cookie", "this kernel is older than 6.9")
    run_world(report, "kernel")
    with Lab() as lab:
        report.check("configuration", check_config, lab)
        report.last("configuration: nothing is left", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
