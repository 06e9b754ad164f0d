#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""The examples printed in README.md: taken out, built against an installed libpackgate, and run
against an agent, as they stand there."""

import os
import re
import shutil
import subprocess
import sys

from lab import ROOT, SERVER_IPV4, Lab, Skipped, build_directory, require_root
from lab_client import TOKEN, Served
from lab_report import Report, expect, expect_equal
from lab_session import endpoint

ECHO = endpoint("echo", 4000)
BLOCK = re.compile(r"^```(c|python|sh) (\S+)\n(.*?)^```$", re.M | re.S)
SECONDS = 20


def blocks():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return {name: text for _, name, text in BLOCK.findall(file.read())}


class Installed:
    """libpackgate under a prefix of the test's own, and the examples beside it."""

    def __init__(self, lab, served):
        self.lab, self.served = lab, served
        self.directory = os.path.join(lab.directory, "examples")
        self.prefix = os.path.join(lab.directory, "prefix")
        os.mkdir(self.directory)
        self.environment = dict(os.environ, LD_LIBRARY_PATH=self.prefix + "/lib",
                                PKG_CONFIG_PATH=self.prefix + "/lib/pkgconfig")

    def run(self, *command):
        done = subprocess.run(command, cwd=self.directory, env=self.environment, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        expect(done.returncode == 0, "%s: %s", " ".join(command), done.stdout[-600:])
        return done.stdout

    def install(self):
        self.run("make", "-s", "-C", os.path.abspath(ROOT), "install",
                 "BUILD=" + build_directory(), "PREFIX=" + self.prefix)

    def put(self):
        for name, text in blocks().items():
            with open(os.path.join(self.directory, name), "w", encoding="utf-8") as file:
                file.write(text)

    def greet(self, *command):
        """Run a client in the client's namespace; it prints the echo of what it said."""
        out = self.run("nsenter", "--net=/run/netns/" + self.lab.client, *command,
                       "%s:%d" % (SERVER_IPV4, ECHO.port), self.served.public, TOKEN)
        expect_equal(out, "hello\n", "output")


def check_c(installed, *more):
    if not shutil.which("pkg-config"):
        raise Skipped("no pkg-config here")
    flags = installed.run("pkg-config", *more, "--cflags", "--libs", "packgate").split()
    if more:
        flags = ["-Wl,-Bstatic" if flag == "-lpackgate" else flag for flag in flags]
        at = flags.index("-Wl,-Bstatic")
        flags[at:at + 1] = ["-l:libpackgate.a"]
    name = "client-static" if more else "client"
    installed.run("cc", "-Wall", "-Wextra", "-Werror", "-o", name, "client.c", *flags)
    installed.greet("./" + name)


def check_python(installed):
    installed.greet("/usr/bin/python3", "client.py")


def check_refused(installed):
    """What an example says when it cannot do what it is for."""
    done = subprocess.run(["nsenter", "--net=/run/netns/" + installed.lab.client, "./client",
                           "%s:%d" % (SERVER_IPV4, ECHO.port), installed.served.public, "wrong"],
                          cwd=installed.directory, env=installed.environment, timeout=SECONDS,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    expect_equal(done.returncode, 1, "exit code")
    expect("token" in done.stderr, "it said: %s", done.stderr)


def check_blocks():
    expect_equal(sorted(blocks()), ["client.c", "client.py"], "examples in README.md")


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        served = Served(lab, [ECHO])
        if report.check("the agent starts", served.agent.start):
            installed = Installed(lab, served)
            report.check("the README has a client in C and one in Python", check_blocks)
            report.check("make install", installed.install)
            report.check("the examples can be taken out", installed.put)
            report.check("C, shared", check_c, installed)
            report.check("C, static", check_c, installed, "--static")
            report.check("Python", check_python, installed)
            report.check("a wrong token", check_refused, installed)
            report.check("the agent stops", served.agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
