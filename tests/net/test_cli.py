#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""packgate against a running agent: what the API answers is what docs/control-api.md says, every
verb does its work, every wrong request is refused with a sentence and the agent goes on."""

import base64
import contextlib
import fcntl
import glob
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import time

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import witness
from lab import (HOST_IPV4, PINS, ROOT, SERVER_IPV4, Done, Lab, attach_xdp_pass, binary, bpf,
                 build_directory, in_namespace, require_root, run, wait_until)
from lab_report import Report, expect, expect_equal
from lab_session import Sessions, configuration, echo, endpoint, open_stream
from lab_wire import Peer, Wire

DOC = os.path.join(ROOT, "docs", "control-api.md")
GAME, COUNTED = endpoint("game", 4000), endpoint("news", 4001, guard="off", policy="monotonic")
CHAT = endpoint("chat", 4009, format="message")
ENTRANCE = {"name": "chat-tcp", "endpoint": "chat", "port": 4008}
VERBS = ("status", "attach", "confirm", "detach", "reload", "endpoint list", "entrance list",
         "session add", "session list", "session show", "session close", "stream list",
         "listeners", "shield on", "shield auto", "shield off", "shield status", "drops", "top",
         "metrics", "keygen", "token mint", "token verify", "doctor", "decode", "ping", "connect",
         "perf", "demo")
DONE, FAILED, USAGE, UNREACHABLE = range(4)
BODY_MAX, HEADERS_MAX, CLIENTS_MAX, FOLLOWERS_MAX = 1 << 20, 16 << 10, 64, 8
CLIENT_SECONDS = 5  # that a client has for its request
UNIX_SOCKETS, ACCEPTING = "/proc/thread-self/net/unix", "00010000"


# --- the API as any HTTP client sees it ----------------------------------------------------------

class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=8):
        super().__init__("packgate", timeout=timeout)
        self.unix = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.unix)


def ask(agent, method, path, body=None, kind="application/json"):
    """(status, text) of one exchange; a body that is no text is sent as JSON."""
    if body is not None and not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    connection = UnixConnection(agent.control)
    with contextlib.closing(connection):
        # a refusal may come before the whole body
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, {"Content-Type": kind} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def get(agent, path):
    status, text = ask(agent, "GET", path)
    expect_equal(status, 200, "GET " + path)
    return json.loads(text)


def refused(agent, status, sentence, *request):
    found, text = ask(agent, *request)
    expect_equal(found, status, " ".join(map(str, request[:2])) + ": " + text[:200])
    expect(sentence in json.loads(text)["error"], "%r is not in %s", sentence, text)
    return json.loads(text)


# --- docs/control-api.md -------------------------------------------------------------------------

def documented():
    """{"GET /v1/status": {key: type}} of the document's tables; some say whose they are."""
    routes, current = {}, None
    with open(DOC, encoding="utf-8") as file:
        for line in file:
            heading = re.match(r"## (\w+ /\S+|packgate [a-z -]+)", line)
            row = re.match(r"\| `([^`]+)` \| (\w+) \|", line)
            same = re.search(r"Answers the same as `([^`]+)`", line)
            if same:
                current.update(routes[same[1]])
            if heading:
                current = routes.setdefault(heading[1], {})
            elif row and current is not None:
                current[row[1]] = row[2]
    return routes


def kind_of(value):
    if value is None:
        return "null"
    return {bool: "boolean", str: "text", int: "number", float: "number"}[type(value)]


def flatten(tree, prefix=""):
    """{"a[].b": {kinds}} of an answer."""
    found = {}
    for key, value in tree.items():
        if isinstance(value, list):
            for row in value:
                if not isinstance(row, dict):
                    found.setdefault(prefix + key + "[]", set()).add(kind_of(row))
                    continue
                for name, kinds in flatten(row, prefix + key + "[].").items():
                    found.setdefault(name, set()).update(kinds)
        elif isinstance(value, dict):
            found.update(flatten(value, prefix + key + "."))
        else:
            found.setdefault(prefix + key, set()).add(kind_of(value))
    return found


ALLOWED = {"text": {"text", "null"}, "number": {"number"}, "boolean": {"boolean"},
           "time": {"number", "null"}}


def check_keys(route, tree, without="-"):
    """Exactly the documented keys, each of its type; lists must not be empty, but one that may."""
    table = {key: kind for key, kind in documented()[route].items() if not key.startswith(without)}
    found = flatten(tree)
    expect_equal(sorted(found), sorted(table), "keys of " + route)
    for key, kinds in found.items():
        expect(kinds <= ALLOWED[table[key]], "%s: %s is %s, documented as %s", route, key,
               "/".join(sorted(kinds)), table[key])


class Bench:
    """An agent with sessions, one of them with an open stream, and a TCP listener beside it."""

    def __init__(self, lab):
        self.lab = lab
        self.agent = lab.agent(configuration([GAME, COUNTED, CHAT],
                                             tcp_entrances=[ENTRANCE])).start()
        self.wire = Wire(lab)
        self.sessions = Sessions(lab, self.agent, self.wire)
        self.peer = self.sessions.new(GAME)
        self.stream = open_stream(self.peer)
        self.other = self.sessions.new(COUNTED)
        self.listener = lab.server_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind(("0.0.0.0", 4443))
        self.listener.listen(5)

    @property
    def id(self):
        return "%04x%04x" % (self.peer.session.client, self.peer.session.server)


def fresh_row(bench, **change):
    """A request for a session that no other has, its slot neither."""
    bench.sessions.count += 1
    row = {"endpoint": "game", "client_id": 0x2005, "server_id": 0x300 + bench.sessions.count,
           "peer": "10.77.0.2:5555", "secret": os.urandom(32).hex()}
    row.update(change)
    return {key: value for key, value in row.items() if value is not None}


def ping(bench):
    """What one ping of a session of its own prints, sent by the client's host."""
    row = fresh_row(bench, peer="%s:5601" % HOST_IPV4)
    status, text = ask(bench.agent, "POST", "/v1/sessions", row)
    expect_equal(status, 200, text)
    done = subprocess.run(
        ["nsenter", "--net=/run/netns/" + bench.lab.client, binary("packgate"), "ping",
         "%s:4000" % SERVER_IPV4, "--client-id", str(row["client_id"]), "--server-id",
         str(row["server_id"]), "--secret-file", "-", "--source", row["peer"], "--count", "1",
         "--json"], input=row["secret"], stdout=subprocess.PIPE, text=True, check=False, timeout=10)
    expect_equal(done.returncode, DONE, "ping: " + done.stdout)
    return json.loads(done.stdout)


def check_documented_tools(agent, check):
    """keygen and token, which no agent answers."""
    path, secret = agent.path("documented.key"), agent.path("documented.secret")
    check("packgate keygen", agent.packgate("keygen", path, "--json").json)
    check("packgate keygen", agent.packgate("keygen", "--public", path, "--json").json)
    found = agent.packgate("keygen", "--secret", "--json").json
    check("packgate keygen --secret", found)
    with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
        file.write(found["secret"])
    jwt = ("--jwt", "HS256", "--key", secret)
    found = agent.packgate("token", "mint", *jwt, "--sub", "alice", "--json").json
    check("packgate token mint", found)
    check("packgate token verify", agent.packgate("token", "verify", *jwt, found["token"],
                                                  "--json").json)


def check_documented_keys(bench):
    agent, interface = bench.agent, bench.lab.server_if
    checked = set()

    def check(route, tree):
        check_keys(route, tree)
        checked.add(route)

    for path in ("status", "interfaces", "endpoints", "entrances", "sessions", "streams", "listeners",
                 "listeners/explain", "drops"):
        check("GET /v1/" + path, get(agent, "/v1/" + path))
    check("GET /v1/sessions/ID", get(agent, "/v1/sessions/" + bench.id))
    # the events of a shield are seen by tests/net/test_shield
    status, text = ask(agent, "POST", "/v1/shield", {"port": 4443, "mode": "off"})
    expect_equal(status, 404, text)
    status, text = ask(agent, "POST", "/v1/shield", {"port": 4443, "mode": "auto"})
    expect_equal(status, 200, text)
    for route, tree in (("POST /v1/shield", json.loads(text)),
                        ("GET /v1/shield", get(agent, "/v1/shield"))):
        check_keys(route, tree, without="events[].")
        checked.add(route)
    expect_equal(ask(agent, "POST", "/v1/shield", {"port": 4443, "mode": "off"})[0], 200, "off")
    status, text = ask(agent, "POST", "/v1/sessions", fresh_row(bench))
    expect_equal(status, 200, text)
    check("POST /v1/sessions", json.loads(text))
    added = json.loads(text)["sessions"][0]["session"]
    check("DELETE /v1/sessions/ID", json.loads(ask(agent, "DELETE", "/v1/sessions/" + added)[1]))
    check("POST /v1/reload", json.loads(ask(agent, "POST", "/v1/reload")[1]))
    for verb, body in (("detach", None), ("attach", {"confirm": 600}), ("confirm", None)):
        path = "/v1/interfaces/%s/%s" % (interface, verb)
        status, text = ask(agent, "POST", path, body)
        expect_equal(status, 200, text)
        check("POST /v1/interfaces/NAME/" + verb, json.loads(text))
    check("packgate doctor", agent.cli("doctor", "--json").json)
    check("packgate ping", ping(bench))
    check_documented_tools(agent, check)
    # what follows is read by tests/net/test_connect and by check_follow
    left = set(documented()) - checked - {"GET /v1/drops/follow", "GET /v1/metrics",
                                          "packgate perf"}
    expect(not left, "routes that no check reads: %s", ", ".join(sorted(left)))


def check_json_is_the_api(bench):
    """--json prints what the API answers, before and after the verb."""
    agent = bench.agent
    for words, path in ((["endpoint", "list"], "endpoints"), (["stream", "list"], "streams"),
                        (["entrance", "list"], "entrances"),
                        (["session", "show", bench.id], "sessions/" + bench.id),
                        (["session", "list", "--endpoint", "news"], "sessions?endpoint=news"),
                        (["stream", "list", "--session", bench.id],
                         "streams?session=" + bench.id)):
        api = get(agent, "/v1/" + path)
        expect_equal(agent.cli_ok(*words, "--json").json, api, " ".join(words))
        expect_equal(agent.cli_ok("--json", *words).json, api, " ".join(words))
    rows = get(agent, "/v1/sessions?endpoint=news")["sessions"]
    expect_equal([row["endpoint"] for row in rows], ["news"], "endpoints of the filtered list")
    rows = get(agent, "/v1/streams")["streams"]
    expect_equal([(row["session"], row["stream"]) for row in rows], [(bench.id, bench.stream)],
                 "streams")


def check_tables(bench):
    """What people see: a heading, the values, numbers to the right."""
    agent = bench.agent
    for words, wanted in ((["status"], [bench.lab.server_if, "instance " + agent.instance]),
                          (["endpoint", "list"], ["NAME", "game", "news", "monotonic"]),
                          (["entrance", "list"], ["A SOURCE", "chat-tcp", "4008", "10000"]),
                          (["session", "list"], ["SESSION", bench.id, "ready"]),
                          (["session", "show", bench.id], ["session ", bench.id, "guard "]),
                          (["stream", "list"], [bench.id, str(bench.stream), "reliable"]),
                          (["listeners"], ["ACCEPT QUEUE", "4443", "listen_overflows"]),
                          (["listeners", "--explain"], [":4443 in ", "next SYN", "listen(fd, 4096)"]),
                          (["shield", "status"], ["LISTENER", "*:4443", "net.ipv4.tcp_"]),
                          (["drops"], ["the agent refused nothing"]),
                          (["metrics"], ["# EOF"])):
        out = agent.cli_ok(*words).out
        for text in wanted:
            expect(text in out, "packgate %s does not show %r: %s", " ".join(words), text, out)
    lines = agent.cli_ok("endpoint", "list").out.splitlines()
    column = lines[0].index("PORT") + len("PORT")
    for line in lines[1:]:
        expect(re.search(r"\b400[019]$", line[:column]), "the port is not to the right: %s", line)


# --- wrong usage and exit codes ------------------------------------------------------------------

def check_exit_codes(bench):
    agent, nowhere = bench.agent, bench.agent.path("nowhere")
    rows = (
        (USAGE, "which verb", []), (USAGE, 'did you mean "status"', ["statsu"]),
        (USAGE, 'did you mean "session list"', ["session", "lst"]),
        (USAGE, "there are: session add", ["session"]),
        (USAGE, "session needs a verb", ["session"]),
        (USAGE, "unknown verb \"frobnicate\"", ["help", "frobnicate"]),
        (USAGE, "control socket is too long", ["status", "--control", "/" + 120 * "x"]),
        (USAGE, "control socket is too long", ["detach", "--all", "--control=/" + 120 * "x"]),
        (FAILED, "open %s: No such file or directory\n" % nowhere, ["decode", nowhere]),
        (USAGE, "see packgate --help", ["frobnicate"]),
        (USAGE, "unknown option --foo", ["status", "--foo"]),
        (USAGE, "unknown option -x", ["status", "-x"]),
        (USAGE, "unknown option -x", ["keygen", "-x"]),
        (USAGE, "one word too many", ["status", "now"]),
        (USAGE, "one word too many", ["status", "--", "-x"]),
        (USAGE, "ping: HOST:PORT is missing", ["ping"]),
        (USAGE, "--control needs PATH", ["status", "--control="]),
        (USAGE, 'unknown verb "a?b?"', ["a\nb\33"]),
        (FAILED, "no endpoint is named a?b", ["session", "list", "--endpoint", "a\nb"]),
        (USAGE, "attach: INTERFACE is missing", ["attach"]),
        (USAGE, "--confirm needs SECONDS", ["attach", "eth0", "--confirm"]),
        (USAGE, "1 to 86400", ["attach", "eth0", "--confirm", "0"]),
        (USAGE, "1 to 86400", ["attach", "eth0", "--confirm=86401"]),
        (USAGE, "given twice", ["session", "list", "--endpoint", "a", "--endpoint", "b"]),
        (USAGE, "takes no value", ["drops", "--follow=yes"]),
        (USAGE, "INTERFACE, or give --all", ["detach"]),
        (USAGE, "INTERFACE, or give --all", ["detach", "eth0", "--all"]),
        (USAGE, "there is no --json", ["metrics", "--json"]),
        (FAILED, "own network namespace", ["listeners", "--netns", "all"]),
        (FAILED, "own network namespace", ["listeners", "--explain", "--netns", "all"]),
        (USAGE, "--port goes with --explain", ["listeners", "--port", "80"]),
        (USAGE, "takes 1 to 65535", ["listeners", "--explain", "--port", "0"]),
        (USAGE, "takes 1 to 65535", ["listeners", "--explain", "--port", "65536"]),
        (USAGE, "takes no value", ["listeners", "--explain=yes"]),
        (FAILED, "no living session has the id 00010001", ["session", "show", "00010001"]),
        (USAGE, "is not a session id", ["session", "show", "1"]),
        (USAGE, "is not a session id", ["session", "close", "../status"]),
        (USAGE, "is no interface's name", ["attach", "../../reload"]),
        (USAGE, "is no interface's name", ["detach", "eth0/../lo"]),
        (USAGE, "--code must be", ["session", "close", bench.id, "--code", "2"]),
        (USAGE, "is not a session id", ["stream", "list", "--session", "1"]),
        (USAGE, "--sub names a user", ["token", "mint", "--jwt", "HS256", "--key", "/nonexistent",
                                       "--sub", ""]),
        (FAILED, "no endpoint is named nobody", ["session", "list", "--endpoint", "nobody"]),
        (FAILED, "no living session", ["stream", "list", "--session", "00010001"]),
        (USAGE, "PORT, ADDRESS:PORT or [v6]:PORT", ["shield", "on", "https"]),
        (USAGE, "PORT, ADDRESS:PORT or [v6]:PORT", ["shield", "on", "65536"]),
        (USAGE, "not an IPv4 or IPv6 address", ["shield", "off", "1.2.3:443"]),
        (USAGE, "1 to 100 percent", ["shield", "auto", "443", "--threshold", "0"]),
        (USAGE, "there are: shield on", ["shield", "sideways"]),
        (FAILED, "port 444 has no shield", ["shield", "off", "444"]),
        (FAILED, "nosuch0", ["attach", "nosuch0"]), (FAILED, "nosuch0", ["detach", "nosuch0"]),
        (FAILED, "nosuch0", ["confirm", "nosuch0"]),
        (FAILED, "attach", ["attach", bench.lab.server_if]))
    for code, sentence, words in rows:
        done = agent.cli(*words)
        expect_equal(done.code, code, "packgate " + " ".join(words) + ": " + done.err)
        expect(sentence in done.err, "packgate %s: %r is not in %r", " ".join(words), sentence,
               done.err)
        expect(done.err.startswith("packgate: ") and done.err.count("\n") == 1,
               "not one sentence: %r", done.err)


def check_key_arguments(bench):
    """A key that is none is told from a file that is not there, and never shown."""
    agent, mistyped = bench.agent, "abc123" * 10 + "d"
    path = agent.path("mistyped")
    with open(path, "w", encoding="ascii") as file:
        file.write(mistyped + "\n")
    server = ["10.77.0.1:4000", "--client-id", "1", "--server-id", "1"]
    rows = [
        (USAGE, "has 61 characters and is no file", ["--server-key", mistyped]),
        (USAGE, "has 64 characters, not all of them hex digits", ["--server-key", mistyped + "xyz"]),
        (USAGE, "has 300 characters", ["--server-key", "a" * 300]),
        (USAGE, "is empty", ["--server-key", ""]),
        (USAGE, "has 11 characters, not all", ["--server-key", "nonexistent"]),
        (FAILED, "No such file", ["--server-key", "./nonexistent"]),
        (FAILED, "what is in %s has 61 characters" % path, ["--server-key", path]),
        (FAILED, "Is a directory", ["--server-key", "/"]),
        (USAGE, "has 61 characters", ["--secret-file", mistyped, "--state", agent.path("state-of")]),
        (FAILED, "has 61 characters", ["--secret-file", path, "--state", agent.path("state-of")])]
    for verb in ("connect", "perf"):
        for code, sentence, words in rows:
            target = server[:1] if "--server-key" in words else server
            refused_key(agent, code, sentence, mistyped, verb, *target, *words)
    refused_key(agent, USAGE, "has 61 characters", mistyped, "ping", *server, "--secret", mistyped)
    refused_key(agent, FAILED, "has 61 characters", mistyped, "ping", *server, "--secret-file", path)
    words = add_words(fresh_row(bench, secret=None))
    refused_key(agent, FAILED, "has 61 characters", mistyped, "session", "add", *words,
                "--secret-file", path)


def refused_key(agent, code, sentence, mistyped, *words):
    done = agent.cli(*words)
    expect_equal(done.code, code, "packgate %s: %s" % (" ".join(words), done.err))
    expect(sentence in done.err and "64 hex digits" in done.err or "directory" in done.err,
           "packgate %s: %r is not in %r", " ".join(words), sentence, done.err)
    expect(mistyped not in done.err and not done.out, "it shows the key: %r", done.err)


def check_unreachable(bench):
    agent, nobody = bench.agent, bench.agent.path("nobody.sock")
    for words in (["status"], ["session", "list"], ["drops", "--follow"], ["metrics"]):
        done = agent.packgate(*words, "--control", nobody)
        expect_equal(done.code, UNREACHABLE, " ".join(words))
        expect(nobody in done.err and "is packgated running?" in done.err, "%r", done.err)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(nobody)
    expect_equal(agent.packgate("status", "--control=" + nobody).code, UNREACHABLE, "a dead socket")
    done = subprocess.run([binary("packgate"), "status"], stdout=subprocess.PIPE, check=False,
                          env={"PACKGATE_CONTROL": agent.control})
    expect_equal(done.returncode, DONE, "PACKGATE_CONTROL")
    done = subprocess.run([binary("packgate"), "status"], stderr=subprocess.PIPE, check=False,
                          env={"PACKGATE_CONTROL": nobody})
    expect_equal(done.returncode, UNREACHABLE, "PACKGATE_CONTROL of nobody")


def check_help(bench):
    whole = bench.agent.packgate("--help")
    expect_equal(whole.code, DONE, "--help")
    for verb in VERBS:
        expect(re.search(r"^  %s\b" % verb, whole.out, re.M), "--help does not name %s", verb)
        for words in (verb.split() + ["--help"], ["--help"] + verb.split()):
            done = bench.agent.packgate(*words)
            expect_equal(done.code, DONE, " ".join(words))
            expect(done.out.startswith("usage: packgate " + verb), "%s: %r", " ".join(words),
                   done.out[:60])
    expect(re.fullmatch(r"packgate \d+\.\d+\.\d+\n", bench.agent.packgate("--version").out),
           "--version")
    expect_equal(bench.agent.packgate("help").out, whole.out, "help")
    for words in (["session", "--help"], ["help", "session"]):
        done = bench.agent.packgate(*words)
        expect(done.code == DONE and done.out.startswith("usage: packgate session VERB"),
               "%d %r", done.code, done.out[:60])
        expect("  session add " in done.out and "  session close  ID" in done.out and
               "stream" not in done.out, "%r", done.out)
    expect(bench.agent.packgate("help", "session", "add").out ==
           bench.agent.packgate("session", "add", "--help").out, "help session add")


def written_to(bench, target, *words):
    """(exit code, stderr) of a verb that writes to something else than a file with room."""
    done = subprocess.run([binary("packgate"), "--control", bench.agent.control, *words],
                          stdout=target, stderr=subprocess.PIPE, text=True, check=False, timeout=10)
    return done.returncode, done.stderr


def check_lost_output(bench):
    """A full disk is a failure, long and short answers alike; a reader that left, as head, is none."""
    capture = os.path.join(ROOT, "tests", "vectors", "seed_push_exchange.pcap")
    verbs = (["--help"], ["session", "--help"], ["attach", "--help"], ["--version"], ["status"],
             ["metrics"], ["listeners"], ["listeners", "--json"], ["drops"], ["drops", "--json"],
             ["keygen", "--secret"], ["decode", capture], ["decode", "--json", capture],
             ["top", "--once"])
    with open("/dev/full", "w", encoding="ascii") as full:
        for words in (*verbs, ["doctor", "nosuch0"]):
            code, err = written_to(bench, full, *words)
            expect((code, err) == (FAILED, "packgate: the output could not be written\n"),
                   "%s to a full disk: %d %r", " ".join(words), code, err)
    for words in verbs:
        reader, writer = os.pipe()
        os.close(reader)
        code, err = written_to(bench, writer, *words)
        os.close(writer)
        expect((code, err) == (DONE, ""), "%s | true: %d %r", " ".join(words), code, err)


def check_interrupt(bench):
    """SIGINT is how what goes on for ever ends well."""
    for words in (["drops", "--follow"], ["drops", "--follow", "--json"]):
        with popen(bench.agent, *words) as follower:
            wait_until(lambda: send_short(bench) or
                       select.select([follower.stdout], [], [], 0.05)[0], 10, "a drop")
            follower.send_signal(signal.SIGINT)
            expect_equal(follower.wait(5), DONE, " ".join(words))


def on_terminal(bench, columns, *words):
    """The lines that the verb writes to a terminal of so many columns."""
    master, slave = os.openpty()
    with open(master, "rb", 0) as screen:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with open(slave, "wb", 0) as terminal:
            subprocess.run([binary("packgate"), "--control", bench.agent.control, *words],
                           stdout=terminal, check=True, timeout=10)
            text = b""
            while select.select([screen], [], [], 0)[0]:
                text += screen.read(65536)
    return text.decode().replace("\r\n", "\n").rstrip("\n").split("\n")


def check_narrow_terminal(bench):
    """At 80 columns no line is longer, no line ends in blanks, and no column is lost."""
    for words, last in ((("status",), "NOTE"), (("endpoint", "list"), "APP"),
                        (("session", "list"), "ACTIVE"), (("listeners",), "LIMIT")):
        lines = on_terminal(bench, 80, *words)
        expect(any(last in line for line in lines), "%s at 80 columns: %r", words, lines)
        for line in lines:
            expect(len(line) <= 80, "%s: %d columns: %r", words, len(line), line)
            expect(line == line.rstrip(), "%s: ends in blanks: %r", words, line)
    lines = on_terminal(bench, 30, "session", "list")
    expect(all(len(line) <= 30 for line in lines), "at 30 columns: %r", lines)
    expect("for want of room, not shown:" in " ".join(lines) and "ACTIVE" in lines[-1],
           "what is left away is named: %r", lines)


# --- sessions ------------------------------------------------------------------------------------

def add_words(row):
    return [word for key, value in row.items()
            for word in ("--" + key.replace("_", "-"), str(value))]


def check_session_add(bench):
    agent = bench.agent
    row = fresh_row(bench, aead="aes-256-gcm", expires=600)
    path = agent.path("secret")
    with open(path, "w", encoding="ascii") as file:
        file.write(row["secret"] + "\n")
    words = add_words({key: value for key, value in row.items() if key != "secret"})
    done = agent.cli_ok("session", "add", *words, "--secret-file", path, "--json").json
    shown = get(agent, "/v1/sessions/" + done["sessions"][0]["session"])
    for key in ("endpoint", "client_id", "server_id", "peer", "aead"):
        expect_equal(shown[key], row[key], key)
    expect(0 < shown["expires_ms"] - shown["created_ms"] <= 600000, "expires: %r", shown)
    done = agent.cli("session", "add", *words, "--secret-file", path)
    expect_equal(done.code, FAILED, "the same session again")
    agent.cli_ok("session", "close", shown["session"])
    wait_until(lambda: agent.cli("session", "show", shown["session"]).code == FAILED, 5, "the end")
    again = fresh_row(bench, secret=row["secret"])
    done = agent.cli("session", "add", *add_words(again))
    expect_equal(done.code, FAILED, "a secret that was used: " + done.out)
    hexadecimal = fresh_row(bench)
    hexadecimal["server_id"] = hex(hexadecimal["server_id"])
    agent.cli_ok("session", "add", *add_words(hexadecimal))


def check_add_again(bench):
    """The ids of a session that its client ends can be added at once, while its slot lingers: done,
    or the slot is still held; and a session that was refused left nothing behind."""
    agent, added, held = bench.agent, 0, 0
    peer = bench.sessions.new(GAME)
    for _ in range(60):
        peer.send(peer.session.goaway(0))
        row = fresh_row(bench, client_id=peer.session.client, server_id=peer.session.server,
                        peer="%s:%d" % (peer.source, peer.sport))
        while True:
            status, text = ask(agent, "POST", "/v1/sessions", [row])
            if status == 200:
                break
            expect(status == 409 and "is held by session" in text, "%d %s", status, text)
            held += 1
        added += 1
        session = witness.Session(bytes.fromhex(row["secret"]), peer.session.client,
                                  peer.session.server, 1, True)
        peer = Peer(bench.wire, session, peer.source, peer.sport, peer.target, peer.dport)
        if not added % 20:
            echo(peer, b"the new session")
    print("# added %d times, %d times too early" % (added, held), flush=True)
    agent.cli_ok("session", "close", "%04x%04x" % (peer.session.client, peer.session.server))


def check_session_refusals(bench):
    agent = bench.agent
    before = sorted(agent.session_ids())
    rows = ((USAGE, "--endpoint is missing", {"endpoint": None}),
            (FAILED, "nobody", {"endpoint": "nobody"}),
            (USAGE, "--client-id must be", {"client_id": 0}),
            (USAGE, "--client-id must be", {"client_id": 65536}),
            (USAGE, "--server-id must be", {"server_id": "0x"}),
            (USAGE, "--server-id must be", {"server_id": "-1"}),
            (USAGE, "--peer is missing", {"peer": None}),
            (USAGE, "10.77.0.2", {"peer": "10.77.0.2"}),
            (USAGE, "names are not resolved", {"peer": "localhost:4"}),
            (USAGE, "--peer: ", {"peer": "10.77.0.2:0"}),
            (FAILED, "address family", {"peer": "[fd77::9]:4"}),
            (FAILED, "one host and port", {"peer": "224.0.0.1:4"}),
            (USAGE, "--secret-file or by --secret", {"secret": None}),
            (USAGE, "64 hex digits; this one has 2 characters;", {"secret": "00"}),
            (USAGE, "has 64 characters, not all of them hex digits", {"secret": "g" * 64}),
            (USAGE, "has 65 characters", {"secret": "0" * 65}),
            (USAGE, "is empty", {"secret": ""}),
            (USAGE, "chacha20-poly1305 or aes-256-gcm", {"aead": "aes-128-gcm"}),
            (USAGE, "--expires must be", {"expires": "soon"}))
    for code, sentence, change in rows:
        done = agent.cli("session", "add", *add_words(fresh_row(bench, **change)))
        expect_equal(done.code, code, "%r: %s" % (change, done.err))
        expect(sentence in done.err, "%r: %r", change, done.err)
    done = agent.cli("session", "add", "--from", "-", "--endpoint", "game")
    expect_equal(done.code, USAGE, "--from with --endpoint")
    taken = fresh_row(bench, client_id=bench.peer.session.client,
                      server_id=bench.peer.session.server)
    done = agent.cli("session", "add", *add_words(taken))
    expect(done.code == FAILED and bench.id in done.err, "a taken slot names its holder: %r",
           done.err)
    expect_equal(sorted(agent.session_ids()), before, "sessions after the refusals")


def check_all_or_nothing(bench):
    agent = bench.agent
    rows = [fresh_row(bench) for _ in range(3)]
    lines = "\n".join(json.dumps(row) for row in rows) + "\n"
    before = sorted(agent.session_ids())
    broken = lines + "\n" + json.dumps(fresh_row(bench, client_id=0)) + "\n"
    done = agent.cli("session", "add", "--from", "-", stdin=broken)
    expect(done.code == FAILED and "line 5: " in done.err, "the failed line: %r", done.err)
    done = agent.cli("session", "add", "--from", "-", stdin=lines + "{\"endpoint\": ")
    expect(done.code == FAILED and "line 4: malformed JSON" in done.err, "%r", done.err)
    done = agent.cli("session", "add", "--from", "-", stdin=lines + json.dumps(rows[0]))
    expect(done.code == FAILED and "line 4: " in done.err, "a row twice: %r", done.err)
    answer = refused(agent, 400, "session 2: ", "POST", "/v1/sessions",
                     [fresh_row(bench), fresh_row(bench, secret="x")])
    expect_equal(answer["row"], 2, "row")
    expect_equal(sorted(agent.session_ids()), before, "sessions after the refusals")
    path = agent.path("rows")
    with open(path, "w", encoding="ascii") as file:
        file.write(lines)
    agent.cli_ok("session", "add", "--from", path)
    expect_equal(len(agent.session_ids()), len(before) + 3, "sessions")
    rows = [fresh_row(bench), fresh_row(bench)]
    expect_equal(ask(agent, "POST", "/v1/sessions", rows)[0], 200, "an array")
    expect_equal(len(agent.session_ids()), len(before) + 5, "sessions")


# --- requests that no client of ours would make --------------------------------------------------

def check_malformed_requests(bench):
    agent, name = bench.agent, bench.lab.server_if
    attach = "/v1/interfaces/%s/attach" % name
    refused(agent, 400, "malformed JSON at line 1, column 13", "POST", "/v1/sessions",
            "{\"endpoint\" 1}")
    refused(agent, 400, "no session", "POST", "/v1/sessions", "[]")
    refused(agent, 400, "malformed JSON", "POST", "/v1/sessions")
    refused(agent, 400, "expected a JSON object", "POST", "/v1/sessions", "[1]")
    refused(agent, 400, "unknown key \"clientid\"", "POST", "/v1/sessions",
            fresh_row(bench, clientid=1))
    refused(agent, 400, "the key \"secret\" is missing", "POST", "/v1/sessions",
            fresh_row(bench, secret=None))
    refused(agent, 400, "duplicate", "POST", "/v1/sessions", "{\"peer\":\"a\",\"peer\":\"b\"}")
    for value in (0, 65536, -1, 1.5, True, "0x", "0x10000", "1 ", None, [], {}):
        row = fresh_row(bench)
        row["client_id"] = value
        refused(agent, 400, "\"client_id\" must be a whole number from 1 to 65535", "POST",
                "/v1/sessions", row)
    refused(agent, 400, "\"peer\" must be a text", "POST", "/v1/sessions", fresh_row(bench, peer=1))
    refused(agent, 400, "malformed JSON", "POST", "/v1/sessions", b"\xff\xfe")
    refused(agent, 400, "malformed JSON", "POST", "/v1/sessions", "[" * 100000)
    for body in ({"confirm": 0}, {"confirm": 86401}, {"confirm": "x"}):
        refused(agent, 400, "\"confirm\" must be", "POST", attach, body)
    refused(agent, 400, "unknown key", "POST", attach, {"seconds": 1})
    refused(agent, 400, "unknown key", "POST", "/v1/reload", {"file": "/etc/passwd"})
    refused(agent, 400, "query key", "GET", "/v1/sessions?endpont=game")
    refused(agent, 400, "query key", "GET", "/v1/status?x=1")
    refused(agent, 400, "is not a session id", "GET", "/v1/streams?session=zz")
    refused(agent, 404, "GET /v1/sessions", "GET", "/v1/session")
    refused(agent, 404, "no route /v1/x?", "GET", "/v1/x%ff")
    refused(agent, 405, "takes GET, not POST", "POST", "/v1/status")
    refused(agent, 405, "takes GET, DELETE, not PUT", "PUT", "/v1/sessions/" + bench.id)
    refused(agent, 413, "larger than 1 MiB", "POST", "/v1/sessions", b" " * (BODY_MAX + 1))
    expect_equal(agent.cli("status").code, DONE, "status afterwards")


def clients(bench):
    """How many clients the control socket has, as the kernel knows them: those the agent is done
    with are gone. The agent's end of a connection is listed where the client is."""
    count = 0
    for table in (in_namespace(bench.lab.server, open, UNIX_SOCKETS), open(UNIX_SOCKETS)):
        with table:
            rows = [line.split() for line in table]
        count += sum(row[-1] == bench.agent.control and row[3] != ACCEPTING for row in rows)
    return count


def raw_socket(agent):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(8)
    sock.connect(agent.control)
    return sock


def first_line(sock):
    with contextlib.suppress(ConnectionError):
        return sock.recv(4096).split(b"\r\n")[0].decode()
    return ""


def check_hostile_clients(bench):
    """Floods of headers, silent clients, one too many: others are served meanwhile."""
    agent = bench.agent
    request = b"GET /v1/status HTTP/1.1\r\nHost: a\r\n"
    with raw_socket(agent) as sock:
        sock.sendall(request + b"X-Pad: " + b"a" * HEADERS_MAX + b"\r\n\r\n")
        expect("431" in first_line(sock), "headers above 16 KiB")
    with raw_socket(agent) as sock:
        sock.sendall(os.urandom(512) + b"\r\n\r\n")
        first_line(sock)
    wait_until(lambda: not clients(bench), 10, "the end of the clients before")
    silent = [raw_socket(agent) for _ in range(CLIENTS_MAX - 1)]
    started = time.monotonic()
    silent.append(raw_socket(agent))
    with raw_socket(agent) as sock:
        sock.sendall(request + b"\r\n")
        expect("503" in first_line(sock), "client 65 is told to try again")
    silent[0].sendall(request + b"\r\n")
    expect("200" in first_line(silent[0]), "client 1 is served")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # cut off at this moment
        while select.select(silent[-1:], [], [], 0.2)[0] == [] and time.monotonic() - started < 20:
            silent[-1].sendall(b"G")
    passed = time.monotonic() - started
    expect(CLIENT_SECONDS <= passed < 15, "a client that drips bytes was cut off after %.1f s",
           passed)
    for sock in silent:
        sock.close()
    wait_until(lambda: agent.cli("status").code == DONE, 10, "room for clients")


# --- interfaces ----------------------------------------------------------------------------------

def interface_row(bench):
    return get(bench.agent, "/v1/interfaces")["interfaces"][0]


def check_attach(bench):
    agent, name = bench.agent, bench.lab.server_if
    expect_equal(agent.cli_ok("detach", name).out.split(), [name, "detached"], "detach")
    expect_equal(agent.cli("status").code, FAILED, "status without a gate")
    expect_equal(agent.cli("status", "--json").json["all_attached"], False, "all_attached")
    expect_equal(agent.cli("detach", name).code, FAILED, "detach again")
    expect("confirm" in agent.cli_ok("attach", name, "--confirm", "1").out, "attach --confirm")
    expect_equal(agent.cli("status").code, DONE, "status with an unconfirmed gate")
    wait_until(lambda: agent.cli("status").code == FAILED, 4, "the unconfirmed gate to go")
    agent.cli_ok("attach", name, "--confirm", "2")
    agent.cli_ok("confirm", name)
    time.sleep(2.5)
    expect_equal(interface_row(bench)["attached"], True, "a confirmed gate stays")
    expect_equal(interface_row(bench)["confirm_seconds"], 0, "confirm_seconds")
    expect_equal(agent.cli("confirm", name).code, FAILED, "nothing left to confirm")


def check_reload(bench):
    agent = bench.agent
    with open(agent.config, encoding="ascii") as file:
        good = file.read()
    with open(agent.config, "a", encoding="ascii") as file:
        file.write("limitz: {}\n")
    done = agent.cli("reload")
    expect(done.code == FAILED and "limitz" in done.err and
           "%s:%d" % (agent.config, good.count("\n") + 1) in done.err, "%r", done.err)
    expect_equal(len(get(agent, "/v1/endpoints")["endpoints"]), 3, "endpoints after a bad file")
    more = good.replace("endpoints:\n", "endpoints:\n  - name: more\n    port: 4019\n")
    for text, sentence, count in ((more, "1 added", 4), (good, "1 removed", 3)):
        with open(agent.config, "w", encoding="ascii") as file:
            file.write(text)
        expect(sentence in agent.cli_ok("reload").out, sentence)
        expect_equal(len(get(agent, "/v1/endpoints")["endpoints"]), count, "endpoints")
    expect((bench.peer.session.client, bench.peer.session.server) in agent.session_ids(),
           "sessions outlive a reload")


def check_reload_names_the_rest(bench):
    """What a reload cannot change is said, not passed over."""
    agent = bench.agent
    with open(agent.config, encoding="ascii") as file:
        good = file.read()
    everything = good.replace("127.0.0.1:9747", "127.0.0.1:9748").replace(
        "limits:\n", "limits:\n  max_payload: 1000\n  acks_per_session_per_second: 10\n").replace(
        "sessions: 4096", "sessions: 8192").replace("streams: 4096", "streams: 8192").replace(
        "receive_timeout_ms: 1000", "receive_timeout_ms: 2000")
    for section in ("app", "control"):
        everything = everything.replace("\n%s:\n" % section, "\n%s:\n  mode: \"0600\"\n" % section)
    everything = re.sub("directory: .*", "directory: " + agent.path("elsewhere"), everything)
    everything = re.sub("interfaces: .*", "interfaces: []", everything)
    everything = everything.replace("instance: ", "instance: x")
    everything += "workers: { spin: on }\nmode: socket\nduplicate_acks: gate\n"
    named = ("instance, interfaces, app, control, metrics, state, limits.sessions, limits.streams, "
             "limits.receive_timeout_ms, limits.max_payload, "
             "limits.acks_per_session_per_second, workers, mode, duplicate_acks")

    def reload_with(text):
        with open(agent.config, "w", encoding="ascii") as file:
            file.write(text)
        return agent.cli_ok("reload", "--json").json["restart_needed"]

    try:
        found = [reload_with(everything) for _ in range(2)]
    finally:
        back = reload_with(good)
    expect_equal(found, [named, named], "the rest, said twice")
    expect_equal(back, "", "the rest, on the way back")
    out = agent.cli_ok("reload").out
    expect(out.startswith("reloaded; endpoints: 0 added") and "next start" not in out, "%r", out)


# --- drops ---------------------------------------------------------------------------------------

def popen(agent, *words):
    return subprocess.Popen([binary("packgate"), "--control", agent.control, *words],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def send_short(bench):
    """A frame of the session's peer that is shorter than a header."""
    bench.wire.send(bench.peer.raw(b"short"))


def follow_one(bench, *words):
    """The first line a follower prints while short frames come in."""
    with popen(bench.agent, "drops", "--follow", *words) as follower:
        try:
            for _ in range(100):
                send_short(bench)
                if select.select([follower.stdout], [], [], 0.05)[0]:
                    return follower.stdout.readline()
            return ""
        finally:
            follower.send_signal(signal.SIGINT)
            try:
                follower.wait(5)
            except subprocess.TimeoutExpired:
                follower.kill()
                raise


def check_follow(bench):
    event = json.loads(follow_one(bench, "--json"))
    table = documented()["GET /v1/drops/follow"]
    expect_equal({key: kind_of(value) for key, value in event.items()},
                 {key: "number" if kind == "time" else kind for key, kind in table.items()},
                 "keys of an event")
    expect_equal(event["reason"], "frame_short", "reason")
    expect_equal(event["interface"], bench.lab.server_if, "interface")
    expect_equal(event["source"], "%s:%d" % (bench.peer.source, bench.peer.sport), "source")
    expect_equal(event["destination"].rsplit(":", 1)[1], str(GAME.port), "destination")
    expect(bytes.fromhex(event["data"]).endswith(b"short"), "data: %s", event["data"])
    expect(abs(event["time_ms"] / 1000 - time.time()) < 5, "time_ms: %r", event["time_ms"])
    line = follow_one(bench)
    expect("frame_short" in line and event["source"] in line, "for eyes: %r", line)


def check_follow_limit(bench):
    """Eight follow, the ninth is told; places come back when clients leave."""
    followers = [popen(bench.agent, "drops", "--follow") for _ in range(FOLLOWERS_MAX)]
    outputs = [follower.stdout for follower in followers]

    def all_follow():
        send_short(bench)
        return len(select.select(outputs, [], [], 0.05)[0]) == FOLLOWERS_MAX

    try:
        wait_until(all_follow, 10, "the first event of %d followers" % FOLLOWERS_MAX)
        expect(all(follower.poll() is None for follower in followers), "a follower was refused")
        done = bench.agent.cli("drops", "--follow")
        expect(done.code == FAILED and "8 clients follow" in done.err, "follower 9: %r", done.err)
    finally:
        for follower in followers:
            follower.kill()
            follower.communicate()
    wait_until(lambda: follow_one(bench), 10, "a place among the followers")


def check_drop_counts(bench):
    def short():
        rows = bench.agent.cli_ok("drops", "--json").json["interfaces"][0]["drops"]
        return next(row for row in rows if row["reason"] == "frame_short")

    before = short()
    for _ in range(7):
        send_short(bench)
    wait_until(lambda: short()["packets"] >= before["packets"] + 7, 2, "the drops")
    expect_equal(short()["packets"] - before["packets"], 7, "packets")
    expect_equal(short()["bytes"] - before["bytes"], 7 * (14 + 20 + 8 + 5), "bytes")
    expect(re.search(r"frame_short +%d " % short()["packets"], bench.agent.cli_ok("drops").out),
           "the table")


# --- metrics -------------------------------------------------------------------------------------

def over_tcp(bench, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", 9747, timeout=5)
    connection.sock = in_namespace(bench.lab.server, socket.create_connection,
                                   ("127.0.0.1", 9747), 5)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read().decode()


SUFFIXES = {"counter": ("_total",), "gauge": ("",), "info": ("_info",),
            "histogram": ("_bucket", "_count", "_sum")}
SAMPLE = re.compile(r'([a-z_0-9]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)$')


def check_exposition(text):
    """The rules of OpenMetrics 1.0 that a scraper depends on."""
    family, kind, families, samples = None, None, set(), set()
    lines = text.split("\n")
    expect_equal(lines[-2:], ["# EOF", ""], "the end")
    for line in lines[:-2]:
        if line.startswith("# TYPE "):
            family, kind = line.split()[2:]
            expect(family not in families, "%s comes twice", family)
            families.add(family)
        elif line.startswith("# "):
            expect(line.split()[1] in ("HELP", "UNIT") and line.split()[2] == family, line)
        else:
            match = SAMPLE.match(line)
            expect(match and match[1] in [family + end for end in SUFFIXES[kind]], line)
            expect((match[1], match[2]) not in samples, "%s comes twice", line)
            samples.add((match[1], match[2]))
            float(match[3])
    return families


def check_metrics(bench):
    status, kind, text = over_tcp(bench, "/metrics")
    expect_equal(status, 200, "GET /metrics")
    expect_equal(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8", "its type")
    families = check_exposition(text)
    with open(os.path.join(ROOT, "docs", "metrics.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| `(packgate_\w+)` \| (\w+) \|", file.read(), re.M)
    names = {re.sub("(_total|_info)$", "", name) for name, _ in rows}
    expect_equal(sorted(families), sorted(names), "metrics exposed and documented")
    for wanted in ('packgate_sessions{endpoint="game",state="ready"}', "packgate_build_info{",
                   'packgate_gate_drops_total{interface="%s",reason="guard"}' % bench.lab.server_if,
                   'address="0.0.0.0",port="4443"} 5'):
        expect(wanted in text, "no %s", wanted)
    expect_equal(over_tcp(bench, "/nothing")[0], 404, "another path")


PROMTOOL = shutil.which("promtool") or os.path.join(build_directory(), "tools/usr/bin/promtool")


def check_metrics_as_text(bench):
    """For who takes only Prometheus' older format: the same samples, and promtool's lint is silent."""
    prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    expect("openmetrics" in over_tcp(bench, "/metrics", Accept=prometheus)[1], "Prometheus")
    _, _, whole = over_tcp(bench, "/metrics")
    _, kind, text = over_tcp(bench, "/metrics", Accept="text/plain")
    expect_equal(kind, "text/plain; version=0.0.4; charset=utf-8", "its type")
    expect("# EOF" not in text and "# UNIT" not in text, "OpenMetrics in the text")

    def names(lines):
        return [re.match("[a-z_0-9]+", line)[0] for line in lines.split("\n") if line[:1] == "p"]
    expect_equal(sorted(set(names(text))), sorted(set(names(whole))), "names of the samples")
    family = None
    for line in text.split("\n")[:-1]:
        if line.startswith("# TYPE "):
            family, kind = line.split()[2:]
            expect(kind in ("counter", "gauge", "histogram"), line)
        elif line.startswith("#"):
            expect_equal(line.split()[1:3], ["HELP", family], line)
        else:
            expect(re.match(family + r"(_bucket|_count|_sum)?[{ ]", line), line)
    if os.access(PROMTOOL, os.X_OK):
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        expect(not done.returncode and not done.stdout, "promtool: %s", done.stdout)


def check_health(bench):
    agent, name = bench.agent, bench.lab.server_if
    expect_equal(over_tcp(bench, "/healthz")[0], 200, "/healthz")
    agent.cli_ok("detach", name)
    status, _, text = over_tcp(bench, "/healthz")
    expect(status == 503 and name in json.loads(text)["reasons"][0], "%d %s", status, text)
    agent.cli_ok("attach", name)
    expect_equal(over_tcp(bench, "/healthz")[0], 200, "/healthz again")


# --- without an agent ----------------------------------------------------------------------------

def check_keygen(bench):
    agent, path = bench.agent, bench.agent.path("server.key")
    public = agent.packgate("keygen", path).out.strip()
    with open(path, encoding="ascii") as file:
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(file.read().strip()))
    expect_equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, "mode of the private key")
    raw = private.public_key().public_bytes(serialization.Encoding.Raw,
                                            serialization.PublicFormat.Raw)
    expect_equal(public, raw.hex(), "the public key")
    done = agent.packgate("keygen", path)
    expect(done.code == FAILED and "remove it first" in done.err, "over a key: %r", done.err)
    expect_equal(agent.packgate("keygen").code, USAGE, "keygen alone")
    expect_equal(agent.packgate("keygen", "--public", path).out.strip(), public, "--public")
    expect_equal(agent.packgate("keygen", "--public", path, "--secret").code, USAGE, "both")
    os.chmod(path, 0o644)
    done = agent.packgate("keygen", "--public", path)
    expect(done.code == FAILED and "open to others" in done.err, "an open key: %r", done.err)
    secrets = {agent.packgate("keygen", "--secret").out for _ in range(3)}
    expect(len(secrets) == 3 and all(re.fullmatch("[0-9a-f]{64}\n", row) for row in secrets),
           "secrets: %r", secrets)


def check_config_check(bench):
    """packgated --check: the configuration, then every file it names, each with its reason."""
    path, key = bench.agent.path("checked.yaml"), bench.agent.path("checked.key")
    tokens = bench.agent.path("checked.tokens")

    def check(text, code, *phrases):
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        done = subprocess.run([binary("packgated"), "--config", path, "--check"], timeout=10,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        expect_equal(done.returncode, code, "exit code: " + done.stderr)
        for phrase in phrases:
            expect(phrase in done.stdout + done.stderr, "%r is not in %r", phrase, done)
        return done

    state = "interfaces: []\nstate: { directory: %s }\n" % bench.agent.path("checked")
    text = state + "handshake: { key: %s, tokens: %s }\n" % (key, tokens)
    check(state + "limitz: {}\n", FAILED, path + ":3", "limitz")
    check(state, DONE, path + ": good")
    done = check(text, FAILED, "handshake.key", key, "handshake.tokens", tokens, "No such file")
    expect_equal(len(done.stderr.splitlines()), 2, "lines: " + done.stderr)
    expect("good" not in done.stdout, "called good: %s", done.stdout)
    bench.agent.packgate("keygen", key)
    with open(tokens, "w", encoding="ascii") as file:
        file.write("open-sesame alice\n")
    os.chmod(tokens, 0o644)
    check(text, FAILED, tokens, "mode 0644", "chmod 0600")
    os.chmod(tokens, 0o600)
    check(text, DONE, path + ": good")
    expect(not os.path.exists(bench.agent.path("checked")), "--check made the state directory")


def check_token(bench):
    """mint and verify agree with each other and with the document, and refuse what they must."""
    agent, key, public = bench.agent, bench.agent.path("token.key"), bench.agent.path("token.pub")
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    run("openssl", "pkey", "-in", key, "-pubout", "-out", public)
    os.chmod(key, 0o600)
    mint = ("token", "mint", "--jwt", "ES256", "--key", key)
    verify = ("token", "verify", "--jwt", "ES256", "--key", public)
    token = agent.packgate(*mint, "--sub", "alice", "--aud", "game").out.strip()
    parts = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]
    expect_equal(parts[0]["alg"], "ES256", "alg")
    expect(290 < parts[1]["exp"] - time.time() <= 300, "exp: %s", parts[1])
    expect_equal((parts[1]["sub"], parts[1]["aud"]), ("alice", "game"), "sub and aud")
    expect_equal(agent.packgate(*verify, "--aud", "game", token).out, "alice\n", "the user")
    done = agent.packgate(*verify, "--json", stdin=token + "\n")
    expect_equal(done.json, {"user": "alice"}, "--json, from stdin")
    for words, phrase in ((("--aud", "chat", token), "aud"), ((token[:-9] + "AAAAAAAAA",),
                          "signature"), (("a.b.c",), "compact form"), (("x" * 901,), "900")):
        done = agent.packgate(*verify, *words)
        expect(done.code == FAILED and phrase in done.err, "%s: %d %r", phrase, done.code, done.err)
    for words in (("token", "mint"), ("token", "verify", token), (*mint, "--sub", "a", "--expires",
                  "0"), ("token", "verify", "--list", key, "--key", key, token)):
        expect_equal(agent.packgate(*words).code, USAGE, " ".join(words[:3]))


def findings(done):
    return {row["check"]: row for row in done.json["findings"]}


def check_doctor(bench):
    agent, name = bench.agent, bench.lab.server_if
    whole = findings(agent.cli("doctor", "--json"))
    for check in ("kernel", "BTF", "bpffs", "capabilities", "memlock", "agent", name + " driver",
                  name + " XDP program", name + " MTU", name + " queues", name + " LRO",
                  name + " rx VLAN offload", name + " hardware GRO", "port 4000 (game)"):
        expect_equal(whole[check]["verdict"], "ok", check + ": " + whole[check]["finding"])
    done = subprocess.run(["nsenter", "--net=/run/netns/" + bench.lab.client, binary("packgate"),
                           "doctor", "lo", bench.lab.client_if, "--json", "--control",
                           agent.path("nobody.sock")],
                          stdout=subprocess.PIPE, text=True, check=False)
    rows = {row["check"]: row for row in json.loads(done.stdout)["findings"]}
    expect_equal(done.returncode, FAILED, "doctor of bad interfaces")
    expect_equal(rows["lo MTU"]["verdict"], "fail", "MTU 65536")
    expect_equal(rows[bench.lab.client_if + " XDP program"]["verdict"], "fail", "a foreign program")
    expect_equal(rows["agent"]["verdict"], "warn", "no agent")
    for row in rows.values():
        expect(row["verdict"] == "ok" or row["advice"], "no advice: %r", row)
    done = agent.packgate("doctor", "nosuch0", "--json")
    expect_equal(findings(done)["nosuch0 interface"]["verdict"], "fail", "no such interface")


def check_doctor_config(bench):
    """With a file and no agent: ports that others hold are named, a bad file too."""
    agent, path = bench.agent, bench.agent.path("other.yaml")
    holder = bench.lab.server_socket(socket.AF_INET, socket.SOCK_DGRAM)
    holder.bind(("0.0.0.0", 4077))
    with open(path, "w", encoding="ascii") as file:
        file.write("interfaces: [%s]\nendpoints: [{ name: a, port: 4077 }, { name: b, port: 4078 }]\n"
                   "app: { group: no-such-group }\ncontrol: { group: root }\n"
                   "state: { directory: %s }\n" % (bench.lab.server_if, agent.path("new")))
    rows = findings(agent.packgate("doctor", "--config", path, "--json"))
    expect_equal(rows["port 4077 (a)"]["verdict"], "fail", "a port that is bound")
    expect("[%d]" % os.getpid() in rows["port 4077 (a)"]["finding"], "%r", rows["port 4077 (a)"])
    expect_equal(rows["port 4078 (b)"]["verdict"], "ok", "a free port")
    expect_equal(rows["TCP port 9747 (metrics)"]["verdict"], "ok", "the agent's own listener")
    for what, verdict in (("state directory", "ok"), ("group of app", "warn"),
                          ("group of control", "ok")):
        expect_equal(rows[what]["verdict"], verdict, what + ": " + rows[what]["finding"])
    expect("no-such-group" in rows["group of app"]["finding"], "%r", rows["group of app"])
    expect(bench.lab.server_if + " driver" in rows, "the interface of the file")
    with open(path, "a", encoding="ascii") as file:
        file.write("mode: fast\n")
    row = findings(agent.packgate("doctor", "--config", path, "--json"))["configuration"]
    expect(row["verdict"] == "fail" and path + ":6" in row["finding"], "%r", row)


def check_doctor_files(bench):
    """A state directory that others may read, and one that cannot be made."""
    agent, path = bench.agent, bench.agent.path("files.yaml")
    os.mkdir(agent.path("open"), 0o755)
    for directory, verdict, sentence in (
            (agent.path("open"), "fail", "is open to others (mode 0755)"),
            (path + "/below", "fail", "is no directory"),
            (agent.path("fresh"), "ok", "the agent will make"),
            (os.path.dirname(agent.control), None, "")):
        with open(path, "w", encoding="ascii") as file:
            file.write("interfaces: []\nstate: { directory: %s }\n" % directory)
        row = findings(agent.packgate("doctor", "--config", path, "--json"))["state directory"]
        expect(verdict in (None, row["verdict"]) and sentence in row["finding"], "%r", row)
    unseen = subprocess.run(["setpriv", "--bounding-set", "-sys_admin", binary("packgate"),
                             "doctor", "--json", "--control", agent.control],
                            stdout=subprocess.PIPE, text=True, check=False)
    rows = {row["check"]: row for row in json.loads(unseen.stdout)["findings"]}
    expect("CAP_SYS_ADMIN" in rows["sight"]["finding"], "%s", unseen.stdout)
    os.chmod(agent.control, 0)
    done = subprocess.run(["setpriv", "--bounding-set", "-dac_override", binary("packgate"),
                           "doctor", "--json", "--control", agent.control],
                          stdout=subprocess.PIPE, text=True, check=False)
    os.chmod(agent.control, 0o660)
    row = findings(Done(done.returncode, done.stdout, ""))["agent"]
    expect("Permission denied" in row["finding"] and "group" in row["advice"], "%r", row)


def check_detach_without_agent(bench):
    """The pins of a stopped agent go, the kernel's program with them; a foreign link stays."""
    agent, name = bench.agent, bench.lab.server_if
    pins = os.path.join(PINS, agent.instance)
    agent.stop()
    expect(os.path.isdir(os.path.join(pins, name)), "no pins of %s", name)
    expect("xdp" in run("ip", "-n", bench.lab.server, "link", "show", name), "the gate is gone")
    foreign = os.path.join(pins, "other0")
    os.mkdir(foreign)
    link = in_namespace(bench.lab.server, attach_xdp_pass, "lo")
    pin_object(link, os.path.join(foreign, "link"))
    os.close(link)
    for word in ("../x", "..", "a/b"):
        done = agent.packgate("detach", word, "--instance", agent.instance)
        expect_equal(done.code, USAGE, "detach %s: %s" % (word, done.err))
    done = agent.packgate("detach", "other0", "--instance", agent.instance)
    expect(done.code == FAILED and "not a link of packgate's gate" in done.err, "%r", done.err)
    done = agent.packgate("detach", name, "--instance", agent.instance)
    expect_equal(done.code, DONE, "detach: " + done.err)
    expect("xdp" not in run("ip", "-n", bench.lab.server, "link", "show", name), "still attached")
    expect(not os.path.exists(os.path.join(pins, name)), "its pins are left")
    expect(glob.glob(pins + "/pg_*"), "the maps went although a gate is left")
    os.unlink(os.path.join(foreign, "link"))
    os.rmdir(foreign)
    done = agent.packgate("detach", name, "--instance", agent.instance)
    expect(done.code == DONE and "removed the maps" in done.out, "%r %r", done.out, done.err)
    expect(not os.path.exists(pins), "the instance's folder is left")
    done = agent.packgate("detach", name, "--instance", agent.instance)
    expect(done.code == FAILED and "has no pins" in done.err, "%r", done.err)


def pin_object(descriptor, path):
    import ctypes  # pylint: disable=import-outside-toplevel
    import struct  # pylint: disable=import-outside-toplevel
    obj_pin = 6
    text = ctypes.create_string_buffer(path.encode())
    bpf(obj_pin, struct.pack("<QII", ctypes.addressof(text), descriptor, 0))


def check_detach_all(bench):
    agent, pins = bench.agent, os.path.join(PINS, bench.agent.instance)
    agent.start()
    agent.cli_ok("detach", "--all")
    expect_equal(interface_row(bench)["attached"], False, "attached after detach --all")
    agent.cli_ok("attach", bench.lab.server_if)
    agent.stop()
    done = agent.packgate("detach", "--all", "--instance", agent.instance)
    expect_equal(done.code, DONE, "detach --all without an agent: " + done.err)
    expect(not os.path.exists(pins), "pins are left")


def check_dotted_name(bench):
    """A VLAN's name has a dot, which bpffs refuses: attach and detach find their way."""
    agent, lab, dotted = bench.agent, bench.lab, "pgs0.7"
    for word in (["down"], ["name", dotted], ["up"]):
        run("ip", "-n", lab.server, "link", "set", lab.server_if if word != ["up"] else dotted,
            *word)
    with open(agent.config, encoding="ascii") as file:
        text = file.read().replace("interfaces: [%s]" % lab.server_if, "interfaces: [%s]" % dotted)
    with open(agent.config, "w", encoding="ascii") as file:
        file.write(text)
    agent.start()
    expect_equal(interface_row(bench)["name"], dotted, "the interface")
    agent.cli_ok("detach", dotted)
    agent.cli_ok("attach", dotted)
    agent.stop()
    done = agent.packgate("detach", dotted, "--instance", agent.instance)
    expect_equal(done.code, DONE, "detach without an agent: " + done.err)
    expect(not os.path.exists(os.path.join(PINS, agent.instance)), "pins are left")


CHECKS = (check_documented_keys, check_json_is_the_api, check_tables, check_exit_codes,
          check_key_arguments, check_unreachable, check_help, check_lost_output, check_interrupt, check_narrow_terminal,
          check_session_add, check_add_again, check_session_refusals, check_all_or_nothing,
          check_malformed_requests,
          check_hostile_clients, check_attach, check_reload,
          check_reload_names_the_rest, check_follow, check_follow_limit,
          check_drop_counts, check_metrics, check_metrics_as_text, check_health, check_keygen,
          check_config_check, check_token, check_doctor,
          check_doctor_config, check_doctor_files, check_detach_without_agent, check_detach_all,
          check_dotted_name)


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
