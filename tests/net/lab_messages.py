# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Messages of PROTOCOL section 6, written from the document."""

from lab_report import Failed, expect

HEARTBEAT = bytes.fromhex("0801100400000000")
ANSWER = bytes.fromhex("0802100400000000")


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(number, body=b""):
    """One whole message."""
    return (b"\x08" + varint(number) + b"\x10" + varint(4 + len(body))
            + len(body).to_bytes(4, "little") + body)


def take_varint(data, at):
    value = shift = 0
    while True:
        expect(at < len(data), "half a varint")
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def split(data):
    """([(Id, body)], what is left) of a byte string that begins with a message."""
    found, at = [], 0
    while at < len(data):
        try:
            expect(data[at] == 0x08, "tag %02x instead of 08", data[at])
            number, here = take_varint(data, at + 1)
            expect(here < len(data) and data[here] == 0x10, "no PacketLength")
            length, here = take_varint(data, here + 1)
            expect(here + length <= len(data), "half a body")
        except Failed:
            break
        body = data[here + 4:here + length]
        expect(int.from_bytes(data[here:here + 4], "little") == len(body), "n is not PacketLength")
        found.append((number, body))
        at = here + length
    return found, data[at:]


# name, bytes, label of the reason; none of them is the beginning of a good message
MALFORMED = (
    ("tags in the other order", "1004080100000000", "tag"),
    ("another field", "1801100400000000", "tag"),
    ("no PacketLength", "080100000000", "tag"),
    ("Id twice", "08010801100400000000", "tag"),
    ("Id 0", "0800100400000000", "id_zero"),
    ("Id of six bytes", "0881808080800010040000000000", "varint_long"),
    ("Id over-long", "088100100400000000", "varint_padded"),
    ("Id 2^31", "08808080800810040000000000", "varint_range"),
    ("PacketLength of six bytes", "080110848080808000000000000000", "varint_long"),
    ("PacketLength over-long", "080110840000000000", "varint_padded"),
    ("PacketLength 2^31", "08011080808080080000000000", "varint_range"),
    ("PacketLength 3", "0801100300000000", "length_short"),
    ("PacketLength 5 for an empty body", "080110050000000000", "length_mismatch"),
    ("a body longer than PacketLength", "08011004010000000a", "length_mismatch"),
    ("a length in big-endian", "0803100700000003616263", "length_mismatch"),
    ("a body beyond the maximum", "080310858004" + "01000100" + "00" * 8, "body_size"),
)
BODY_MOST = 65536  # the configured maximum of the tests: limits.message_bytes
