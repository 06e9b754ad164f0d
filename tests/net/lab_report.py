# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""One line a check, one closing count: how the tests in this directory speak."""

import os
import sys
import time
import traceback


GIVE_UP = 20
PATIENCE = 10  # seconds that what must happen may take: a machine that does other work has stalls


class Failed(Exception):
    """A check found what it must not find; the text says what and where."""


class Skipped(Exception):
    """A check cannot say anything here; the text says why."""


def expect(condition, why, *args):
    """Fail the running check unless the condition holds."""
    if not condition:
        raise Failed(why % args if args else why)


def expect_equal(found, wanted, what):
    expect(found == wanted, "%s: wanted %r, found %r", what, wanted, found)


def where():
    """The last line of this directory that an unexpected exception passed through."""
    here = os.path.dirname(os.path.abspath(__file__))
    for entry in reversed(traceback.extract_tb(sys.exc_info()[2])):
        if os.path.dirname(os.path.abspath(entry.filename)) == here:
            return "%s:%d" % (os.path.basename(entry.filename), entry.lineno)
    return "?"


class Report:
    """Runs checks, prints a line for each and remembers the count."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.started = time.monotonic()

    def check(self, name, function, *args):
        """Run one check; a Failed, or any exception, is its reason. Returns whether it passed.

        After GIVE_UP failures the rest is skipped: a broken agent must not cost minutes.
        """
        if self.failed >= GIVE_UP:
            return self.skip(name, "%d checks failed before" % self.failed)
        return self.last(name, function, *args)

    def last(self, name, function, *args):
        """Run a check even after many failures: what cleans up is never skipped."""
        try:
            function(*args)
        except Skipped as why:
            return self.skip(name, str(why))
        except Failed as why:
            return self.fail(name, str(why))
        except Exception as why:  # pylint: disable=broad-except
            return self.fail(name, "%s: %s (%s)" % (type(why).__name__, why, where()))
        self.passed += 1
        print("ok %s" % name, flush=True)
        return True

    def fail(self, name, why):
        self.failed += 1
        print("FAIL %s: %s" % (name, " ".join(why.split())), flush=True)
        return False

    def skip(self, name, why):
        self.skipped += 1
        print("skip %s: %s" % (name, why), flush=True)
        return False

    def finish(self):
        """The closing line and the exit code of the program."""
        print("# %.1f s" % (time.monotonic() - self.started))
        print("%d passed, %d failed, %d skipped" % (self.passed, self.failed, self.skipped))
        return 1 if self.failed else 0
