#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""A file through `packgate connect`, a lossy veth and AF_XDP to an application that hashes it."""

import hashlib
import os
import re
import sys

from lab import Lab, require_root
from lab_client import Hasher, Served
from lab_loss import lose
from lab_report import Report, expect, expect_equal
from lab_session import endpoint

MEGABYTES = int(os.environ.get("PG_TRANSFER_MB", "100"))
LOSS = 0.02
SECONDS = 200
APP = endpoint("app", 4000, deliver="app")
SUMMARY = re.compile(r"(\d+) of (\d+) frames sent again")


def make_file(path, megabytes):
    with open(path, "wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1000000))
    return path


def parts_of(path, count):
    """SHA-256 of the consecutive parts that count streams carry; the last takes what is over."""
    with open(path, "rb") as file:
        data = file.read()
    share = len(data) // count
    cuts = [share * i for i in range(count)] + [len(data)]
    return [hashlib.sha256(data[at:end]).hexdigest() for at, end in zip(cuts, cuts[1:])]


def transfer(served, path, *words, streams=None):
    total = os.path.getsize(path)
    hasher = Hasher(served.agent.app, "app", most=total)
    words += ("--streams", str(streams)) if streams else ()
    client = served.connect("connect", APP.port, "--send", path, "--linger", "1", *words)
    try:
        _, err = client.communicate(timeout=SECONDS)
    finally:
        client.kill()
    found = hasher.finish(5)
    expect(client.returncode == 0, "connect: exit %d: %s", client.returncode, err.decode())
    expect_equal(hasher.bytes, total, "bytes at the application")
    expect_equal(found, parts_of(path, streams or 1), "SHA-256 of each stream")
    print("# " + err.decode().strip())
    again, frames = map(int, SUMMARY.search(err.decode()).groups())
    return frames, again


def check_lossy(served, path):
    frames, again = transfer(served, path, "--aead", "aes-256-gcm")
    expect(again > frames * LOSS / 2, "%d of %d frames were sent again: was nothing lost?", again,
           frames)


def checks(report, served, lab):
    small = make_file(served.agent.path("small"), 4)
    large = make_file(served.agent.path("large"), MEGABYTES)
    report.check("no loss, one series", transfer, served, small)
    report.check("no loss, three streams", lambda: transfer(served, small, streams=3))
    lose(lab, LOSS)
    report.check("2 % loss, three streams", lambda: transfer(served, small, streams=3))
    report.check("%d MB with 2 %% loss" % MEGABYTES, check_lossy, served, large)


def main():
    require_root()
    report = Report()
    with Lab() as lab:
        served = Served(lab, [APP])
        if report.check("the agent starts", served.agent.start):
            checks(report, served, lab)
            report.check("the agent stops", served.agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
