# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""The code of docs/protocol.md as a module: what a reader who writes a client would start from.

The page asks for four functions; here they are. `page.seal`, `page.validity` and the like are the
page's own, run as they stand there.
"""

import os
import re
import struct
import types

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "protocol.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", re.M | re.S)


def aead_seal(aead, key, nonce, aad, plain):
    return {1: ChaCha20Poly1305, 2: AESGCM}[aead](key).encrypt(nonce, plain, aad)


def aead_open(aead, key, nonce, aad, sealed):
    return {1: ChaCha20Poly1305, 2: AESGCM}[aead](key).decrypt(nonce, sealed, aad)


def x25519(private, public):
    return X25519PrivateKey.from_private_bytes(private).exchange(
        X25519PublicKey.from_public_bytes(public))


def rotate(word, bits):
    return (word << bits | word >> 64 - bits) & 0xFFFFFFFFFFFFFFFF


def sip_round(v):
    v[0] = v[0] + v[1] & 0xFFFFFFFFFFFFFFFF
    v[2] = v[2] + v[3] & 0xFFFFFFFFFFFFFFFF
    v[1], v[3] = rotate(v[1], 13) ^ v[0], rotate(v[3], 16) ^ v[2]
    v[0] = rotate(v[0], 32)
    v[2] = v[2] + v[1] & 0xFFFFFFFFFFFFFFFF
    v[0] = v[0] + v[3] & 0xFFFFFFFFFFFFFFFF
    v[1], v[3] = rotate(v[1], 17) ^ v[2], rotate(v[3], 21) ^ v[0]
    v[2] = rotate(v[2], 32)


def siphash24(key, data):
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D,
         k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        sip_round(v)
        sip_round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(4):
        sip_round(v)
    return struct.pack("<Q", v[0] ^ v[1] ^ v[2] ^ v[3])


def asked_for():
    """The functions that the page wants from its reader."""
    return {"aead_seal": aead_seal, "aead_open": aead_open, "siphash24": siphash24,
            "x25519": x25519}


def read():
    with open(PAGE, encoding="utf-8") as source:
        return source.read()


def run(text, names, first_line=1):
    """Execute one block of the page's Python; faults are reported with the page's line."""
    exec(compile("\n" * (first_line - 1) + text, "docs/protocol.md", "exec"), names)


def load():
    """Everything the page defines."""
    names = asked_for()
    for match in BLOCK.finditer(read()):
        if match[1] == "python":
            run(match[2], names)
    return types.SimpleNamespace(**{key: value for key, value in names.items()
                                    if not key.startswith("__")})
