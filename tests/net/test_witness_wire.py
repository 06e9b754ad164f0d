#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""The lab's packet builder against scapy: headers, checksums, tags, options and fragments."""

import logging
import random
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)
# pylint: disable=wrong-import-position
from scapy.all import (IP, UDP, Dot1Q, Ether, IPOption_NOP, IPv6, IPv6ExtHdrFragment, Raw, raw)

from lab_report import Report, expect, expect_equal
from lab_wire import (ETH_P_8021AD, ETH_P_8021Q, ETH_P_IPV4, ETH_P_IPV6, Broken, ethernet, ipv4,
                      ipv6, packed, take_apart, udp)

TARGET_MAC, SOURCE_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
IPV4 = ("10.77.0.9", "10.77.0.1")
IPV6 = ("fd77::9", "fd77::1")
SPORT, DPORT = 30000, 4000
ONE_TAG = ((ETH_P_8021Q, 5),)
TWO_TAGS = ((ETH_P_8021AD, 6), (ETH_P_8021Q, 7))


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ours(addresses, payload, vlans=(), **fields):
    source, target = packed(addresses[0]), packed(addresses[1])
    kind, build = (ETH_P_IPV6, ipv6) if len(source) == 16 else (ETH_P_IPV4, ipv4)
    body = udp(source, target, SPORT, DPORT, payload)
    return ethernet(mac(TARGET_MAC), mac(SOURCE_MAC), kind,
                    build(source, target, body, **fields), vlans)


def theirs(network, payload, vlans=()):
    packet = Ether(dst=TARGET_MAC, src=SOURCE_MAC)
    if vlans:
        packet.type = vlans[0][0]
    for index, (_, tag) in enumerate(vlans):
        more = {"type": vlans[index + 1][0]} if index + 1 < len(vlans) else {}
        packet = packet / Dot1Q(vlan=tag, **more)
    return raw(packet / network / UDP(sport=SPORT, dport=DPORT) / Raw(payload))


def scapy_ipv4(**fields):
    return IP(src=IPV4[0], dst=IPV4[1], id=0, **{"flags": "DF", **fields})


def scapy_ipv6():
    return IPv6(src=IPV6[0], dst=IPV6[1], hlim=64)


def check_build(made, wanted):
    expect_equal(made.hex(), wanted.hex(), "frame")


def check_fragment():
    """The fragment header as test_gate_reasons.py writes it."""
    source, target = packed(IPV6[0]), packed(IPV6[1])
    head = raw(IPv6ExtHdrFragment(nh=17, offset=185, m=1, id=0x77))
    expect_equal(head.hex(), "110005c900000077", "fragment header of offset 1480")
    packet = ipv6(source, target, head + bytes(8), next_header=44)
    expect_equal(IPv6(packet)[IPv6ExtHdrFragment].offset, 185, "offset that scapy reads")


def check_take_apart(frame, vlans):
    datagram = take_apart(frame)
    addresses = IPV6 if ":" in datagram.source else IPV4
    expect_equal((datagram.source, datagram.target), addresses, "addresses")
    expect_equal((datagram.sport, datagram.dport), (SPORT, DPORT), "ports")
    expect_equal((datagram.payload, datagram.vlans), (b"payload", vlans), "payload and tags")
    expect(datagram.dont_fragment, "DF is not seen")


def check_broken(frame, at):
    """One changed byte of a checksummed field does not pass."""
    try:
        take_apart(frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1:])
    except Broken:
        return
    expect(False, "a changed byte %d passes", at)


def main():
    report, generator = Report(), random.Random(1)
    for size in (0, 1, 7, 28, 29, 64, 333, 1172):
        payload = generator.randbytes(size)
        for label, vlans in (("", ()), (", one tag", ONE_TAG), (", two tags", TWO_TAGS)):
            report.check("IPv4, %d bytes%s" % (size, label), check_build,
                         ours(IPV4, payload, vlans), theirs(scapy_ipv4(), payload, vlans))
            report.check("IPv6, %d bytes%s" % (size, label), check_build,
                         ours(IPV6, payload, vlans), theirs(scapy_ipv6(), payload, vlans))
    options = [IPOption_NOP()] * 4
    report.check("IPv4 options", check_build, ours(IPV4, b"x", options=b"\1\1\1\1"),
                 theirs(scapy_ipv4(options=options), b"x"))
    report.check("IPv4 first fragment", check_build, ours(IPV4, b"x", flags=0x2000),
                 theirs(scapy_ipv4(flags="MF"), b"x"))
    report.check("IPv6 fragment header", check_fragment)
    for label, vlans in (("", ()), (", one tag", ONE_TAG), (", two tags", TWO_TAGS)):
        for name, network in (("IPv4", scapy_ipv4()), ("IPv6", scapy_ipv6())):
            frame = theirs(network, b"payload", vlans)
            report.check("reads %s%s" % (name, label), check_take_apart, frame, vlans)
            report.check("refuses %s%s, payload" % (name, label), check_broken, frame, -1)
    frame = theirs(scapy_ipv4(), b"payload")
    report.check("refuses IPv4, time to live", check_broken, frame, 14 + 8)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
