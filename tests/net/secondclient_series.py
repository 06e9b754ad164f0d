# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""One series of packets of the second client, both ways: docs/protocol.md, sections 1 and 4."""

import protocol_page

page = protocol_page.load()

RELIABLE, NEWEST, UNORDERED = 0, 1, 2
DATA, ACK = 0x0, 0x4
FIRST_RETRY, TRIES, GIVE_UP_SECONDS = 0.5, 9, 10.0
IN_FLIGHT_FRAMES, AHEAD = 32, 1024
INCOMPLETE_SECONDS = 2.0


class Outgoing:
    """A packet on its way to the server: its frames, of which each is made once."""

    def __init__(self, pack, frames):
        self.pack, self.state = pack, "INIT"
        self.unacked = dict(frames)          # fragment id (0: the whole packet) -> frame
        self.count = len(self.unacked)
        self.sent = {}                       # fragment id -> [times, first, next]

    def due(self, now):
        """The fragment ids to send again, or Failed by its state."""
        again = []
        for number in self.unacked:
            times, first, following = self.sent.get(number, (0, now, now))
            if times and now >= following:
                if times >= TRIES or now - first >= GIVE_UP_SECONDS:
                    self.state = "FAIL"
                    return []
                again.append(number)
        return again

    def note_sent(self, number, now):
        times, first, _ = self.sent.get(number, (0, now, now))
        self.sent[number] = [times + 1, first, now + FIRST_RETRY * 2 ** min(times, 4)]
        self.state = "SENT" if len(self.sent) == self.count else "FRAGMENTING"


class Assembly:
    """The fragments of a packet that is not whole."""

    def __init__(self, now):
        self.pieces, self.end, self.began, self.latest = {}, 0, now, now

    def contradicts(self, fragment, last):
        if self.end:
            return fragment > self.end or last != (fragment == self.end)
        return last and fragment < max(self.pieces, default=0)

    def put(self, fragment, last, plain, now):
        """Take a fragment; the packet when it is whole now."""
        self.pieces[fragment], self.latest = plain, now
        if last:
            self.end = fragment
        if len(self.pieces) != self.end:
            return None
        return b"".join(self.pieces[number] for number in range(1, self.end + 1))


class Series:
    """What a stream, or the session's own series, keeps."""

    def __init__(self, stream, policy, receive_timeout):
        self.stream, self.policy, self.receive_timeout = stream, policy, receive_timeout
        self.next_pack, self.unsettled, self.failed = 1, {}, []
        self.window, self.next_deliver = page.Window(), 1
        self.waiting, self.parts = {}, {}    # packId -> (plain, when it came), Assembly

    @property
    def reliable(self):
        return self.policy == RELIABLE

    # --- sending ---------------------------------------------------------------------------------

    def give(self, frames_of, plain):
        """A new packet; frames_of makes its (fragment id, frame) pairs."""
        packet = Outgoing(self.next_pack, frames_of(self.next_pack, plain))
        self.next_pack += 1
        self.unsettled[packet.pack] = packet
        return packet

    def to_send(self, now):
        """The frames that may leave now; what is not acked leaves again."""
        ready = []
        in_flight = sum(len(packet.sent.keys() & packet.unacked.keys())
                        for packet in self.unsettled.values())
        lowest = min(self.unsettled, default=0)
        for packet in list(self.unsettled.values()):
            if not self.reliable:
                ready += packet.unacked.values()
                packet.state = "SENT"
                del self.unsettled[packet.pack]
                continue
            numbers = packet.due(now)
            if packet.state == "FAIL":
                self.failed.append(packet.pack)
                del self.unsettled[packet.pack]
                continue
            fresh = [number for number in packet.unacked if number not in packet.sent]
            if packet.pack - lowest < AHEAD:
                numbers += fresh[:max(0, IN_FLIGHT_FRAMES - in_flight)]
                in_flight += len(fresh)
            for number in numbers:
                packet.note_sent(number, now)
                ready.append(packet.unacked[number])
        return ready

    def take_ack(self, pack, fragment, last, bits):
        """An ack of the server; whether it made sense."""
        if not self.reliable or pack >= self.next_pack:
            return False
        packet = self.unsettled.get(pack)
        if fragment:
            return self.take_fragment_ack(packet, fragment, last, bits)
        if packet:
            packet.state = "SUCC"
            del self.unsettled[pack]
        return True

    @staticmethod
    def take_fragment_ack(packet, fragment, last, bits):
        if packet is None:
            return True                      # settled already
        spare = 8 * len(bits) - fragment
        if len(bits) != (fragment + 7) // 8 or bits[-1] & (1 << spare) - 1:
            return False
        if fragment > packet.count or last != (fragment == packet.count):
            return False
        acked = page.acked_fragments(fragment, bits)
        if not acked <= packet.sent.keys():
            return False
        for number in acked:
            packet.unacked.pop(number, None)
        return True

    # --- receiving -------------------------------------------------------------------------------

    def judge(self, pack, fragment):
        """Whether a data frame may be opened: None, or the reason against it."""
        if fragment and self.policy == NEWEST:
            return "fragment_unsupported"
        reason = page.check(self.window, pack, self.policy == NEWEST)
        if reason is None and self.reliable and pack < self.next_deliver:
            return "replay_old"              # skipped: a late copy
        return reason

    def take(self, pack, fragment, last, plain, now):
        """An authentic new frame; whether its packet is whole, or None for a contradiction."""
        if fragment:
            assembly = self.parts.setdefault(pack, Assembly(now))
            if assembly.contradicts(fragment, last):
                return None
            page.commit(self.window, pack, whole=False)
            plain = assembly.put(fragment, last, plain, now)
            if plain is None:
                return False
            del self.parts[pack]
        elif pack in self.parts:
            return None
        page.commit(self.window, pack)
        self.waiting[pack] = plain, now
        return True

    def held(self, pack):
        """What an ack of fragments says: the id to name, its bits, and whether it carries FIN."""
        assembly = self.parts[pack]
        top, bits = page.ack_bits(set(assembly.pieces))
        return top, bits, top == assembly.end

    def deliver(self, now):
        """[("packet", plain) or ("gap", first, count)] whose turn has come."""
        if not self.reliable:
            out = [("packet", plain) for plain, _ in self.waiting.values()]
            self.waiting.clear()
            self.parts = {pack: assembly for pack, assembly in self.parts.items()
                          if now - assembly.began <= INCOMPLETE_SECONDS}
            return out
        out = []
        while True:
            if self.next_deliver in self.waiting:
                out.append(("packet", self.waiting.pop(self.next_deliver)[0]))
                self.next_deliver += 1
                continue
            following = self.after_gap(now)
            if following is None:
                return out
            out.append(("gap", self.next_deliver, following - self.next_deliver))
            self.parts = {pack: assembly for pack, assembly in self.parts.items()
                          if pack >= following}
            self.next_deliver = following

    def after_gap(self, now):
        """The id to go on with if the missing ones before it are to be skipped now."""
        oldest = min((came for _, came in self.waiting.values()), default=now)
        if self.waiting:
            first = min(self.waiting)
            if (first - self.next_deliver > 1024 or self.window.highest - self.next_deliver >= 1024
                    or now - oldest >= self.receive_timeout):
                return first
        stale = [pack for pack, assembly in self.parts.items()
                 if now - assembly.latest >= self.receive_timeout]
        return min(stale) + 1 if stale else None
