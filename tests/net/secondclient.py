# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""A second client, written from docs/protocol.md alone, on a plain UDP socket.

It shares nothing with the C side nor with the witness: where it had to guess, the page was mended.
Frames are made and judged by the page's own code; what a client does with them is here, in the
order of the page's last section.

    client = Client.connect(sock, ("10.77.0.1", 4000), server_public, b"token")
    client.send(b"hello")
    client.run(until=lambda: client.received, seconds=2)
"""

import collections
import os
import random
import select
import socket
import struct
import time

from secondclient_series import ACK, DATA, RELIABLE, Series, page

PING, PONG, OPENSTREAM, STREAMOPEN, CLOSESTREAM = 0x5, 0x6, 0x7, 0x8, 0x9
SHAKEHAND, HANDSHAKE, GOAWAY = 0xA, 0xB, 0xC
RETRY, TRIES = 0.5, 5
ANSWERING_SECONDS, KEEP_ALIVE_SECONDS = 30.0, 15.0
LARGEST_PAYLOAD = 1172
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_DO = 10, 23, 2


class Refused(Exception):
    """The session cannot be had; the text says why."""


# --- opening (section 5) -------------------------------------------------------------------------

class Opening:
    """One handshake: the shakehand to send and what the answers mean."""

    def __init__(self, server_public, token, wish=0, allow_unguarded=False, wishes=b""):
        self.client_id = random.randrange(1, 0x10000)
        self.wish, self.allow_unguarded = wish, allow_unguarded
        self.cookie, self.asked_with_cookie, self.put_off = bytes(16), False, False
        prologue = b"udpack/1" + struct.pack(">HBB", self.client_id, 1, wish)
        self.noise, self.message = page.ask(prologue, server_public, os.urandom(32),
                                            page.question(token, wishes))

    def shakehand(self, time_ms):
        payload = bytes([1, self.wish]) + self.cookie + self.message
        return page.header(self.client_id << 16, time_ms, 0, SHAKEHAND, len(payload), ()) + payload

    def take(self, frame):
        """None: go on waiting; "again", "later"; else (session id, ikm, terms). Raises Refused."""
        if page.validity(frame, "s2c", False) or frame[13] != HANDSHAKE:
            return None
        session, code, rest = int.from_bytes(frame[:4], "big"), frame[16], frame[17:]
        if session >> 16 != self.client_id:
            return None
        if code == 2 and len(rest) == 16 and not self.asked_with_cookie:
            self.cookie, self.asked_with_cookie = rest, True
            return "again"
        if code == 0xFF and not rest and not self.put_off:
            self.put_off = True
            return "later"
        return self.verdict(session, code, rest) if code in (0, 1) else None

    def verdict(self, session, code, message):
        try:
            noise, text = page.finish(self.noise, message)
        except Exception:  # pylint: disable=broad-except
            return None                      # it does not verify: anybody can send it
        if code == 1:
            if text:
                return None
            raise Refused("the server refused the token")
        if text[4:6] != (session & 0xFFFF).to_bytes(2, "big"):
            return None                      # the header is not authenticated
        terms = page.read_terms(text)
        if not terms[1] and not self.allow_unguarded:
            raise Refused("the server offers no guard")
        return session, b"".join(noise.split()), terms


# --- streams (section 1) -------------------------------------------------------------------------

class Stream:
    """The state of one stream at its client, by the table of closing."""

    def __init__(self, number, policy):
        self.number, self.policy, self.state = number, policy, "OPEN"
        self.wants_close = self.owes_close = False
        self.tries, self.next_try, self.until = 0, None, None

    def try_again(self, now, fresh=False):
        """One more closestream or openstream; the next is due later each time."""
        if fresh:
            self.tries = 0
        self.next_try = now + RETRY * 2 ** self.tries
        self.tries += 1

    def end(self, answers, now):
        self.state = "CLOSE"
        self.until = now + ANSWERING_SECONDS if answers else None


# --- a session -----------------------------------------------------------------------------------

class Client:  # pylint: disable=too-many-instance-attributes
    """A session on a socket. What came is in received, gaps, pongs, goaway and refused."""

    def __init__(self, sock, target):
        self.sock, self.target = sock, target
        level, option = ((socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER) if sock.family == socket.AF_INET6
                         else (socket.IPPROTO_IP, IP_MTU_DISCOVER))
        sock.setsockopt(level, option, PMTUDISC_DO)
        self.last_ms, self.lose = 0, lambda way, frame: False
        self.received, self.gaps, self.pongs = collections.deque(), [], []
        self.goaway, self.refused, self.terms = None, collections.Counter(), None
        self.acks, self.sealed, self.sent = collections.Counter(), {}, collections.Counter()
        self.ours = self.theirs = None
        self.series, self.streams = {}, {}
        self.confirms, self.room, self.receive_timeout = False, 0, 12.0
        self.next_stream, self.last_sent = random.randrange(1, 2 ** 31 + 1), time.monotonic()

    @classmethod
    def provisioned(cls, sock, target, session, secret, aead=1, guard_on=True, policy=RELIABLE):
        client = cls(sock, target)
        client.begin(session, secret, aead, guard_on, policy, LARGEST_PAYLOAD)
        return client

    @classmethod
    def connect(cls, sock, target, server_public, token=b"", wish=0, allow_unguarded=False,
                lose=None, confirm=True, largest=LARGEST_PAYLOAD):
        """Ask, and return the session that the server granted. Raises Refused."""
        client = cls(sock, target)
        client.lose = lose or client.lose
        opening = Opening(server_public, token, wish, allow_unguarded,
                          page.parameters(largest, 60, 16))
        session, ikm, terms = client.ask(opening)
        client.terms = terms
        aead, guard_on, policy, _, granted = terms
        client.begin(session, ikm, aead, guard_on, policy, min(largest, granted.get(1, 1172)))
        client.confirms = True
        if confirm:
            client.confirm()
        return client

    def ask(self, opening):
        for attempt in range(TRIES):
            opening.asked_with_cookie = opening.put_off = False
            self.put(opening.shakehand(self.now_ms()))
            end = time.monotonic() + RETRY * 2 ** attempt
            while (left := end - time.monotonic()) > 0:
                answer = opening.take(self.get(left) or b"")
                if answer == "again":
                    self.put(opening.shakehand(self.now_ms()))
                elif answer == "later":
                    end += RETRY * 2 ** attempt
                elif answer:
                    return answer
        raise Refused("no answer to %d shakehands" % TRIES)

    def begin(self, session, ikm, aead, guard_on, policy, largest):
        self.ours = page.Keys(session, ikm, "c2s", aead, guard_on)
        self.theirs = page.Keys(session, ikm, "s2c", aead, guard_on)
        self.series[0] = Series(0, policy, self.receive_timeout)
        self.room = largest - 16 - (8 if guard_on else 0)

    @property
    def id(self):
        return self.ours.id

    # --- the socket ------------------------------------------------------------------------------

    def now_ms(self):
        self.last_ms = max(self.last_ms, int(time.time() * 1000))
        return self.last_ms

    def put(self, frame):
        self.last_sent = time.monotonic()
        if not self.lose("c2s", frame):
            self.sock.sendto(frame, self.target)

    def get(self, seconds):
        """One datagram from the server, or None when the time is up."""
        if not select.select([self.sock], [], [], max(0, seconds))[0]:
            return None
        frame, source = self.sock.recvfrom(2049)
        if source[:2] != self.target[:2] or self.lose("s2c", frame):
            return None
        return frame

    def control(self, opcode, payload=b"", **more):
        self.put(page.control(self.ours, self.now_ms(), opcode, payload, **more))

    def run(self, until=lambda: False, seconds=1.0):
        """Send, receive and keep time until something is true; whether it became so."""
        end = time.monotonic() + seconds
        while self.ours is not None:
            self.tick(time.monotonic())
            if until():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            frame = self.get(min(left, 0.02))
            while frame is not None:
                self.take(frame, time.monotonic())
                frame = self.get(0)
        return until()

    # --- what an application asks ----------------------------------------------------------------

    def send(self, plain, stream=0):
        """A packet for the server; its state tells what became of it."""
        return self.series[stream].give(lambda pack, text: self.seal(stream, pack, text), plain)

    def seal(self, stream, pack, plain):
        frames = page.seal_packet(self.ours, self.now_ms(), stream, pack, plain, self.room)
        if len(frames) > 512:
            raise ValueError("a packet of %d bytes is too long" % len(plain))
        return [(page.ids(frame)[2], frame) for frame in frames]

    def open_stream(self, policy=None):
        number, self.next_stream = self.next_stream, self.next_stream + 1
        self.streams[number] = Stream(number, policy)
        self.series[number] = Series(number, policy or 0, self.receive_timeout)
        self.ask_for_stream(self.streams[number], time.monotonic())
        return number

    def ask_for_stream(self, stream, now):
        self.control(OPENSTREAM, b"" if stream.policy is None else bytes([stream.policy]),
                     stream=stream.number)
        stream.try_again(now)

    def close_stream(self, number):
        self.streams[number].wants_close = True

    def ping(self, payload):
        self.control(PING, payload)

    def confirm(self):
        """The final handshake, which carries a guard wherever the session has one or not."""
        self.put(page.confirmation(self.ours, self.now_ms()))

    def leave(self):
        self.control(GOAWAY, b"\0")
        self.wipe()

    def wipe(self):
        self.ours = self.theirs = None
        self.series, self.streams = {}, {}

    # --- time ------------------------------------------------------------------------------------

    def tick(self, now):
        for series in list(self.series.values()):
            if series.stream == 0 or self.streams[series.stream].state != "OPEN":
                for frame in series.to_send(now):
                    self.put_sealed(frame)
            self.hand_on(series, now)
        for stream in list(self.streams.values()):
            self.tick_stream(stream, now)
        if now - self.last_sent >= KEEP_ALIVE_SECONDS:
            if self.ours.guard_on:
                self.ping(os.urandom(8))
            else:
                self.send(b"")

    def put_sealed(self, frame):
        """A nonce has one frame for ever: a copy must be the same to the byte."""
        ids = tuple(page.ids(frame))
        assert self.sealed.setdefault(ids, frame) == frame, "two frames under one nonce"
        self.sent[ids] += 1
        self.put(frame)

    @property
    def resent(self):
        return sum(times - 1 for times in self.sent.values())

    def tick_stream(self, stream, now):
        settled = not self.series[stream.number].unsettled
        due = stream.next_try is not None and now >= stream.next_try
        if stream.state == "OPEN" and due:
            if stream.tries < TRIES:
                self.ask_for_stream(stream, now)
            else:
                stream.end(False, now)
        elif stream.state == "READY" and settled and stream.owes_close:
            self.control(CLOSESTREAM, stream=stream.number)
            stream.state, stream.until, stream.next_try = "R1", now + ANSWERING_SECONDS, None
        elif stream.state == "READY" and settled and stream.wants_close:
            self.control(CLOSESTREAM, stream=stream.number)
            stream.state = "C1"
            stream.try_again(now, fresh=True)
        elif stream.state in ("C1", "C2") and due:
            if stream.tries < TRIES:
                self.control(CLOSESTREAM, stream=stream.number)
                stream.try_again(now)
            else:
                stream.end(False, now)
        elif stream.state == "R1" and now >= stream.until:
            stream.end(True, now)

    def hand_on(self, series, now):
        for what, *more in series.deliver(now):
            if what == "gap":
                self.gaps.append((series.stream, *more))
            else:
                self.received.append((series.stream, more[0]))

    # --- receiving, in the order of the page -----------------------------------------------------

    def take(self, frame, now):
        reason = self.judge(frame, now) if self.ours else "no_session"
        if reason:
            self.refused[reason] += 1

    def judge(self, frame, now):
        reason = page.validity(frame, "s2c", self.ours.guard_on)
        if reason:
            return reason
        if frame[13] == HANDSHAKE:
            return self.take_handshake(frame)
        if int.from_bytes(frame[:4], "big") != self.id:
            return "no_session"
        stream, pack, fragment = page.ids(frame)
        if stream not in self.series:
            return "no_stream"
        if self.ours.guard_on and not page.guard_right(self.theirs, frame):
            return "guard"
        if frame[13] == DATA:
            return self.take_data(self.series[stream], frame, now)
        payload = frame[page.header_bytes(frame):len(frame) - (8 if self.ours.guard_on else 0)]
        if frame[13] == ACK:
            self.acks["fragments" if fragment else "whole"] += 1
            good = self.series[stream].take_ack(pack, fragment, bool(frame[12] & 1), payload)
            return None if good else "ack_unknown"
        return self.take_control(frame[13], stream, payload, now)

    def take_handshake(self, frame):
        """The answer came again: the confirmation was lost."""
        if not self.confirms or frame[:4] != self.id.to_bytes(4, "big") or frame[16] != 0:
            return "unexpected"
        self.confirm()
        return None

    def take_data(self, series, frame, now):
        stream, pack, fragment = page.ids(frame)
        if stream and self.streams[stream].state == "CLOSE":
            return "no_stream"
        reason = series.judge(pack, fragment)
        again = reason == "replay_seen" and series.reliable
        if reason and not again:
            return reason
        try:
            plain = page.open_data(self.theirs, frame)
        except Exception:  # pylint: disable=broad-except
            return "tag"
        if stream:
            self.opened(self.streams[stream])
        whole = True if again else series.take(pack, fragment, bool(frame[12] & 1), plain, now)
        if whole is None:
            return "fragment_conflict"
        if series.reliable:
            self.ack(series, pack, whole)
        self.hand_on(series, now)
        return "replay_seen" if again else None

    def ack(self, series, pack, whole):
        if whole:
            self.control(ACK, stream=series.stream, pack=pack)
        else:
            top, bits, last = series.held(pack)
            self.control(ACK, bits, stream=series.stream, pack=pack, fragment=top, last=last)

    def opened(self, stream):
        if stream.state == "OPEN":
            stream.state, stream.next_try = "READY", None

    def take_control(self, opcode, number, payload, now):
        if opcode == PING:
            self.control(PONG, payload)
        elif opcode == PONG:
            self.pongs.append(payload)
        elif opcode == GOAWAY:
            self.goaway = payload[0]
            self.wipe()
        elif opcode == STREAMOPEN:
            if self.streams[number].state == "OPEN":
                self.opened(self.streams[number])
                self.control(STREAMOPEN, stream=number)
        elif opcode == CLOSESTREAM:
            self.take_closestream(self.streams[number], now)
        return None

    def take_closestream(self, stream, now):
        if stream.state == "OPEN":
            stream.end(False, now)           # a refusal: no answer
        elif stream.state == "READY":
            stream.owes_close = True         # answered when what was sent is settled
        elif stream.state == "C1":
            self.control(CLOSESTREAM, stream=stream.number)
            stream.state = "C2"
            stream.try_again(now, fresh=True)
        elif stream.state == "C2":
            stream.end(False, now)
        elif stream.state == "R1" or (stream.until is not None and now < stream.until):
            self.control(CLOSESTREAM, stream=stream.number)
            stream.end(True, now)
