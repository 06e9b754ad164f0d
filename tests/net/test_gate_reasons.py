#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Every drop reason of DESIGN 6 is provoked by raw frames, in IPv4 and IPv6.

Each row sends some Ethernet frames and demands that packgate_gate_drops_total moved by exactly
their number under exactly its reason. What is not ours must pass untouched to the kernel.
"""

import os
import socket
import struct
import sys
import time

import witness
from lab import SERVER_IPV4, SERVER_IPV6, Lab, require_root, wait_until
from lab_report import PATIENCE, Failed, Report, Skipped, expect, expect_equal
from lab_session import Sessions, configuration, echo, endpoint, open_stream
from lab_wire import (ETH_P_IPV4, ETH_P_IPV6, Wire, checksum, ethernet, ipv4, ipv6,
                      packed, pseudo_header, udp)
from test_witness_vectors import load

UNMATCHED_PER_SECOND = 40
OTHER_PORT, OUR_PORT = 4999, 4000
IPV4_MORE, NEXT_FRAGMENT, NEXT_DESTINATION, NEXT_ICMP6, TCP, ICMP = 0x2000, 44, 60, 58, 6, 1
SYN, RST_ACK = 0x02, 0x14
DROPS = "packgate_gate_drops_total"

ENDPOINTS = tuple(
    endpoint("%s-%s" % (name, "v6" if ":" in address else "v4"), port, address, guard, policy,
             "echo", roaming)
    for name, port, guard, policy, roaming in (
        ("on", OUR_PORT, "on", "window", "off"), ("off", 4001, "off", "window", "off"),
        ("mono", 4002, "on", "monotonic", "off"), ("roam", 4003, "on", "window", "on"))
    for address in ("0.0.0.0", "::"))


class Family:
    """One IP version: its sessions at the endpoints, and frames from strangers."""

    def __init__(self, lab, agent, wire, sessions, is_ipv6):
        self.lab, self.agent, self.wire, self.sessions = lab, agent, wire, sessions
        self.ipv6, self.name = is_ipv6, "IPv6" if is_ipv6 else "IPv4"
        self.target = packed(SERVER_IPV6 if is_ipv6 else SERVER_IPV4)
        self.strangers = 0

    def peer(self, name):
        wanted = "%s-%s" % (name, "v6" if self.ipv6 else "v4")
        return self.sessions.new(next(row for row in ENDPOINTS if row.name == wanted))

    def stranger(self):
        """A source nobody used: its token bucket, per /32 and per /64, is full."""
        self.strangers += 1
        text = "fd77:0:0:%x::9" if self.ipv6 else "10.77.7.%d"
        return packed(text % self.strangers)

    def packet(self, source, body, **lies):
        """An Ethernet frame with an IP packet to the server; lies are fields of the IP header."""
        kind, build = (ETH_P_IPV6, ipv6) if self.ipv6 else (ETH_P_IPV4, ipv4)
        return ethernet(self.lab.server_mac, self.lab.client_mac, kind,
                        build(source, self.target, body, **lies))

    def datagram(self, payload, port=OUR_PORT, source=None):
        source = source or self.stranger()
        return self.packet(source, udp(source, self.target, 30000, port, payload))

    def udp_with_length(self, peer, payload, length):
        """A datagram of a peer whose UDP header claims another length than it has."""
        source = packed(peer.source)
        body = udp(source, self.target, peer.sport, peer.dport, payload)
        return self.packet(source, body[:4] + struct.pack(">H", length) + body[6:])

    def fragment(self, peer, payload, offset, more):
        """An IP fragment that starts with the peer's UDP header."""
        source = packed(peer.source)
        body = udp(source, self.target, peer.sport, peer.dport, payload)
        body = body[:len(body) & ~7]
        if not self.ipv6:
            return self.packet(source, body, flags=offset // 8 | (IPV4_MORE if more else 0))
        head = struct.pack(">BBHI", 17, 0, offset | int(more), 0x77)
        return self.packet(source, head + body, next_header=NEXT_FRAGMENT)


# --- rows: reason, what, frames ------------------------------------------------------------------

def rows_of_vectors(family):
    """Every case of invalid.json that fails PROTOCOL 1, from a stranger."""
    for case in load("invalid.json")["cases"]:
        if case["reason"] == "none":
            continue
        port = OUR_PORT if case["guard"] else 4001
        frame = family.datagram(bytes.fromhex(case["frame"]), port)
        yield case["reason"], case["name"], [frame]


def rows_unsupported(family):
    peer = family.peer("mono")
    session = peer.session
    yield "fragment_unsupported", "fragments where only the newest counts", [
        peer.raw(session.data(b"first", pack=9, frag=1)),
        peer.raw(session.data(b"last", pack=9, frag=2, last=True))]
    peer = family.peer("on")
    stream = open_stream(peer, witness.NEWEST)
    yield "fragment_unsupported", "fragments on a stream of policy newest", [
        peer.raw(peer.session.data(b"first", stream, 3, 1)),
        peer.raw(peer.session.data(b"last", stream, 3, 2, True))]
    hello = witness.header(0x1234, 0, session.clock(), 0, witness.SHAKEHAND, 256) + bytes(256)
    yield "handshake_off", "shakehands", [family.datagram(hello)] * 2


def rows_of_headers(family):
    peer = family.peer("on")
    payload = peer.session.data(b"below the frame")
    source = packed(peer.source)
    body = udp(source, family.target, peer.sport, peer.dport, payload)
    claim = {"length": len(body) + 20} if family.ipv6 else {"total": 20 + len(body) + 20}
    yield "ip_header", "IP claims 20 bytes more than came", [family.packet(source, body, **claim)]
    yield "ip_fragment", "a first fragment", [family.fragment(peer, payload, 0, True)]
    for label, length in (("7", 7), ("one more", len(body) + 1), ("65535", 65535)):
        yield "udp_length", "UDP length " + label, [family.udp_with_length(peer, payload, length)]


def rows_of_sessions(family):
    peer = family.peer("on")
    session = peer.session
    known = (session.client, session.server)
    for label, ids in (("both ids", (0x0FF1, 0x0FF1)),
                       ("server id of a living session", (known[0] ^ 0x0100, known[1])),
                       ("client id of a living session", (known[0], known[1] ^ 0x0100))):
        other = witness.Session(session.secret, *ids)
        yield "no_session", "unknown " + label, [family.datagram(other.data(b"who?"))] * 3
    data, ping = session.data(b"moved"), session.ping(b"moved")
    elsewhere = "fd77::fe" if family.ipv6 else "10.77.0.254"
    yield "peer_mismatch", "another port", [peer.raw(data, sport=peer.sport ^ 1)]
    yield "peer_mismatch", "another address", [peer.raw(data, source=elsewhere)]
    yield "peer_mismatch", "another address, ping", [peer.raw(ping, source=elsewhere)]
    roaming = family.peer("roam")
    ping = roaming.session.ping(b"roams")
    yield "peer_mismatch", "ping from elsewhere, roaming on", [
        roaming.raw(ping, sport=roaming.sport ^ 1)]
    forged = witness.break_guard(roaming.session.data(b"roams"))
    # PROTOCOL 5: from elsewhere everything but a candidate with a right guard is peer_mismatch
    yield "peer_mismatch", "data from elsewhere, roaming on, wrong guard", [
        roaming.raw(forged, sport=roaming.sport ^ 1)]


def rows_of_guard(family):
    peer = family.peer("on")
    session = peer.session
    stream = open_stream(peer)
    for label, frame in (("data", session.data(b"forged")),
                         ("data on a stream", session.data(b"forged", stream)),
                         ("ping", session.ping()), ("ack", session.ack(1)),
                         ("openstream", session.openstream(session.new_stream(), 0)),
                         ("closestream", session.closestream(stream)),
                         ("goaway", session.goaway())):
        yield "guard", label + " with a wrong guard", [peer.raw(witness.break_guard(frame))] * 2


def rows_of_windows(family):
    peer = family.peer("on")
    session = peer.session
    stream = open_stream(peer, witness.UNORDERED)
    sent = [echo(peer, b"seen", stream) for _ in range(2)]
    yield "replay_seen", "copies on an unordered stream", [peer.raw(raw) for raw in sent * 2]
    ahead = session.data(b"far ahead", stream, pack=2 + (1 << 20) + 1)
    yield "replay_ahead", "2^20 + 1 above the highest", [peer.raw(ahead)] * 2
    peer.send(session.data(b"high", stream, pack=2 + 1024))
    peer.expect((witness.DATA, stream, None))
    yield "replay_old", "1024 below the highest", [
        peer.raw(sent[1]), peer.raw(sent[0])]
    never = session.data(b"never opened", session.new_stream(), pack=1)
    yield "no_stream", "data on a stream never opened", [peer.raw(never)] * 3


def rows_monotonic(family):
    peer = family.peer("mono")
    session = peer.session
    low = session.data(b"low", pack=4)
    high = peer.send(session.data(b"high", pack=5))
    peer.expect((witness.DATA, 0, None))
    yield "not_monotonic", "lower and equal", [peer.raw(low), peer.raw(high)]
    ahead = session.data(b"far ahead", pack=5 + (1 << 20) + 1)
    yield "replay_ahead", "monotonic, 2^20 + 1 above", [peer.raw(ahead)]


ROWS = (rows_of_vectors, rows_unsupported, rows_of_headers, rows_of_sessions, rows_of_guard,
        rows_of_windows, rows_monotonic)


# --- checks --------------------------------------------------------------------------------------

def moved_drops(agent, before):
    """{reason: packets} that moved since an earlier scrape."""
    now = agent.scrape().drops()
    moved = {reason: int(now[reason] - before.get(reason, 0)) for reason in now}
    return {reason: count for reason, count in moved.items() if count}


def expect_drops(agent, before, wanted):
    """The drop counters moved by exactly this, and have stopped moving."""
    total = sum(wanted.values())
    deadline = time.monotonic() + 2
    while sum(moved_drops(agent, before).values()) < total and time.monotonic() < deadline:
        time.sleep(0.005)
    expect_equal(moved_drops(agent, before), wanted, "drop reasons moved")


def check_row(family, reason, frames):
    before = family.agent.scrape().drops()
    for raw in frames:
        family.wire.send(raw)
    expect_drops(family.agent, before, {reason: len(frames)})


def check_all_known(agent):
    """Every reason of DESIGN 6 is a label from the start, so that rates can be computed."""
    wanted = set("""frame_short reserved_bits opcode flags length_mismatch id_zero id_range
        payload_size fragment_unsupported handshake_off ip_header ip_fragment udp_length no_session
        session_state peer_mismatch guard replay_seen replay_old replay_ahead not_monotonic
        no_stream rate_limited no_socket""".split())
    missing = wanted - set(agent.scrape().drops())
    expect(not missing, "%s has no series for %s", DROPS, ", ".join(sorted(missing)))


def check_session_state(family):
    """A session that ended refuses further frames while its slot still knows it."""
    peer = family.peer("on")
    session = peer.session
    late = [peer.raw(session.data(b"late %d" % count)) for count in range(20)]
    before = family.agent.scrape().drops()
    peer.send(session.goaway())
    for raw in late:
        family.wire.send(raw)
        time.sleep(0.002)
    wait_until(lambda: sum(moved_drops(family.agent, before).values()) >= 1, 2, "a drop")
    time.sleep(0.05)
    moved = moved_drops(family.agent, before)
    expect(not set(moved) - {"session_state", "no_session"}, "drop reasons moved: %r", moved)
    if "session_state" not in moved:
        raise Skipped("a closed session leaves its slot at once; all counted as no_session")


def check_rate_limited(family):
    """Frames of no session: a burst of the configured size is looked at, the rest is limited."""
    source, count = family.stranger(), 200
    other = witness.Session(bytes(32), 0x0FF2, 0x0FF2)
    raw = family.datagram(other.data(b"flood"), source=source)
    before = family.agent.scrape().drops()
    started = time.monotonic()
    for _ in range(count):
        family.wire.send(raw)
    wait_until(lambda: sum(moved_drops(family.agent, before).values()) >= count, 10, "the drops")
    seconds = time.monotonic() - started  # the gate may have come to the last one late
    moved = moved_drops(family.agent, before)
    most = UNMATCHED_PER_SECOND * (1 + seconds) + 1
    expect_equal(set(moved), {"no_session", "rate_limited"}, "drop reasons moved")
    expect_equal(sum(moved.values()), count, "frames counted")
    expect(UNMATCHED_PER_SECOND <= moved["no_session"] <= most,
           "%d frames of one source counted no_session, wanted %d to %d", moved["no_session"],
           UNMATCHED_PER_SECOND, most)


def check_bad_tag(family, name):
    """A wrong tag behind a right guard is the agent's to refuse: no gate reason moves."""
    peer = family.peer(name)
    session = peer.session
    sent = session.data(b"not this")
    before = family.agent.scrape()
    peer.send(witness.break_tag(sent, session.guard))
    rejected = "packgate_frames_rejected_total"
    wait_until(lambda: family.agent.scrape().total(rejected) == before.total(rejected) + 1, 2,
               rejected + " to move by 1")
    expect_equal(moved_drops(family.agent, before.drops()), {}, "drop reasons moved")
    peer.send(sent)
    peer.expect((witness.ACK, 0, 1), (witness.DATA, 0, 1))


def check_honest_after(family, name):
    """None of the refusals above stands in the way of an honest session."""
    peer = family.peer(name)
    for count in range(5):
        echo(peer, b"still here %d" % count)


def check_with_options(family):
    """IPv4 options and an IPv6 extension header do not hide a frame of ours."""
    peer = family.peer("on")
    payload = peer.session.data(b"behind options")
    source = packed(peer.source)
    body = udp(source, family.target, peer.sport, peer.dport, payload)
    if family.ipv6:
        options = struct.pack(">BBBBI", 17, 0, 1, 4, 0)
        raw = family.packet(source, options + body, next_header=NEXT_DESTINATION)
    else:
        raw = family.packet(source, body, options=b"\x01\x01\x01\x00")
    family.wire.send(raw)
    peer.expect((witness.ACK, 0, 1), (witness.DATA, 0, 1))


# --- what is not ours ----------------------------------------------------------------------------

def passes(family, raw, arrived=None):
    """The frame is counted as passed, arrived() sees its effect, and no drop reason moves."""
    before = family.agent.scrape()
    family.wire.send(raw)
    if arrived:
        arrived()
    name = "packgate_gate_passed_total"
    wait_until(lambda: family.agent.scrape().total(name) > before.total(name), 2, name + " to move")
    expect_equal(moved_drops(family.agent, before.drops()), {}, "drop reasons moved")


def reachable(family, host):
    """A source address that the server's stack can answer, which no stack of ours owns."""
    text = ("fd77::2:%x" if family.ipv6 else "10.77.0.%d") % host
    family.lab.peer_address(text)
    return packed(text)


def answered(family, predicate, what):
    def wait():
        expect(family.wire.find_other(predicate, PATIENCE) is not None, "no %s", what)
    return wait


def check_other_port(family):
    """UDP to a port of nobody's endpoint comes out of an ordinary socket."""
    kind = socket.AF_INET6 if family.ipv6 else socket.AF_INET
    sock = family.lab.server_socket(kind, socket.SOCK_DGRAM)
    sock.bind(("::" if family.ipv6 else "0.0.0.0", OTHER_PORT))
    sock.settimeout(2)
    raw = family.datagram(bytes(5), OTHER_PORT, reachable(family, 250))
    passes(family, raw, lambda: expect_equal(sock.recv(100), bytes(5), "the datagram"))
    sock.close()


def check_other_address(family):
    """Our port at an address that is not this machine's: routed traffic is never taken."""
    source = reachable(family, 249)
    target = packed("fd77:99::1" if family.ipv6 else "203.0.113.9")
    body = udp(source, target, 30000, OUR_PORT, b"\xff" * 40)
    kind, build = (ETH_P_IPV6, ipv6) if family.ipv6 else (ETH_P_IPV4, ipv4)
    raw = ethernet(family.lab.server_mac, family.lab.client_mac, kind,
                   build(source, target, body))
    passes(family, raw)


def check_echo_request(family):
    source = reachable(family, 248)
    body = bytearray(struct.pack(">BBHHH", 128 if family.ipv6 else 8, 0, 0, 0x77, 1) + b"alive?")
    cover = pseudo_header(source, family.target, len(body)) if family.ipv6 else b""
    if family.ipv6:
        cover = cover[:-1] + bytes([NEXT_ICMP6])
    body[2:4] = struct.pack(">H", checksum(cover + bytes(body)))
    lies = {"next_header": NEXT_ICMP6} if family.ipv6 else {"protocol": ICMP}
    passes(family, family.packet(source, bytes(body), **lies),
           answered(family, lambda raw: raw.endswith(b"alive?"), "echo reply"))


def check_tcp(family):
    """A SYN to our port number reaches the kernel, which has no listener and says RST."""
    source = reachable(family, 247)
    head = bytearray(struct.pack(">HHIIBBHHH", 30001, OUR_PORT, 1, 0, 5 << 4, SYN, 1024, 0, 0))
    cover = source + family.target + struct.pack(">IxxxB", len(head), TCP)
    head[16:18] = struct.pack(">H", checksum(cover + bytes(head)))
    lies = {"next_header": TCP} if family.ipv6 else {"protocol": TCP}
    reset = struct.pack(">HH", OUR_PORT, 30001)
    at = 14 + (40 if family.ipv6 else 20)
    passes(family, family.packet(source, bytes(head), **lies),
           answered(family, lambda raw: raw[at:at + 4] == reset and raw[at + 13] == RST_ACK, "RST"))


def check_neighbour(family):
    """ARP, and neighbour discovery in IPv6, are answered by the kernel."""
    source, mac = reachable(family, 246), family.lab.client_mac
    if not family.ipv6:
        body = struct.pack(">HHBBH", 1, ETH_P_IPV4, 6, 4, 1) + mac + source + bytes(6)
        raw = ethernet(family.lab.server_mac, mac, 0x0806, body + family.target)
        passes(family, raw, answered(
            family, lambda raw: raw[12:14] == b"\x08\x06" and raw[20:22] == b"\0\2", "ARP reply"))
        return
    body = bytearray(struct.pack(">BBHI", 135, 0, 0, 0) + family.target + b"\1\1" + mac)
    cover = source + family.target + struct.pack(">IxxxB", len(body), NEXT_ICMP6)
    body[2:4] = struct.pack(">H", checksum(cover + bytes(body)))
    packet = bytearray(ipv6(source, family.target, bytes(body), NEXT_ICMP6))
    packet[7] = 255
    raw = ethernet(family.lab.server_mac, mac, ETH_P_IPV6, bytes(packet))
    passes(family, raw, answered(family, lambda raw: raw[54:55] == b"\x88", "advertisement"))


def check_later_fragment(family):
    """A non-first fragment has no port that could be read: not ours, whatever its bytes say."""
    peer = family.peer("on")
    raw = family.fragment(peer, peer.session.data(b"looks like ours"), 1480, False)
    passes(family, raw)


FOREIGN = (("UDP to another port", check_other_port),
           ("UDP to another machine's address", check_other_address),
           ("ICMP echo", check_echo_request), ("TCP SYN", check_tcp),
           ("ARP or neighbour discovery", check_neighbour),
           ("a later fragment", check_later_fragment))


def check_unknown_ethertype(family):
    raw = ethernet(family.lab.server_mac, family.lab.client_mac, 0x88B5, os.urandom(60))
    passes(family, raw)


def check_no_socket(families):
    """Without an agent honest frames have nowhere to go; the pinned counters say so later."""
    agent = families[0].agent
    peers = [family.peer("on") for family in families]
    for peer in peers:
        echo(peer, b"before")
    before = agent.scrape().drops()
    agent.kill()
    time.sleep(0.3)
    waiting = [peer.send(peer.session.data(b"while nobody listens")) for peer in peers]
    peers[0].expect_silence(0.1)
    agent.start()
    expect_drops(agent, before, {"no_socket": len(peers)})
    for peer, raw in zip(peers, waiting):
        peer.send(raw)
        peer.expect((witness.ACK, 0, 2), (witness.DATA, 0, None))


def run_rows(report, family, rows):
    """Run the rows of one function; what fails on the way to them is a failure of its own."""
    name = "%s, %s" % (family.name, rows.__name__)
    try:
        for reason, label, frames in rows(family):
            report.check("%s: %s: %s" % (family.name, reason, label), check_row, family, reason,
                         frames)
    except (Failed, witness.Fault) as why:
        report.fail(name, str(why))


def checks(report, lab, agent):
    wire = Wire(lab)
    sessions = Sessions(lab, agent, wire)
    families = [Family(lab, agent, wire, sessions, is_ipv6) for is_ipv6 in (False, True)]
    report.check("every reason is a label", check_all_known, agent)
    for family in families:
        for rows in ROWS:
            run_rows(report, family, rows)
        report.check(family.name + ": session_state", check_session_state, family)
        report.check(family.name + ": rate_limited", check_rate_limited, family)
        for name in ("on", "off"):
            report.check("%s: bad tag, guard %s" % (family.name, name), check_bad_tag, family, name)
        for name in ("on", "off", "mono", "roam"):
            report.check("%s: honest frames at %s" % (family.name, name), check_honest_after,
                         family, name)
        report.check(family.name + ": options are no hiding place", check_with_options, family)
        for label, function in FOREIGN:
            report.check("%s passes: %s" % (family.name, label), function, family)
    report.check("passes: unknown EtherType", check_unknown_ethertype, families[0])
    report.check("no_socket", check_no_socket, families)


def main():
    require_root()
    report = Report()
    limits = {"unmatched_per_source_per_second": UNMATCHED_PER_SECOND}
    with Lab() as lab:
        agent = lab.agent(configuration(ENDPOINTS, limits=limits, without_agent="drop"))
        if report.check("the agent starts", agent.start):
            checks(report, lab, agent)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
