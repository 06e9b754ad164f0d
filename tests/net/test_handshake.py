#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Sessions that clients open themselves, against an independent client, over AF_XDP on a veth.

Guard on and off, both AEADs, IPv4 and IPv6, an echo over each; then what is refused, repeated,
lost and late; cookies; a restart.
"""

import os
import random
import sys
import time

import lab_app
import witness
import witness_handshake
from lab import Lab, require_root, wait_until
from lab_app import App
from lab_report import Report, expect, expect_equal
from lab_session import configuration, echo, endpoint
from lab_wire import ETH_P_8021Q, Peer, Wire
from witness import ACK, DATA, GOAWAY, HANDSHAKE
from witness_handshake import Opening

MATRIX = tuple(
    endpoint("%s-%s-%s" % (guard, policy, "v6" if ":" in address else "v4"), port, address, guard,
             policy)
    for port, guard, policy in ((4000, "on", "window"), (4001, "on", "monotonic"),
                                (4002, "off", "window"), (4003, "off", "monotonic"))
    for address in ("0.0.0.0", "::"))
GUARDED, PLAIN = MATRIX[0], MATRIX[4]
APP = endpoint("app", 4010, deliver="app")
TOKEN = b"open-sesame"
SILENCE_SECONDS = 0.2
IDLE_SECONDS = 2
HALF_OPEN_SECONDS = 5
RELOAD_OPENINGS = 10
HOUR_MS = 3600 * 1000


class Bench:
    """What the checks of this file share: an agent, its keys, addresses for clients."""

    def __init__(self, lab, agent, public):
        self.lab, self.agent, self.public = lab, agent, public
        self.wire, self.ledger, self.count = Wire(lab), witness.NonceLedger(), 0

    def opening(self, where, vlans=(), public=None, token=TOKEN, **more):
        """A Peer that is about to ask, from an address of its own."""
        self.count += 1
        address = "fd77::2:%x" % self.count if where.ipv6 else "10.77.0.%d" % (self.count % 245 + 9)
        self.lab.peer_address(address)
        opening = Opening(public or self.public, token, **more)
        return Peer(self.wire, opening, address, random.randrange(20000, 60000), where.target,
                    where.port, vlans)

    def ask(self, where, **more):
        """A Peer whose session is OPEN, and the opening."""
        peer = self.opening(where, **more)
        opening = peer.session
        peer.send(opening.shakehand())
        opening.answer = peer.expect((HANDSHAKE, 0, None)).raw
        if opening.verdict is None and opening.cookie != witness_handshake.NO_COOKIE:
            peer.send(opening.shakehand())
            opening.answer = peer.expect((HANDSHAKE, 0, None)).raw
        expect_equal(opening.verdict, "accepted", "verdict")
        peer.session = opening.session(self.ledger)
        return peer, opening

    def ready(self, where, **more):
        peer, opening = self.ask(where, **more)
        peer.send(opening.final(peer.session))
        return peer, opening

    def states(self):
        rows = self.agent.cli_ok("session", "list", "--json").json
        return {int(row["session"], 16) if isinstance(row["session"], str) else row["session"]:
                row["state"].lower() for row in rows["sessions"]}

    def total(self, name, **labels):
        return self.agent.scrape().total(name, **labels)

    def rejected(self, reason):
        return self.total("packgate_frames_rejected_total", reason=reason)

    def expect_rejected(self, peer, reason, before, count):
        """So many frames more are dropped under this reason, and nothing is answered."""
        wait_until(lambda: self.rejected(reason) >= before + count, 10,
                   "%d dropped as %s" % (count, reason))
        peer.expect_silence(SILENCE_SECONDS)
        expect_equal(self.rejected(reason) - before, count, "dropped as " + reason)


def session_id(peer):
    return peer.session.client << 16 | peer.session.server


# --- the matrix ----------------------------------------------------------------------------------

def check_exchange(bench, where, aead, final):
    """The handshake, confirmed by the final one or by data in its place; then an exchange."""
    peer, opening = bench.ask(where, wish=aead)
    expect_equal(opening.terms["aead"], aead, "AEAD")
    expect_equal(opening.terms["guard"], where.guard == "on", "guard")
    expect_equal(opening.terms["policy"], 0 if where.policy == "window" else 1, "policy")
    expect_equal(opening.terms["parameters"], {1: 1172, 2: IDLE_SECONDS, 3: 1024}, "parameters")
    if final:
        peer.send(opening.final(peer.session))
        wait_until(lambda: bench.states().get(session_id(peer)) == "ready", 2, "ready")
    for size in (0, 1, 300, 1100):
        echo(peer, bytes(size))
    expect_equal(bench.states().get(session_id(peer)), "ready", "state")


def check_control_confirms(bench):
    """With the guard on any authenticated frame stands for the final handshake."""
    peer, _ = bench.ask(GUARDED)
    expect_equal(bench.states().get(session_id(peer)), "open", "state before")
    peer.send(peer.session.ping(b"there?"))
    peer.expect((witness.PONG, 0, None))
    expect_equal(bench.states().get(session_id(peer)), "ready", "state after")


def check_control_unguarded(bench):
    """With the guard off it does not: an unauthenticated frame proves nothing."""
    peer, opening = bench.ask(PLAIN)
    peer.send(peer.session.ping(b"there?"))
    peer.expect_silence(SILENCE_SECONDS)
    forged = bytearray(opening.final(peer.session))
    forged[-1] ^= 1
    peer.send(bytes(forged))
    peer.expect_silence(SILENCE_SECONDS)
    expect_equal(bench.states().get(session_id(peer)), "open", "state")
    peer.send(opening.final(peer.session))
    wait_until(lambda: bench.states().get(session_id(peer)) == "ready", 2, "ready")
    echo(peer, b"after all")


def check_vlan(bench):
    peer, _ = bench.ready(GUARDED, vlans=((ETH_P_8021Q, 7),))
    echo(peer, b"tagged")


def check_no_wish(bench):
    _, opening = bench.ask(GUARDED, wish=0)
    expect_equal(opening.terms["aead"], 1, "AEAD without a wish")


def check_small_payload(bench):
    """The smaller MAX_PAYLOAD_LEN holds: an echo of more comes in fragments that fit."""
    small = 200
    peer, _ = bench.ready(GUARDED, more=witness_handshake.parameters((1, small)))
    peer.send(peer.session.data(bytes(300)))
    sizes = []
    while sum(sizes) < 300:
        frame = peer.receive()
        expect(frame is not None, "waited for the echo, %r came", sizes)
        expect(len(frame.payload) <= small, "a payload of %d bytes", len(frame.payload))
        if frame.op == DATA:
            sizes.append(len(frame.plain))
    expect(len(sizes) >= 2, "one frame of %d bytes", sizes[0])


# --- repeats -------------------------------------------------------------------------------------

def check_repeats(bench):
    peer = bench.opening(GUARDED)
    opening = peer.session
    shakehand = opening.shakehand()
    known = set(bench.states())  # clients draw their ids: two may have the same
    peer.send(shakehand)
    first = peer.expect((HANDSHAKE, 0, None)).raw
    for again in (shakehand, opening.shakehand()):
        peer.send(again)
        expect_equal(peer.expect((HANDSHAKE, 0, None)).raw, first, "the answer to a repeat")
    before = bench.rejected("handshake_source")
    for change in ({"sport": peer.sport ^ 1}, {"source": "10.77.0.254"}):
        bench.wire.send(peer.raw(shakehand, **change))
    other = bytearray(shakehand)
    other[0] ^= 0x40
    bench.wire.send(peer.raw(bytes(other)))
    bench.expect_rejected(peer, "handshake_source", before, 3)
    session = opening.session(bench.ledger)
    bench.wire.send(peer.raw(opening.final(session)))
    wait_until(lambda: bench.states().get(session.client << 16 | session.server) == "ready", 2,
               "ready")
    peer.send(shakehand)
    expect_equal(peer.expect((HANDSHAKE, 0, None)).raw, first, "the answer after READY")
    mine = [s for s in bench.states() if s >> 16 == session.client and s not in known]
    expect_equal(mine, [session.client << 16 | session.server], "sessions")


def check_lost_answer(bench):
    """The answer and the final handshake are lost; the client asks again and sends data."""
    peer = bench.opening(GUARDED)
    opening = peer.session
    peer.send(opening.shakehand())
    peer.expect((HANDSHAKE, 0, None))
    peer.send(opening.shakehand())
    peer.expect((HANDSHAKE, 0, None))
    peer.session = opening.session(bench.ledger)
    echo(peer, b"no final handshake")


# --- refusals ------------------------------------------------------------------------------------

def check_denied(bench, token):
    peer = bench.opening(GUARDED, token=token)
    peer.send(peer.session.shakehand())
    peer.expect((HANDSHAKE, 0, None))
    expect_equal(peer.session.verdict, "denied", "verdict")


def check_silent(bench, reason, change=None, **more):
    """A shakehand that gets no answer, and its one reason."""
    peer = bench.opening(GUARDED, **more)
    raw = bytearray(peer.session.shakehand())
    if change is not None:
        raw[change] ^= 1
    before = bench.rejected(reason)
    peer.send(bytes(raw))
    bench.expect_rejected(peer, reason, before, 1)


def check_malformed(bench):
    """Authentic, but the parameters run over the end."""
    more = bytes([9, 255]) + bytes(200)
    check_silent(bench, "handshake_malformed", more=more)


def check_rate(bench):
    """One source: its bucket decides, whatever the shakehands are worth."""
    before = bench.agent.scrape()
    peer = bench.opening(GUARDED)
    raw = peer.raw(peer.session.shakehand())
    for _ in range(400):
        bench.wire.send(raw)
    wait_until(lambda: bench.agent.scrape().drops().get("rate_limited", 0) >
               before.drops().get("rate_limited", 0), 2, "rate_limited")
    seen = bench.total("packgate_shakehands_total") - before.total("packgate_shakehands_total")
    expect(seen < 300, "%d of 400 reached the agent", seen)
    peer.discard()


# --- life ----------------------------------------------------------------------------------------

def check_half_open_ends(bench):
    before = bench.total("packgate_handshakes_expired_total")
    peer, opening = bench.ask(GUARDED)
    expect_equal(bench.states().get(session_id(peer)), "open", "state")
    wait_until(lambda: session_id(peer) not in bench.states(), HALF_OPEN_SECONDS + 3,
               "the half-open session to go")
    expect(bench.total("packgate_handshakes_expired_total") > before, "it is not counted")
    peer.send(opening.final(peer.session))
    peer.expect_silence(SILENCE_SECONDS)
    expect(session_id(peer) not in bench.states(), "it came back")


def check_idle(bench):
    """Silence ends the session: goaway 2, once."""
    peer, _ = bench.ready(GUARDED)
    echo(peer, b"last words")
    goaway = peer.expect((GOAWAY, 0, None), timeout=IDLE_SECONDS + 4, allowed=(DATA,))
    expect_equal(goaway.payload[0], 2, "code")
    peer.expect_silence(1)
    expect(session_id(peer) not in bench.states(), "it is still listed")


def check_clock_steps(bench):
    """Silence has nothing to do with what time it is: the wall clock goes an hour on and back."""
    peer, _ = bench.ready(GUARDED)
    peer.session.clock_slack_ms = 2 * HOUR_MS
    peer.send(peer.session.data(b"its echo is not acked, so that timers fire"))
    peer.expect((ACK, 0, 1), (DATA, 0, 1))
    bench.agent.step_clock(HOUR_MS)
    try:
        peer.expect_silence(IDLE_SECONDS / 2)
        echo(peer, b"an hour later", allowed=(DATA,))
    finally:
        bench.agent.step_clock(0)
    goaway = peer.expect((GOAWAY, 0, None), timeout=IDLE_SECONDS + 4, allowed=(DATA,))
    expect_equal(goaway.payload[0], 2, "code")


def check_step_after_answer(bench):
    """The answer to the shakehand is the session's first frame: what follows is not older."""
    bench.agent.step_clock(HOUR_MS)
    try:
        peer, opening = bench.ask(GUARDED)
    finally:
        bench.agent.step_clock(0)
    peer.session.clock_slack_ms = 2 * HOUR_MS
    expect(opening.answer_time > time.time() * 1000 + HOUR_MS / 2, "the clock did not step")
    echo(peer, b"an hour earlier")


def expect_user(bench, peer):
    """Whom the token named, in both listings, for programs and for people."""
    name = "%08x" % session_id(peer)
    shown = bench.agent.cli_ok("session", "show", name, "--json").json
    expect_equal(shown["user"], "alice", "user of session show")
    rows = {row["session"]: row for row in bench.agent.cli_ok("session", "list", "--json").json
            ["sessions"]}
    expect_equal(rows[name]["user"], "alice", "user of session list")
    out = bench.agent.cli_ok("session", "show", name).out
    expect("alice" in out, "session show does not name the user: %s", out)


def check_app(bench):
    """The application hears of the session when it is READY, and before its first message."""
    app = App(bench.agent.app)
    app.hello("app")
    peer, opening = bench.ask(APP)
    expect(app.receive(SILENCE_SECONDS) is None, "the application heard of a half-open session")
    peer.send(opening.final(peer.session))
    record = app.receive()
    expect(record and record.kind == lab_app.SESSION_OPEN, "no session open: %s", record)
    expect_equal(record.body.decode(), "%s:%d\nalice" % (peer.source, peer.sport),
                 "the peer and the user")
    expect_user(bench, peer)
    peer.send(peer.session.data(b"hello"))
    peer.expect((ACK, 0, 1))
    record = app.receive()
    expect(record and (record.kind, record.body) == (lab_app.MESSAGE, b"hello"), "%s", record)
    peer, _ = bench.ask(APP)
    peer.send(peer.session.data(b"at once"))
    peer.expect((ACK, 0, 1))
    kinds = [app.receive().kind for _ in range(2)]
    expect_equal(kinds, [lab_app.SESSION_OPEN, lab_app.MESSAGE], "records")
    bench.agent.cli_ok("session", "close", "%08x" % session_id(peer))
    said = "session %08x of user alice is closed" % session_id(peer)
    expect(said in bench.agent.stderr(), "the log does not say: %s", said)
    app.close()


def check_restart(bench):
    """A session that was confirmed lives on through kill -9, also one that is older than the
    silence that ends it; a half-open one does not. The silence is counted from the start on."""
    ready, _ = bench.ready(GUARDED)
    end = time.monotonic() + IDLE_SECONDS + 0.5
    while time.monotonic() < end:
        echo(ready, b"before")
        time.sleep(0.2)
    half, _ = bench.ask(GUARDED)
    time.sleep(0.1)  # the store commits every 10 ms
    bench.agent.kill()
    bench.agent.start()
    expect(session_id(ready) in bench.states(), "the session is gone")
    echo(ready, b"after")
    expect_user(bench, ready)
    expect(session_id(half) not in bench.states(), "the half-open session is still there")
    goaway = ready.expect((GOAWAY, 0, None), timeout=IDLE_SECONDS + 4, allowed=(DATA,))
    expect_equal(goaway.payload[0], 2, "code")


def check_restart_sees_no_flood(bench):
    """The shakehands that the gate counted for earlier agents are no burst of the first moment."""
    before = bench.total("packgate_gate_shakehands_total")
    expect(before > 10, "%d shakehands before: too few to show anything", before)
    bench.agent.stop()
    bench.agent.start()
    expect("cookies are demanded" not in bench.agent.stderr(4000), "%s", bench.agent.stderr(4000))


def check_cookie(bench, where, vlans=()):
    """Always demanded: the first shakehand gets a cookie from the gate, the second the session."""
    before = bench.total("packgate_shakehands_total")
    peer = bench.opening(where, vlans=vlans)
    opening = peer.session
    peer.send(opening.shakehand())
    answer = peer.expect((HANDSHAKE, 0, None))
    expect_equal(answer.payload[0], witness_handshake.COOKIE, "code")
    expect_equal(answer.payload[2:9], bytes(7), "zero bytes of the cookie")
    right = opening.cookie
    for wrong in (bytes(16), right[:15] + bytes([right[15] ^ 1]), bytes([right[0] ^ 2]) + right[1:]):
        opening.cookie = wrong
        peer.send(opening.shakehand())
        expect_equal(peer.expect((HANDSHAKE, 0, None)).payload[0], witness_handshake.COOKIE, "code")
    expect_equal(bench.total("packgate_shakehands_total"), before, "shakehands at the agent")
    opening.cookie = right
    peer.send(opening.shakehand())
    peer.expect((HANDSHAKE, 0, None))
    expect_equal(opening.verdict, "accepted", "verdict")
    peer.session = opening.session(bench.ledger)
    peer.send(opening.final(peer.session))
    echo(peer, b"with a cookie")
    expect_equal(peer.seen_vlans, {tuple(vlans)}, "VLAN tags of the answers")


def check_cookie_options(bench):
    """IP options: the gate answers nothing, and counts it."""
    peer = bench.opening(GUARDED)
    peer.options = bytes([1, 1, 1, 0])

    def unanswered():
        return bench.agent.scrape().drops().get("cookie_unanswered", 0)

    before = unanswered()
    peer.send(peer.session.shakehand())
    wait_until(lambda: unanswered() > before, 10, "cookie_unanswered")
    peer.expect_silence(SILENCE_SECONDS)
    expect_equal(unanswered() - before, 1, "dropped as cookie_unanswered")


def check_key_rotation(bench, keys, reload_with):
    """The old key beside the new one, then gone."""
    new = keys("new.key")
    reload_with({"key": bench.agent.path("new.key"), "old_key": bench.agent.path("server.key")})
    for public in (bench.public, new):
        bench.ask(GUARDED, public=public)
    reload_with({"key": bench.agent.path("new.key")})
    bench.ask(GUARDED, public=new)
    check_silent(bench, "handshake_key")
    reload_with({})


def check_reload_between(bench, keys, reload_with):
    """A reload does not part the copies of a shakehand: each gets the answer that the first one got,
    and opens no second session. There are many, for a worker is picked by chance. A key that
    begins to rotate meanwhile changes nothing of that."""
    keys("next.key")
    rotated = {"key": bench.agent.path("next.key"), "old_key": bench.agent.path("server.key")}
    for handshake in ({}, rotated, {}):
        asked = [bench.ask(GUARDED) for _ in range(RELOAD_OPENINGS)]
        before = set(bench.states())  # clients draw their ids: two may have the same
        reload_with(handshake)
        for peer, opening in asked:
            peer.session, session = opening, peer.session
            first = opening.answer
            peer.send(opening.shakehand())
            expect_equal(peer.expect((HANDSHAKE, 0, None)).raw, first, "the answer to a repeat")
            peer.session = session
            expect(session_id(peer) in before, "the session was not there")
            more = [known for known in bench.states()
                    if known >> 16 == session.client and known not in before]
            expect_equal(more, [], "sessions that a repeat opened")
        peer, opening = asked[0]
        peer.send(opening.final(peer.session))
        echo(peer, b"after a reload")


def check_bad_reload(bench, configure):
    """A key that cannot be read changes nothing."""
    configure({"key": "/nowhere/server.key"})
    done = bench.agent.cli("reload")
    expect(done.code == 1 and "/nowhere/server.key" in done.err, "reload: %d %s", done.code,
           done.err)
    bench.ask(GUARDED)
    configure({})


def check_counts(bench):
    metrics = bench.agent.scrape()
    for name in ("shakehands", "handshakes_opened", "handshakes_ready", "handshakes_denied",
                 "handshakes_repeated", "gate_cookies", "gate_shakehands"):
        expect(metrics.total("packgate_%s_total" % name) > 0, "%s is 0", name)
    expect_equal(metrics.total("packgate_sessions_not_stored_total"), 0, "sessions not stored")


# --- the run -------------------------------------------------------------------------------------

def setup_agent(lab):
    """An agent with a key of its own and one token; functions that reconfigure it."""
    agent = lab.agent({})
    with open(os.open(agent.path("tokens"), os.O_CREAT | os.O_WRONLY, 0o600), "wb") as tokens:
        tokens.write(TOKEN + b" alice\n")

    def keys(name):
        done = agent.packgate("keygen", agent.path(name))
        expect(done.code == 0, "keygen: %s", done.err)
        return bytes.fromhex(done.out.strip())

    def configure(handshake):
        section = {"key": agent.path("server.key"), "tokens": agent.path("tokens"),
                   "cookie": "never"}
        section.update(handshake)
        agent.write_config(configuration(
            MATRIX + (APP,), handshake=section,
            limits={"idle_seconds": IDLE_SECONDS, "unmatched_per_source_per_second": 100}))

    def reload_with(handshake):
        configure(handshake)
        agent.cli_ok("reload")

    public = keys("server.key")
    configure({})
    agent.preload()
    return agent, public, keys, configure, reload_with


def matrix(report, bench):
    for where in MATRIX:
        for aead in (1, 2):
            for final in (True, False):
                report.check("%s, %s, %s" % (where.name, witness.AEAD_NAMES[aead],
                                             "final" if final else "data confirms"),
                             check_exchange, bench, where, aead, final)


def checks(report, bench, keys, configure, reload_with):
    matrix(report, bench)
    report.check("a ping confirms", check_control_confirms, bench)
    report.check("an unguarded ping does not", check_control_unguarded, bench)
    report.check("VLAN", check_vlan, bench)
    report.check("no wish", check_no_wish, bench)
    report.check("MAX_PAYLOAD_LEN", check_small_payload, bench)
    report.check("repeats", check_repeats, bench)
    report.check("a lost answer", check_lost_answer, bench)
    for token in (b"", b"open", b"open-sesame2", b"x" * 900):
        report.check("denied: %r" % token[:12], check_denied, bench, token)
    stranger = witness_handshake.public_of(
        witness_handshake.X25519PrivateKey.generate())
    report.check("silent: another key", lambda: check_silent(bench, "handshake_key",
                                                             public=stranger))
    report.check("silent: version", lambda: check_silent(bench, "handshake_version", version=2))
    report.check("silent: wish changed", check_silent, bench, "handshake_key", 17)
    report.check("silent: last byte changed", check_silent, bench, "handshake_key", -1)
    report.check("silent: malformed", check_malformed, bench)
    report.check("a source's rate", check_rate, bench)
    report.check("half open ends", check_half_open_ends, bench)
    report.check("idle", check_idle, bench)
    report.check("idle while the clock steps", check_clock_steps, bench)
    report.check("the clock steps after the answer", check_step_after_answer, bench)
    report.check("application", check_app, bench)
    report.check("keys rotate", check_key_rotation, bench, keys, reload_with)
    report.check("a reload between repeats", check_reload_between, bench, keys, reload_with)
    report.check("a bad reload", check_bad_reload, bench, configure)
    reload_with({"cookie": "always"})
    for label, where, vlans in (("IPv4", GUARDED, ()), ("IPv6", MATRIX[1], ()),
                                ("guard off", PLAIN, ()),
                                ("VLAN", GUARDED, ((ETH_P_8021Q, 7),))):
        report.check("cookie, " + label, check_cookie, bench, where, vlans)
    report.check("cookie, IP options", check_cookie_options, bench)
    report.check("counters", check_counts, bench)
    report.check("restart", check_restart, bench)
    reload_with({"cookie": "auto"})
    report.check("a restart sees no flood", check_restart_sees_no_flood, bench)


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        agent, public, keys, configure, reload_with = setup_agent(lab)
        if report.check("the agent starts", agent.start):
            checks(report, Bench(lab, agent, public), keys, configure, reload_with)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
