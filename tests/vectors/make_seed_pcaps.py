#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Writes seed_*.pcap: TCP connections known only from printed header dumps, rebuilt.

    tests/vectors/make_seed_pcaps.py FOLDER

Addresses, ports, numbers, windows, options, lengths, IP ids, TTLs and times are those of the dumps;
where a dump has a checksum, the packet rebuilt here has it too (build() refuses otherwise), which
proves payload and header together. What no dump tells is chosen here and marked "chosen": the day,
link addresses, payloads whose length alone is known, and the segments that the dumps leave out.
The output depends on nothing but this file.
"""

import os
import socket
import struct
import sys

DAY = 1577836800  # chosen: 2020-01-01 UTC; the dumps have a time of day only

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
ETHERNET, RAW = 1, 101  # link types of the file format
DONT_FRAGMENT = 0x4000

MACS = {  # chosen
    "client": bytes.fromhex("020000000001"),
    "server": bytes.fromhex("020000000002"),
}


def clock(text):
    """Microseconds of "HH:MM:SS.ffffff" on that day."""
    hours, minutes, seconds = text.split(":")
    whole, fraction = seconds.split(".")
    return ((DAY + int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 1000000 + int(fraction))


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def mss(value):
    return struct.pack("!BBH", 2, 4, value)


def stamps(value, echo):
    return struct.pack("!BBII", 8, 10, value, echo)


SACK_OK = bytes([4, 2])
NOP = bytes([1])


def scale(shift):
    return bytes([3, 3, shift])


def syn_options(size, value, echo, shift):
    """mss, sackOK, TS, nop, wscale: the order in which Linux writes them."""
    return mss(size) + SACK_OK + stamps(value, echo) + NOP + scale(shift)


def plain_options(value, echo):
    return NOP + NOP + stamps(value, echo)


class Connection:
    """Two ends and the file their segments go to."""

    def __init__(self, client, server):
        self.ends = {"client": client, "server": server}
        self.packets = []

    def segment(self, time, sender, flags, seq, ack, window, options=b"", data=b"", ip_id=0,
                ttl=64, cksum=None, fragment_bits=DONT_FRAGMENT):
        """A segment of `sender`; cksum is what a dump says of it."""
        receiver = "server" if sender == "client" else "client"
        source, destination = self.ends[sender], self.ends[receiver]
        header = struct.pack("!HHIIHHHH", source[1], destination[1], seq, ack,
                             (20 + len(options)) // 4 << 12 | flags, window, 0, 0) + options
        addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
        text = header + data
        found = checksum(addresses + struct.pack("!BBH", 0, 6, len(text)) + text)
        if cksum is not None and found != cksum:
            sys.exit("%s %s: checksum 0x%04x, the dump says 0x%04x" % (time, sender, found, cksum))
        text = text[:16] + struct.pack("!H", found) + text[18:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(text), ip_id, fragment_bits, ttl, 6, 0)
        ip += addresses
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        ethernet = MACS[receiver] + MACS[sender] + b"\x08\x00"
        self.packets.append((clock(time), ethernet + ip + text))


def write(path, link, packets):
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, link))
        for time_us, data in packets:
            out.write(struct.pack("<IIII", time_us // 1000000, time_us % 1000000, len(data),
                                  len(data)) + data)


# --- HTTP over port 8080: ten packets, closed in three ---------------------------------------------

C, S = 81252687, 1249490391  # initial sequence numbers
CLIENT_CLOCK, SERVER_CLOCK = 1501371294, 3984009034
REQUEST = (b"GET / HTTP/1.1\r\nUser-Agent: curl/7.29.0\r\nHost: 192.168.11.209:8080\r\n"
           b"Accept: */*\r\n\r\n")  # curl 7.29.0 says so; the checksum agrees
RESPONSE_BYTES, RESPONSE_CKSUM = 551, 0x8669
PADDING = b"X-Pad: "


def http_8080():
    return Connection(("21.49.22.1", 36584), ("192.168.11.209", 8080))


def add_handshake(http):
    """The times of SYN and SYN-ACK are chosen, as is the SYN-ACK's id; the third packet is dated."""
    http.segment("15:19:46.244020", "client", SYN, C, 0, 29200,
                 syn_options(1460, CLIENT_CLOCK, 0, 7), ip_id=51921, cksum=0xe489)
    http.segment("15:19:46.244270", "server", SYN | ACK, S, C + 1, 27760,
                 syn_options(1400, SERVER_CLOCK, CLIENT_CLOCK, 7), ttl=63, cksum=0xd541)
    http.segment("15:19:46.244289", "client", ACK, C + 1, S + 1, 229,
                 plain_options(CLIENT_CLOCK, SERVER_CLOCK), ip_id=51922, cksum=0x6f5d)


def response():
    """551 bytes that begin as the dump says; two of them make the checksum the dump's."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + PADDING
    tail = b"\r\n\r\n"
    return head + b"." * (RESPONSE_BYTES - len(head) - len(tail)) + tail


def fitted_response(http):
    """The response, its padding changed until the segment has the checksum of the dump."""
    data = bytearray(response())
    place = len(data) - 40
    place += place % 2
    trial = Connection(http.ends["client"], http.ends["server"])
    trial.segment("00:00:00.000000", "server", PSH | ACK, S + 1, C + 84, 217,
                  plain_options(SERVER_CLOCK, CLIENT_CLOCK), bytes(data), 37523, 63)
    found = struct.unpack("!H", trial.packets[0][1][14 + 20 + 16:][:2])[0]
    # raising the data by d lowers the checksum by d, in ones' complement; in printable steps
    missing = (found - RESPONSE_CKSUM) % 0xffff
    high, low = divmod(missing, 256)
    for offset, column, amount in ((0, 0, high), (0, 1, low)):
        spread(data, place + offset + column, amount)
    return bytes(data)


def spread(data, first, amount):
    """Adds amount to one column of 16-bit words, at most 60 a byte: printable stays printable."""
    while amount:
        part = min(amount, 60)
        data[first] += part
        amount -= part
        first -= 2


def add_exchange(http):
    http.segment("15:19:46.244357", "client", PSH | ACK, C + 1, S + 1, 229,
                 plain_options(CLIENT_CLOCK, SERVER_CLOCK), REQUEST, 51923, cksum=0x5d26)
    http.segment("15:19:46.244552", "server", ACK, S + 1, C + 84, 217,
                 plain_options(SERVER_CLOCK, CLIENT_CLOCK), b"", 37522, 63, cksum=0x6f16)
    http.segment("15:19:46.244853", "server", PSH | ACK, S + 1, C + 84, 217,
                 plain_options(SERVER_CLOCK, CLIENT_CLOCK), fitted_response(http), 37523, 63,
                 cksum=RESPONSE_CKSUM)
    http.segment("15:19:46.244870", "client", ACK, C + 84, S + 552, 237,
                 plain_options(CLIENT_CLOCK + 1, SERVER_CLOCK), b"", 51924, cksum=0x6cda)


def add_three_packet_close(http):
    """The server's FIN is known by time, id, TTL and length; the last ACK by the count of packets."""
    http.segment("15:19:46.245125", "client", FIN | ACK, C + 84, S + 552, 237,
                 plain_options(CLIENT_CLOCK + 1, SERVER_CLOCK), b"", 51925, cksum=0x6cd9)
    http.segment("15:19:46.245231", "server", FIN | ACK, S + 552, C + 85, 217,
                 plain_options(SERVER_CLOCK + 1, CLIENT_CLOCK + 1), b"", 37524, 63)
    http.segment("15:19:46.245250", "client", ACK, C + 85, S + 553, 237,
                 plain_options(CLIENT_CLOCK + 1, SERVER_CLOCK + 1), b"", 51926)


def handshake():
    http = http_8080()
    add_handshake(http)
    return http.packets


def push_exchange():
    http = http_8080()
    add_exchange(http)
    return http.packets


def http_whole():
    http = http_8080()
    add_handshake(http)
    add_exchange(http)
    add_three_packet_close(http)
    return http.packets


# --- a close in four packets, captured alone -------------------------------------------------------

def fin_ack_close():
    web = Connection(("172.16.117.132", 56878), ("220.181.38.148", 80))
    c, s = 39940673, 2621492551
    web.segment("02:55:40.416919", "client", FIN | ACK, c, s, 30016, ip_id=44251, cksum=0x590b)
    web.segment("02:55:40.417278", "server", ACK, s, c + 1, 64239, ip_id=10248, ttl=128,
                cksum=0xd35b, fragment_bits=0)
    web.segment("02:55:40.450349", "server", FIN | PSH | ACK, s, c + 1, 64239, ip_id=10249,
                ttl=128, cksum=0xd352, fragment_bits=0)
    web.segment("02:55:40.450403", "client", ACK, c + 1, s + 1, 30016, ip_id=63792, cksum=0x590a)
    return web.packets


# --- a socat session: two lines typed, then interrupted ----------------------------------------------

def socat():
    typed = Connection(("21.49.22.1", 57188), ("192.168.11.209", 7000))
    c, s = 613001225, 3640232842
    rows = (
        ("13:05:42.722152", "client", ACK, 1, 1, 229, 1579727772, 4062365512, b""),
        ("13:05:45.067066", "client", PSH | ACK, 1, 1, 229, 1579730117, 4062365512, b"abc\n"),
        ("13:05:45.067305", "server", ACK, 1, 5, 217, 4062367857, 1579730117, b""),
        ("13:05:53.528372", "client", PSH | ACK, 5, 1, 229, 1579738578, 4062367857, b"defg\n"),
        ("13:05:53.528632", "server", ACK, 1, 10, 217, 4062376318, 1579738578, b""),
        ("13:06:03.300559", "client", FIN | ACK, 10, 1, 229, 1579748351, 4062376318, b""),
        ("13:06:03.340655", "server", ACK, 1, 11, 217, 4062386131, 1579748351, b""),
        ("13:06:03.801402", "server", FIN | ACK, 1, 11, 217, 4062386591, 1579748351, b""),
        ("13:06:03.801435", "client", ACK, 11, 2, 229, 1579748851, 4062386591, b""),
    )
    typed.segment("13:05:42.721872", "client", SYN, c, 0, 29200,
                  syn_options(1460, 1579727772, 0, 7))
    typed.segment("13:05:42.722113", "server", SYN | ACK, s, c + 1, 27760,
                  syn_options(1400, 4062365512, 1579727772, 7))
    for time, sender, flags, seq, ack, window, value, echo, data in rows:
        own, peer = (c, s) if sender == "client" else (s, c)
        typed.segment(time, sender, flags, own + seq, peer + ack, window,
                      plain_options(value, echo), data)
    return typed.packets


# --- "hello client": the server writes 12 bytes and closes, the client closes ----------------------

def hello_client():
    """Only relative numbers are told: initial numbers, times and windows are chosen."""
    hello = Connection(("127.0.0.1", 52000), ("127.0.0.1", 42181))
    c, s = 0xfffffff8, 0x7ffffffe  # the 12 bytes and the numbers behind them pass 2^31
    rows = (
        ("client", SYN, 0, 0, b""), ("server", SYN | ACK, 0, 1, b""), ("client", ACK, 1, 1, b""),
        ("server", PSH | ACK, 1, 1, b"hello client"), ("client", ACK, 1, 13, b""),
        ("server", FIN | ACK, 13, 1, b""), ("client", ACK, 1, 14, b""),
        ("client", FIN | ACK, 1, 14, b""), ("server", ACK, 14, 2, b""),
    )
    for number, (sender, flags, seq, ack, data) in enumerate(rows):
        own, peer = (c, s) if sender == "client" else (s, c)
        hello.segment("10:00:00.%06d" % (number * 100), sender, flags, (own + seq) & 0xffffffff,
                      (peer + ack) & 0xffffffff if flags & ACK else 0, 65495,
                      mss(65495) if flags & SYN else b"", data)
    return hello.packets


# --- two IP packets whose every byte is printed -----------------------------------------------------

def raw_acks():
    packets = (
        b"E\x14\x00(\nx@\x00m\x06eu\xcak\xc9\xe3\xac\x1f]`\xb8\xa5\x00\x16p\x81g\x92l/\x9f\xf7"
        b"P\x10\x01\xfcs\x13\x00\x00",
        b"E\x14\x00(\ny@\x00m\x06et\xcak\xc9\xe3\xac\x1f]`\xb8\xa5\x00\x16p\x81g\x92l/\xa0\xab"
        b"P\x10\x01\xfcr_\x00\x00",
    )
    return [(clock("11:00:0%d.000000" % at), data) for at, data in enumerate(packets)]


FILES = (
    ("seed_handshake.pcap", ETHERNET, handshake),
    ("seed_push_exchange.pcap", ETHERNET, push_exchange),
    ("seed_http_8080.pcap", ETHERNET, http_whole),
    ("seed_fin_ack_close.pcap", ETHERNET, fin_ack_close),
    ("seed_socat.pcap", ETHERNET, socat),
    ("seed_hello_client.pcap", ETHERNET, hello_client),
    ("seed_raw_acks.pcap", RAW, raw_acks),
)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, link, make in FILES:
        write(os.path.join(sys.argv[1], name), link, make())
    return 0


if __name__ == "__main__":
    sys.exit(main())
