#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""`packgate decode --follow`: the rebuilt captures of tests/vectors number by number, and generated
traffic against tshark, which finds sequence numbers, windows and oddities in its own way.
"""

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

from lab import binary
from lab_report import Report, Skipped, expect, expect_equal

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
VECTORS = os.path.join(ROOT, "tests", "vectors")


def load_generator():
    path = os.path.join(VECTORS, "make_seed_pcaps.py")
    spec = importlib.util.spec_from_file_location("make_seed_pcaps", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()
FIN, SYN, RST, PSH, ACK = (GENERATOR.FIN, GENERATOR.SYN, GENERATOR.RST, GENERATOR.PSH,
                           GENERATOR.ACK)


def packgate(*words):
    done = subprocess.run([binary("packgate"), "decode"] + list(words), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False,
                          env=dict(os.environ, TZ="UTC"))
    expect(done.returncode == 0 and not done.stderr, "decode %s: exit code %d, %r", words,
           done.returncode, done.stderr)
    return done.stdout


def follow(path):
    """(segments, reports) of a capture, as JSON has them."""
    objects = [json.loads(line) for line in packgate(path, "--follow", "--json").splitlines()]
    return ([o for o in objects if "packet" in o],
            [o["connection"] for o in objects if "connection" in o])


def vector(name):
    return os.path.join(VECTORS, "seed_%s.pcap" % name)


# --- the captures of tests/vectors ------------------------------------------------------------------

# capture -> rows of (sender, flags, seq, ack, data bytes, client, server, events), numbers relative
HTTP_HANDSHAKE = [
    ("client", "S", 0, None, 0, "SYN-SENT", "SYN-RECEIVED", []),
    ("server", "S.", 0, 1, 0, "ESTABLISHED", "SYN-RECEIVED", []),
    ("client", ".", 1, 1, 0, "ESTABLISHED", "ESTABLISHED", ["established"]),
]
OPEN = ("ESTABLISHED", "ESTABLISHED")
HTTP_EXCHANGE = [
    ("client", "P.", 1, 1, 83, *OPEN, []),
    ("server", ".", 1, 84, 0, *OPEN, []),
    ("server", "P.", 1, 84, 551, *OPEN, []),
    ("client", ".", 84, 552, 0, *OPEN, []),
]
CAPTURES = {
    "handshake": HTTP_HANDSHAKE,
    "push_exchange": [HTTP_EXCHANGE[0][:7] + (["mid_stream"],)] + HTTP_EXCHANGE[1:],
    "http_8080": HTTP_HANDSHAKE + HTTP_EXCHANGE + [
        ("client", "F.", 84, 552, 0, "FIN-WAIT-1", "CLOSE-WAIT", []),
        ("server", "F.", 552, 85, 0, "TIME-WAIT", "LAST-ACK", []),
        ("client", ".", 85, 553, 0, "TIME-WAIT", "CLOSED", []),
    ],
    "fin_ack_close": [
        ("client", "F.", 1, 1, 0, "FIN-WAIT-1", "CLOSE-WAIT", ["mid_stream"]),
        ("server", ".", 1, 2, 0, "FIN-WAIT-2", "CLOSE-WAIT", []),
        ("server", "FP.", 1, 2, 0, "TIME-WAIT", "LAST-ACK", []),
        ("client", ".", 2, 2, 0, "TIME-WAIT", "CLOSED", []),
    ],
    "socat": HTTP_HANDSHAKE + [
        ("client", "P.", 1, 1, 4, *OPEN, []),
        ("server", ".", 1, 5, 0, *OPEN, []),
        ("client", "P.", 5, 1, 5, *OPEN, []),
        ("server", ".", 1, 10, 0, *OPEN, []),
        ("client", "F.", 10, 1, 0, "FIN-WAIT-1", "CLOSE-WAIT", []),
        ("server", ".", 1, 11, 0, "FIN-WAIT-2", "CLOSE-WAIT", []),
        ("server", "F.", 1, 11, 0, "TIME-WAIT", "LAST-ACK", []),
        ("client", ".", 11, 2, 0, "TIME-WAIT", "CLOSED", []),
    ],
    "hello_client": HTTP_HANDSHAKE + [
        ("server", "P.", 1, 1, 12, *OPEN, []),
        ("client", ".", 1, 13, 0, *OPEN, []),
        ("server", "F.", 13, 1, 0, "CLOSE-WAIT", "FIN-WAIT-1", []),
        ("client", ".", 1, 14, 0, "CLOSE-WAIT", "FIN-WAIT-2", []),
        ("client", "F.", 1, 14, 0, "LAST-ACK", "TIME-WAIT", []),
        ("server", ".", 14, 2, 0, "CLOSED", "TIME-WAIT", []),
    ],
    "raw_acks": [
        ("client", ".", 1, 1, 0, *OPEN, ["mid_stream"]),
        ("client", ".", 1, 181, 0, *OPEN, []),
    ],
}

# capture -> (end, whole, handshake in us, bytes of client and server, what was unusual)
OUTCOMES = {
    "handshake": ("open", True, 269, 0, 0, []),
    "push_exchange": ("open", False, None, 83, 551, ["mid_stream"]),
    "http_8080": ("three_packets", True, 269, 83, 551, []),
    "fin_ack_close": ("four_packets", False, None, 0, 0, ["mid_stream"]),
    "socat": ("four_packets", True, 280, 9, 0, []),
    "hello_client": ("four_packets", True, 200, 0, 12, []),
    "raw_acks": ("open", False, None, 0, 0, ["mid_stream"]),
}

# capture -> absolute (seq, ack) of packets, counted from 1, as the dumps have them
ABSOLUTE = {
    "http_8080": {1: (81252687, 0), 2: (1249490391, 81252688), 3: (81252688, 1249490392),
                  5: (1249490392, 81252771), 6: (1249490392, 81252771),
                  7: (81252771, 1249490943), 8: (81252771, 1249490943)},
    "fin_ack_close": {1: (39940673, 2621492551), 2: (2621492551, 39940674),
                      3: (2621492551, 39940674), 4: (39940674, 2621492552)},
    "socat": {1: (613001225, 0), 2: (3640232842, 613001226), 4: (613001226, 3640232843),
              6: (613001230, 3640232843), 8: (613001235, 3640232843),
              10: (3640232843, 613001236), 11: (613001236, 3640232844)},
    "raw_acks": {1: (1887528850, 1815060471)},
}

# what the dumps say of the checksum, in the order of the packets that have one
CHECKSUMS = {
    "http_8080": {1: 0xe489, 2: 0xd541, 3: 0x6f5d, 4: 0x5d26, 5: 0x6f16, 6: 0x8669, 7: 0x6cda,
                  8: 0x6cd9},
    "fin_ack_close": {1: 0x590b, 2: 0xd35b, 3: 0xd352, 4: 0x590a},
    "raw_acks": {1: 0x7313, 2: 0x725f},
}


def row_of(packet):
    tcp, note = packet["tcp"], packet["follow"]
    return (note["sender"], tcp["flags"], note["seq"], note.get("ack"), tcp["data_bytes"],
            note["client"], note["server"], note["events"])


def check_capture(name):
    packets, reports = follow(vector(name))
    expect_equal(len(packets), len(CAPTURES[name]), "packets")
    for number, (packet, wanted) in enumerate(zip(packets, CAPTURES[name]), 1):
        expect_equal(row_of(packet), wanted, "packet %d" % number)
        note, tcp = packet["follow"], packet["tcp"]
        taken = tcp["data_bytes"] + ("S" in tcp["flags"]) + ("F" in tcp["flags"])
        expect_equal(note["next"], note["seq"] + taken, "next of packet %d" % number)
        expect_equal(tcp["checksum"]["verdict"], "good", "checksum of packet %d" % number)
    for number, wanted in ABSOLUTE.get(name, {}).items():
        tcp = packets[number - 1]["tcp"]
        expect_equal((tcp["seq"], tcp["ack"]), wanted, "numbers of packet %d" % number)
    for number, wanted in CHECKSUMS.get(name, {}).items():
        found = packets[number - 1]["tcp"]["checksum"]["found"]
        expect_equal(found, wanted, "checksum of packet %d" % number)
    check_outcome(reports, packets[-1]["follow"], OUTCOMES[name])


def check_outcome(reports, last, wanted):
    expect_equal(len(reports), 1, "reports")
    report = reports[0]
    expect_equal((report["end"], report["whole"], report.get("handshake_us"),
                  report["client"]["bytes"], report["server"]["bytes"], report["unusual"]),
                 wanted, "the report")
    expect_equal((report["client"]["state"], report["server"]["state"]),
                 (last["client"], last["server"]), "states in the report")
    expect_equal(last["ended"], wanted[0] != "open", "ended")


THREE_PACKETS = """\
15:19:46.245125 IP 21.49.22.1.36584 > 192.168.11.209.8080: Flags [F.], seq 84, ack 552, win 237*128, options [nop,nop,TS val 1501371295 ecr 3984009034], length 0
    #1 from client: client FIN-WAIT-1, server CLOSE-WAIT; next 85, in flight 1
15:19:46.245231 IP 192.168.11.209.8080 > 21.49.22.1.36584: Flags [F.], seq 552, ack 85, win 217*128, options [nop,nop,TS val 3984009035 ecr 1501371295], length 0
    #1 from server: client TIME-WAIT, server LAST-ACK; next 553, acks 1, in flight 1
15:19:46.245250 IP 21.49.22.1.36584 > 192.168.11.209.8080: Flags [.], ack 553, win 237*128, options [nop,nop,TS val 1501371295 ecr 3984009035], length 0
    #1 from client: client TIME-WAIT, server CLOSED; next 85, acks 1
connection #1 21.49.22.1:36584 > 192.168.11.209:8080: closed in three packets; client TIME-WAIT, server CLOSED
    handshake 0.000269 s (server 0.000250 s, client 0.000019 s), lasted 0.001230 s
    client: 6 segments, 83 bytes; server: 4 segments, 551 bytes
    unusual: nothing
"""


def check_text():
    found = packgate(vector("http_8080"), "--follow")
    expect(found.endswith(THREE_PACKETS), "the close reads %r", found[-len(THREE_PACKETS):])
    plain = packgate(vector("http_8080"))
    kept = [line for line in found.splitlines() if line.startswith("15:")]
    expect_equal(plain.splitlines(), kept, "the packets' lines without --follow")
    verbose = packgate(vector("http_8080"), "--follow", "-v")
    expect_equal(verbose.count("    follow: connection 1, sender "), 10, "parts with -v")


def check_regenerated(folder):
    subprocess.run([sys.executable, os.path.join(VECTORS, "make_seed_pcaps.py"), folder],
                   check=True)
    made = sorted(os.listdir(folder))
    expect_equal(made, sorted(n for n in os.listdir(VECTORS) if n.endswith(".pcap")), "files")
    for name in made:
        with open(os.path.join(folder, name), "rb") as new, \
                open(os.path.join(VECTORS, name), "rb") as old:
            expect(new.read() == old.read(), "%s differs from what is stored", name)


# --- generated traffic against tshark ---------------------------------------------------------------

SEED = 9293
CONNECTIONS = 300
ROUND_TRIP_US = 2000


class Talk:
    """One connection as a sequence of segments; time goes on by itself."""

    def __init__(self, rng, number):
        self.rng = rng
        self.time = number * 20000000
        self.segments = []
        self.ports = (20000 + number, 80)
        self.seq = [rng.getrandbits(32), rng.getrandbits(32)]
        if number % 5 == 0:  # near the wrap
            self.seq = [2 ** 32 - 1 - rng.randrange(3000) for _ in range(2)]
        self.shift = [rng.randrange(9) if number % 3 else None for _ in range(2)]
        self.window = [rng.randrange(2000, 60000) for _ in range(2)]

    def send(self, end, flags, data=0, seq=None, after=None, ack=None, window=None, lose=False):
        """A segment of end 0 or 1; seq and ack are what is due unless given."""
        self.time += after if after is not None else self.rng.randrange(1, ROUND_TRIP_US // 2)
        number = self.seq[end] if seq is None else seq
        row = (self.time, end, flags, number & 0xffffffff,
               (self.seq[1 - end] if ack is None else ack) & 0xffffffff if flags & ACK else 0,
               data, self.window[end] if window is None else window)
        if seq is None:
            self.seq[end] += data + bool(flags & SYN) + bool(flags & FIN)
        if not lose:
            self.segments.append(row)
        return row

    def again(self, row, after):
        self.time += after
        self.segments.append((self.time,) + row[1:])

    def open(self):
        self.send(0, SYN)
        if self.rng.random() < 0.1:
            self.again(self.segments[-1], 1000000)
        self.send(1, SYN | ACK, after=ROUND_TRIP_US // 2)
        self.send(0, ACK, after=ROUND_TRIP_US // 2)

    def close(self):
        how = self.rng.randrange(4)
        first = self.rng.randrange(2)
        if how == 0:
            self.send(first, RST | ACK)
            return
        self.send(first, FIN | ACK)
        if how == 1:
            self.send(1 - first, ACK)
        if how == 3:
            self.send(1 - first, FIN | ACK, ack=self.seq[first] - 1)
            self.send(first, ACK)
            self.send(1 - first, ACK)
            return
        self.send(1 - first, FIN | ACK)
        self.send(first, ACK)

    # what may happen between

    def exchange(self, end):
        for _ in range(self.rng.randrange(1, 4)):
            self.send(end, PSH | ACK, self.rng.randrange(2, 1400))
        self.send(1 - end, ACK)

    def timeout(self, end):
        row = self.send(end, PSH | ACK, self.rng.randrange(2, 1400))
        self.again(row, 300000)
        self.send(1 - end, ACK)

    def spurious(self, end):
        row = self.send(end, PSH | ACK, self.rng.randrange(2, 1400))
        self.send(1 - end, ACK)
        self.again(row, 300000)

    def lost_before(self, end):
        """Lost between sender and capture: duplicates, then sent again as an answer to them."""
        start = self.seq[end]
        lost = self.send(end, PSH | ACK, 700, lose=True)
        for _ in range(3):
            self.send(end, PSH | ACK, 600, after=20)
        for _ in range(4):
            self.send(1 - end, ACK, ack=start, after=30)
        self.again(lost, ROUND_TRIP_US + 1000)
        self.send(1 - end, ACK)

    def overtaken(self, end):
        first = self.send(end, PSH | ACK, 500, lose=True)
        self.send(end, PSH | ACK, 400, after=5)
        self.again(first, 10)
        self.send(1 - end, ACK)

    def not_captured(self, end):
        self.send(end, PSH | ACK, 800, lose=True)
        self.send(1 - end, ACK)
        self.send(end, PSH | ACK, 300)
        self.send(1 - end, ACK)

    def zero_window(self, end):
        self.send(end, PSH | ACK, 900)
        self.send(1 - end, ACK, window=0)
        probe = self.seq[end]
        for wait in (300000, 600000):
            self.send(end, ACK, 1, seq=probe, after=wait)
            self.send(1 - end, ACK, window=0)
        self.send(1 - end, ACK, window=self.window[1 - end])
        self.send(end, PSH | ACK, 100)
        self.send(1 - end, ACK)

    def idle(self, end):
        """The other end's window stays as it was, so its answers are plain."""
        self.send(end, PSH | ACK, 50)
        self.send(1 - end, ACK)
        for _ in range(2):
            self.send(end, ACK, self.rng.randrange(2), seq=self.seq[end] - 1, after=2000000)
            self.send(1 - end, ACK)

    def window_update(self, end):
        self.window[end] += 17
        self.send(end, ACK)

    def window_full(self, end):
        shift = self.shift[1 - end] if None not in self.shift else 0
        self.send(1 - end, ACK, window=1000 >> shift)
        self.send(end, PSH | ACK, 1000 >> shift << shift)
        self.send(1 - end, ACK)


HAPPENINGS = (Talk.exchange, Talk.timeout, Talk.spurious, Talk.lost_before, Talk.overtaken,
              Talk.not_captured, Talk.zero_window, Talk.idle, Talk.window_update,
              Talk.window_full)


def make_talk(rng, number):
    talk = Talk(rng, number)
    if number % 10 != 9:  # the others begin in the middle
        talk.open()
    for _ in range(rng.randrange(1, 7)):
        end = rng.randrange(2)
        rng.choice(HAPPENINGS)(talk, end)
        if rng.random() < 0.5:
            talk.exchange(1 - end)
    talk.close()
    return talk


def options_of(talk, end, flags):
    if not flags & SYN:
        return b""
    options = GENERATOR.mss(1460)
    if talk.shift[end] is not None:
        options += GENERATOR.NOP + GENERATOR.scale(talk.shift[end])
    return options


def write_traffic(path):
    rng = random.Random(SEED)
    packets = []
    for number in range(CONNECTIONS):
        talk = make_talk(rng, number)
        wire = GENERATOR.Connection(("192.0.2.1", talk.ports[0]), ("198.51.100.2", talk.ports[1]))
        for time, end, flags, seq, ack, data, window in talk.segments:
            wire.segment("00:00:00.000000", ("client", "server")[end], flags, seq, ack, window,
                         options_of(talk, end, flags), b"x" * data)
            packets.append((time + GENERATOR.DAY * 1000000, wire.packets[-1][1]))
    GENERATOR.write(path, GENERATOR.ETHERNET, packets)
    return len(packets)


# tshark field -> our events; its other fields have no counterpart here
ANALYSIS = {
    "tcp.analysis.retransmission": "retransmission",
    "tcp.analysis.fast_retransmission": "fast_retransmission",
    "tcp.analysis.spurious_retransmission": "spurious_retransmission",
    "tcp.analysis.out_of_order": "out_of_order",
    "tcp.analysis.lost_segment": "gap",
    "tcp.analysis.duplicate_ack": "duplicate_ack",
    "tcp.analysis.keep_alive": "keep_alive",
    "tcp.analysis.keep_alive_ack": "keep_alive_ack",
    "tcp.analysis.zero_window": "zero_window",
    "tcp.analysis.zero_window_probe": "zero_window_probe",
    "tcp.analysis.zero_window_probe_ack": "zero_window_probe_ack",
    "tcp.analysis.window_update": "window_update",
    "tcp.analysis.window_full": "window_full",
}
COMPARED = set(ANALYSIS.values()) | {"ack_unseen"}
NUMBERS = ("frame.time_epoch", "tcp.srcport", "tcp.dstport", "tcp.flags.reset", "tcp.stream",
           "tcp.seq", "tcp.nxtseq", "tcp.ack", "tcp.window_size",
           "tcp.analysis.duplicate_ack_num")


def tshark(path, folder):
    names = NUMBERS + tuple(ANALYSIS)
    command = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|"]
    for name in names:
        command += ["-e", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          check=True, env=dict(os.environ, HOME=folder))
    return [dict(zip(names, line.split("|"))) for line in done.stdout.splitlines()]


def signed(text):
    """A relative number; those before the first captured one are below 0."""
    return (int(text) + 2 ** 31) % 2 ** 32 - 2 ** 31


class Witness:
    """What tshark's rows say, put right where its own words go too far."""

    def __init__(self):
        self.ends, self.acks, self.times = {}, {}, {}

    def events(self, row):
        events = {ours for field, ours in ANALYSIS.items() if row[field]}
        # of a retransmission tshark sets the general field beside the special one
        if events & {"fast_retransmission", "spurious_retransmission"}:
            events.discard("retransmission")
        # nothing comes back from the other end that soon: it was only overtaken
        now, stream = float(row["frame.time_epoch"]), row["tcp.stream"]
        if "fast_retransmission" in events and now - self.times[stream] < ROUND_TRIP_US / 2e6:
            events = events - {"fast_retransmission"} | {"out_of_order"}
        self.times[stream] = now
        return events | self.unseen(row)

    def unseen(self, row):
        """tshark flags each acknowledgment behind a gap, of captured bytes too."""
        way = (row["tcp.stream"], row["tcp.srcport"])
        back = (row["tcp.stream"], row["tcp.dstport"])
        ack, captured = signed(row["tcp.ack"]), self.ends.get(back)
        if row["tcp.flags.reset"] == "1":
            return set()
        new = captured is not None and ack > max(captured, self.acks.get(way, 0))
        self.acks[way] = max(ack, self.acks.get(way, 0))
        if not row["tcp.analysis.zero_window_probe"]:
            end = signed(row["tcp.nxtseq"] or row["tcp.seq"])
            self.ends[way] = max(end, self.ends.get(way, 0))
        return {"ack_unseen"} if new else set()


def check_against_tshark(folder):
    if not shutil.which("tshark"):
        raise Skipped("tshark is not installed")
    path = os.path.join(folder, "traffic.pcap")
    count = write_traffic(path)
    packets, reports = follow(path)
    rows = tshark(path, folder)
    expect_equal((len(packets), len(rows)), (count, count), "packets")
    expect_equal(len({r["number"] for r in reports}), CONNECTIONS, "connections reported")
    wrong, seen, witness = [], set(), Witness()
    for number, (packet, row) in enumerate(zip(packets, rows), 1):
        note = packet["follow"]
        found, wanted = set(note["events"]) & COMPARED, witness.events(row)
        seen |= wanted
        pairs = [("connection", note["connection"], int(row["tcp.stream"]) + 1),
                 ("seq", note["seq"], int(row["tcp.seq"])),
                 ("ack", note.get("ack", 0), int(row["tcp.ack"])),
                 ("events", found, wanted)]
        if "window_bytes" in note:
            pairs.append(("window", note["window_bytes"], int(row["tcp.window_size"])))
        if row["tcp.analysis.duplicate_ack_num"] and "duplicate_ack" in found:
            pairs.append(("duplicates", note["duplicates"],
                          int(row["tcp.analysis.duplicate_ack_num"])))
        wrong += ["packet %d: %s %r, tshark %r" % (number, what, our, their)
                  for what, our, their in pairs if our != their]
    expect(not wrong, "%d differences of %d packets: %s", len(wrong), count, "; ".join(wrong[:12]))
    missing = COMPARED - seen
    expect(not missing, "the traffic shows no %s", missing)


def main():
    report = Report()
    for name in CAPTURES:
        report.check("capture " + name.replace("_", " "), check_capture, name)
    report.check("lines for eyes", check_text)
    with tempfile.TemporaryDirectory() as folder:
        report.check("captures are made anew byte for byte", check_regenerated, folder)
    with tempfile.TemporaryDirectory() as folder:
        report.check("generated traffic against tshark", check_against_tshark, folder)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
