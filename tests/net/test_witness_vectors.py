#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""The witness against the published vectors: it must be right before it may judge the agent."""

import json
import os
import sys

import witness
from lab_report import Failed, Report, expect, expect_equal

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors")


def load(name):
    with open(os.path.join(VECTORS, name), encoding="ascii") as file:
        return json.load(file)


def check_siphash(row):
    found = witness.siphash24(bytes.fromhex(row["key"]), bytes.fromhex(row["in"]))
    expect_equal(found.hex(), row["out"], "SipHash-2-4")


def check_keys(row):
    direction = witness.Direction(bytes.fromhex(row["ikm"]), row["direction"])
    expect_equal(direction.iv.hex(), row["iv"], "iv")
    expect_equal(direction.guard_key.hex(), row["guard"], "guard key")
    for block in row["blocks"]:
        found = direction.block_key(block["stream"], block["pack"]).hex()
        expect_equal(found, block["key"], "key of stream %(stream)d packId %(pack)d" % block)


def direction_of(row):
    return witness.Direction(bytes.fromhex(row["ikm"]), row["direction"], row.get("aead", 1))


def check_open(row):
    """A data frame opens to its plaintext, a guard is right, and no changed byte passes."""
    raw, direction = bytes.fromhex(row["frame"]), direction_of(row)
    frame = witness.parse(raw)
    if row["guard"]:
        expect(direction.guard_right(frame), "the guard is wrong")
        changed = witness.parse(witness.break_guard(raw))
        expect(not direction.guard_right(changed), "a changed guard passes")
    if "plain" not in row:
        return
    expect_equal(direction.open(frame, row["guard"]).hex(), row["plain"], "plaintext")
    try:
        direction.open(witness.parse(witness.break_tag(raw, row["guard"])), row["guard"])
    except witness.Fault:
        return
    raise Failed("a changed tag opens")


def check_seal(row):
    """The same fields make the same bytes."""
    raw, direction = bytes.fromhex(row["frame"]), direction_of(row)
    frame = witness.parse(raw)
    guard = row["guard"]
    extra = witness.GUARD_BYTES if guard else 0
    if "plain" in row:
        plain = bytes.fromhex(row["plain"])
        length = len(plain) + witness.TAG_BYTES + extra
    else:
        plain = frame.payload[:len(frame.payload) - extra]
        length = len(plain) + extra
    head = witness.header(frame.client, frame.server, frame.timestamp, frame.flags, frame.op,
                          length, frame.stream, frame.pack, frame.frag)
    if "plain" in row:
        made = direction.seal(head, frame.stream, frame.pack, frame.frag, plain, guard)
    else:
        made = head + plain
        made += direction.guard(made, len(head)) if guard else b""
    expect_equal(made.hex(), raw.hex(), "frame")


def check_valid(row):
    """A published frame passes the validation of the end it is for, and not with a byte less."""
    raw = bytes.fromhex(row["frame"])
    at = witness.SERVER if row["direction"] == "c2s" else witness.CLIENT
    expect_equal(witness.validate(raw, at, row["guard"]), "none", "reason")
    expect_equal(witness.validate(raw[:-1], at, row["guard"]),
                 "frame_short" if len(raw) == witness.header_length(raw[12])
                 else "length_mismatch", "reason of a byte less")


def check_invalid(row):
    found = witness.validate(bytes.fromhex(row["frame"]), row["at"], row["guard"])
    expect_equal(found, row["reason"], "reason")


WINDOW_ROWS = (
    ("first", 0, (), 1, "window", "none"),
    ("far, just inside", 5, (5,), 5 + (1 << 20), "window", "none"),
    ("far, just outside", 5, (5,), 6 + (1 << 20), "window", "replay_ahead"),
    ("old, just inside", 1024, (1024,), 1, "window", "none"),
    ("old, just outside", 1025, (1025,), 1, "window", "replay_old"),
    ("seen", 9, (7, 9), 7, "window", "replay_seen"),
    ("equal", 9, (9,), 9, "monotonic", "not_monotonic"),
    ("next", 9, (9,), 10, "monotonic", "none"),
    ("monotonic, far", 9, (9,), 10 + (1 << 20), "monotonic", "replay_ahead"),
)


def check_window(highest, seen, pack, policy, reason):
    found = witness.window_verdict(highest, set(seen), pack, policy)
    expect_equal(found, reason, "verdict")


def check_ledger():
    """A ledger that cannot fail would prove nothing."""
    direction, ledger = witness.Direction(bytes(32), "c2s"), witness.NonceLedger()
    frames = []
    for timestamp in (1, 2):
        head = witness.header(1, 2, timestamp, witness.PACK, witness.DATA, 17, pack=7)
        frames.append(witness.parse(direction.seal(head, 0, 7, 0, b"x", False)))
    expect(not ledger.record(direction, frames[0]), "a first frame counts as a repeat")
    expect(ledger.record(direction, witness.parse(bytes(bytearray(frames[0].raw)))),
           "a byte-identical repeat is not recognised")
    try:
        ledger.record(direction, frames[1])
    except witness.Fault:
        return
    raise Failed("the ledger let a nonce be used for two byte strings")


def frame_checks(report, row):
    name = "%s, %s, guard %s%s" % (row["name"], row["direction"], "on" if row["guard"] else "off",
                                   ", aead %d" % row["aead"] if "aead" in row else "")
    report.check("opens: " + name, check_open, row)
    report.check("seals: " + name, check_seal, row)
    report.check("is valid: " + name, check_valid, row)


def main():
    report, vectors = Report(), load("frames.json")
    for row in vectors["siphash"]:
        report.check("SipHash of %d bytes" % (len(row["in"]) // 2), check_siphash, row)
    for row in vectors["keys"]:
        report.check("keys of %d bytes, %s" % (len(row["ikm"]) // 2, row["direction"]),
                     check_keys, row)
    for row in vectors["frames"]:
        frame_checks(report, row)
    for row in load("invalid.json")["cases"]:
        report.check("reason %s: %s" % (row["reason"], row["name"]), check_invalid, row)
    for name, *row in WINDOW_ROWS:
        report.check("window: " + name, check_window, *row)
    report.check("the nonce ledger fails on reuse", check_ledger)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
