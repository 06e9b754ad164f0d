# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""A flood of spoofed shakehands from the live-frame generator, and what CPU others have meanwhile."""

import json
import os
import subprocess
import time

from lab import SERVER_IPV4, SERVER_IPV6, binary, run, wait_until
from lab_report import expect

THREADED = "mount -t sysfs none /sys && echo 1 > /sys/class/net/%s/threaded"
SECONDS_MAX = 120  # the flood ends by itself, whatever happens


def thread_napi(lab):
    """NAPI of both ends of the veth runs in threads of its own; XDP or GRO must be on.

    Without, what softirqs do is counted for whichever process they interrupt, the agent for one.
    """
    for namespace, interface in ((lab.client, lab.client_if), (lab.server, lab.server_if)):
        run("nsenter", "--net=/run/netns/" + namespace, "unshare", "--mount", "sh", "-c",
            THREADED % interface)


def napi_pid(interface):
    """The thread of an interface's only queue."""
    def find():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/comm" % pid, encoding="ascii", errors="replace") as comm:
                    if comm.read().startswith("napi/%s-" % interface):
                        return int(pid)
            except OSError:
                pass
        return 0
    return wait_until(find, 2, "the NAPI thread of " + interface)


def cpu_seconds(pid):
    """Of a process and its threads, those that have ended too, as the scheduler counts."""
    return time.clock_gettime((~pid << 3) | 2)


class Usage:
    """Shares of a core that processes have from here on, by name."""

    def __init__(self, **pids):
        self.pids = pids
        self.start = time.monotonic()
        self.before = {name: cpu_seconds(pid) for name, pid in pids.items()}

    def shares(self):
        seconds = time.monotonic() - self.start
        return {name: (cpu_seconds(pid) - self.before[name]) / seconds
                for name, pid in self.pids.items()}


class ShakehandFlood:
    """From IPv4 and IPv6 in turn, each from another source, as long as the block lasts."""

    def __init__(self, lab, port):
        self.lab, self.port, self.process = lab, port, None

    def __enter__(self):
        lab = self.lab
        while lab.links:
            os.close(lab.links.pop())  # the sink takes its place
        self.process = subprocess.Popen(
            ["nsenter", "--net=/run/netns/" + lab.client, binary("tests/net/shakehand_flood"),
             lab.client_if, lab.client_mac.hex(":"), lab.server_mac.hex(":"), SERVER_IPV4,
             SERVER_IPV6, str(self.port), str(SECONDS_MAX)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        wait_until(lambda: self.counts()["sent"], 10, "the flood to begin")
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def counts(self):
        """What was sent and answered up to now."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        expect(line, "the flood has ended")
        return json.loads(line)

    def end(self):
        """What was sent and answered in all."""
        out, _ = self.process.communicate(timeout=20)
        expect(self.process.returncode == 0, "the flood failed: exit %d", self.process.returncode)
        return json.loads(out)
