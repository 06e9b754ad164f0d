# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""An independent witness of PROTOCOL 5: Noise NK from its specification, and a client's opening."""

import hashlib
import hmac
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import witness
from witness import Fault

NAME = b"Noise_NK_25519_ChaChaPoly_SHA256"
ACCEPTED, DENIED, COOKIE, BUSY = 0, 1, 2, 0xFF
NO_COOKIE = bytes(16)
TEXT_LEAST = 190


def public_of(private):
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


class Symmetric:
    """SymmetricState and CipherState of the Noise specification, as far as NK needs them."""

    def __init__(self, prologue, static):
        self.h = self.ck = NAME
        self.k = None
        self.mix_hash(prologue)
        self.mix_hash(static)

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def hkdf(self, material):
        secret = hmac.new(self.ck, material, hashlib.sha256).digest()
        one = hmac.new(secret, b"\x01", hashlib.sha256).digest()
        return one, hmac.new(secret, one + b"\x02", hashlib.sha256).digest()

    def mix_key(self, material):
        self.ck, self.k = self.hkdf(material)

    def encrypt(self, plain):
        sealed = ChaCha20Poly1305(self.k).encrypt(bytes(12), plain, self.h)
        self.mix_hash(sealed)
        return sealed

    def decrypt(self, sealed):
        plain = ChaCha20Poly1305(self.k).decrypt(bytes(12), sealed, self.h)
        self.mix_hash(sealed)
        return plain

    def split(self):
        return b"".join(self.hkdf(b""))


def parameters(*pairs):
    return b"".join(struct.pack(">BBH", kind, 2, value) for kind, value in pairs)


def read_parameters(text):
    found, at = {}, 0
    while at < len(text) and text[at]:
        kind, length = text[at], text[at + 1]
        found[kind] = int.from_bytes(text[at + 2:at + 2 + length], "big")
        at += 2 + length
    return found


class Opening:
    """A client that opens one session; stands in for the session until there is one."""

    def __init__(self, server_public, token=b"", wish=1, client=None, more=b"", version=1):
        self.client = client or int.from_bytes(os.urandom(2), "big") | 1
        self.wish, self.version, self.cookie = wish, version, NO_COOKIE
        self.ephemeral = X25519PrivateKey.generate()
        self.static = X25519PublicKey.from_public_bytes(server_public)
        prologue = b"udpack/1" + struct.pack(">HBB", self.client, 1, wish)
        self.noise = Symmetric(prologue, server_public)
        self.message = self.write_message(struct.pack(">H", len(token)) + token + more)
        self.asked = self.answered = 0
        self.verdict = None
        self.answer_time = 0
        self.clock = witness.Clock()

    def write_message(self, text):
        text += bytes(max(0, TEXT_LEAST - len(text)))
        public = public_of(self.ephemeral)
        self.noise.mix_hash(public)
        self.noise.mix_key(self.ephemeral.exchange(self.static))
        return public + self.noise.encrypt(text)

    def shakehand(self):
        payload = bytes([self.version, self.wish]) + self.cookie + self.message
        head = witness.header(self.client, 0, self.clock(), 0, witness.SHAKEHAND, len(payload))
        return head + payload

    def note_sent(self, raw):
        self.asked = len(raw)

    def receive(self, raw):
        """Takes an answer; nothing else may come before the session is there."""
        fault = witness.validate(raw, witness.CLIENT, True)
        if fault != "none" or raw[13] != witness.HANDSHAKE:
            raise Fault("PROTOCOL 5: not a handshake but %s (%s)" % (raw.hex(), fault))
        if len(raw) > self.asked:
            raise Fault("PROTOCOL 5: %d bytes answer %d" % (len(raw), self.asked))
        frame = witness.parse(raw)
        if frame.client != self.client:
            raise Fault("PROTOCOL 5: an answer for client id %#x" % frame.client)
        self.answered += 1
        code = frame.payload[0]
        if code == COOKIE and len(frame.payload) == 17:
            self.cookie = frame.payload[1:]
        elif code in (ACCEPTED, DENIED):
            if self.verdict is None:
                self.verdict = self.read_verdict(code, frame)
        elif code != BUSY or len(frame.payload) != 1:
            raise Fault("PROTOCOL 5: code %d with %d bytes" % (code, len(frame.payload)))
        return frame

    def read_verdict(self, code, frame):
        message = frame.payload[1:]
        self.noise.mix_hash(message[:32])
        remote = X25519PublicKey.from_public_bytes(message[:32])
        self.noise.mix_key(self.ephemeral.exchange(remote))
        try:
            text = self.noise.decrypt(message[32:])
        except InvalidTag:
            raise Fault("PROTOCOL 5: message 2 does not open") from None
        if code == DENIED:
            if text or frame.server:
                raise Fault("PROTOCOL 5: a refusal says more than it should")
            return "denied"
        aead, guard, policy, zero, server = struct.unpack(">BBBBH", text[:6])
        if aead not in (1, 2) or guard > 1 or policy > 1 or zero or server != frame.server:
            raise Fault("PROTOCOL 5: terms %s" % text.hex())
        self.terms = {"aead": aead, "guard": bool(guard), "policy": policy, "server": server,
                      "parameters": read_parameters(text[6:])}
        self.answer_time = frame.timestamp
        return "accepted"

    def session(self, ledger=None):
        terms = self.terms
        session = witness.Session(self.noise.split(), self.client, terms["server"], terms["aead"],
                                  terms["guard"], terms["policy"], ledger)
        session.latest = self.answer_time
        return session

    def final(self, session):
        """The final handshake: 9 bytes, whether the guard is on or off."""
        head = witness.header(self.client, self.terms["server"], session.clock(), 0,
                              witness.HANDSHAKE, 9) + bytes([ACCEPTED])
        return head + session.out.guard(head, witness.HEADER_BYTES)
