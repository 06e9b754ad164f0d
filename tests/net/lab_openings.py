# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Many honest clients that open sessions at the same time, each over a UDP socket of its own."""

import select
import socket
import time

from lab import in_namespace
from witness import HANDSHAKE, PONG
from witness_handshake import Opening

RETRY_SECONDS = 0.5
FINALS = 8  # an OPEN session ends after 5 s


class Client:
    """Asks every 500 ms until a pong says that the session is READY at the server, which heard its
    final handshake or the ping behind it; begins anew where that fails until the server forgets.
    """

    def __init__(self, lab, public, target, tries):
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self.socket = in_namespace(lab.client, socket.socket, family, socket.SOCK_DGRAM)
        self.socket.connect(target)
        self.socket.setblocking(False)
        self.public, self.tries_left = public, tries
        self.tries = self.finals = 0
        self.again_at = 0.0
        self.begin()

    def begin(self):
        self.opening, self.session, self.finals = Opening(self.public), None, 0

    def fileno(self):
        return self.socket.fileno()

    def ask(self):
        if self.session and self.finals == FINALS:
            self.begin()
        if self.session:
            self.finals += 1
            self.socket.send(self.opening.final(self.session))
            self.socket.send(self.session.ping())
            return
        raw = self.opening.shakehand()
        self.opening.note_sent(raw)
        self.socket.send(raw)

    def poll(self, now):
        """Ask again when it is time. False when the client has given up."""
        if now < self.again_at:
            return True
        if not self.tries_left:
            return False
        self.again_at = now + RETRY_SECONDS
        self.tries += 1
        self.tries_left -= 1
        self.ask()
        return True

    def take(self):
        """Reads one frame. Whether the session is READY."""
        raw = self.socket.recv(2048)
        if int.from_bytes(raw[:2], "big") != self.opening.client:
            return False  # of an opening given up
        if raw[13] != HANDSHAKE:
            return bool(self.session) and self.session.receive(raw).op == PONG
        had = self.opening.cookie, self.session
        self.opening.receive(raw)
        if self.opening.verdict == "accepted" and not self.session:
            self.session = self.opening.session()
        if (self.opening.cookie, self.session) != had:
            self.ask()
        return False


class Openings:
    """Clients towards targets (address, port) in turn; look() is called after every hundredth."""

    def __init__(self, lab, public, targets, tries, look=lambda: None):
        self.lab, self.public, self.targets, self.tries = lab, public, targets, tries
        self.look = look
        self.started = self.done = self.asked = self.given_up = 0

    def run(self, count, at_once):
        """Until so many have their session or gave up; at_once of them ask at a time."""
        waiting = []
        while waiting or self.started < count:
            while len(waiting) < at_once and self.started < count:
                target = self.targets[self.started % len(self.targets)]
                waiting.append(Client(self.lab, self.public, target, self.tries))
                self.started += 1
            now = time.monotonic()
            for client in [client for client in waiting if not client.poll(now)]:
                self.given_up += 1
                self.end(waiting, client)
            for client in select.select(waiting, [], [], 0.05)[0]:
                if client.take():
                    self.done += 1
                    self.end(waiting, client)

    def end(self, waiting, client):
        self.asked += client.tries
        client.socket.close()
        waiting.remove(client)
        if (self.done + self.given_up) % 100 == 0:
            self.look()
