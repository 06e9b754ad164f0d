#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""`packgate decode` as a person uses it: files, a live interface, secrets, wrong words."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile

import witness
from lab import binary, in_namespace, require_root, run, wait_until
from lab_report import Report, expect, expect_equal

NAMESPACE = "pg-decode"
PORT = 4000
SECRET = bytes(range(32))
CLIENT, SERVER = 0x1234, 0xabcd
DONE, FAILED, USAGE = range(3)


def decode(*words, stdin=None):
    done = subprocess.run([binary("packgate"), "decode", *words], input=stdin, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def sealed(direction, plain, pack=1):
    length = len(plain) + witness.TAG_BYTES + witness.GUARD_BYTES
    head = witness.header(CLIENT, SERVER, 1700000000123, witness.PACK, 0, length, 0, pack, 0)
    return witness.Direction(SECRET, direction).seal(head, 0, pack, 0, plain, True)


def packet(payload, source=5555, target=PORT):
    """A raw IPv4 packet with UDP, without checksums."""
    total = 28 + len(payload)
    return (struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, 1, 0, 64, 17, 0, b"\x0a\0\0\1",
                        b"\x0a\0\0\2") +
            struct.pack(">HHHH", source, target, 8 + len(payload), 0) + payload)


def pcap(packets, link=101):
    parts = [struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, link)]
    for i, data in enumerate(packets):
        parts.append(struct.pack("<IIII", 1700000000 + i, 250000 * i % 1000000, len(data),
                                 len(data)) + data)
    return b"".join(parts)


class Files:
    """A folder with a capture of three frames and its secrets."""

    def __init__(self, folder):
        self.folder = folder
        broken = bytearray(sealed("s2c", b"answer"))
        broken[-9] ^= 1
        self.packets = [packet(sealed("c2s", b"hello")), packet(bytes(broken), PORT, 5555),
                        packet(b"junk"), packet(b"other", 1, 2)]
        self.capture = self.write("frames.pcap", pcap(self.packets))
        self.secrets = self.write("secrets", b"# mine\n0x1234 43981 %s\n" %
                                  SECRET.hex().encode())

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path


# --- files ----------------------------------------------------------------------------------------


def check_lines(files):
    code, out, err = decode("-t", "--secrets", files.secrets, files.capture)
    expect_equal((code, err), (DONE, ""), "exit code and stderr")
    lines = out.splitlines()
    expect_equal(len(lines), 4, "lines")
    expect("session c>s 1234:abcd data pack 1, 5 bytes opened" in lines[0], lines[0])
    expect("session s>c 1234:abcd data pack 1, 6 bytes, tag WRONG" in lines[1], lines[1])
    expect("session c>s INVALID: frame_short" in lines[2], lines[2])
    expect("session" not in lines[3], lines[3])


def check_json(files):
    code, out, _ = decode("--json", "--secrets", "-", "-r", files.capture,
                          stdin=open(files.secrets, "rb").read())
    objects = [json.loads(line) for line in out.splitlines()]
    expect_equal(code, DONE, "exit code")
    expect_equal(objects[0]["session"]["plain"], b"hello".hex(), "plaintext")
    expect_equal(objects[0]["session"]["guard"], "right", "guard")
    expect("plain" not in objects[1]["session"], "a plaintext without a right tag")
    expect_equal(objects[1]["session"]["sealed"], "tag_wrong", "sealed")
    expect_equal(objects[2]["session"], {"direction": "client_to_server", "valid": False,
                                         "reason": "frame_short"}, "junk")


def check_verbose(files):
    code, out, _ = decode("-v", "-tt", "-c", "1", "--secrets", files.secrets, files.capture)
    expect_equal(code, DONE, "exit code")
    lines = out.splitlines()
    expect(lines[0].startswith("1700000000.000000 IP "), lines[0])
    expect("    session: direction client_to_server, valid true, opcode data" in out, out)
    expect("plain 68656c6c6f" in out, out)
    expect_equal(out.count("    packet: number"), 1, "packets")


def check_times(files):
    wanted = {"-ttt": "00:00:01.250000 ", "-ttttt": "00:00:01.250000 ", "-t": "IP 10.0.0.1"}
    for option, start in wanted.items():
        _, out, _ = decode(option, files.capture)
        expect(out.splitlines()[1].startswith(start),
               "%s: %s", option, out.splitlines()[1])
    _, out, _ = decode("-tttt", files.capture)
    expect(out.startswith("2023-11-1"), out)


def check_stdin_and_filter(files):
    code, out, _ = decode("-", "udp", "dst", "port", "2", stdin=pcap(files.packets))
    expect_equal((code, len(out.splitlines())), (DONE, 1), "filtered")
    code, out, _ = decode(files.capture, "--session-port", "1", "udp port 1")
    expect("session s>c INVALID: frame_short" in out, out)
    code, out, _ = decode("--session-port", "0", files.capture)
    expect("session" not in out, out)


def check_guard(files):
    """With the guard said to be off its 8 bytes are payload: the tag does not fit."""
    _, out, _ = decode("--guard", "off", "--secrets", files.secrets, files.capture)
    expect("tag WRONG" in out.splitlines()[0], out)


def check_wrong(files):
    nowhere = os.path.join(files.folder, "nowhere")
    bad = files.write("bad", b"1 2 3\n")
    long = files.write("long", b"#" * 600 + b"\n")
    cut = files.write("cut.pcap", pcap(files.packets)[:-3])
    wifi = files.write("wifi.pcap", pcap([b"x" * 30], 105))
    empty = files.write("empty.pcap", b"")
    rows = [
        ((), USAGE, "which FILE"),
        (("-i", "lo", "-r", "x"), USAGE, "-i and -r at once"),
        (("-c", "0", files.capture), USAGE, "-c must be"),
        (("-c",), USAGE, "-c needs a value"),
        (("--bogus", files.capture), USAGE, "unknown option --bogus"),
        (("-z", files.capture), USAGE, "unknown option -z"),
        (("-tttttt", files.capture), USAGE, "-t goes up to"),
        (("--guard", "maybe", files.capture), USAGE, "--guard must be"),
        (("--session-port", "70000", files.capture), USAGE, "--session-port must be"),
        ((files.capture, "udp", "prot", "7"), USAGE, "filter \"udp prot 7\""),
        ((nowhere,), FAILED, nowhere),
        ((empty,), FAILED, "empty.pcap"),
        ((wifi,), FAILED, "link type"),
        ((cut,), FAILED, "cut.pcap"),
        (("--secrets", bad, files.capture), FAILED, "bad line 1"),
        (("--secrets", long, files.capture), FAILED, "long line 1"),
        (("--secrets", nowhere, files.capture), FAILED, nowhere),
        (("--secrets", "-", "-"), USAGE, "both from stdin"),
        (("-i", "no-such-if"), FAILED, "no-such-if"),
    ]
    for words, wanted, text in rows:
        code, _, err = decode(*words, stdin=b"")
        expect_equal(code, wanted, "exit code of %r (%s)" % (words, err))
        expect(err.startswith("packgate: ") and text in err and err.count("\n") == 1,
               "%r: %r", words, err)
    _, out, _ = decode(cut)
    expect_equal(len(out.splitlines()), 3, "packets before the cut")


def check_closed_output(files):
    """A reader that goes away, as head does, ends the verb, without a word: it has seen enough."""
    many = files.write("many.pcap", pcap(files.packets * 20000))
    with subprocess.Popen([binary("packgate"), "decode", many], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as child:
        child.stdout.readline()
        child.stdout.close()
        expect_equal(child.stderr.read(), b"", "stderr")
        expect_equal(child.wait(timeout=60), 0, "exit code")


# --- an interface ---------------------------------------------------------------------------------


@contextlib.contextmanager
def namespace():
    run("ip", "netns", "add", NAMESPACE)
    try:
        run("ip", "-n", NAMESPACE, "link", "set", "lo", "up")
        yield
    finally:
        run("ip", "netns", "del", NAMESPACE)


def live(*words):
    return subprocess.Popen(["nsenter", "--net=/run/netns/" + NAMESPACE, binary("packgate"),
                             "decode", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def open_socket():
    return in_namespace(NAMESPACE, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


def send_until(sock, condition, what):
    """Nothing tells when a capture has begun: frames are sent until it shows them."""
    def sent():
        sock.sendto(sealed("c2s", b"live"), ("127.0.0.1", PORT))
        return condition()
    wait_until(sent, 20, what, 0.02)


def check_count(files, interface):
    with open_socket() as sock, live("-i", interface, "-c", "3", "--secrets", files.secrets,
                                     "udp", "dst", "port", str(PORT)) as child:
        send_until(sock, lambda: child.poll() is not None, "three packets")
        out, err = child.communicate(timeout=20)
    lines = out.decode().splitlines()
    expect_equal((child.returncode, len(lines)), (DONE, 3), "exit code and lines")
    expect(all("data pack 1, 4 bytes opened" in line for line in lines), "%r", lines)
    # the sum of a datagram that never left the host is not finished, and not called bad
    expect("bad" not in out.decode(), lines[0])
    expect("3 packets decoded" in err.decode(), err.decode())


def check_interrupt(number):
    with open_socket() as sock, live("-i", "lo", "-l", "udp") as child:
        os.set_blocking(child.stdout.fileno(), False)
        send_until(sock, lambda: child.stdout.read(1), "a packet")
        child.send_signal(number)
        _, err = child.communicate(timeout=20)
    expect_equal(child.returncode, DONE, "exit code")
    expect("packets decoded" in err.decode(), err.decode())


def main():
    require_root()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        files = Files(folder)
        report.check("lines", check_lines, files)
        report.check("JSON, secrets from stdin", check_json, files)
        report.check("every field", check_verbose, files)
        report.check("time formats", check_times, files)
        report.check("stdin, filter, session ports", check_stdin_and_filter, files)
        report.check("guard off", check_guard, files)
        report.check("wrong words and files", check_wrong, files)
        report.check("the reader of the output goes away", check_closed_output, files)
        with namespace():
            report.check("an interface, -c", check_count, files, "lo")
            report.check("every interface, -c", check_count, files, "any")
            report.check("SIGINT ends a capture", check_interrupt, signal.SIGINT)
            report.check("SIGTERM ends a capture", check_interrupt, signal.SIGTERM)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
