#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""A flood of shakehands from addresses that are not the sender's, as fast as the live-frame
generator goes, over IPv4 and IPv6, and honest clients in it.

Every honest client gets its session, no half-open state grows, no answer is longer than its
question, of the flood nothing reaches the agent once cookies are demanded, and the agent's threads
use less than 20 % of a core. What does not fit into the veth's one ring is lost, of the honest too, so
clients ask more often than PROTOCOL 7 would have them.
"""

import sys
import time

from lab import SERVER_IPV4, SERVER_IPV6, Lab, require_root, wait_until
from lab_flood import ShakehandFlood, Usage
from lab_openings import Openings
from lab_report import Report, expect, expect_equal
from lab_session import configuration, endpoint

GAME, GAME_IPV6 = endpoint("game", 4000), endpoint("game6", 4000, address="::")
HONEST = 1000
AT_ONCE = 100
TRIES = 60
HALF_OPEN, OPEN_SECONDS = 256, 5
HANDSHAKES_PER_SECOND = 1000
AGENT_SHARE = 0.2


def half_open_sessions(metrics):
    return metrics.total("packgate_sessions", state="open")


def settled(agent):
    """Whether the agent is done with what was steered before cookies were demanded."""
    first = agent.scrape().total("packgate_shakehands_total")
    time.sleep(0.2)
    return agent.scrape().total("packgate_shakehands_total") == first


def check_alone(agent, flood):
    """What the agent does while nobody honest asks."""
    wait_until(lambda: agent.scrape().total("packgate_gate_cookies_total") > 0, 5,
               "the demand for cookies")
    wait_until(lambda: settled(agent), 10, "the last shakehand from before it")
    before, sent = agent.scrape(), flood.counts()["sent"]
    usage, start = Usage(agent=agent.process.pid), time.monotonic()
    time.sleep(2)
    share, took = usage.shares()["agent"], time.monotonic() - start
    rate = (flood.counts()["sent"] - sent) / took
    after = agent.scrape()
    cookies = [m.total("packgate_gate_cookies_total") for m in (before, after)]
    print("# %.0f shakehands/s, %.0f cookies/s, agent at %.2f %% of a core"
          % (rate, (cookies[1] - cookies[0]) / took, 100 * share))
    expect_equal(after.total("packgate_shakehands_total"),
                 before.total("packgate_shakehands_total"), "shakehands that reached the agent")
    expect(cookies[1] > cookies[0], "the gate made no cookies")
    expect_equal(half_open_sessions(after), 0, "half-open sessions")
    expect(share < AGENT_SHARE, "the agent used %.1f %% of a core", 100 * share)


def check_honest(lab, agent, public):
    """Clients over IPv4 and IPv6 in the midst of it."""
    half_open = []
    openings = Openings(lab, public, [(SERVER_IPV4, GAME.port), (SERVER_IPV6, GAME.port)], TRIES,
                        lambda: half_open.append(half_open_sessions(agent.scrape())))
    before, start = agent.scrape(), time.monotonic()
    usage = Usage(agent=agent.process.pid)
    openings.run(HONEST, AT_ONCE)
    share, took = usage.shares()["agent"], time.monotonic() - start
    after = agent.scrape()
    print("# %d honest handshakes in %.1f s, %.2f questions each, agent at %.2f %% of a core"
          % (openings.done, took, openings.asked / HONEST, 100 * share))
    expect_equal(openings.done, HONEST, "honest handshakes")
    reached = [m.total("packgate_shakehands_total") for m in (before, after)]
    expect(reached[1] - reached[0] <= HONEST + openings.asked, "%d shakehands reached the agent "
           "for %d honest ones", reached[1] - reached[0], HONEST)
    expect(max(half_open) <= AT_ONCE, "half-open sessions grew: %s", half_open)
    expect(share < AGENT_SHARE, "the agent used %.1f %% of a core", 100 * share)


def check_answers(flood):
    """What went back to the addresses that nobody asked from."""
    found = flood.end()
    print("# %(sent)d spoofed shakehands, answered: IPv4 %(answers_v4)d, of %(longest_v4)d bytes at "
          "most, IPv6 %(answers_v6)d, of %(longest_v6)d" % found)
    for family in ("v4", "v6"):
        expect(found["answers_" + family] > 0, "nothing of IP%s was answered", family)
        expect_equal(found["longer_" + family], 0, "IP%s answers longer than their question" %
                     family)


def check_half_open(agent):
    """Every session is READY: a client that was heard had its pong."""
    ready = agent.scrape().total("packgate_handshakes_ready_total")
    expect(ready >= HONEST, "%d sessions became READY", ready)
    wait_until(lambda: not half_open_sessions(agent.scrape()), OPEN_SECONDS + 2,
               "the end of what a client gave up")


def checks(report, lab, agent, public):
    with ShakehandFlood(lab, GAME.port) as flood:
        report.check("the flood alone", check_alone, agent, flood)
        report.check("honest clients in it", check_honest, lab, agent, public)
        report.check("no answer is longer than its question", check_answers, flood)
    report.check("nothing half-open stays", check_half_open, agent)


def main():
    require_root()
    report = Report()
    with Lab(queues=1) as lab:
        agent = lab.agent({})
        public = bytes.fromhex(agent.packgate("keygen", agent.path("server.key")).out.strip())
        agent.write_config(configuration(
            (GAME, GAME_IPV6), handshake={"key": agent.path("server.key")},
            limits={"handshakes_per_second": HANDSHAKES_PER_SECOND, "half_open": HALF_OPEN,
                    "sessions": 65536, "unmatched_per_source_per_second": 100000}))
        if report.check("the agent starts", agent.start):
            checks(report, lab, agent, public)
            report.check("the agent stops", agent.stop)
        report.last("nothing is left behind", lab.assert_clean)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
