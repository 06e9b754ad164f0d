#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""What becomes of sessions when the configuration changes, by a reload and across a restart.

A session whose endpoint is no longer what it was opened for (guard, policy, address family; or
there is none) ends: its client hears goaway, the log says how many and why, a metric counts them,
and nothing of it is left. Any other change leaves it what it was. What of a file waits for the next
start is said until it is in force.
"""

import sys

import lab_app
from lab import Lab, require_root, wait_until
from lab_app import App
from lab_report import Report, expect, expect_equal
from lab_session import Sessions, configuration, echo, endpoint, open_stream
from lab_wire import Peer, Wire
from witness import DATA, GOAWAY, PING, PONG

MISFITS = "packgate_sessions_misfit_total"

BEFORE = {
    "guarded": endpoint("guarded", 4000),
    "plain": endpoint("plain", 4001, guard="off"),
    "window": endpoint("window", 4002),
    "family": endpoint("family", 4003),
    "removed": endpoint("removed", 4004),
    "port": endpoint("port", 4005),
    "other": endpoint("other", 4006, roaming="off"),
}

CHANGED = {
    "guarded": endpoint("guarded", 4000, guard="off"),
    "plain": endpoint("plain", 4001, guard="on"),
    "window": endpoint("window", 4002, policy="monotonic"),
    "family": endpoint("family", 4003, "::"),
    "port": endpoint("port", 4015),
    "other": endpoint("other", 4006, roaming="off"),
}

# why the sessions of each endpoint end, by the label of the metric
ENDS = {"guarded": "guard", "plain": "guard", "window": "policy", "family": "family",
        "removed": "endpoint"}


class Bench:
    def __init__(self, lab, agent):
        self.lab, self.agent, self.wire = lab, agent, Wire(lab)
        self.sessions = Sessions(lab, agent, self.wire)

    def configure(self, endpoints, **more):
        self.agent.write_config(configuration(list(endpoints.values()), **more))

    def peers(self):
        """A session that has exchanged something at every endpoint; AEADs of both kinds."""
        made = {}
        for count, (name, where) in enumerate(BEFORE.items()):
            made[name] = self.sessions.new(where, aead=1 + count % 2)
            echo(made[name], b"before")
        open_stream(made["guarded"])
        return made


def ids(peer):
    return peer.session.client, peer.session.server


def at(peer, where):
    """The same session and client, at what its endpoint is now."""
    return Peer(peer.wire, peer.session, peer.source, peer.sport, where.target, where.port)


def assert_ended(bench, peers, before, told):
    """Those that do not fit are gone, said and counted; the others go on. told: heard goaway."""
    agent = bench.agent
    left = agent.session_ids()
    for name, peer in peers.items():
        expect((ids(peer) in left) == (name not in ENDS), "session of %s: %r", name, left)
    for name in told:
        peers[name].expect((GOAWAY, None, None))
    log = agent.stderr(20000)
    for name in told:
        expect("endpoint %s: 1 session is ended" % name in log, "%s in the log: %s", name, log)
    after = agent.scrape()
    for reason in set(ENDS.values()):
        wanted = sum(why == reason for why in ENDS.values())
        expect_equal(after.total(MISFITS, reason=reason) - before.get(reason, 0), wanted,
                     "ended because of %s" % reason)
    echo(at(peers["port"], CHANGED["port"]), b"at its new port")
    echo(peers["other"], b"untouched")


def check_reload(bench):
    bench.configure(BEFORE)
    bench.agent.cli_ok("reload")
    peers, before = bench.peers(), bench.agent.scrape().by_label(MISFITS, "reason")
    bench.configure(CHANGED)
    done = bench.agent.cli_ok("reload", "--json").json
    expect_equal((done["added"], done["changed"], done["removed"]), (0, 5, 1), "endpoints")
    assert_ended(bench, peers, before, ENDS)
    # a late frame is of a closed session, not of a foreign one
    drops = bench.agent.scrape().drops().get("session_state", 0)
    peers["window"].send(peers["window"].session.data(b"late"))
    wait_until(lambda: bench.agent.scrape().drops().get("session_state", 0) > drops, 2,
               "session_state")
    for where in CHANGED.values():
        echo(bench.sessions.new(where), b"as it is now")


def check_restart(bench, end):
    bench.configure(BEFORE)
    bench.agent.cli_ok("reload")
    peers = bench.peers()
    end()
    bench.configure(CHANGED)
    bench.agent.start()
    assert_ended(bench, peers, {}, [name for name in ENDS if name not in ("removed", "family")])
    status = bench.agent.cli_ok("status", "--json").json
    found = {name: status[name] for name in ("adopted", "restored", "removed")}
    expect_equal(found["removed"], len(ENDS), "removed, of %r" % found)
    expect_equal(found["adopted"] + found["restored"], status["sessions"], "sessions of %r" % found)
    expect("the store does not know it" not in bench.agent.stderr(20000), "said twice")
    for where in CHANGED.values():
        echo(bench.sessions.new(where), b"as it is now")


def check_reasons_once(bench):
    """The next start finds nothing of them any more, and what went on goes on."""
    bench.agent.stop()
    bench.agent.start()
    status = bench.agent.cli_ok("status", "--json").json
    expect_equal((status["removed"], bench.agent.scrape().total(MISFITS)), (0, 0), "removed")


def check_application(bench):
    """The application of the endpoint hears it as any other end of a session."""
    where = endpoint("app", 4007, deliver="app")
    bench.configure({**BEFORE, "app": where})
    bench.agent.cli_ok("reload")
    app = App(bench.agent.app)
    app.hello("app")
    peer = bench.sessions.new(where)
    opened = app.receive_kind(lab_app.SESSION_OPEN)
    bench.configure({**BEFORE, "app": endpoint("app", 4007, deliver="app", guard="off")})
    bench.agent.cli_ok("reload")
    closed = app.receive_kind(lab_app.SESSION_CLOSED)
    expect_equal((closed.session, closed.body), (opened.session, b"\0"), "the closed session")
    peer.expect((GOAWAY, None, None))
    app.close()


def mismatches(metrics):
    """Frames refused for their source, by the gate or the agent."""
    return (metrics.drops().get("peer_mismatch", 0) +
            metrics.total("packgate_frames_rejected_total", reason="peer_mismatch"))


def roams(bench, home, change):
    """Whether a frame of the session from another port is opened."""
    away = Peer(home.wire, home.session, home.source, home.sport ^ change, home.target, home.dport)
    before = bench.agent.scrape()
    away.send(away.session.data(b"from elsewhere"))
    refused, opened = mismatches(before), before.total("packgate_frames_opened_total")

    def judged():
        now = bench.agent.scrape()
        return (mismatches(now) > refused or
                now.total("packgate_frames_opened_total") > opened)

    wait_until(judged, 2, "a verdict")
    if mismatches(bench.agent.scrape()) > refused:
        return False
    ping, _, _ = away.expect((PING, 0, None), (DATA, 0, None), (0x4, 0, None))
    away.send(away.session.pong(away.session.unguarded(ping)))
    away.send(away.session.ping(b"it is"))
    away.expect((PONG, 0, None))
    return True


def check_roaming(bench, mode):
    """What the file says of roaming holds for living sessions at once, both ways."""
    for guard in ("on", "off"):
        where = {way: endpoint("roam", 4008, guard=guard, roaming=way) for way in ("on", "off")}
        bench.configure({**BEFORE, "roam": where["off"]}, mode=mode)
        bench.agent.cli_ok("reload")
        home = bench.sessions.new(where["off"])
        echo(home, b"at home")
        expect(not roams(bench, home, 1), "it roams although the file says off")
        bench.configure({**BEFORE, "roam": where["on"]}, mode=mode)
        bench.agent.cli_ok("reload")
        expect(roams(bench, home, 2), "it does not roam although the file says on")
        bench.configure({**BEFORE, "roam": where["off"]}, mode=mode)
        bench.agent.cli_ok("reload")
        expect(not roams(bench, home, 4), "it roams although the file says off again")
        bench.configure(BEFORE, mode=mode)
        bench.agent.cli_ok("reload")


def limit(agent):
    return agent.scrape().by_label("packgate_limit", "name")["max_payload"]


def check_not_in_force(bench):
    """What waits for the next start is said by every reload and by status, until it is in force."""
    agent = bench.agent
    bench.configure(BEFORE, duplicate_acks="agent", limits={"max_payload": 1000})
    waiting = "limits.max_payload, duplicate_acks"
    for _ in range(2):
        expect_equal(agent.cli_ok("reload", "--json").json["restart_needed"], waiting, "reload")
        expect_equal(agent.cli_ok("status", "--json").json["restart_needed"], waiting, "status")
    for verb in ("reload", "status"):
        expect("not in force until the next start: " + waiting in agent.cli_ok(verb).out, verb)
    expect_equal(limit(agent), 1172, "the limit in force")
    bench.configure(BEFORE, limits={"max_payload": 1000})
    agent.cli_ok("reload")
    expect_equal(agent.cli_ok("status", "--json").json["restart_needed"], "limits.max_payload",
                 "after one was taken back")
    agent.stop()
    agent.start()
    expect_equal(agent.cli_ok("status", "--json").json["restart_needed"], "", "after a restart")
    expect("next start" not in agent.cli_ok("status").out, "status says it still")
    expect_equal(limit(agent), 1000, "the limit in force")


def detached(bench):
    """Stopped and detached: the store alone knows the sessions."""
    bench.agent.stop()
    done = bench.agent.detach()
    expect(done.code == 0, "detach: %s", done.err)


def checks(report, lab, agent):
    bench = Bench(lab, agent)
    report.check("sessions that do not fit end at a reload", check_reload, bench)
    report.check("their application hears it", check_application, bench)
    for name, end in (("SIGTERM", agent.stop), ("kill -9", agent.kill),
                      ("the pins are gone", lambda: detached(bench))):
        report.check("sessions that do not fit end at a restart: " + name, check_restart, bench,
                     end)
    report.check("once", check_reasons_once, bench)
    report.check("roaming changes for living sessions", check_roaming, bench, "auto")
    report.check("what is not in force is said", check_not_in_force, bench)
    agent.stop()
    bench.configure(BEFORE, mode="socket")
    if report.check("the agent starts in socket mode", agent.start):
        report.check("socket mode: roaming changes for living sessions", check_roaming, bench,
                     "socket")


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        agent = lab.agent(configuration(list(BEFORE.values())))
        if report.check("the agent starts", agent.start):
            report.check("the checks run to their end", checks, report, lab, agent)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
