#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""What happens to a gate when its interface goes, comes back, is renamed or held by others, when an
attach is not confirmed, when the agent cannot start, and when two agents want the same."""

import contextlib
import os
import socket
import struct
import sys

from lab import (PINS, Lab, attach_xdp_pass, bpf, in_namespace, require_root, run, wait_until)
from lab_report import Failed, Report, expect, expect_equal
from lab_session import configuration, endpoint

SHIELD = {"set_sysctl": "on", "listeners": [{"port": 4900, "mode": "on"}]}
GAME, NEWS = endpoint("game", 4000), endpoint("news", 4001)
DONE, FAILED = 0, 1
NAME, OTHER, PEER = "pgt0", "pgt1", "pgt9"
LOG_BYTES = 1 << 20
OBJ_GET, LINK_DETACH = 7, 34


class Bench:
    """An agent for an interface that comes and goes beside the lab's own."""

    def __init__(self, lab):
        self.lab = lab
        self.agent = lab.agent(configuration([GAME], interfaces=[NAME]))

    def ip(self, *words):
        return run("ip", "-n", self.lab.server, *words)

    def make(self, name=NAME, queues=1):
        self.remove()
        count = str(queues)
        queues = ["numtxqueues", count, "numrxqueues", count]
        self.ip("link", "add", name, *queues, "type", "veth", "peer", "name", PEER, *queues)
        self.ip("link", "set", PEER, "up")
        self.ip("link", "set", name, "up")

    def remove(self):
        if PEER in self.ip("-br", "link"):
            self.ip("link", "del", PEER)

    def has_gate(self, name=NAME):
        return "prog/xdp" in self.ip("-d", "link", "show", name)

    def pins(self):
        return os.path.join(PINS, self.agent.instance)

    def row(self):
        return self.agent.cli("status", "--json").json["interfaces"][0]

    def wait_row(self, **wanted):
        """The interface's row once it says so."""
        wait_until(lambda: all(self.row()[key] == value for key, value in wanted.items()), 10,
                   "%r, found %r" % (wanted, self.row()), pause=0.1)
        return self.row()

    def said(self, sentence, times=1):
        """The agent, since its start, has said the sentence so many times."""
        try:
            wait_until(lambda: self.agent.stderr(LOG_BYTES).count(sentence) >= times, 10,
                       "%r, %d times" % (sentence, times), pause=0.05)
        except Failed as why:
            raise Failed("%s in the log: %s" % (why, self.agent.stderr(2000))) from None

    def started(self):
        """The agent with the interface attached, begun anew."""
        self.ended()
        self.make()
        self.agent.start()

    def ended(self):
        """No agent, no pins."""
        if self.agent.alive():
            self.agent.stop()
        if os.path.exists(self.pins()):
            self.agent.packgate("detach", "--all", "--instance", self.agent.instance)
        expect(not os.path.exists(self.pins()), "pins are left")


def in_server(bench, function, *args):
    return in_namespace(bench.lab.server, function, *args)


def detach_link(path):
    """What `bpftool link detach` does."""
    import ctypes  # pylint: disable=import-outside-toplevel
    text = ctypes.create_string_buffer(path.encode())
    link = bpf(OBJ_GET, struct.pack("<QII", ctypes.addressof(text), 0, 0))
    bpf(LINK_DETACH, struct.pack("<I", link))
    os.close(link)


# --- going and coming ----------------------------------------------------------------------------

def check_missing_at_start(bench):
    bench.remove()
    bench.agent.spawn()
    bench.said("ready")
    bench.said("there is no interface %s in this network namespace" % NAME)
    done = bench.agent.cli("status")
    expect(done.code == FAILED and "its gate comes with it" in done.out, "%d %s", done.code,
           done.out)
    bench.make(queues=os.cpu_count())
    row = bench.wait_row(attached=True)
    expect_equal(row["queues"], os.cpu_count(), "queues")
    bench.said("the interface is there now")
    expect_equal(bench.agent.cli("status").code, DONE, "status")


def check_gone_and_back(bench):
    bench.started()
    for turn in (1, 2):
        bench.remove()
        bench.said(NAME + ": the interface is gone; its gate comes back with it", turn)
        row = bench.row()
        expect_equal((row["attached"], row["mode"], row["program_id"]), (False, "detached", 0),
                     "the row of what is gone")
        bench.make()
        bench.wait_row(attached=True, mode="native-copy")
        expect(bench.has_gate(), "no program on the interface that came back")
    expect(sorted(os.listdir(os.path.join(bench.pins(), NAME))) == ["link", "pg_xsks", "program"],
           "pins: %s", os.listdir(os.path.join(bench.pins(), NAME)))


def check_detached_stays_detached(bench):
    bench.started()
    bench.agent.cli_ok("detach", NAME)
    bench.make()
    bench.agent.process.poll()
    wait_until(lambda: bench.agent.cli("status").code == FAILED, 3, "the detached interface")
    run("sleep", "2.2")  # two looks of the agent: nothing may happen
    expect(not bench.has_gate(), "a gate that was detached by hand came back")
    bench.agent.cli_ok("attach", NAME)


def check_more_queues(bench):
    """Frames of a queue without a socket would be dropped: better the kernel's socket."""
    bench.started()
    bench.make(queues=4)
    row = bench.wait_row(mode="socket")
    expect("has 4 RX queues now" in row["why"] and "restart" in row["why"], "%r", row)
    expect(not bench.has_gate(), "a gate with fewer sockets than queues")
    bench.agent.stop()
    bench.agent.start()
    expect_equal(bench.row()["queues"], 4, "queues after a restart")


def check_renamed(bench):
    bench.started()
    for old, new in ((NAME, OTHER), (OTHER, NAME)):
        bench.ip("link", "set", old, "down")
        bench.ip("link", "set", old, "name", new)
        bench.ip("link", "set", new, "up")
        if new == OTHER:
            bench.said("is named %s now and kept the gate" % OTHER)
            expect("is named " + OTHER in bench.row()["why"], "%r", bench.row())
    bench.wait_row(attached=True, why="")
    bench.ip("link", "set", NAME, "down")
    bench.ip("link", "set", NAME, "name", OTHER)
    bench.said("is named %s now" % OTHER, 2)
    bench.agent.cli_ok("detach", NAME)
    expect(not bench.has_gate(OTHER), "the renamed interface keeps its program")


def check_link_detached(bench):
    bench.started()
    detach_link(os.path.join(bench.pins(), NAME, "link"))
    bench.said("its link was detached by somebody else")
    expect("'packgate attach %s'" % NAME in bench.row()["why"], "%r", bench.row())
    bench.agent.cli_ok("attach", NAME)
    expect(bench.has_gate(), "no program after attach")


def check_foreign_program(bench):
    """It is named and left alone; nothing of ours stays behind."""
    bench.ended()
    bench.make()
    link = in_server(bench, attach_xdp_pass, NAME)
    bench.agent.spawn()
    bench.said("ready")
    row = bench.row()
    expect("'lab_pass'" in row["why"] and row["why"].endswith("'packgate attach %s'" % NAME),
           "the whole sentence: %r", row["why"])
    expect(not os.path.exists(os.path.join(bench.pins(), NAME)), "pins of a refused attach")
    done = bench.agent.cli("detach", NAME)
    expect(done.code == FAILED and bench.has_gate(), "the foreign program: %s", done.err)
    os.close(link)
    bench.agent.cli_ok("attach", NAME)


# --- confirming ----------------------------------------------------------------------------------

def check_unconfirmed_ends_with_the_agent(bench):
    """Whatever ends the agent, a gate that nobody confirmed does not stay."""
    for end in ("kill", "stop"):
        bench.started()
        bench.agent.cli_ok("detach", NAME)
        bench.agent.cli_ok("attach", NAME, "--confirm", "600")
        expect(bench.has_gate(), "attach --confirm attaches")
        getattr(bench.agent, end)()
        wait_until(lambda: not bench.has_gate(), 3, "the gate to go after " + end)
        expect(end == "kill" or "was not confirmed and goes" in bench.agent.stderr(), "%s",
               bench.agent.stderr())
        bench.ended()
    bench.started()
    bench.agent.cli_ok("detach", NAME)
    bench.agent.cli_ok("attach", NAME, "--confirm", "600")
    bench.agent.cli_ok("confirm", NAME)
    bench.agent.kill()
    expect(bench.has_gate(), "a confirmed gate stays")


def check_confirm_at_start(bench):
    bench.ended()
    bench.make()
    bench.agent.start("--confirm", "600")
    expect(0 < bench.row()["confirm_seconds"] <= 600, "%r", bench.row())
    bench.agent.kill()
    wait_until(lambda: not bench.has_gate(), 3, "the gate to go")
    bench.agent.start("--confirm", "1")
    wait_until(lambda: not bench.has_gate(), 5, "the unconfirmed gate to go")
    bench.agent.stop()
    bench.agent.start("--confirm", "600")
    bench.agent.cli_ok("confirm", NAME)
    expect_equal(bench.row()["confirm_seconds"], 0, "confirmed")
    bench.agent.kill()
    bench.agent.start("--confirm", "1")
    run("sleep", "2.2")
    expect(bench.has_gate(), "what an earlier agent left pinned was confirmed")


# --- starting ------------------------------------------------------------------------------------

def refuse_start(bench, agent, sentence):
    agent.spawn()
    expect_equal(agent.process.wait(10), FAILED, agent.stderr())
    expect(sentence in agent.stderr(), "%r is not in %r", sentence, agent.stderr())


def check_second_of_an_instance(bench):
    """Over the same maps it would end the first one's sessions."""
    bench.started()
    row = {"endpoint": "game", "client_id": 1, "server_id": 2, "peer": "10.77.0.2:5555",
           "secret": os.urandom(32).hex()}
    bench.agent.cli_ok("session", "add", "--from", "-", stdin=str(row).replace("'", '"'))
    second = bench.lab.agent(configuration([NEWS], interfaces=[], instance=bench.agent.instance))
    refuse_start(bench, second, "another agent runs instance " + bench.agent.instance)
    expect_equal(bench.agent.session_ids(), {(1, 2)}, "sessions of the first")
    expect_equal(bench.agent.cli("status").code, DONE, "status of the first")


@contextlib.contextmanager
def taken(bench, kind, address, port):
    """Somebody else has the port."""
    with bench.lab.server_socket(socket.AF_INET, kind) as other:
        other.bind((address, port))
        if kind == socket.SOCK_STREAM:
            other.listen()
        yield


def stop_with_session(bench, server_id):
    """A stop after a session was added; returns how many there were."""
    bench.started()
    row = {"endpoint": "game", "client_id": 3, "server_id": server_id, "peer": "10.77.0.2:5555",
           "secret": os.urandom(32).hex()}
    bench.agent.cli_ok("session", "add", "--from", "-", stdin=str(row).replace("'", '"'))
    held = len(bench.agent.cli_ok("session", "list", "--json").json["sessions"])
    bench.agent.stop()
    return held


def nothing_attached(bench):
    return not bench.has_gate() and not os.path.exists(bench.pins())


def check_failed_start(bench):
    """Whatever is taken: no program on the interface, no pins."""
    bench.ended()
    bench.make()
    with taken(bench, socket.SOCK_STREAM, "127.0.0.1", 9747):
        refuse_start(bench, bench.agent, "9747")
        expect(nothing_attached(bench), "after the metrics' port")
    with taken(bench, socket.SOCK_DGRAM, "0.0.0.0", GAME.port):
        refuse_start(bench, bench.agent, "Address already in use")
        expect(nothing_attached(bench), "after the endpoint's port")
    bench.agent.start()


def check_failed_start_keeps_sessions(bench):
    """What an earlier agent pinned is not a failed start's to remove."""
    held = stop_with_session(bench, 4)
    with taken(bench, socket.SOCK_STREAM, "127.0.0.1", 9747):
        refuse_start(bench, bench.agent, "9747")
        expect(bench.has_gate(), "the gate of the earlier agent")
    bench.agent.start()
    expect_equal(bench.agent.cli_ok("status", "--json").json["adopted"], held, "adopted")


def check_failed_start_keeps_windows(bench):
    """After a clean stop whose pins are gone, as a boot leaves it, starts that fail early or late
    do not cost the sessions."""
    held = stop_with_session(bench, 5)
    done = bench.agent.packgate("detach", "--all", "--instance", bench.agent.instance)
    expect_equal(done.code, DONE, done.err)
    with taken(bench, socket.SOCK_DGRAM, "0.0.0.0", GAME.port):
        for _ in range(2):
            refuse_start(bench, bench.agent, "4000")
    config = configuration([GAME], interfaces=[NAME])
    bench.agent.write_config(dict(config, app={"socket": "/proc/version/app.sock"}))
    refuse_start(bench, bench.agent, "/proc/version")
    bench.agent.write_config(config)
    bench.agent.start()
    expect_equal(bench.agent.cli_ok("status", "--json").json["restored"], held, "restored")


def check_detach_maps_only(bench):
    """detach --all says what it removed when no gate is left."""
    bench.started()
    bench.agent.cli_ok("detach", NAME)
    bench.agent.stop()
    done = bench.agent.packgate("detach", "--all", "--instance", bench.agent.instance)
    expect(done.code == DONE and "removed the maps" in done.out, "%d %r", done.code, done.out)


def send_foreign(bench, interface, count):
    """Frames of no protocol that the gate knows: passed, and counted."""
    sock = in_server(bench, socket.socket, socket.AF_PACKET, socket.SOCK_RAW)
    with sock:
        sock.bind((interface, 0))
        for _ in range(count):
            sock.send(b"\xff" * 6 + b"\2\0\0\0\0\1" + struct.pack(">H", 0x88B5) + bytes(46))


def passed(bench):
    """Frames that each gate passed."""
    return bench.agent.scrape().by_label("packgate_gate_passed_total", "interface")


def check_many_names(bench):
    """An instance lives on though more interfaces come and go than it has rows of counters. No
    interface inherits what another one counted, or how it made cookies, and one that stays keeps
    what it counted."""
    bench.started()
    send_foreign(bench, PEER, 500)
    wait_until(lambda: passed(bench)[NAME] >= 500, 3, "500 frames")
    bench.agent.stop()
    for first in range(0, 21, 7):
        names = ["many%d" % number for number in range(first, first + 7)]
        for name in names:
            bench.ip("link", "add", name, "type", "veth", "peer", "name", "p" + name)
            for end in (name, "p" + name):
                bench.ip("link", "set", end, "up")
        bench.agent.write_config(configuration([GAME], interfaces=[NAME] + names, shield=SHIELD))
        bench.agent.start()
        for name in names:
            bench.said("shield: %s: " % name)
        counted = passed(bench)
        expect_equal(sorted(counted), sorted([NAME] + names), "interfaces")
        expect(counted[NAME] >= 500, "%s lost what it counted: %r", NAME, counted)
        expect(max(counted[name] for name in names) < 400, "somebody's counts: %r", counted)
        for name in names:
            send_foreign(bench, "p" + name, 400)
        wait_until(lambda: min(passed(bench).values()) >= 400, 3, "400 frames each")
        bench.agent.stop()
        for name in names:
            bench.ip("link", "del", name)
    bench.agent.write_config(configuration([GAME], interfaces=[NAME]))
    bench.agent.start()


def check_counts_are_its_own(bench):
    """What has no gate shows no counts, above all not those of the first row."""
    bench.started()
    send_foreign(bench, PEER, 50)
    wait_until(lambda: passed(bench)[NAME] >= 50, 3, "50 frames")
    bench.agent.stop()
    bench.agent.write_config(configuration([GAME], interfaces=["absent0", NAME]))
    bench.agent.spawn()
    bench.said("ready")
    counted = passed(bench)
    expect(counted["absent0"] == 0 and counted[NAME] >= 50, "%r", counted)
    rows = bench.agent.cli_ok("drops", "--json").json["interfaces"]
    expect_equal([row["interface"] for row in rows], ["absent0", NAME], "rows of drops")
    bench.agent.stop()
    bench.agent.write_config(configuration([GAME], interfaces=[NAME]))
    bench.agent.start()


CHECKS = (check_missing_at_start, check_gone_and_back, check_detached_stays_detached,
          check_more_queues, check_renamed, check_link_detached, check_foreign_program,
          check_unconfirmed_ends_with_the_agent, check_confirm_at_start,
          check_second_of_an_instance, check_failed_start, check_failed_start_keeps_sessions,
          check_failed_start_keeps_windows,
          check_many_names, check_counts_are_its_own, check_detach_maps_only)


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        bench = Bench(lab)
        for check in CHECKS:
            report.check(check.__name__.replace("check_", "").replace("_", " "), check, bench)
        report.check("nothing is left", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
