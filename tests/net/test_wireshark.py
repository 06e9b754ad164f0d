#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""The Wireshark dissector against the published vectors, through tshark."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import witness
from lab_report import Report, Skipped, expect, expect_equal

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "vectors")
SCRIPT = os.path.join(HERE, "..", "..", "deploy", "wireshark", "packgate.lua")
SESSION_PORT, MESSAGE_PORT, CLIENT_PORT = 4000, 4001, 50555
AEADS = {1: "chacha20-poly1305", 2: "aes-256-gcm"}
FIELDS = ["frame.number", "packgate.session", "packgate.opcode", "packgate.stream_id",
          "packgate.pack_id", "packgate.fragment_id", "packgate.guard.right", "packgate.opened",
          "packgate.plain", "packgate.ack.fragments", "packgate.stream.policy", "packgate.goaway",
          "packgate.echo", "packgate.handshake.code", "packgate.timestamp", "_ws.col.Info",
          "_ws.expert.message", "packgate_message.id", "packgate_message.body"]


def load(name):
    with open(os.path.join(VECTORS, name), encoding="ascii") as file:
        return json.load(file)


class Capture:
    """A folder with a capture and secrets; tshark's fields of each packet."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="pg-wireshark-")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def secrets(self, rows):
        with open(self.path("secrets"), "w", encoding="ascii") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")

    def write(self, packets):
        from scapy.all import wrpcap
        wrpcap(self.path("capture"), packets)

    def rows(self, *options):
        command = ["tshark", "-X", "lua_script:" + SCRIPT, "-r", self.path("capture"), "-n",
                   "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"]
        for field in FIELDS:
            command += ["-e", field]
        for option in options:
            command += ["-o", option]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=60, check=False)
        expect(done.returncode == 0, "tshark: %s", done.stderr)
        expect("Error" not in done.stderr, "the script: %s", done.stderr)
        return [dict(zip(FIELDS, line.split("|"))) for line in done.stdout.splitlines()]


def datagram(raw, to_server):
    from scapy.all import IP, UDP, Ether
    ports = (CLIENT_PORT, SESSION_PORT) if to_server else (SESSION_PORT, CLIENT_PORT)
    return Ether() / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=ports[0],
                                                                dport=ports[1]) / raw


def secret_of(row):
    raw = bytes.fromhex(row["frame"])
    return {"client_id": "0x" + raw[:2].hex(), "server_id": "0x" + raw[2:4].hex(),
            "secret": row["ikm"], "aead": AEADS[row.get("aead", 1)]}


def check_header(found, raw):
    expect_equal(int(found["packgate.session"], 16), int.from_bytes(raw[:4], "big"), "session")
    expect_equal(int(found["packgate.opcode"], 16), raw[13], "opcode")
    at = 16
    for flag, field in ((0x80, "stream_id"), (0x40, "pack_id"), (0x20, "fragment_id")):
        if raw[12] & flag:
            wanted = str(int.from_bytes(raw[at:at + 4], "big"))
            expect_equal(found["packgate." + field], wanted, field)
            at += 4
        else:
            expect_equal(found["packgate." + field], "", field)
    seconds, ms = divmod(int.from_bytes(raw[4:12], "big"), 1000)
    clock = time.strftime("%H:%M:%S", time.gmtime(seconds)) + ".%03d" % ms
    expect(clock in found["packgate.timestamp"], "time %r, wanted %s",
           found["packgate.timestamp"], clock)


def check_group(guard, aead):
    """Every frame of the vectors with one guard setting and AEAD, and the same frames broken."""
    frames = [row for row in load("frames.json")["frames"]
              if row["guard"] == guard and row.get("aead", aead) == aead]
    expect(len(frames) >= 12, "the vectors hold %d frames", len(frames))
    with Capture() as capture:
        raws = [bytes.fromhex(row["frame"]) for row in frames]
        broken = [raw[:-1] + bytes([raw[-1] ^ 1]) for raw in raws]
        capture.write([datagram(raw, row["direction"] == "c2s")
                       for group in (raws, broken) for raw, row in zip(group, frames)])
        capture.secrets([dict(secret_of(frames[0]), aead=AEADS[aead])])
        rows = capture.rows("packgate.secrets:" + capture.path("secrets"),
                            "packgate.guard:%s" % ("TRUE" if guard else "FALSE"))
    expect_equal(len(rows), 2 * len(frames), "packets")
    for found, row, raw in zip(rows, frames, raws):
        check_header(found, raw)
        expect_equal(found["packgate.guard.right"], "1" if guard else "", row["name"] + ", guard")
        expect_equal(found["packgate.opened"], "1" if "plain" in row else "",
                     row["name"] + ", opened")
        expect_equal(found["packgate.plain"], row.get("plain", ""), row["name"] + ", plaintext")
    for found, row in zip(rows[len(frames):], frames):
        if guard:
            expect_equal(found["packgate.guard.right"], "0", row["name"] + ", broken guard")
            expect("guard is wrong" in found["_ws.expert.message"], "%s: no expert", row["name"])
        elif "plain" in row:
            expect_equal(found["packgate.opened"], "0", row["name"] + ", broken tag")
            expect("tag is wrong" in found["_ws.expert.message"], "%s: no expert", row["name"])


def check_control_fields():
    """What control frames say, by name of the vector."""
    wanted = {"ack fragments 3 and 1 of 3": ("packgate.ack.fragments", "1 3"),
              "openstream unreliable": ("packgate.stream.policy", "1"),
              "goaway normal": ("packgate.goaway", "0"),
              "ping": ("packgate.echo", b"12345678".hex()),
              "confirming handshake": ("packgate.handshake.code", "0")}
    frames = [row for row in load("frames.json")["frames"] if row["guard"]]
    with Capture() as capture:
        capture.write([datagram(bytes.fromhex(row["frame"]), row["direction"] == "c2s")
                       for row in frames])
        rows = capture.rows()
    seen = set()
    for found, row in zip(rows, frames):
        if row["name"] in wanted:
            field, value = wanted[row["name"]]
            expect_equal(found[field], value, row["name"])
            seen.add(row["name"])
    expect_equal(seen, set(wanted), "vectors seen")


def check_invalid(guard):
    """Every case of the vectors of invalid frames has its reason."""
    cases = [case for case in load("invalid.json")["cases"] if case["guard"] == guard]
    if not cases:
        raise Skipped("the vectors hold no such case")
    with Capture() as capture:
        capture.write([datagram(bytes.fromhex(case["frame"]), case["at"] == "server")
                       for case in cases])
        rows = capture.rows("packgate.guard:%s" % ("TRUE" if guard else "FALSE"))
    for found, case in zip(rows, cases):
        if not case["frame"]:
            continue    # tshark calls no dissector for no bytes
        reason = "" if case["reason"] == "none" else "invalid frame: " + case["reason"]
        expect_equal(found["_ws.col.Info"] if reason else found["_ws.expert.message"], reason,
                     case["name"])


def check_random_bytes():
    """Whatever comes, the script ends without an error of its own."""
    rng = random.Random(7)
    frames = [bytes.fromhex(row["frame"]) for row in load("frames.json")["frames"]]
    raws = []
    for _ in range(400):
        raw = bytearray(rng.choice(frames))
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        raws.append(bytes(raw[:rng.randrange(1, len(raw) + 1)]))
    with Capture() as capture:
        capture.write([datagram(raw, bool(i & 1)) for i, raw in enumerate(raws)])
        capture.secrets([secret_of(load("frames.json")["frames"][0])])
        rows = capture.rows("packgate.secrets:" + capture.path("secrets"),
                            "packgate.messages:TRUE")
    expect_equal(len(rows), len(raws), "packets")
    for row in rows:
        expect("Lua Error" not in row["_ws.col.Info"] + row["_ws.expert.message"], "%r", row)


# --- messages ------------------------------------------------------------------------------------

HEARTBEAT = bytes.fromhex("0801100400000000")


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(number, body):
    return (b"\x08" + varint(number) + b"\x10" + varint(4 + len(body))
            + len(body).to_bytes(4, "little") + body)


def stream(pieces):
    """A TCP connection's segments towards the entrance."""
    from scapy.all import IP, TCP, Ether
    seq, packets = 1000, []
    for piece in pieces:
        packets.append(Ether() / IP(src="192.0.2.1", dst="192.0.2.2")
                       / TCP(sport=CLIENT_PORT, dport=MESSAGE_PORT, flags="PA", seq=seq, ack=1)
                       / piece)
        seq += len(piece)
    return packets


def messages_in(pieces):
    with Capture() as capture:
        capture.write(stream(pieces))
        rows = capture.rows("packgate_message.ports:%d" % MESSAGE_PORT)
    ids = [int(i) for row in rows for i in row["packgate_message.id"].split(",") if i]
    bodies = [b for row in rows for b in row["packgate_message.body"].split(",") if b]
    return ids, bodies, " ".join(row["_ws.expert.message"] for row in rows)


def check_messages(cut):
    rng = random.Random(5)
    bodies = [bytes(rng.randrange(256) for _ in range(size)) for size in (1, 0, 130, 2000)]
    data = HEARTBEAT + b"".join(message(300 + i, body) for i, body in enumerate(bodies))
    pieces = [data[i:i + cut] for i in range(0, len(data), cut)]
    ids, found, _ = messages_in(pieces)
    expect_equal(ids, [1, 300, 301, 302, 303], "ids")
    expect_equal(found, [body.hex() for body in bodies if body], "bodies")


def check_malformed():
    for name, raw, why in (
            ("Id 0", b"\x08\x00\x10\x04\0\0\0\0", "Id 0"),
            ("order", b"\x10\x04\x08\x01\0\0\0\0", "another tag"),
            ("over-long", b"\x08\x81\x00\x10\x04\0\0\0\0", "over-long"),
            ("long varint", b"\x08\x81\x81\x81\x81\x81\x01\x10\x04\0\0\0\0", "over 5 bytes"),
            ("big", b"\x08\xff\xff\xff\xff\x0f\x10\x04\0\0\0\0", "over 2^31-1"),
            ("below 4", b"\x08\x01\x10\x03\0\0\0\0", "below 4"),
            ("not 4 + n", b"\x08\x01\x10\x05\0\0\0\0", "not 4 + n"),
            ("maximum", b"\x08\x01" + b"\x10" + varint(2 ** 20 + 5), "maximum")):
        _, _, experts = messages_in([raw])
        expect(why in experts, "%s: wanted %r in %r", name, why, experts)


def check_message_in_packet():
    """An opened packet that carries messages shows them."""
    session = witness.Session(bytes(range(32)), 0x1234, 0xabcd)
    raw = session.data(HEARTBEAT + message(77, b"body"))
    with Capture() as capture:
        capture.write([datagram(raw, True)])
        capture.secrets([{"client_id": 0x1234, "server_id": 0xabcd,
                          "secret": bytes(range(32)).hex()}])
        row, = capture.rows("packgate.secrets:" + capture.path("secrets"),
                            "packgate.messages:TRUE")
    expect_equal(row["packgate_message.id"], "1,77", "ids")
    expect_equal(row["packgate_message.body"], b"body".hex(), "bodies")


def main():
    report = Report()
    if not shutil.which("tshark"):
        report.skip("all", "tshark is not installed")
        return report.finish()
    for guard in (True, False):
        for aead in (1, 2):
            report.check("frames, guard %s, %s" % ("on" if guard else "off", AEADS[aead]),
                         check_group, guard, aead)
        report.check("invalid frames, guard %s" % ("on" if guard else "off"), check_invalid, guard)
    report.check("control frames", check_control_fields)
    report.check("random bytes", check_random_bytes)
    for cut in (1, 7, 100000):
        report.check("messages on TCP, %d bytes a segment" % cut, check_messages, cut)
    report.check("malformed messages", check_malformed)
    report.check("messages in a packet", check_message_in_packet)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
