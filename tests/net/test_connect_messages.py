#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""`packgate connect --messages` over a session, a TCP entrance and TLS; `--policy`; `--monotonic`.

What the client sends is read at the application as the other side of DESIGN section 4 has it, so no
code of the client is its own witness.
"""

import json
import os
import subprocess
import sys

from lab import SERVER_IPV4, Lab, binary, require_root, run
from lab_app import App, MESSAGE, STREAM_OPEN
from lab_client import TOKEN, Served, StateHome
from lab_report import Report, expect, expect_equal
from lab_session import endpoint, in_free_slot

ECHO = endpoint("echo", 4000, deliver="echo", format="message")
GAME = endpoint("game", 4001, deliver="app", format="message")
RAW = endpoint("raw", 4002, deliver="echo")
NEWEST = endpoint("newest", 4003, deliver="echo", format="message", policy="monotonic")
TCP, TLS, IDLE = 5000, 5001, 5002
HARD = b"tab\there \\ back\r\x00\x7f caf\xc3\xa9"
HARD_SHOWN = b"tab\\there \\\\ back\\r\\x00\\x7f caf\xc3\xa9"


class Bench:
    def __init__(self, lab):
        self.lab = lab
        self.certificate, key = (os.path.join(lab.directory, name) for name in ("tls.pem", "tls.key"))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", key, "-out", self.certificate, "-days", "2", "-subj",
            "/CN=packgate.test", "-addext", "subjectAltName=DNS:packgate.test")
        self.served = Served(lab, [ECHO, GAME, RAW, NEWEST], tcp_entrances=[
            {"name": "plain", "endpoint": "echo", "port": TCP},
            {"name": "tls", "endpoint": "echo", "port": TLS,
             "tls": {"certificate": self.certificate, "key": key}},
            {"name": "idle", "endpoint": "echo", "port": IDLE, "idle_seconds": 1}])
        self.agent = self.served.agent

    def command(self, port, *words, session=True):
        command = ["nsenter", "--net=/run/netns/" + self.lab.client, binary("packgate"), "connect",
                   "%s:%d" % (SERVER_IPV4, port), *words]
        if session:
            command += ["--server-key", self.served.public, "--token", TOKEN]
        return command

    def run(self, *words, stdin=b"", session=True):
        return subprocess.run(self.command(*words, session=session), input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30,
                              check=False)

    def ways(self):
        """Every way that messages go: port, words, whether it is a session."""
        return (("a session", ECHO.port, ("--messages",), True),
                ("a stream", ECHO.port, ("--messages", "--policy", "reliable"), True),
                ("newest", ECHO.port, ("--messages", "--policy", "newest"), True),
                ("unordered", ECHO.port, ("--messages", "--policy", "unordered"), True),
                ("TCP", TCP, ("--tcp", "--messages"), False),
                ("TLS", TLS, ("--ca", self.certificate, "--tls-name", "packgate.test"), False))


def check_id(bench, port, words, session):
    """Lines with one Id; the last has no end."""
    done = bench.run(port, *words, "--id", "70", stdin=b"one\n\nthree " + HARD, session=session)
    expect_equal((done.returncode, done.stderr), (0, b""), "exit code")
    expect_equal(done.stdout, b"70 one\n70 \n70 three " + HARD_SHOWN + b"\n", "echo")


def check_own_ids(bench, port, words, session):
    """What is printed can be sent again: a line has its Id in front."""
    lines = b"5 hello\n2147483647 \n3\n"
    done = bench.run(port, *words, stdin=lines, session=session)
    expect_equal((done.returncode, done.stderr), (0, b""), "exit code")
    expect_equal(done.stdout, b"5 hello\n2147483647 \n3 \n", "echo")


def check_json(bench, port, words, session):
    done = bench.run(port, *words, "--json", "--id", "9", stdin=b"text\n\xff\xfe\n",
                     session=session)
    expect_equal((done.returncode, done.stderr), (0, b""), "exit code")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    expect_equal([(row["id"], row.get("text"), row.get("hex")) for row in rows],
                 [(9, "text", None), (9, None, "fffe")], "rows")


def check_heartbeat(bench, port, words, session):
    """A heartbeat that a person asks for is answered and shown."""
    done = bench.run(port, *words, "--id", "1", stdin=b"\n", session=session)
    expect_equal((done.returncode, done.stdout), (0, b"2 \n"), "exit code, %r" % done.stderr)


def check_large(bench, port, words, session):
    """A message of many frames, or of many segments."""
    text = b"x" * 300000
    done = bench.run(port, *words, "--id", "8", stdin=text + b"\n", session=session)
    expect_equal((done.returncode, done.stderr), (0, b""), "exit code")
    expect(done.stdout == b"8 " + text + b"\n", "%d bytes came", len(done.stdout))


def check_file(bench, port, words, session):
    """The lines of a file."""
    source = bench.agent.path("lines")
    lines = b"".join(b"%d line %d\n" % (100 + i % 7, i) for i in range(500))
    with open(source, "wb") as file:
        file.write(lines)
    done = bench.run(port, *words, "--send", source, session=session)
    expect_equal((done.returncode, done.stderr), (0, b""), "exit code")
    expect(done.stdout == lines, "%d of %d bytes", len(done.stdout), len(lines))


def check_at_application(bench):
    """The application sees the Ids, the bodies and the stream's policy."""
    app = App(bench.agent.app)
    try:
        app.hello("game")
        done = bench.run(GAME.port, "--messages", "--policy", "unordered", "--id", "33",
                         stdin=HARD + b"\n")
        expect_equal((done.returncode, done.stderr), (0, b""), "exit code")
        opened, item = app.receive_kind(STREAM_OPEN), app.receive_kind(MESSAGE)
        expect_equal((item.stream, item.message, item.body), (opened.stream, 33, HARD),
                     "the record")
    finally:
        app.close()


def check_bytes_on_a_stream(bench, policy):
    done = bench.run(RAW.port, "--policy", policy, stdin=b"as it is\n\x00")
    expect_equal((done.returncode, done.stdout), (0, b"as it is\n\x00"), repr(done.stderr))


def check_monotonic(bench):
    """A provisioned session of a monotonic endpoint."""
    path = bench.agent.path("secret")
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
        file.write(os.urandom(32).hex())

    def add(number):
        ids = ("--client-id", "0x1235", "--server-id", "%#x" % number)
        bench.agent.cli_ok("session", "add", "--endpoint", "newest", *ids, "--peer",
                           "10.77.0.2:20077", "--secret-file", path)
        return ids
    done = bench.run(NEWEST.port, *in_free_slot(add, 0x177), "--secret-file", path, "--source",
                     "10.77.0.2:20077", "--monotonic", "--messages", stdin=b"6 x\n",
                     session=False)
    expect_equal((done.returncode, done.stdout), (0, b"6 x\n"), repr(done.stderr))


def check_tcp_closed(bench):
    """The server closes while there is more to send: that is an error."""
    with subprocess.Popen(bench.command(IDLE, "--tcp", session=False), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdin.write(b"5 x\n")
        child.stdin.flush()
        expect_equal(child.wait(10), 1, "exit code")
        expect_equal(child.stdout.read(), b"5 x\n", "what came before")
        expect(b"the server closed the connection" in child.stderr.read(), "the sentence")


REFUSED = (
    ("line without an Id", ECHO.port, ("--messages",), b"hello\n", 1, b"line 1 does not begin"),
    ("Id 0", ECHO.port, ("--messages",), b"1 a\n0 b\n", 1, b"line 2 does not begin"),
    ("Id too large", ECHO.port, ("--messages",), b"2147483648 b\n", 1, b"line 1"),
    ("--id 0", ECHO.port, ("--messages", "--id", "0"), b"", 2, b"--id must be"),
    ("--id alone", ECHO.port, ("--id", "5"), b"", 2, b"--id needs --messages"),
    ("policy", ECHO.port, ("--policy", "best"), b"", 2, b'not "best"'),
    ("a file with holes", ECHO.port, ("--policy", "newest", "--send", "/etc/passwd"), b"", 2,
     b"holes"),
    ("streams of lines", ECHO.port, ("--messages", "--send", "/etc/passwd", "--streams", "2"), b"",
     2, b"--streams"),
    ("packets of lines", ECHO.port, ("--messages", "--packet", "9"), b"", 2, b"--messages"),
    ("a frame too large", ECHO.port, ("--policy", "newest", "--packet", "5000"), b"", 2,
     b"at most 1148 bytes"),
    ("a line too long", ECHO.port, ("--messages", "--id", "5"), b"z" * 600000, 1, b"is too long"),
    ("a newest line too long", ECHO.port, ("--messages", "--id", "5", "--policy", "newest"),
     b"z" * 1148 + b"\n", 1, b"at most 1132 bytes"),
)
TCP_REFUSED = (
    ("a session's option", TCP, ("--tcp", "--server-key", "0" * 64), 2, b"--server-key belongs"),
    ("no listener", 5999, ("--tcp",), 1, b"Connection refused"),
    ("no TLS there", TCP, ("--tls",), 1, b"TLS handshake"),
    ("unknown issuer", TLS, ("--tls", "--tls-name", "packgate.test"), 1, b"--ca FILE"),
    ("another name", TLS, ("--ca", "CERTIFICATE"), 1, b"not accepted"),
    ("no such issuer", TLS, ("--ca", "NOWHERE"), 1, b"--ca"),
)


def check_refused(bench, port, words, stdin, code, what, session=True):
    paths = {"CERTIFICATE": bench.certificate, "NOWHERE": bench.agent.path("nowhere")}
    words = [paths.get(word, word) for word in words]
    done = bench.run(port, *words, stdin=stdin, session=session)
    expect(done.returncode == code and what in done.stderr, "%d %r", done.returncode, done.stderr)
    expect(done.stderr.startswith(b"packgate: connect: ") and done.stderr.count(b"\n") == 1,
           "one sentence: %r", done.stderr)


def checks(report, bench):
    for name, port, words, session in bench.ways():
        for what, check in (("one Id", check_id), ("own Ids", check_own_ids), ("JSON", check_json),
                            ("heartbeat", check_heartbeat)):
            report.check("%s, %s" % (name, what), check, bench, port, words, session)
        if name not in ("newest", "unordered"):
            report.check("%s, a large message" % name, check_large, bench, port, words, session)
            report.check("%s, a file of lines" % name, check_file, bench, port, words, session)
    report.check("at the application", check_at_application, bench)
    for policy in ("reliable", "newest", "unordered"):
        report.check("bytes on a stream, " + policy, check_bytes_on_a_stream, bench, policy)
    report.check("monotonic, provisioned", check_monotonic, bench)
    report.check("the server closes", check_tcp_closed, bench)
    for name, port, words, stdin, code, what in REFUSED:
        report.check("refused: " + name, check_refused, bench, port, words, stdin, code, what)
    for name, port, words, code, what in TCP_REFUSED:
        report.check("refused: " + name, check_refused, bench, port, words, b"5 x\n", code, what,
                     False)


def main():
    require_root()
    report = Report()
    with Lab() as lab, StateHome():
        bench = Bench(lab)
        if report.check("the agent starts", bench.agent.start):
            checks(report, bench)
            report.check("the agent stops", bench.agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
