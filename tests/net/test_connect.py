#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""`packgate connect` and `packgate perf`: libpackgate as a person uses it, through AF_XDP.

Sessions are opened in band, or provisioned; files arrive whole, on the session and on streams.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import lab_app
from lab import SERVER_IPV4, SERVER_IPV6, Lab, binary, require_root, wait_until
from lab_app import App
from lab_client import StateHome
from lab_report import Report, expect, expect_equal
from lab_session import configuration, endpoint, in_free_slot
from test_cli import check_keys

TOKEN = "open-sesame"
FILE_BYTES = 3000000
RESERVED, PERF_RUNS = 4096, 20  # packIds that a run reserves at once; runs to use up so many
ECHO, ECHO6 = endpoint("echo", 4000), endpoint("echo6", 4000, "::")
PLAIN, APP = endpoint("plain", 4001, guard="off"), endpoint("app", 4002, deliver="app")
DISCARD = endpoint("discard", 4003, deliver="discard")


class Bench:
    def __init__(self, lab):
        self.lab = lab
        self.agent = lab.agent({})
        self.key = self.agent.path("server.key")
        done = self.agent.packgate("keygen", self.key)
        expect(done.code == 0, "keygen: %s", done.err)
        self.public = done.out.split()[-1]
        tokens = self.agent.path("tokens")
        with open(tokens, "w", encoding="ascii") as file:
            file.write(TOKEN + " alice\n")
        os.chmod(tokens, 0o600)
        self.agent.write_config(configuration([ECHO, ECHO6, PLAIN, APP, DISCARD],
                                              handshake={"key": self.key, "tokens": tokens}))
        self.agent.start()
        self.count = 0

    def command(self, verb, where, *words, key=None, token=TOKEN):
        host = "[%s]" % SERVER_IPV6 if where.ipv6 else SERVER_IPV4
        command = ["nsenter", "--net=/run/netns/" + self.lab.client, binary("packgate"), verb,
                   "%s:%d" % (host, where.port), *words]
        if key != "none":
            command += ["--server-key", key or self.public]
        if token:
            command += ["--token", token]
        return command

    def run(self, verb, where, *words, stdin=b"", timeout=60, **more):
        return subprocess.run(self.command(verb, where, *words, **more), input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              check=False)

    def file(self, name, size):
        path = self.agent.path(name)
        data = random.Random(size).randbytes(size)
        with open(path, "wb") as file:
            file.write(data)
        return path, data

    def provision(self, where):
        """Options of a provisioned session, and the words that reach it."""
        self.count += 1
        secret = self.agent.path("secret%d" % self.count)
        with open(secret, "w", encoding="ascii") as file:
            file.write(os.urandom(32).hex() + "\n")
        os.chmod(secret, 0o600)
        source = "10.77.0.2:%d" % (21000 + self.count)
        client = "0x%x" % (0x2105 + 16 * self.count)

        def add(number):
            ids = ("--client-id", client, "--server-id", "0x%x" % number)
            self.agent.cli_ok("session", "add", "--endpoint", where.name, *ids, "--peer", source,
                              "--secret-file", secret)
            return ids
        return (*in_free_slot(add, 0x900 + self.count), "--secret-file", secret, "--source", source)


def check_stdin(bench, where, *words):
    """What goes in comes back, byte for byte."""
    data = random.Random(3).randbytes(200000)
    done = bench.run("connect", where, *words, stdin=data)
    expect_equal(done.returncode, 0, "exit code, with %r" % done.stderr)
    expect_equal(hashlib.sha256(done.stdout).hexdigest(), hashlib.sha256(data).hexdigest(),
                 "echo of %d bytes (%d came)" % (len(data), len(done.stdout)))


def check_provisioned(bench):
    words = bench.provision(ECHO)
    done = bench.run("connect", ECHO, *words, stdin=b"hello", key="none", token=None)
    expect(done.returncode == 0 and done.stdout == b"hello", "%r %r", done.stdout, done.stderr)


def run_provisioned(bench, words, stdin):
    return bench.run("connect", ECHO, *words, stdin=stdin, key="none", token=None)


def expect_echo(done, data):
    expect(done.returncode == 0 and done.stdout == data, "%d %r %r", done.returncode, done.stdout,
           done.stderr)


def check_runs(bench):
    """A session goes on: a packId that was used before would be refused as a replay."""
    words = bench.provision(ECHO)
    for i in range(4):
        more = ("--policy", "reliable") if i & 1 else ()
        expect_echo(run_provisioned(bench, words + more, b"run %d" % i), b"run %d" % i)
    sent = 0
    for _ in range(PERF_RUNS):
        done = bench.run("perf", ECHO, *words, "--seconds", "1", "--json", key="none", token=None)
        expect_equal(done.returncode, 0, "exit code, with %r" % done.stderr)
        found = json.loads(done.stdout)
        expect(found["packets_acked"] == found["packets_sent"] > 0, "perf: %r", found)
        sent += found["packets_sent"]
        if sent > RESERVED:
            break
    expect(sent > RESERVED, "%d packets in %d runs", sent, PERF_RUNS)
    expect_echo(run_provisioned(bench, words, b"after perf"), b"after perf")


def check_killed(bench):
    """However the run before ended."""
    words = bench.provision(ECHO)
    command = bench.command("connect", ECHO, *words, "--recv", "-", key="none", token=None)
    for i in range(3):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as child:
            child.stdin.write(b"kill %d" % i)
            child.stdin.flush()
            expect_equal(child.stdout.read(6), b"kill %d" % i, "echo")
            child.kill()
            child.wait(5)
    expect_echo(run_provisioned(bench, words, b"after all"), b"after all")


def check_one_at_a_time(bench):
    words = bench.provision(ECHO)
    with subprocess.Popen(bench.command("connect", ECHO, *words, key="none", token=None),
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as child:
        child.stdin.write(b"first")
        child.stdin.flush()
        expect_equal(child.stdout.read(5), b"first", "echo")
        done = run_provisioned(bench, words, b"second")
        expect(done.returncode == 1 and b"another process" in done.stderr, "%r", done.stderr)
        child.stdin.close()
        expect_equal(child.wait(5), 0, "exit code")
        child.stderr.read()


def check_ended(bench):
    """--end, or the server's goaway, is for good."""
    for end in (("--end",), ()):
        words = bench.provision(ECHO)
        with subprocess.Popen(bench.command("connect", ECHO, *words, *end, "--recv", "-",
                                            key="none", token=None), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            child.stdin.write(b"x")
            child.stdin.close()
            expect_equal(child.stdout.read(1), b"x", "echo")
            if end:
                child.send_signal(signal.SIGINT)
            else:
                rows = bench.agent.cli_ok("session", "list", "--json").json["sessions"]
                row = next(row for row in rows if row["peer"] == words[-1])
                bench.agent.cli_ok("session", "close", str(row["session"]))
            expect_equal(child.wait(5), 0, "exit code")
            child.stderr.read()
        done = run_provisioned(bench, words, b"late")
        expect(done.returncode == 1 and b"ended" in done.stderr, "%d %r", done.returncode,
               done.stderr)


def check_no_state(bench):
    """Where nothing can be remembered nothing is sent."""
    words = bench.provision(ECHO)
    for name, more, what in (("a file", ("--state", words[5]), b"Not a directory"),
                             ("in memory", ("--state", "/dev/shm/packgate-test"), b"in memory"),
                             ("in band", None, b"belong to a provisioned")):
        done = (run_provisioned(bench, words + more, b"x") if more else
                bench.run("connect", ECHO, "--state", "/var/tmp"))
        expect(done.returncode and what in done.stderr, "%s: %d %r", name, done.returncode,
               done.stderr)
    shutil.rmtree("/dev/shm/packgate-test", ignore_errors=True)
    expect_echo(run_provisioned(bench, words, b"x"), b"x")


class Collector(threading.Thread):
    """Reads the application socket: the bytes of every stream, in order."""

    def __init__(self, bench):
        super().__init__(daemon=True)
        self.app = App(bench.agent.path("app.sock"))
        self.app.hello("app")
        self.streams, self.gaps, self.stopping = {}, 0, False
        self.start()

    def run(self):
        while not self.stopping:
            item = self.app.receive(0.1)
            if item is None:
                continue
            if item.kind == lab_app.MESSAGE:
                self.streams.setdefault(item.stream, bytearray()).extend(item.body)
            elif item.kind == lab_app.GAP:
                self.gaps += 1

    def total(self):
        return sum(len(data) for data in self.streams.values())

    def stop(self):
        self.stopping = True
        self.join(5)
        self.app.socket.close()


def check_file(bench, streams):
    """A file on the session, or cut over streams, is whole in order of stream ids."""
    path, data = bench.file("file", FILE_BYTES)
    collector = Collector(bench)
    try:
        words = ("--streams", str(streams)) if streams else ()
        done = bench.run("connect", APP, "--send", path, "--linger", "1", *words)
        expect_equal(done.returncode, 0, "exit code, with %r" % done.stderr)
        expect(b"sent 3.0 MB" in done.stderr, "the report says what was sent: %r", done.stderr)
        wait_until(lambda: collector.total() >= len(data), 5, "the whole file")
    finally:
        collector.stop()
    whole = b"".join(bytes(collector.streams[stream]) for stream in sorted(collector.streams))
    expect_equal(len(collector.streams), max(streams, 1), "streams used")
    expect_equal(hashlib.sha256(whole).hexdigest(), hashlib.sha256(data).hexdigest(), "SHA-256")
    expect_equal(collector.gaps, 0, "gaps")


def check_receive(bench):
    """--recv goes on after stdin's end, until the server closes or an interrupt."""
    out = bench.agent.path("received")
    command = bench.command("connect", ECHO, "--recv", out)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as child:
        child.stdin.write(b"to be echoed")
        child.stdin.close()
        wait_until(lambda: os.path.exists(out) and os.path.getsize(out) == 12, 5, "the echo")
        time.sleep(0.6)     # longer than the silence that would end it without --recv
        expect(child.poll() is None, "it ended by itself")
        child.send_signal(signal.SIGINT)
        expect_equal(child.wait(5), 0, "exit code after SIGINT")
        child.stdout.read()
        child.stderr.read()


def check_refusals(bench):
    wrong, nowhere = "%064x" % 9, bench.agent.path("nowhere")
    for name, words, more, code, what in (
            ("token", (), {"token": "wrong"}, 1, "refused the token"),
            ("no guard", (), {"where": PLAIN}, 1, "without the guard"),
            ("no key", (), {"key": "none"}, 2, "--server-key"),
            ("bad key", (), {"key": "zz"}, 2, "has 2 characters"),
            ("no key file", (), {"key": "./zz"}, 1, "open ./zz"),
            ("ids missing", ("--secret-file", bench.key), {"key": "none"}, 2, "--client-id"),
            ("aead", ("--aead", "rot13"), {}, 2, "rot13"),
            ("streams", ("--streams", "3"), {}, 2, "needs --send"),
            ("packet", ("--packet", "0"), {}, 2, "--packet"),
            ("no file", ("--send", nowhere), {}, 1, nowhere),
            ("source", ("--source", "nowhere"), {}, 2, "nowhere")):
        more = dict(more)
        done = bench.run("connect", more.pop("where", ECHO), *words, **more)
        expect(done.returncode == code and what.encode() in done.stderr, "%s: %d %r", name,
               done.returncode, done.stderr)
    done = bench.run("connect", ECHO, key=wrong, timeout=30)
    expect(done.returncode == 1 and b"did not answer" in done.stderr, "wrong key: %d %r",
           done.returncode, done.stderr)


def check_perf(bench, where, *words):
    done = bench.run("perf", where, "--seconds", "1", "--json", *words)
    expect_equal(done.returncode, 0, "exit code, with %r" % done.stderr)
    found = json.loads(done.stdout)
    echoes = where.deliver == "echo"
    expect(found["packets_acked"] == found["packets_sent"] > 100, "all acked: %r", found)
    expect_equal(found["packets_failed"], 0, "failed")
    expect_equal(found["echoes"], echoes, "echoes")
    if echoes:
        check_keys("packgate perf", found)
        rtt = found["rtt_ms"]
        expect(0 < rtt["min"] <= rtt["p50"] <= rtt["p99"] <= rtt["max"], "%r", rtt)
        expect_equal(found["packets_echoed"], found["packets_sent"], "echoed")
    done = bench.run("perf", where, "--seconds", "1", *words)
    expect(done.returncode == 0 and b"throughput" in done.stdout, "%r", done.stdout)


def check_expired_server(bench):
    """A session that the operator closes ends the client with the reason."""
    before = {row["session"]
              for row in bench.agent.cli_ok("session", "list", "--json").json["sessions"]}
    with subprocess.Popen(bench.command("connect", ECHO, "--recv", "-"), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        rows = wait_until(lambda: [row for row in
                                   bench.agent.cli_ok("session", "list", "--json").json["sessions"]
                                   if row["state"].lower() == "ready"
                                   and row["session"] not in before], 5, "the session")
        for row in rows:
            bench.agent.cli("session", "close", str(row["session"]), "--code", "error")
        expect_equal(child.wait(5), 1, "exit code")
        expect(b"ended with an error" in child.stderr.read(), "the reason")
        child.stdout.read()


def main():
    require_root()
    report = Report()
    with Lab() as lab, StateHome():
        bench = Bench(lab)
        report.check("stdin, IPv4", check_stdin, bench, ECHO)
        report.check("stdin, IPv6", check_stdin, bench, ECHO6)
        report.check("stdin, guard off", check_stdin, bench, PLAIN, "--allow-unguarded")
        report.check("stdin, AES-256-GCM", check_stdin, bench, ECHO, "--aead", "aes-256-gcm")
        report.check("provisioned", check_provisioned, bench)
        report.check("provisioned, run after run", check_runs, bench)
        report.check("provisioned, killed", check_killed, bench)
        report.check("provisioned, one run at a time", check_one_at_a_time, bench)
        report.check("provisioned, ended", check_ended, bench)
        report.check("provisioned, no state", check_no_state, bench)
        report.check("file on the session", check_file, bench, 0)
        report.check("file on 4 streams", check_file, bench, 4)
        report.check("receive", check_receive, bench)
        report.check("refusals", check_refusals, bench)
        report.check("closed by the operator", check_expired_server, bench)
        report.check("perf, echo", check_perf, bench, ECHO)
        report.check("perf, streams", check_perf, bench, ECHO, "--streams", "4", "--size", "1000")
        report.check("perf, discard", check_perf, bench, DISCARD)
        bench.agent.stop()
        bench.agent.detach()
    report.last("nothing left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
