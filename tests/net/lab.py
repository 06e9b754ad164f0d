# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""Two network namespaces, a veth between them and the agent on one side.

    with Lab() as lab:
        agent = lab.agent(config)
        agent.start()
        ...

Everything a lab makes carries the pid of the test in its name and is removed when the block ends;
Lab.leftovers() then names what still exists: a namespace, a pin, a process.
"""

import ctypes
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from lab_report import PATIENCE, Failed, Skipped, expect

BPFFS = "/sys/fs/bpf"
PINS = BPFFS + "/packgate"
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
START_SECONDS, STOP_SECONDS, CLI_SECONDS = 30, 5, 30
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

SERVER_IPV4, SERVER_IPV6 = "10.77.0.1", "fd77::1"
HOST_IPV4, HOST_IPV6 = "10.77.0.2", "fd77::2"


def build_directory():
    return os.path.abspath(os.environ.get("PG_BUILD", os.path.join(ROOT, "build")))


def binary(name):
    path = os.path.join(build_directory(), name)
    if not os.access(path, os.X_OK):
        raise Failed("%s is not built: run make, or set PG_BUILD" % path)
    return path


def require_root():
    """Exit politely where namespaces cannot be made, and in a finally where a signal ends us."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if os.geteuid() != 0:
        print("skip all: network namespaces need root\n0 passed, 0 failed, 1 skipped")
        sys.exit(0)


def run(*command, **options):
    """Run a command that must succeed; its output is the reason when it does not."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=CLI_SECONDS, check=False, **options)
    if done.returncode:
        raise Failed("%s: %s" % (" ".join(command), done.stdout.strip()))
    return done.stdout


def wait_until(predicate, seconds, what, pause=0.005):
    """Poll until the predicate gives something true and return that; Failed when time is up, which
    is not before PATIENCE: how long something takes is no reason to fail."""
    seconds = max(seconds, PATIENCE)
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed("waited %g s for %s" % (seconds, what))
        time.sleep(pause)


# --- namespaces ----------------------------------------------------------------------------------

def in_namespace(name, function, *args):
    """The result of a function called in a network namespace, on a thread of its own.

    A socket opened that way stays in the namespace wherever it is used later.
    """
    outcome = []

    def body():
        try:
            with open("/run/netns/" + name, "rb") as handle:
                if LIBC.setns(handle.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns " + name)
            outcome.append((True, function(*args)))
        except BaseException as why:  # pylint: disable=broad-except
            outcome.append((False, why))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    good, value = outcome[0]
    if not good:
        raise value
    return value


def bpf(command, attributes):
    """The bpf system call; the two programs of this lab need no library."""
    number = {"x86_64": 321, "aarch64": 280}.get(os.uname().machine)
    if number is None:
        raise Skipped("the lab does not know the bpf system call of this machine")
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = LIBC.syscall(number, command, buffer, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), "bpf(%d)" % command)
    return result


def attach_xdp_pass(interface):
    """Attach `return XDP_PASS` to an interface of the current namespace; the link is an open fd.

    A veth takes XDP_TX and redirected frames only from a peer with a program of its own.
    """
    prog_load, link_create, type_xdp, attach_xdp, xdp_pass = 5, 28, 6, 37, 2
    code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xB7, 0, 0, xdp_pass,
                                                   0x95, 0, 0, 0))
    name = ctypes.create_string_buffer(b"BSD")
    load = struct.pack("<IIQQIIQII16sII", type_xdp, 2, ctypes.addressof(code),
                       ctypes.addressof(name), 0, 0, 0, 0, 0, b"lab_pass", 0, attach_xdp)
    program = bpf(prog_load, load)
    try:
        index = socket.if_nametoindex(interface)
        return bpf(link_create, struct.pack("<IIII", program, index, attach_xdp, 0))
    finally:
        os.close(program)


def mount_bpffs():
    with open("/proc/mounts", encoding="ascii", errors="replace") as mounts:
        if any(line.split()[1:3] == [BPFFS, "bpf"] for line in mounts):
            return
    run("mount", "-t", "bpf", "bpf", BPFFS)


class Lab:
    """Client namespace and server namespace, joined by a veth of some queues."""

    count = 0

    def __init__(self, queues=2):
        Lab.count += 1
        self.tag = "%dx%d" % (os.getpid(), Lab.count)
        self.client, self.server = "pgc" + self.tag, "pgs" + self.tag
        self.client_if, self.server_if = "pgc0", "pgs0"
        self.queues = queues
        self.directory = None
        self.client_mac = self.server_mac = None
        self.agents, self.sockets, self.links = [], [], []

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def build(self):
        mount_bpffs()
        self.directory = tempfile.mkdtemp(prefix="pg-lab-")
        for name in (self.client, self.server):
            run("ip", "netns", "add", name)
        count = str(self.queues)
        queues = ["numtxqueues", count, "numrxqueues", count]
        run("ip", "link", "add", self.client_if, "netns", self.client, *queues, "type", "veth",
            "peer", "name", self.server_if, "netns", self.server, *queues)
        self.set_up(self.client, self.client_if, HOST_IPV4, HOST_IPV6)
        self.set_up(self.server, self.server_if, SERVER_IPV4, SERVER_IPV6)
        self.client_mac = self.mac(self.client, self.client_if)
        self.server_mac = self.mac(self.server, self.server_if)
        self.neighbour(self.client, self.client_if, SERVER_IPV4, self.server_mac)
        self.neighbour(self.client, self.client_if, SERVER_IPV6, self.server_mac)
        self.links.append(in_namespace(self.client, attach_xdp_pass, self.client_if))

    def set_up(self, namespace, interface, ipv4, ipv6):
        """Addresses, no offloads, no chatter; a queue in front so that floods wait, not vanish."""
        enter = ["nsenter", "--net=/run/netns/" + namespace]
        run(*enter, "sysctl", "-qw", "net.ipv6.conf.all.accept_ra=0",
            "net.ipv6.conf.%s.accept_ra=0" % interface,
            "net.ipv6.conf.%s.router_solicitations=0" % interface,
            "net.ipv6.conf.%s.addr_gen_mode=1" % interface)
        run(*enter, "ethtool", "-K", interface, "tx", "off", "tso", "off", "gso", "off",
            "gro", "off", "rxvlan", "off", "txvlan", "off")
        ip = ["ip", "-n", namespace]
        run(*ip, "link", "set", "lo", "up")
        run(*ip, "link", "set", interface, "mtu", "1500", "up")
        run(*ip, "addr", "add", ipv4 + "/24", "dev", interface)
        run(*ip, "addr", "add", ipv6 + "/64", "dev", interface, "nodad")

    def mac(self, namespace, interface):
        row = json.loads(run("ip", "-j", "-n", namespace, "link", "show", interface))[0]
        return bytes.fromhex(row["address"].replace(":", ""))

    def neighbour(self, namespace, interface, address, mac):
        run("ip", "-n", namespace, "neigh", "replace", address, "dev", interface, "lladdr",
            mac.hex(":"), "nud", "permanent")

    def peer_address(self, address):
        """Let the server reach an address of the client's side that no stack answers for."""
        self.neighbour(self.server, self.server_if, address, self.client_mac)
        return address

    def queue_before_veth(self):
        """Give the client's end a queue: a full veth ring then makes senders wait, not lose."""
        run("tc", "-n", self.client, "qdisc", "replace", "dev", self.client_if, "root", "pfifo",
            "limit", "1000")

    def keep(self, sock):
        self.sockets.append(sock)
        return sock

    def client_socket(self, *args):
        return self.keep(in_namespace(self.client, socket.socket, *args))

    def server_socket(self, *args):
        return self.keep(in_namespace(self.server, socket.socket, *args))

    def agent(self, config):
        agent = Agent(self, config, "t%sn%d" % (self.tag, len(self.agents)))
        self.agents.append(agent)
        return agent

    def close(self):
        """Stop what runs, detach what is attached, remove what was made. May be called twice."""
        for agent in self.agents:
            agent.clean_up()
        for sock in self.sockets:
            sock.close()
        for link in self.links:
            os.close(link)
        self.sockets, self.links = [], []
        for name in (self.client, self.server):
            if os.path.exists("/run/netns/" + name):
                subprocess.run(["ip", "netns", "del", name], check=False)
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def leftovers(self):
        """What still exists of a closed lab, in words."""
        found = ["namespace " + name for name in (self.client, self.server)
                 if os.path.exists("/run/netns/" + name)]
        for agent in self.agents:
            found += agent.leaks
        return found

    def assert_clean(self):
        """Close the lab and fail when anything of it stays."""
        self.close()
        left = self.leftovers()
        expect(not left, "left behind: %s", ", ".join(left))


# --- the configuration file ----------------------------------------------------------------------

def scalar(value):
    text = str(value)
    return text if re.fullmatch(r"[A-Za-z0-9_./-]+(:[0-9]+)?", text) else json.dumps(text)


def yaml_lines(value, indent=""):
    """A dict of dicts, lists and words as block YAML; on and off are words here, never booleans."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield "%s%s:" % (indent, key)
            yield from yaml_lines(item, indent + "  ")
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            yield "%s%s:" % (indent, key)
            for row in item:
                lines = list(yaml_lines(row, indent + "    "))
                yield indent + "  - " + lines[0].lstrip()
                yield from lines[1:]
        elif isinstance(item, list):
            yield "%s%s: [%s]" % (indent, key, ", ".join(scalar(word) for word in item))
        else:
            yield "%s%s: %s" % (indent, key, scalar(item))


def to_yaml(config):
    return "\n".join(yaml_lines(config)) + "\n"


# --- the agent -----------------------------------------------------------------------------------

def parse_metrics(text):
    """OpenMetrics text as {(name, ((label, value), ...)): number}, labels sorted by name."""
    metrics = {}
    for line in text.splitlines():
        match = re.match(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)", line)
        if match and not line.startswith("#"):
            labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")
            metrics[match[1], tuple(sorted(labels))] = float(match[3])
    return metrics


class Metrics(dict):
    """One scrape, with sums over labels."""

    def total(self, name, **labels):
        """The sum of every series of a name that carries the given labels."""
        wanted = {(key, str(value)) for key, value in labels.items()}
        return sum(value for (metric, pairs), value in self.items()
                   if metric == name and wanted <= set(pairs))

    def by_label(self, name, label):
        """{label value: sum} of a metric."""
        out = {}
        for (metric, pairs), value in self.items():
            if metric == name:
                key = dict(pairs).get(label)
                out[key] = out.get(key, 0) + value
        return out

    def drops(self):
        return self.by_label("packgate_gate_drops_total", "reason")


class Done:
    """What a run of the CLI gave back."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        try:
            return json.loads(self.out)
        except ValueError:
            raise Failed("no JSON: %r" % self.out[:200]) from None


class Agent:
    """One packgated with an instance, a state directory and sockets of its own."""

    def __init__(self, lab, config, instance):
        self.lab, self.instance = lab, instance
        self.directory = os.path.join(lab.directory, instance)
        os.mkdir(self.directory)
        self.control = self.path("control.sock")
        self.app = self.path("app.sock")
        self.config = self.path("packgate.yaml")
        self.log = self.path("stderr")
        self.process = None
        self.log_from = 0
        self.pids, self.leaks = [], []
        self.environment = {}
        self.write_config(config)

    def path(self, name):
        return os.path.join(self.directory, name)

    def write_config(self, config):
        whole = {
            "instance": self.instance,
            "interfaces": [self.lab.server_if],
            "app": {"socket": self.app},
            "control": {"socket": self.control},
            "metrics": {"listen": "127.0.0.1:9747"},
            "state": {"directory": self.path("state")},
            "tcp": {"namespaces": ["own"]},
        }
        whole.update(config)
        with open(self.config, "w", encoding="ascii") as file:
            file.write(to_yaml(whole))

    def preload(self):
        """From its next start on, slow() and step_clock() act on the agent (preload.c)."""
        self.environment = {"LD_PRELOAD": binary("tests/net/preload"),
                            "PG_PRELOAD": self.path("preload")}

    def act(self, name, number):
        """Tell a preloaded agent one number, whole or not at all."""
        path = self.path("preload." + name)
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write("%d" % number)
        os.rename(path + ".new", path)
        return path

    def slow(self, milliseconds):
        """The next wake-up of an AF_XDP socket for sending takes so long; the file then is gone."""
        return self.act("slow", milliseconds)

    def step_clock(self, milliseconds):
        """The agent's wall clock is off by so much from now on."""
        return self.act("clock", milliseconds)

    def enter(self, *command):
        """The command inside the server's namespace; ip netns exec would hide bpffs."""
        return ["nsenter", "--net=/run/netns/" + self.lab.server, *command]

    def spawn(self, *words):
        """Start the agent, with further options, and do not wait for it."""
        with open(self.log, "ab") as log:
            self.log_from = log.tell()
            self.process = subprocess.Popen(
                self.enter("setpriv", "--pdeathsig", "KILL", binary("packgated"),
                           "--config", self.config, *words),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.environment})
        self.pids.append(self.process.pid)

    def start(self, *words):
        """Start the agent and return when every gate is attached."""
        self.spawn(*words)
        end = time.monotonic() + START_SECONDS
        while self.cli("status", "--json").code:
            if self.process.poll() is not None:
                raise Failed("packgated ended with %d: %s"
                             % (self.process.returncode, self.stderr()))
            if time.monotonic() > end:
                raise Failed("packgated is not ready after %d s: %s"
                             % (START_SECONDS, self.stderr()))
            time.sleep(0.02)
        return self

    def stderr(self, last=1000):
        """The end of what the agent has said since its last start."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            log.seek(self.log_from)
            return log.read()[-last:].strip()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """SIGTERM; the agent must leave with 0 in time."""
        self.process.terminate()
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed("packgated still runs %d s after SIGTERM: %s"
                         % (STOP_SECONDS, self.stderr())) from None
        expect(code == 0, "packgated left SIGTERM with %d: %s", code, self.stderr())

    def kill(self):
        """kill -9, as a crash would."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def cli(self, *words, stdin=None):
        """Run `packgate --control PATH words`."""
        return self.packgate("--control", self.control, *words, stdin=stdin)

    def packgate(self, *words, stdin=None):
        done = subprocess.run(self.enter(binary("packgate"), *words), input=stdin, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=CLI_SECONDS, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    def cli_ok(self, *words, stdin=None):
        done = self.cli(*words, stdin=stdin)
        expect(done.code == 0, "packgate %s: exit %d: %s", " ".join(words), done.code,
               done.err.strip() or done.out.strip())
        return done

    def add_session(self, endpoint, session, address, port, *more, aead_name):
        """Provision a session; its secret goes over stdin, never through the process list."""
        host = "[%s]" % address if ":" in address else address
        return self.cli_ok("session", "add", "--endpoint", endpoint,
                           "--client-id", "%#06x" % session.client,
                           "--server-id", "%#06x" % session.server,
                           "--peer", "%s:%d" % (host, port), "--secret-file", "-",
                           "--aead", aead_name, *more, stdin=session.secret.hex() + "\n")

    def session_ids(self):
        """The (client id, server id) pairs that `session list` shows."""
        return set(find_session_ids(self.cli_ok("session", "list", "--json").json))

    def scrape(self):
        """The metrics at this moment, read inside the server's namespace."""
        connection = http.client.HTTPConnection("127.0.0.1", 9747, timeout=5)
        connection.sock = in_namespace(self.lab.server, socket.create_connection,
                                       ("127.0.0.1", 9747), 5)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        expect(answer.status == 200, "GET /metrics: %d %s", answer.status, text[:200])
        return Metrics(parse_metrics(text))

    def detach(self):
        """Remove the gate and its pins, with an agent or without."""
        if self.alive():
            return self.cli("detach", self.lab.server_if)
        return self.packgate("detach", self.lab.server_if, "--instance", self.instance)

    def clean_up(self):
        """End the process, remove the pins; remember as leaks what needed force."""
        self.leaks = []
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.leaks.append("process %d, killed" % self.process.pid)
                self.kill()
        pins = os.path.join(PINS, self.instance)
        if os.path.exists(pins) and os.path.exists("/run/netns/" + self.lab.server):
            self.detach()
        if os.path.exists(pins):
            self.leaks.append("pins under %s, removed" % pins)
            shutil.rmtree(pins, ignore_errors=True)
        self.leaks += ["process %d" % pid for pid in self.pids if running(pid)]


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def find_session_ids(tree):
    """(client id, server id) of every object in a JSON tree that has both."""
    if isinstance(tree, list):
        for item in tree:
            yield from find_session_ids(item)
    if isinstance(tree, dict):
        if "client_id" in tree and "server_id" in tree:
            yield as_number(tree["client_id"]), as_number(tree["server_id"])
        for item in tree.values():
            yield from find_session_ids(item)


def as_number(value):
    return value if isinstance(value, int) else int(value, 0)
