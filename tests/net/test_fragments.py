#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Packets larger than a frame, both ways, between the independent witness and the agent.

From one byte to the maximum of 512 fragments, with loss, duplication, reordering and overlapping
retries, through AF_XDP and through plain sockets, over session and streams. The seed of what is lost
is fixed; nothing depends on how fast anything is, but for the bounds of waiting.
"""

import os
import random
import subprocess
import sys
import time

import lab_app
import witness
from lab import ROOT, Lab, require_root, run, wait_until
from lab_app import App
from lab_report import Report, expect, expect_equal
from lab_session import Sessions, configuration, endpoint, open_stream
from lab_wire import Peer, Wire
from witness import ACK, DATA, FIN, FRAGMENT_MOST, PONG, SLOW

REJECTED, DROPS = "packgate_frames_rejected_total", "packgate_gate_drops_total"
BUFFER_BYTES = 4 << 20
TRANSFER_SECONDS = 60
ENDPOINTS = (endpoint("on", 4000), endpoint("off", 4001, guard="off"),
             endpoint("six", 4002, "::"), endpoint("newest", 4003, policy="monotonic"),
             endpoint("app", 4010, deliver="app"), endpoint("app-off", 4011, guard="off",
                                                            deliver="app"))


class Lossy(Peer):
    """A flow on which the network loses, doubles and reorders, both ways."""

    rng, loss = random.Random(0), 0.0

    def take(self, datagram):
        if self.rng.random() < self.loss:
            try:
                self.session.overhear(datagram.payload)
            except witness.Fault as why:
                self.faults.append(str(why))
            return
        before = self.repeats
        super().take(datagram)
        if self.repeats > before:
            self.inbox.append(self.session.receive(datagram.payload))

    def send_some(self, frames):
        """What of the frames the network lets through, in its order, some of it twice."""
        out = [raw for raw in frames for _ in range(self.rng.choice((1, 1, 1, 2)))
               if self.rng.random() >= self.loss]
        self.rng.shuffle(out)
        for raw in out:
            self.send(raw)


class Bench:
    """One agent and sessions at its endpoints."""

    def __init__(self, lab, agent, most):
        self.lab, self.agent, self.most = lab, agent, most
        self.wire = Wire(lab)
        self.sessions = Sessions(lab, agent, self.wire)

    def peer(self, name, aead=1, loss=0.0):
        where = next(row for row in ENDPOINTS if row.name == name)
        peer = self.sessions.new(where, aead)
        peer.__class__ = Lossy
        peer.rng, peer.loss = random.Random("%s %d %g" % (name, aead, loss)), loss
        return peer

    def room(self, peer):
        """Application bytes of one frame."""
        return self.most - witness.TAG_BYTES - (witness.GUARD_BYTES if peer.session.guard else 0)

    def refusals(self):
        """{reason: frames} refused so far, by the gate or the agent."""
        metrics, out = self.agent.scrape(), {}
        for name in (DROPS, REJECTED):
            for reason, count in metrics.by_label(name, "reason").items():
                out[reason] = out.get(reason, 0) + int(count)
        return out


def text(size, salt):
    """Bytes that differ from packet to packet and place to place."""
    return random.Random(size * 1000 + salt).randbytes(size)


# --- transfers -----------------------------------------------------------------------------------

class Transfer:
    """Sends packets on a reliable series and takes what comes back, until both are settled."""

    def __init__(self, peer, frames, wanted, stream=0):
        self.peer, self.stream, self.wanted = peer, stream, wanted
        self.missing = {}
        for raw in frames:
            frame = witness.parse(raw)
            self.missing.setdefault(frame.pack, {})[frame.frag] = raw
        self.order = [witness.parse(raw).pack for raw in frames]

    def on_ack(self, frame):
        packet = self.missing.get(frame.pack, {})
        for frag in witness.acked_parts(frame) if frame.frag else list(packet):
            packet.pop(frag, None)
        if not frame.frag or not packet:
            self.missing.pop(frame.pack, None)

    def take(self, timeout):
        frame = self.peer.receive(timeout)
        if frame is None:
            return False
        if frame.op == ACK:
            self.on_ack(frame)
        elif frame.op == DATA:
            self.peer.send_some([self.peer.session.ack_for(frame)])
        return True

    def echoed(self):
        return self.peer.session.received.get(self.stream, {})

    def run(self):
        """Every round sends what is not acked, once more some of what is, and reads all answers."""
        end = time.monotonic() + TRANSFER_SECONDS
        whole = [raw for packet in self.missing.values() for raw in packet.values()]
        while self.missing or len(self.echoed()) < self.wanted:
            expect(time.monotonic() < end, "after %d s %d packets are not acked, %d of %d came",
                   TRANSFER_SECONDS, len(self.missing), len(self.echoed()), self.wanted)
            frames = [raw for packet in self.missing.values() for raw in packet.values()]
            if self.peer.loss:
                frames += self.peer.rng.sample(whole, min(3, len(whole)))
            self.peer.send_some(frames)
            while self.take(0.05 if self.missing else 0.2):
                pass


def check_transfer(bench, name, aead, sizes, loss, streamed=False):
    """Packets of these sizes go to the server and come back, byte for byte and in order."""
    peer = bench.peer(name, aead)
    stream = open_stream(peer, witness.RELIABLE) if streamed else 0
    peer.loss = loss
    packets = [text(size, index) for index, size in enumerate(sizes)]
    frames = [raw for packet in packets
              for raw in peer.session.packet(packet, stream, most=bench.most)]
    transfer = Transfer(peer, frames, len(packets), stream)
    transfer.run()
    back = transfer.echoed()
    expect([back[pack] for pack in sorted(back)] == packets, "the echoes are not what was sent")
    for frame in (part for held in peer.session.parts.values() for part in held.values()):
        expect(len(frame.payload) <= bench.most, "%s is longer than %d", frame, bench.most)


def sizes_of(bench, guard):
    """From nothing to the maximum, around every bound of the cutting."""
    room = bench.most - witness.TAG_BYTES - (witness.GUARD_BYTES if guard else 0)
    return (0, 1, room - 1, room, room + 1, 2 * room, 2 * room + 1, 8 * room, 9 * room + 5)


def largest(bench, guard):
    return FRAGMENT_MOST * (bench.most - witness.TAG_BYTES - (witness.GUARD_BYTES if guard else 0))


def check_lone(bench):
    """One fragment that is the first and the last is a packet."""
    peer = bench.peer("on")
    for plain in (b"x", b"y" * bench.room(peer)):
        raw, = peer.session.packet(plain, most=bench.most, fragments=1)
        expect_equal(witness.parse(raw).frag, 1, "fragId")
        Transfer(peer, [raw], len(peer.session.received.get(0, {})) + 1).run()
        back = peer.session.received[0]
        expect_equal(back[max(back)], plain, "the echo")


def check_unordered(bench, name):
    """An unordered packet is delivered when it is complete, in whatever order it came; no acks."""
    peer = bench.peer(name)
    stream = open_stream(peer, witness.UNORDERED)
    for count in (2, 3, 17):
        plain = text(count * bench.room(peer) - 1, count)
        frames = peer.session.packet(plain, stream, most=bench.most)
        expect_equal(len(frames), count, "fragments")
        for raw in reversed(frames):
            peer.send(raw)
            peer.send(raw)
        back = peer.session.received.setdefault(stream, {})
        while plain not in back.values():
            frame = peer.receive()
            expect(frame is not None, "no echo of %d fragments", count)
            expect_equal(frame.op, DATA, "opcode")


def check_late_copies(bench, acked_by_gate):
    """Any fragment of a complete packet is answered by the ack of the whole packet."""
    for streamed in (False, True):
        peer = bench.peer("on")
        stream = open_stream(peer) if streamed else 0
        frames = peer.session.packet(text(3 * bench.room(peer), 1), stream, most=bench.most)
        Transfer(peer, frames, 1, stream).run()
        # a transfer that was slow has sent some of its frames again
        peer.send(peer.session.ping(b"settled?"))
        peer.expect((PONG, 0, None), allowed=(ACK, DATA))
        acks = bench.agent.scrape().total("packgate_gate_acks_total")
        for raw in frames:
            peer.send(raw)
            frame = peer.expect((ACK, stream, 1))
            expect_equal(frame.frag, 0, "fragId of the ack")
        moved = bench.agent.scrape().total("packgate_gate_acks_total") - acks
        expect_equal(moved, len(frames) if acked_by_gate else 0, "acks from the driver")


def check_at_the_highest(bench):
    """What is missing of the packet at the highest id, and of one below it, still passes."""
    peer = bench.peer("on")
    session = peer.session
    low, high = (session.packet(text(2 * bench.room(peer), salt), most=bench.most)
                 for salt in (1, 2))
    peer.send(low[0])
    expect_equal(peer.expect((ACK, 0, 1)).frag, 1, "fragId of the ack")
    peer.send(high[1])
    frame = peer.expect((ACK, 0, 2))
    expect_equal((frame.frag, frame.flags & FIN, witness.acked_parts(frame)), (2, FIN, {2}),
                 "the ack of a last fragment alone")
    Transfer(peer, [high[0], low[1]], 2).run()


# --- contradictions ------------------------------------------------------------------------------

def refused(bench, peer, raw, reason):
    """The frame is counted under this reason and nothing else, and is not answered."""
    before = bench.refusals()
    peer.send(raw)

    def moved():
        now = bench.refusals()
        return {key: now[key] - before.get(key, 0) for key in now if now[key] != before.get(key, 0)}

    wait_until(moved, 2, "the refusal of %s" % witness.parse(raw))
    expect_equal(moved(), {reason: 1}, "refused")
    peer.expect_silence(0.02)


def check_contradictions(bench):
    """Fragments that contradict what came before, each under its reason; the packet is not hurt."""
    peer = bench.peer("on")
    session = peer.session
    # a sender that keeps to no rule: it seals a nonce twice
    liar = witness.Session(session.secret, session.client, session.server)
    frames = session.packet(text(3 * bench.room(peer), 1), most=bench.most)
    peer.send(frames[2])
    peer.expect((ACK, 0, 1))
    for label, raw in (
            ("behind the last", session.data(b"x", pack=1, frag=4)),
            ("far behind the last", session.data(b"x", pack=1, frag=512)),
            ("another last behind", liar.data(b"x", pack=1, frag=5, last=True)),
            ("another last in front", liar.data(b"x", pack=1, frag=2, last=True)),
            ("a whole packet of the same id", liar.data(b"x", pack=1))):
        try:
            refused(bench, peer, raw, "fragment_conflict")
        except Exception as why:
            raise type(why)("%s: %s" % (label, why)) from None
    refused(bench, peer, session.data(b"x", pack=1, frag=513), "id_range")
    peer.send(session.data(b"x", pack=2, frag=7))
    peer.expect((ACK, 0, 2))
    refused(bench, peer, liar.data(b"x", pack=2, frag=6, last=True), "fragment_conflict")
    Transfer(peer, frames[:2], 1).run()
    expect_equal(session.received[0][1], text(3 * bench.room(peer), 1), "the packet")
    newest = bench.peer("newest")
    refused(bench, newest, newest.session.data(b"x", pack=1, frag=1, last=True),
            "fragment_unsupported")


def ack_bytes(session, pack, frag, bits, fin=False):
    flags = witness.PACK | witness.FRAG | (FIN if fin else 0)
    return session.control(ACK, bits, flags, 0, pack, frag)


def check_wrong_acks(bench):
    """Fragment acks that contradict themselves or their packet are ignored and counted."""
    peer = bench.peer("on")
    session = peer.session
    room = bench.room(peer)
    peer.send(session.data(b"one frame"))
    peer.expect((ACK, 0, 1), (DATA, 0, 1))
    whole = session.packet(text(3 * room, 1), most=bench.most)
    peer.send_some(whole)
    seen, pack = set(), 2
    while len(seen) < 3:
        frame = peer.receive()
        expect(frame is not None, "the echo has %d of 3 fragments", len(seen))
        if (frame.op, frame.pack) == (DATA, pack):
            seen.add(frame.frag)
    for label, raw in (
            ("of a packet in one frame", ack_bytes(session, 1, 1, b"\x80")),
            ("of an id never sent", ack_bytes(session, pack + 50, 1, b"\x80")),
            ("a byte too many", ack_bytes(session, pack, 2, b"\xc0\0")),
            ("pad bits", ack_bytes(session, pack, 2, b"\xe0")),
            ("its own id not received", ack_bytes(session, pack, 2, b"\x40")),
            ("FIN and another number", ack_bytes(session, pack, 2, b"\xc0", True)),
            ("the last one without FIN", ack_bytes(session, pack, 3, b"\xe0")),
            ("more fragments than sent", ack_bytes(session, pack, 4, b"\xf0"))):
        before = bench.refusals().get("ack_unknown", 0)
        peer.send(raw)
        wait_until(lambda was=before: bench.refusals().get("ack_unknown", 0) == was + 1, 2,
                   "ack_unknown: " + label)
    Transfer(peer, [], 2).run()


# --- the receive buffer --------------------------------------------------------------------------

def fill(bench, peer):
    """Packets behind a missing one, the last fragment of each held back, until one is refused.

    Returns how many bytes were acked, and how many by the first SLOW, if any.
    """
    session, taken, slow_at = peer.session, 0, None
    before = bench.refusals().get("buffer_full", 0)
    size = largest(bench, True)
    while taken < 2 * BUFFER_BYTES:
        frames = session.packet(text(size, taken), most=bench.most)
        for at in range(0, len(frames) - 1, 64):
            part = frames[at:min(at + 64, len(frames) - 1)]
            for raw in part:
                peer.send(raw)
            for _ in part:
                frame = wait_until(lambda: peer.receive(0.5)
                                   or bench.refusals().get("buffer_full", 0) > before, 2,
                                   "an ack, or buffer_full")
                if frame is True:
                    return taken, slow_at
                expect_equal(frame.op, ACK, "opcode")
                taken += bench.room(peer)
                if frame.flags & SLOW and slow_at is None:
                    slow_at = taken
    return taken, slow_at


def check_buffer(bench):
    """The receive buffer is bounded: above half SLOW, full not acked; the next packet is taken."""
    peer = bench.peer("on")
    session = peer.session
    session.next_pack[0] = 1
    taken, slow_at = fill(bench, peer)
    expect(taken < BUFFER_BYTES, "%d bytes were taken, the buffer has %d", taken, BUFFER_BYTES)
    expect(taken > BUFFER_BYTES // 2, "%d bytes were taken of %d", taken, BUFFER_BYTES)
    expect(slow_at and abs(slow_at - BUFFER_BYTES // 2) < BUFFER_BYTES // 8,
           "SLOW from %r bytes on, the half is %d", slow_at, BUFFER_BYTES // 2)
    # the one whose turn it is has the rest of the buffer, in fragments, too
    first = session.packet(text(100 * bench.room(peer), 7), pack=1, most=bench.most)
    for raw in first:
        peer.send(raw)
    last = None
    while last is None or last.frag:
        last = peer.receive()
        expect(last is not None, "the packet whose turn it is was not taken")
        last = last if last.op == ACK and last.pack == 1 else None
    expect(last.flags & SLOW, "the ack of it does not say SLOW")


# --- applications --------------------------------------------------------------------------------

def check_application(bench, name):
    """Long packets reach an application in records with MORE, and leave it so."""
    app = App(bench.agent.app)
    expect_equal(app.hello(name).kind, lab_app.HELLO, "the answer to hello")
    peer = bench.peer(name)
    most = largest(bench, peer.session.guard)
    handle = None
    for number, size in enumerate((1, 65508, 65509, 131072, most), 1):
        plain = text(size, number)
        Transfer(peer, peer.session.packet(plain, most=bench.most), number - 1).run()
        item = app.receive_kind(lab_app.MESSAGE)
        expect(item is not None, "no message of %d bytes", size)
        expect(item.body == plain, "%d bytes of %d arrived, or others", len(item.body), size)
        handle = item.session
        message = app.send(plain, app.ids[name], handle)
        Transfer(peer, [], number).run()
        back = peer.session.received[0]
        expect(back[max(back)] == plain, "what the application sent is not what came")
        done = app.receive_kind(lab_app.SENT, lab_app.ERROR, lab_app.FAILED)
        expect_equal((done.kind, done.message), (lab_app.SENT, message), "what became of it")
    check_refusals(bench, app, peer, handle, name)
    app.close()


def check_refusals(bench, app, peer, handle, name):
    """What is too long, or not continued, is answered by an error; the records around it are not
    lost."""
    most = largest(bench, peer.session.guard)
    count = len(peer.session.received[0])
    head = {"endpoint": app.ids[name], "session": handle}
    first = app.send(b"before", app.ids[name], handle)
    long = app.send(bytes(most + 1), app.ids[name], handle)
    app.socket.send(lab_app.record(lab_app.MESSAGE, b"begun", message=900, flags=lab_app.MORE,
                                   **head)
                    + lab_app.record(lab_app.MESSAGE, b"whole", message=901, **head))
    app.socket.send(lab_app.record(lab_app.MESSAGE, b"begun", message=902, flags=lab_app.MORE,
                                   **head))
    app.socket.send(lab_app.record(lab_app.STREAM_CLOSED, b"", stream=99, **head))
    after = app.send(b"after", app.ids[name], handle)
    Transfer(peer, [], count + 3).run()
    back = peer.session.received[0]
    expect_equal([back[pack] for pack in sorted(back)][-3:], [b"before", b"whole", b"after"],
                 "what was sent around the refused")
    kinds = {}
    for _ in range(7):
        item = app.receive_kind(lab_app.SENT, lab_app.ERROR)
        expect(item is not None, "a record is missing: %r", kinds)
        kinds.setdefault(item.kind, set()).add((item.message, item.stream))
    expect_equal(kinds, {lab_app.SENT: {(first, 0), (901, 0), (after, 0)},
                         lab_app.ERROR: {(long, 0), (900, 0), (902, 0), (0, 99)}},
                 "what became of them")


def reader_in_c(lab):
    """The example's program, built as its Makefile does."""
    run("make", "-s", "-C", os.path.join(ROOT, "examples"), "BUILD=" + lab.directory)
    return os.path.join(lab.directory, "reader")


def check_example(bench, command):
    """The readers of examples/ join the records of a long message, and send it back in parts."""
    said = bench.agent.path("reader")
    with open(said, "wb") as out:
        process = subprocess.Popen([*command, bench.agent.app, "app", "--echo"], stdout=out)
    try:
        wait_until(lambda: os.path.getsize(said), 5, "the answer to hello")
        peer = bench.peer("app")
        for number, size in enumerate((10, 65508, 65509, 200000), 1):
            plain = text(size, number)
            Transfer(peer, peer.session.packet(plain, most=bench.most), number).run()
            back = peer.session.received[0]
            expect(back[max(back)] == plain, "%d bytes did not come back as they were", size)
    finally:
        process.kill()
        process.wait()


# --- runs ----------------------------------------------------------------------------------------

def common(report, bench, label, socket_mode):
    report.check(label + "a lone fragment", check_lone, bench)
    report.check(label + "late copies", check_late_copies, bench, not socket_mode)
    report.check(label + "fragments at and below the highest", check_at_the_highest, bench)
    report.check(label + "contradictions", check_contradictions, bench)
    report.check(label + "acks that contradict", check_wrong_acks, bench)
    for name in ("on", "off"):
        report.check("%sunordered, guard %s" % (label, name), check_unordered, bench, name)
        report.check("%sthe largest, guard %s" % (label, name), check_transfer, bench, name, 2,
                     (largest(bench, name == "on"),), 0.0)


def transfers(report, bench, label):
    for name, aead, streamed in ((name, aead, streamed) for name in ("on", "off")
                                 for aead in (1, 2) for streamed in (False, True)):
        sizes = sizes_of(bench, name == "on")
        row = "%s%s, AEAD %d, %s" % (label, "guard " + name, aead,
                                     "stream" if streamed else "session")
        report.check(row, check_transfer, bench, name, aead, sizes, 0.0, streamed)
        report.check(row + ", 20 % lost", check_transfer, bench, name, aead, sizes, 0.2, streamed)
    report.check(label + "IPv6, 20 % lost", check_transfer, bench, "six", 1,
                 sizes_of(bench, True), 0.2)
    report.check(label + "100 fragments, 10 % lost", check_transfer, bench, "on", 1,
                 (100 * bench.most,) * 2, 0.1)


def run_agent(report, label, most, **more):
    limits = {"receive_timeout_ms": 12000, "max_payload": most}
    with Lab() as lab:
        agent = lab.agent(configuration(ENDPOINTS, limits=limits, **more))
        if report.check(label + "the agent starts", agent.start):
            bench = Bench(lab, agent, most)
            common(report, bench, label, "mode" in more)
            if most == 520:
                report.check(label + "250,000 bytes", check_transfer, bench, "on", 1,
                             (250000, 1, 249999), 0.02)
            else:
                transfers(report, bench, label)
                report.check(label + "the receive buffer", check_buffer, bench)
            for name in ("app", "app-off"):
                report.check("%sapplication, %s" % (label, name), check_application, bench, name)
            report.check(label + "examples/reader.py", check_example, bench,
                         ["/usr/bin/python3", os.path.join(ROOT, "examples", "reader.py")])
            report.check(label + "examples/reader.c", check_example, bench, [reader_in_c(lab)])
            report.check(label + "the agent stops", agent.stop)
        report.last(label + "nothing is left behind", lab.assert_clean)


def main():
    require_root()
    report = Report()
    run_agent(report, "AF_XDP: ", 1172, duplicate_acks="gate")
    run_agent(report, "AF_XDP, max_payload 520: ", 520, duplicate_acks="gate")
    run_agent(report, "socket mode: ", 1172, mode="socket")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
