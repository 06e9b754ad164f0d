# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Random loss on a lab's veth, both ways, by two small BPF programs written out as instructions.

Towards the server a program at the client's egress turns a frame into one of an EtherType that
nobody answers: it is lost on the wire, and the sender cannot know. Towards the client an XDP
program drops at the client's end.
"""

import ctypes
import os
import socket
import struct

from lab import bpf, in_namespace

PROG_LOAD, LINK_CREATE = 5, 28
TYPE_CLS, TYPE_XDP = 3, 6
ATTACH_XDP, ATTACH_TCX_EGRESS = 37, 47
HELPER_PRANDOM, HELPER_STORE_BYTES = 7, 9
TCX_PASS, XDP_DROP, XDP_PASS = 0, 1, 2
AT_ETHERTYPE, ETHERTYPE_LOCAL = 12, 0x88B5


def instruction(code, destination=0, source=0, offset=0, immediate=0):
    return struct.pack("<BBhi", code, destination | source << 4, offset, immediate)


def move(register, number):
    return instruction(0xB7, register, immediate=number)


def copy(register, source):
    return instruction(0xBF, register, source)


def call(helper):
    return instruction(0x85, immediate=helper)


EXIT = instruction(0x95)


def unless_lost(threshold, skip):
    """Go on behind `skip` instructions when the random number is not below the threshold."""
    return call(HELPER_PRANDOM) + instruction(0x36, 0, 0, skip, threshold)


def egress_code(threshold):
    """Frames below the threshold leave with another EtherType."""
    lost = (instruction(0x6A, 10, 0, -2, socket.htons(ETHERTYPE_LOCAL)) +
            copy(1, 6) + move(2, AT_ETHERTYPE) + copy(3, 10) +
            instruction(0x07, 3, immediate=-2) + move(4, 2) + move(5, 0) +
            call(HELPER_STORE_BYTES))
    return copy(6, 1) + unless_lost(threshold, len(lost) // 8) + lost + move(0, TCX_PASS) + EXIT


def xdp_code(threshold):
    return (unless_lost(threshold, 2) + move(0, XDP_DROP) + EXIT + move(0, XDP_PASS) + EXIT)


def attach(kind, point, code, name, interface):
    """Load and link to an interface of the current namespace; the link is an open fd."""
    buffer = ctypes.create_string_buffer(code)
    licence = ctypes.create_string_buffer(b"Dual BSD/GPL")
    load = struct.pack("<IIQQIIQII16sII", kind, len(code) // 8, ctypes.addressof(buffer),
                       ctypes.addressof(licence), 0, 0, 0, 0, 0, name, 0, point)
    program = bpf(PROG_LOAD, load)
    try:
        return bpf(LINK_CREATE, struct.pack("<IIII", program, socket.if_nametoindex(interface),
                                            point, 0))
    finally:
        os.close(program)


def lose(lab, share):
    """Lose this share (0 .. 0.4) of all frames on the lab's veth, each way, until the lab ends."""
    threshold = int(share * (1 << 32))
    while lab.links:
        os.close(lab.links.pop())
    lab.links.append(in_namespace(lab.client, attach, TYPE_XDP, ATTACH_XDP, xdp_code(threshold),
                                  b"lab_lose", lab.client_if))
    lab.links.append(in_namespace(lab.client, attach, TYPE_CLS, ATTACH_TCX_EGRESS,
                                  egress_code(threshold), b"lab_lose", lab.client_if))
