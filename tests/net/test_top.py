#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""`packgate top` on a terminal of its own: what it shows, keys, sizes, and how it leaves."""

import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import sys
import termios
import time

from lab import SERVER_IPV4, Lab, binary, require_root, wait_until
from lab_report import Report, expect, expect_equal
from lab_session import Sessions, configuration, echo, endpoint
from lab_wire import Wire
from witness import PONG

TCP_PORT, BACKLOG, WAITING = 8080, 3, 4
CLEAR = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>78])")


class Terminal:
    """packgate top behind a pseudo terminal."""

    def __init__(self, agent, *words, rows=24, columns=80, kind="xterm"):
        self.output = ""
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.environ["TERM"] = kind
            os.execv(binary("packgate"),
                     ["packgate", "--control", agent.control, "top", *words])
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds=0.05):
        while select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return
            if not data:
                return
            self.output += data.decode(errors="replace")

    def text(self):
        return CLEAR.sub("\n", self.output)

    def wait_for(self, what, seconds=5):
        def there():
            self.read()
            return what in self.text()
        wait_until(there, seconds, "%r on the screen, which shows %r" % (what, self.text()[-2000:]))

    def press(self, key):
        self.output = ""
        os.write(self.fd, key.encode())

    def leave(self, how):
        """Make it end; its exit code and what the terminal was left as."""
        how()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        return None


class Bench:
    """An agent with a session, and a listener whose accept queue is over-full."""

    def __init__(self, lab):
        self.agent = lab.agent(configuration([endpoint("game", 4000)],
                                             tcp={"namespaces": ["own"]}))
        self.agent.start()
        self.wire = Wire(lab)
        sessions = Sessions(lab, self.agent, self.wire)
        self.peer = sessions.new(endpoint("game", 4000))
        self.listener = lab.server_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind((SERVER_IPV4, TCP_PORT))
        self.listener.listen(BACKLOG)
        self.clients = []
        for _ in range(WAITING):
            client = lab.client_socket(socket.AF_INET, socket.SOCK_STREAM)
            client.settimeout(2)
            client.connect((SERVER_IPV4, TCP_PORT))
            self.clients.append(client)

    def load(self):
        for _ in range(30):
            self.wire.send(self.peer.raw(b"short"))
        for count in range(20):
            echo(self.peer, b"%d" % count)
        # when this is answered, all that was sent before it is counted
        self.peer.send(self.peer.session.ping(b"counted?"))
        self.peer.expect((PONG, 0, None))


def once(bench, *words):
    done = bench.agent.cli("top", "--once", *words)
    expect_equal(done.code, 0, "exit code of top --once, which says %r" % done.err)
    return done.out


def check_once(bench):
    bench.load()
    page = once(bench)
    listener = "%s:%d" % (SERVER_IPV4, TCP_PORT)
    row = next((line for line in page.splitlines() if listener in line), "")
    expect("%d/%d" % (WAITING, BACKLOG) in row.replace(" ", ""), "the accept queue in %r", row)
    expect("########" in row, "a full bar in %r", row)
    expect("SESSIONS" in page and "1 of 4.1k" in page, "the sessions in %s", page)
    expect("native-copy" in page, "the mode in %s", page)
    expect(all(len(line) <= 80 for line in page.splitlines()), "80 columns: %s", page)


def check_totals(bench):
    """The totals are those of the metrics."""
    bench.load()
    before = bench.agent.scrape()
    page = once(bench)
    for name, metric in (("steered to the agent", "packgate_gate_steered_total"),
                         ("dropped", "packgate_gate_drops_total")):
        row = next(line for line in page.splitlines() if line.startswith(name))
        expect_equal(row.split("/s")[1].split()[0], "%d" % before.total(metric), name)


def check_terminal(bench, kind, rows, columns):
    with Terminal(bench.agent, rows=rows, columns=columns, kind=kind) as top:
        top.wait_for("packgate")
        top.wait_for("GATE")
        top.wait_for("q quit")
        expect_equal(top.leave(lambda: top.press("q")), 0, "exit code after q")
        after = termios.tcgetattr(top.fd)
        expect_equal(after[3] & (termios.ECHO | termios.ICANON),
                     top.before[3] & (termios.ECHO | termios.ICANON), "the terminal's modes")
        if kind == "xterm":
            expect("\x1b[?1049l" in top.output, "the screen from before is back")


def check_keys(bench):
    with Terminal(bench.agent) as top:
        top.wait_for("by accept")
        top.press("s")
        top.wait_for("syn")
        top.press("p")
        top.wait_for("PAUSED")
        top.press("+")
        top.wait_for("2")
        top.press("p")
        top.wait_for("running")


def check_resize(bench):
    with Terminal(bench.agent) as top:
        top.wait_for("q quit")
        for rows, columns in ((50, 160), (5, 20), (1, 1), (24, 80)):
            top.output = ""
            top.resize(rows, columns)
            os.kill(top.pid, signal.SIGWINCH)
            top.read(0.2)
        top.wait_for("q quit")
        expect_equal(top.leave(lambda: top.press("q")), 0, "exit code after resizes")


def check_signals(bench):
    for number in (signal.SIGINT, signal.SIGTERM):
        with Terminal(bench.agent) as top:
            top.wait_for("q quit")
            code = top.leave(lambda top=top, number=number: os.kill(top.pid, number))
            expect_equal(code, 0, "exit code after signal %d" % number)
            expect("\x1b[?1049l" in top.output, "the screen from before is back")


def check_refusals(bench):
    for words, code, what in ((("--sort", "size"), 2, "accept, syn or name"),
                              (("--interval", "0"), 2, "1 to 60"),
                              (("--json",), 2, "no JSON"),
                              ((), 2, "no terminal")):
        done = bench.agent.cli("top", *words)
        expect(done.code == code and what in done.err, "%s: %d %r", words, done.code, done.err)
    with Terminal(bench.agent, kind="no-such-terminal") as top:
        top.wait_for("terminal type")
        expect_equal(top.leave(lambda: None), 1, "exit code with an unknown terminal")


def check_agent_gone(bench):
    """The page stays and says why nothing new comes; when the agent is back, so are the numbers."""
    with Terminal(bench.agent, columns=160) as top:
        top.wait_for("q quit")
        bench.agent.stop()
        top.wait_for("no agent answers")
        bench.agent.start()
        top.output = ""
        top.resize(30, 160)
        os.kill(top.pid, signal.SIGWINCH)
        top.wait_for("native-copy")
        expect_equal(top.leave(lambda: top.press("q")), 0, "exit code")
    bench.agent.stop()
    done = bench.agent.cli("top", "--once")
    expect(done.code == 3 and "no agent answers" in done.err, "%d %r", done.code, done.err)


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        bench = Bench(lab)
        report.check("one page", check_once, bench)
        report.check("totals", check_totals, bench)
        for kind, rows, columns in (("xterm", 24, 80), ("vt100", 24, 80), ("xterm", 60, 200)):
            report.check("terminal %s %dx%d" % (kind, columns, rows), check_terminal, bench, kind,
                         rows, columns)
        report.check("keys", check_keys, bench)
        report.check("resize", check_resize, bench)
        report.check("signals", check_signals, bench)
        report.check("refusals", check_refusals, bench)
        report.check("agent gone", check_agent_gone, bench)
        bench.agent.detach()
    report.last("nothing left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
