# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Endpoints, provisioned sessions and the exchanges that most tests start with."""

import os
import random
from collections import namedtuple

import witness
from lab import SERVER_IPV4, SERVER_IPV6
from lab_report import PATIENCE, Failed, expect, expect_equal
from lab_wire import Peer
from witness import ACK, DATA, STREAMOPEN

SLOTS_TRIED = 16

EndpointBase = namedtuple("EndpointBase", "name address port guard policy deliver roaming format")


class Endpoint(EndpointBase):
    """One row of the configuration's endpoints."""

    def config(self):
        return {"name": self.name, "address": self.address, "port": self.port,
                "guard": self.guard, "policy": self.policy, "roaming": self.roaming,
                "enforce": "drop", "deliver": self.deliver, "format": self.format}

    @property
    def ipv6(self):
        return ":" in self.address

    @property
    def target(self):
        """The server's address that a client of this endpoint sends to."""
        wildcard = self.address in ("0.0.0.0", "::")
        return (SERVER_IPV6 if self.ipv6 else SERVER_IPV4) if wildcard else self.address


def endpoint(name, port, address="0.0.0.0", guard="on", policy="window", deliver="echo",
             roaming="off", format="raw"):  # pylint: disable=redefined-builtin
    return Endpoint(name, address, port, guard, policy, deliver, roaming, format)


def configuration(endpoints, **more):
    """The configuration of a test's agent; limits are small, so that its bounds are near."""
    limits = {"sessions": 4096, "streams": 4096, "receive_timeout_ms": 1000}
    limits.update(more.pop("limits", {}))
    return {"endpoints": [row.config() for row in endpoints], "limits": limits, **more}


def in_free_slot(add, server):
    """What add(server id) gives for the first server id, from this one on, whose slot is free.

    In a lab of 4096 slots only the low byte of the server id, with the low digit of the client id,
    tells the slot. Sessions that clients opened in band hold slots that nobody chose; for one of
    those the agent asks for another server id.
    """
    for step in range(SLOTS_TRIED):
        try:
            return add(server & 0xFF00 | (server + 37 * step) & 0xFF)
        except Failed as why:
            if "choose another server id" not in str(why):
                raise
            refusal = why
    raise Failed("%d slots are held, the last: %s" % (SLOTS_TRIED, refusal))


class Sessions:
    """Provisions sessions with fresh secrets, ids and source addresses."""

    def __init__(self, lab, agent, wire, ledger=None):
        self.lab, self.agent, self.wire = lab, agent, wire
        self.ledger = ledger or witness.NonceLedger()
        self.count = 0

    def new(self, where, aead=1, vlans=(), options=b"", more=(), low=5):
        """A Peer with a session of its own at an endpoint; low: the last digit of its client id,
        which with two workers decides who has it at first."""
        self.count += 1
        expect(self.count < 256, "the lab gives each session a slot of its own, 255 at most")
        client = random.randrange(0x1000, 0xFFF0) & 0xFFF0 | low
        server = random.randrange(0x10, 0xFF) << 8 | self.count
        policy = witness.RELIABLE if where.policy == "window" else witness.NEWEST
        session = witness.Session(os.urandom(32), client, server, aead, where.guard == "on",
                                  policy, self.ledger)
        address = "fd77::1:%x" % self.count if where.ipv6 else "10.77.0.%d" % (self.count % 245 + 9)
        port = random.randrange(20000, 60000)
        self.lab.peer_address(address)
        self.agent.add_session(where.name, session, address, port, *more,
                               aead_name=witness.AEAD_NAMES[aead])
        return Peer(self.wire, session, address, port, where.target, where.port, vlans, options)


def reliable(peer, stream=0):
    return peer.session.policies[stream] == witness.RELIABLE


def echo(peer, plain, stream=0, allowed=(), timeout=PATIENCE):
    """Send one packet, demand its echo and, in a reliable series, its ack; ack the echo.

    Frames of a session are handled in order, so this is also a barrier: what an earlier frame
    provoked has come before the echo, and anything unexpected fails here. Returns the frame sent.
    """
    session = peer.session
    sent = peer.send(session.data(plain, stream))
    pack = witness.parse(sent).pack
    if reliable(peer, stream):
        answer, _ = peer.expect((DATA, stream, None), (ACK, stream, pack), allowed=allowed,
                                timeout=timeout)
        peer.send(session.ack(answer.pack, stream))
    else:
        answer = peer.expect((DATA, stream, None), allowed=allowed, timeout=timeout)
    expect_equal(answer.plain, plain, "echoed bytes")
    return sent


def open_stream(peer, policy=None, third=True):
    """Open a stream and return its id; without the third frame, the first data stands for it."""
    session = peer.session
    stream = session.new_stream(witness.RELIABLE if policy is None else policy)
    peer.send(session.openstream(stream, policy))
    peer.expect((STREAMOPEN, stream, None))
    if third:
        peer.send(session.streamopen(stream))
    return stream
