#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""The readers of examples/ as an application developer runs them: what they say when something is
wrong, and what becomes of the messages when a reader is slow, dies, or starts again."""

import contextlib
import os
import re
import signal
import subprocess
import sys

from lab import ROOT, SERVER_IPV4, Lab, binary, require_root, run, wait_until
from lab_client import Served
from lab_report import Report, expect, expect_equal
from lab_session import endpoint

GAME = endpoint("game", 4000, deliver="app")
ECHOED = endpoint("echoed", 4001)
CHAT = endpoint("chat", 4002, deliver="app", format="message")
ENTRANCE = {"name": "chat-tcp", "endpoint": "chat", "port": 4003}
SECONDS, PACKET = 20, 1000
LINE = re.compile(r"message session \d+ stream 0 id (\d+) ")


class Readers:
    """Both readers, as commands."""

    def __init__(self, lab, served):
        self.lab, self.served, self.agent = lab, served, served.agent
        in_c = os.path.join(lab.directory, "reader")
        run("cc", "-O1", "-std=gnu11", "-D_GNU_SOURCE", "-I" + os.path.join(ROOT, "include"), "-o",
            in_c, os.path.join(ROOT, "examples", "reader.c"))
        self.commands = {"reader.py": ["/usr/bin/python3",
                                       os.path.join(ROOT, "examples", "reader.py")],
                         "reader.c": [in_c]}

    def run(self, name, *words):
        return subprocess.run(self.commands[name] + list(words), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=SECONDS)

    def start(self, name, *words):
        """A reader that has its endpoint; its output goes to a file, which never blocks it."""
        path = self.agent.path("reader.out")
        with open(path, "w", encoding="utf-8") as out:
            child = subprocess.Popen(self.commands[name] + [self.agent.app, *words], stdout=out,
                                     stderr=subprocess.STDOUT)

        def output():
            with open(path, encoding="utf-8") as file:
                return file.read()
        wait_until(lambda: output().startswith("hello "), 5, "the answer to hello")
        return child, output

    def connect(self, count):
        """A client that sends so many packets."""
        path = self.agent.path("data")
        with open(path, "wb") as file:
            file.truncate(count * PACKET)
        return self.served.connect("connect", GAME.port, "--send", path, "--packet", str(PACKET))


@contextlib.contextmanager
def ending(child):
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def finish(client):
    _, said = client.communicate(timeout=SECONDS)
    expect(not client.returncode, "the client: %s", said.decode())


def check_sentences(readers, name):
    nowhere = readers.agent.path("nowhere.sock")
    rows = ((2, "usage: reader", ()), (2, "usage: reader", ("a", "b", "--ecko")),
            (1, nowhere + ": No such file", (nowhere, "game")),
            (1, "there is no endpoint 'gmae'", (readers.agent.app, "gmae")),
            (1, "does not deliver to an application", (readers.agent.app, "echoed")))
    for code, sentence, words in rows:
        done = readers.run(name, *words)
        said = done.stdout + done.stderr
        expect_equal(done.returncode, code, "%r: %s" % (words, said))
        expect(sentence in said and said.count("\n") == 1, "%r: %r", words, said)


def check_second(readers, name):
    with ending(readers.start(name, "game")[0]):
        done = readers.run(name, readers.agent.app, "game")
        expect(done.returncode == 1 and "has an application already" in done.stdout, "%r",
               done.stdout)
    for _ in range(10):  # the place is free the moment a reader is gone
        with ending(readers.start(name, "game")[0]):
            pass


def check_agent_gone(readers, name):
    with ending(readers.start(name, "game")[0]) as reader:
        readers.agent.stop()
        expect_equal(reader.wait(5), 0, "exit code of a reader whose agent went")
    readers.agent.start()


def ids(text):
    return [int(number) for number in LINE.findall(text)]


def check_slow(readers, name):
    """A reader that stands still for a while costs nothing but time."""
    count = 8000
    reader, output = readers.start(name, "game")
    with ending(reader):
        reader.send_signal(signal.SIGSTOP)
        with ending(readers.connect(count)) as client:
            wait_until(lambda: readers.agent.scrape().total(
                "packgate_frames_rejected_total", reason="app_full") > 0, 10, "a full queue")
            reader.send_signal(signal.SIGCONT)
            finish(client)
        wait_until(lambda: len(ids(output())) >= count, 10, "every message", pause=0.1)
        expect_equal(ids(output()), list(range(1, count + 1)), "packet ids, in order, each once")
        expect("gap " not in output(), "a gap")


def check_dies(readers, name):
    """Another reader takes over: the client waits, what is not acked comes again, none twice."""
    count = 12000
    reader, output = readers.start(name, "game")
    with ending(readers.connect(count)) as client:
        with ending(reader):
            wait_until(lambda: len(output()) > PACKET * 100, 5, "the first messages")
        seen = ids(output())[-1]
        reader, output = readers.start(name, "game")
        with ending(reader):
            finish(client)
            wait_until(lambda: ids(output())[-1:] == [count], 10, "the last message", pause=0.1)
    later = ids(output())
    expect(later == sorted(set(later)) and later[0] > seen, "twice or out of order: %d, %d", seen,
           later[0])


def check_entrance(readers, name):
    """A client of a TCP entrance gets its messages back, a long one too."""
    sent = b"7 hi\n8 %s\n" % (b"x" * 200000)
    with ending(readers.start(name, "chat", "--echo")[0]):
        done = subprocess.run(
            ["nsenter", "--net=/run/netns/" + readers.lab.client, binary("packgate"), "connect",
             "%s:%d" % (SERVER_IPV4, ENTRANCE["port"]), "--tcp", "--messages", "--linger", "3000"],
            input=sent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            timeout=SECONDS)
    expect(done.stdout == sent, "%d bytes came back: %r", len(done.stdout), done.stdout[:200])


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        served = Served(lab, [GAME, ECHOED, CHAT], tcp_entrances=[ENTRANCE])
        if report.check("the agent starts", served.agent.start):
            readers = Readers(lab, served)
            for name in readers.commands:
                report.check(name + ": sentences", check_sentences, readers, name)
                report.check(name + ": a second one", check_second, readers, name)
                report.check(name + ": slow", check_slow, readers, name)
                report.check(name + ": dies", check_dies, readers, name)
                report.check(name + ": a TCP client", check_entrance, readers, name)
                report.check(name + ": the agent goes", check_agent_gone, readers, name)
            report.check("the agent stops", served.agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
