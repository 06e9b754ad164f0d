#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""`packgate decode` against tshark, field by field, over generated packets of one seed.

scapy makes the packets: connections with options, fragments in any order, VLAN tags, IPv6 extension
headers, wrong checksums, over each link type. Where both tools print a field, they must agree.
"""

import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

from scapy.config import conf
from scapy.layers.inet import ICMP, IP, IPOption, TCP, UDP, fragment
from scapy.layers.inet6 import (ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from lab_report import Report, Skipped, expect, expect_equal

SEED = 20240607
FLOWS = 420        # connections of 13 to 25 segments
SINGLES = 2600     # packets that belong together with none
FRAGMENTED = 420   # datagrams
LEAST = 10000
PACKGATE = os.path.join(os.environ.get("PG_BUILD", "build"), "packgate")
LINK_PACKETS = 60  # of each other link type

conf.verb = 0

# tshark field -> where it is in our object; a function makes tshark's text comparable
FIELDS = [
    ("frame.len", "packet.length", int),
    ("frame.cap_len", "packet.captured", int),
    ("eth.src", "link.source", str),
    ("eth.dst", "link.target", str),
    ("ip.src", "ipv4.source", str),
    ("ip.dst", "ipv4.target", str),
    ("ip.hdr_len", "ipv4.header_bytes", int),
    ("ip.dsfield", "ipv4.traffic_class", lambda text: int(text, 0)),
    ("ip.len", "ipv4.total_bytes", int),
    ("ip.id", "ipv4.id", lambda text: int(text, 0)),
    ("ip.flags.rb", "ipv4.reserved_flag", lambda text: bool(int(text))),
    ("ip.flags.df", "ipv4.dont_fragment", lambda text: bool(int(text))),
    ("ip.flags.mf", "ipv4.more_fragments", lambda text: bool(int(text))),
    ("ip.frag_offset", "ipv4.fragment_offset", lambda text: 8 * int(text)),
    ("ip.ttl", "ipv4.ttl", int),
    ("ip.proto", "ipv4.protocol", int),
    ("ip.checksum", "ipv4.checksum.found", lambda text: int(text, 0)),
    ("ip.checksum.status", "ipv4.checksum.verdict", int),
    ("ipv6.src", "ipv6.source", str),
    ("ipv6.dst", "ipv6.target", str),
    ("ipv6.tclass", "ipv6.traffic_class", lambda text: int(text, 0)),
    ("ipv6.flow", "ipv6.flow_label", lambda text: int(text, 0)),
    ("ipv6.plen", "ipv6.payload_bytes", int),
    ("ipv6.nxt", "ipv6.next_header", int),
    ("ipv6.hlim", "ipv6.hop_limit", int),
    ("ipv6.fraghdr.offset", "ipv6.fragment_offset", lambda text: 8 * int(text)),
    ("ipv6.fraghdr.more", "ipv6.more_fragments", lambda text: bool(int(text))),
    ("ipv6.fraghdr.ident", "ipv6.id", lambda text: int(text, 0)),
    ("tcp.srcport", "tcp.source_port", int),
    ("tcp.dstport", "tcp.target_port", int),
    ("tcp.seq_raw", "tcp.seq", int),
    ("tcp.ack_raw", "tcp.ack", int),
    ("tcp.seq", "tcp.seq_relative", int),
    ("tcp.ack", "tcp.ack_relative", int),
    ("tcp.hdr_len", "tcp.header_bytes", int),
    ("tcp.flags", "tcp.flag_bits", lambda text: int(text, 0) & 0x1ff),
    ("tcp.window_size_value", "tcp.window", int),
    ("tcp.window_size", "tcp.window_bytes", int),
    ("tcp.checksum", "tcp.checksum.found", lambda text: int(text, 0)),
    ("tcp.checksum.status", "tcp.checksum.verdict", int),
    ("tcp.urgent_pointer", "tcp.urgent", int),
    ("tcp.len", "tcp.data_bytes", int),
    ("udp.srcport", "udp.source_port", int),
    ("udp.dstport", "udp.target_port", int),
    ("udp.length", "udp.length", int),
    ("udp.checksum", "udp.checksum.found", lambda text: int(text, 0)),
    ("udp.checksum.status", "udp.checksum.verdict", int),
    ("icmp.type", "icmp.type", int),
    ("icmp.code", "icmp.code", int),
    ("icmp.ident", "icmp.id", int),
    ("icmp.checksum.status", "icmp.checksum.verdict", int),
    ("icmpv6.type", "icmp6.type", int),
    ("icmpv6.code", "icmp6.code", int),
    ("icmpv6.checksum.status", "icmp6.checksum.verdict", int),
    ("arp.opcode", "arp.operation", int),
    ("arp.src.proto_ipv4", "arp.sender_ip", str),
    ("arp.dst.proto_ipv4", "arp.target_ip", str),
]
# several of them in one packet: compared as lists
LISTS = [
    ("vlan.id", lambda packet: [tag["id"] for tag in of(packet, "link.vlans", [])]),
    ("vlan.priority", lambda packet: [tag["priority"] for tag in of(packet, "link.vlans", [])]),
    ("tcp.option_kind", lambda packet: [option["kind"] for option in options(packet)]),
    ("tcp.options.mss_val", lambda packet: values(packet, "mss")),
    ("tcp.options.wscale.shift", lambda packet: values(packet, "shift")),
    ("tcp.options.timestamp.tsval", lambda packet: values(packet, "value")),
    ("tcp.options.timestamp.tsecr", lambda packet: values(packet, "echo")),
    ("tcp.options.sack_le", lambda packet: sacks(packet, "left")),
    ("tcp.options.sack_re", lambda packet: sacks(packet, "right")),
]
# the outer of two tags may be an 802.1ad one, which has names of its own
OUTER = {"vlan.id": "ieee8021ad.id", "vlan.priority": "ieee8021ad.priority"}
VERDICTS = {0: "bad", 1: "good", 2: "unchecked", 3: "none"}


def of(packet, path, default=None):
    for name in path.split("."):
        if not isinstance(packet, dict) or name not in packet:
            return default
        packet = packet[name]
    return packet


def options(packet):
    return of(packet, "tcp.options", [])


def values(packet, name):
    return [option[name] for option in options(packet) if name in option]


def sacks(packet, end):
    """As tshark shows them: counted from the start of the data they acknowledge."""
    start = of(packet, "tcp.ack", 0) - of(packet, "tcp.ack_relative", 0)
    return [block[end] - start & 0xffffffff for option in options(packet) for block in option.get("blocks", [])]


# --- packets --------------------------------------------------------------------------------------


class Maker:
    """Packets from one random source; `frames` holds their bytes in capture order."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.frames = []
        self.flow = 0

    def blob(self, most):
        return bytes(self.random.getrandbits(8) for _ in range(self.random.randint(0, most)))

    def link(self):
        """An Ethernet header with up to two tags."""
        header = Ether(src="02:00:00:00:00:%02x" % self.random.randint(1, 99),
                       dst="02:00:00:00:01:%02x" % self.random.randint(1, 99))
        tags = self.random.choice([0, 0, 1, 2])
        for i in range(tags):
            kind = Dot1AD if tags == 2 and not i and self.random.random() < .5 else Dot1Q
            header = header / kind(vlan=self.random.randint(1, 4094),
                                   prio=self.random.randint(0, 7))
        return header

    def ends(self):
        """Two addresses that no other flow has, and the maker of their IP header."""
        self.flow += 1
        host = struct.unpack("4B", struct.pack(">I", 0x0a000000 + self.flow))
        if self.random.random() < .6:
            return IP, "%d.%d.%d.%d" % host, "192.0.2.%d" % self.random.randint(1, 254)
        return IPv6, "2001:db8::%x" % self.flow, "2001:db8:1::%x" % self.random.randint(1, 65535)

    def ip4(self, source, target):
        chosen = IP(src=source, dst=target, ttl=self.random.randint(1, 255),
                    tos=self.random.randint(0, 255), id=self.random.randint(0, 65535),
                    flags=self.random.choice(["", "DF"]))
        if self.random.random() < .1:
            chosen.options = [IPOption(b"\x07\x07\x04\x01\x02\x03\x04"), IPOption(b"\x01")]
        if self.random.random() < .03:
            chosen.chksum = self.random.randint(1, 65534)
        return chosen

    def ip6(self, source, target):
        header = IPv6(src=source, dst=target, hlim=self.random.randint(1, 255),
                      tc=self.random.randint(0, 255), fl=self.random.randint(0, 0xfffff))
        for extension in (IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt):
            if self.random.random() < .25:
                header = header / extension(
                    options=[PadN(optdata=bytes(self.random.choice([2, 4, 12])))])
        if self.random.random() < .1:
            header = header / IPv6ExtHdrRouting(addresses=["2001:db8::99"], segleft=0)
        return header

    def ip(self, kind, source, target):
        return self.ip4(source, target) if kind is IP else self.ip6(source, target)

    def syn_options(self):
        chosen = [("MSS", self.random.randint(500, 9000))]
        if self.random.random() < .7:
            chosen.append(("SAckOK", b""))
        if self.random.random() < .7:
            chosen.append(("Timestamp", (self.random.getrandbits(32), 0)))
        if self.random.random() < .8:
            chosen += [("NOP", None), ("WScale", self.random.randint(0, 14))]
        return chosen

    def data_options(self):
        chosen = []
        if self.random.random() < .5:
            chosen += [("NOP", None), ("NOP", None),
                       ("Timestamp", (self.random.getrandbits(32), self.random.getrandbits(32)))]
        if self.random.random() < .3:
            left = self.random.randint(0, 1 << 31)
            chosen += [("NOP", None), ("NOP", None), ("SAck", (left, left + 100))]
        if self.random.random() < .1:
            chosen.append((253, b"\x12\x34" + self.blob(4)))
        return chosen

    def add(self, packet):
        self.frames.append(bytes(packet))

    def segment(self, flow, sender, flags, data=b"", chosen=()):
        """One segment of a flow: moves the sender's sequence number."""
        kind, addresses, ports, seq, link = flow
        header = TCP(sport=ports[sender], dport=ports[1 - sender], flags=flags, seq=seq[sender],
                     ack=seq[1 - sender] if "A" in flags else 0, options=list(chosen),
                     window=self.random.randint(0, 65535),
                     urgptr=self.random.randint(1, 99) if "U" in flags else 0)
        if self.random.random() < .03:
            header.chksum = self.random.randint(1, 65534)
        self.add(link / self.ip(kind, addresses[sender], addresses[1 - sender]) / header / data)
        moves = len(data) + ("S" in flags) + ("F" in flags)
        seq[sender] = (seq[sender] + moves) & 0xffffffff

    def connection(self):
        kind, client, server = self.ends()
        # some begin where the sequence numbers wrap
        seq = [self.random.choice([self.random.getrandbits(32), 0xffffff00]) for _ in range(2)]
        ports = (self.random.randint(1024, 65535), self.random.choice([5001, 7001, 9001]))
        flow = (kind, (client, server), ports, seq, self.link())
        if self.random.random() < .9:
            self.segment(flow, 0, "S" + self.random.choice(["", "EC"]), b"", self.syn_options())
            self.segment(flow, 1, "SA", b"", self.syn_options())
            self.segment(flow, 0, "A")
        for _ in range(self.random.randint(8, 20)):
            flags = self.random.choice(["A", "PA", "PA", "PAU", "AE", "AN"])
            self.segment(flow, self.random.randint(0, 1), flags, self.blob(90),
                         self.data_options())
        if self.random.random() < .8:
            self.segment(flow, 0, "FA")
            self.segment(flow, 1, "FPA", b"bye")
        else:
            self.segment(flow, 0, "R")

    def single(self):
        kind, source, target = self.ends()
        what = self.random.choice(["udp", "udp", "udp0", "icmp", "arp", "padded"])
        if what == "arp":
            self.add(self.link() / ARP(op=self.random.choice([1, 2]), psrc="10.1.2.3",
                                       pdst="10.1.2.%d" % self.random.randint(1, 254)))
            return
        ports = {"sport": self.random.randint(20000, 30000),
                 "dport": self.random.randint(30001, 39999)}
        packet = self.link() / self.ip(kind, source, target)
        if what == "icmp":
            echo = ICMP if kind is IP else ICMPv6EchoRequest
            self.add(packet / echo(id=self.random.randint(0, 65535), seq=3) / self.blob(60))
            return
        header = UDP(**ports)
        if what == "udp0":
            header.chksum = 0 if kind is IP else self.random.randint(1, 65534)
        self.add(packet / header / Raw(self.blob(200)))
        if what == "padded":
            self.frames[-1] += bytes(self.random.randint(1, 18))

    def pieces(self, kind, source, target):
        """The fragments of one UDP datagram."""
        ports = {"sport": self.random.randint(20000, 30000),
                 "dport": self.random.randint(30001, 39999)}
        data = self.blob(1500) + bytes(100)
        size = 8 * self.random.randint(8, 60)
        ident = self.random.getrandbits(16)
        if kind is IP:
            whole = IP(src=source, dst=target, id=ident) / UDP(**ports) / Raw(data)
            return fragment(whole, fragsize=size)
        whole = IPv6(src=source, dst=target) / UDP(**ports) / Raw(data)
        text = bytes(IPv6(bytes(whole)).payload)
        cuts = range(0, len(text), size)
        return [IPv6(src=source, dst=target) /
                IPv6ExtHdrFragment(nh=17, id=ident, offset=at // 8, m=int(at + size < len(text))) /
                Raw(text[at:at + size]) for at in cuts]

    def fragmented(self):
        kind, source, target = self.ends()
        link = self.link()
        parts = self.pieces(kind, source, target)
        if self.random.random() < .4:
            self.random.shuffle(parts)
        if self.random.random() < .1:
            parts = parts[1:]
        for part in parts:
            self.add(link / part)


def make_frames():
    maker = Maker(SEED)
    work = [maker.connection] * FLOWS + [maker.single] * SINGLES + [maker.fragmented] * FRAGMENTED
    maker.random.shuffle(work)
    for step in work:
        step()
    return maker.frames


def write_pcap(path, link, frames):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, link))
        for i, frame in enumerate(frames):
            file.write(struct.pack("<IIII", 1700000000 + i // 1000, i % 1000 * 1000,
                                   len(frame), len(frame)))
            file.write(frame)


def write_pcapng(path, link, frames):
    def block(kind, body):
        body += bytes(-len(body) % 4)
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    with open(path, "wb") as file:
        file.write(block(0x0a0d0d0a, struct.pack("<IHHq", 0x1a2b3c4d, 1, 0, -1)))
        file.write(block(1, struct.pack("<HHI", link, 0, 262144)))
        for i, frame in enumerate(frames):
            at = 1700000000000000 + i
            file.write(block(6, struct.pack("<IIIII", 0, at >> 32, at & 0xffffffff, len(frame),
                                            len(frame)) + frame))


# --- the two readers ------------------------------------------------------------------------------


def ours(path):
    done = subprocess.run([PACKGATE, "decode", "--json", "--session-port", "0", path],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=120)
    expect_equal(done.returncode, 0, "exit code of decode (%s)" % done.stderr.decode())
    return [json.loads(line) for line in done.stdout.splitlines()]


def theirs(path, folder):
    """A dictionary of tshark's fields a packet; each a list of texts."""
    names = [name for name, _, _ in FIELDS] + [name for name, _ in LISTS] + list(OUTER.values())
    command = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=/t", "-E",
               "occurrence=a", "-E", "aggregator=|"]
    for kind in ("ip.check_checksum", "tcp.check_checksum", "udp.check_checksum"):
        command += ["-o", kind + ":TRUE"]
    for name in names:
        command += ["-e", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          timeout=200, env=dict(os.environ, HOME=folder, XDG_CONFIG_HOME=folder))
    expect_equal(done.returncode, 0, "exit code of tshark (%s)" % done.stderr.decode()[-300:])
    rows = []
    for line in done.stdout.decode().split("\n")[:-1]:
        cells = line.split("\t")
        rows.append({name: cell.split("|") for name, cell in zip(names, cells) if cell})
    return rows


class Comparison:
    """What both print of each packet, counted by field."""

    def __init__(self, name):
        self.name = name
        self.compared = {}

    def one(self, number, field, mine, other):
        expect_equal(mine, other, "%s, packet %d, %s: ours against tshark's" %
                     (self.name, number, field))
        self.compared[field] = self.compared.get(field, 0) + 1

    def fields(self, number, packet, row):
        for field, path, convert in FIELDS:
            mine = of(packet, path)
            if mine is None or field not in row:
                continue
            other = convert(row[field][0])
            if field.endswith("checksum.status"):
                other = VERDICTS.get(other, other)
                if "unchecked" in (mine, other):
                    continue
            self.one(number, field, mine, other)

    def lists(self, number, packet, row):
        for field, take in LISTS:
            other = [int(text, 0) for text in row.get(OUTER.get(field), []) + row.get(field, [])]
            if field == "tcp.option_kind" and 0 in other:
                other = other[:other.index(0) + 1]  # behind the end of the list lies padding
            if other:
                self.one(number, field, take(packet), other)

    def packets(self, mine, other):
        expect_equal(len(mine), len(other), "%s: number of packets" % self.name)
        for number, (packet, row) in enumerate(zip(mine, other), 1):
            self.fields(number, packet, row)
            self.lists(number, packet, row)


# --- checks ---------------------------------------------------------------------------------------


def check_many(folder, frames):
    path = os.path.join(folder, "many.pcap")
    write_pcap(path, 1, frames)
    expect(len(frames) >= LEAST, "only %d packets", len(frames))
    comparison = Comparison("Ethernet")
    comparison.packets(ours(path), theirs(path, folder))
    # a field that is never compared is no agreement
    for field in [name for name, _, _ in FIELDS] + [name for name, _ in LISTS]:
        expect(comparison.compared.get(field, 0) >= 20, "%s was compared %d times", field,
               comparison.compared.get(field, 0))
    print("# %d packets, %d fields compared" % (len(frames), sum(comparison.compared.values())))


def check_reassembly(folder, frames):
    """As many datagrams became whole, with their ports and length, as tshark says."""
    path = os.path.join(folder, "many.pcap")
    done = subprocess.run(["tshark", "-n", "-r", path, "-Y",
                           "ip.reassembled.length || ipv6.reassembled.length", "-T", "fields",
                           "-e", "frame.number", "-e", "ip.reassembled.length", "-e",
                           "ipv6.reassembled.length"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=True, timeout=200,
                          env=dict(os.environ, HOME=folder, XDG_CONFIG_HOME=folder))
    other = {}
    for line in done.stdout.decode().splitlines():
        cells = line.split("\t")
        other[int(cells[0])] = int(cells[1] or cells[2])
    mine = {packet["packet"]["number"]: packet["reassembled"]["bytes"] for packet in ours(path)
            if "reassembled" in packet}
    expect(len(mine) > FRAGMENTED // 2, "only %d datagrams became whole", len(mine))
    expect_equal(mine, other, "reassembled datagrams")


def check_links(folder, frames):
    plain = [frame for frame in frames if frame[12:14] in (b"\x08\x00", b"\x86\xdd")]
    plain = plain[:LINK_PACKETS]
    cooked = [struct.pack(">HHH8s", 0, 1, 6, b"\2" * 8) + frame[12:] for frame in plain]
    cooked2 = [frame[12:14] + struct.pack(">HIHBB8s", 0, 2, 1, 0, 6, b"\2" * 8) + frame[14:]
               for frame in plain]
    family = {b"\x08\x00": 2, b"\x86\xdd": 30}
    null = [struct.pack("<I", family[frame[12:14]]) + frame[14:] for frame in plain]
    loop = [struct.pack(">I", {2: 2, 30: 24}[family[frame[12:14]]]) + frame[14:] for frame in plain]
    for name, number, made in (("cooked", 113, cooked), ("cooked2", 276, cooked2),
                               ("raw", 101, [frame[14:] for frame in plain]),
                               ("null", 0, null), ("loop", 108, loop)):
        path = os.path.join(folder, name + ".pcap")
        write_pcap(path, number, made)
        mine = ours(path)
        Comparison(name).packets(mine, theirs(path, folder))
        for packet in mine:
            expect_equal(packet["link"]["type"], name, "link type")
            expect("ipv4" in packet or "ipv6" in packet, "%s: no IP in %r", name, packet)


def check_pcapng(folder, frames):
    path = os.path.join(folder, "some.pcapng")
    write_pcapng(path, 1, frames[:500])
    comparison = Comparison("pcapng")
    comparison.packets(ours(path), theirs(path, folder))
    expect(sum(comparison.compared.values()) > 5000, "little was compared")


def main():
    report = Report()
    if not shutil.which("tshark"):
        raise Skipped("tshark is not installed")
    with tempfile.TemporaryDirectory() as folder:
        frames = make_frames()
        report.check("every field of %d packets" % len(frames), check_many, folder, frames)
        report.check("reassembled datagrams", check_reassembly, folder, frames)
        report.check("the other link types", check_links, folder, frames)
        report.check("pcapng", check_pcapng, folder, frames)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
