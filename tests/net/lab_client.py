# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""`packgate connect` and libpackgate in the client's namespace, and the agent they talk to."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading

from lab import SERVER_IPV4, binary
from lab_app import MESSAGE, App
from lab_report import expect
from lab_session import configuration

TOKEN = "open-sesame"


class StateHome:
    """Where clients of provisioned sessions remember what they used: on a disk, for this test."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="packgate", dir="/var/tmp")
        os.environ["XDG_STATE_HOME"] = self.path
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)


class Served:
    """An agent that lets clients open sessions themselves."""

    def __init__(self, lab, endpoints, **more):
        self.lab, self.agent = lab, lab.agent({})
        self.token_file = self.agent.path("tokens")
        with open(os.open(self.token_file, os.O_CREAT | os.O_WRONLY, 0o600), "w",
                  encoding="ascii") as tokens:
            tokens.write(TOKEN + " alice\n")
        done = self.agent.packgate("keygen", self.agent.path("server.key"))
        expect(done.code == 0, "keygen: %s", done.err)
        self.public = done.out.strip()
        more.setdefault("limits", {})
        more["limits"].setdefault("receive_timeout_ms", 12000)
        self.agent.write_config(configuration(
            endpoints, handshake={"key": self.agent.path("server.key"),
                                  "tokens": self.token_file, "cookie": "never"}, **more))

    def connect(self, verb, port, *words, token=TOKEN, public=None, **options):
        """Start `packgate VERB` in the client's namespace."""
        command = ["nsenter", "--net=/run/netns/" + self.lab.client, binary("packgate"), verb,
                   "%s:%d" % (SERVER_IPV4, port), *words]
        if public is not False:
            command += ["--server-key", public or self.public, "--token", token]
        return subprocess.Popen(command, stdin=options.get("stdin", subprocess.PIPE),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Hasher:
    """An application on a thread of its own: the bytes of every stream, hashed as they come."""

    def __init__(self, path, *endpoints, most=None):
        self.app = App(path)
        self.app.hello(*endpoints)
        self.hashes, self.bytes, self.most = {}, 0, most
        self.done = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.done.is_set():
                item = self.app.receive(0.2)
                if item and item.kind == MESSAGE:
                    self.hashes.setdefault(item.stream, hashlib.sha256()).update(item.body)
                    self.bytes += len(item.body)
                    if self.most and self.bytes >= self.most:
                        self.done.set()
        except BaseException as why:  # pylint: disable=broad-except
            self.failure = why

    def finish(self, seconds):
        """{stream: SHA-256} in order of ids, once so many bytes came."""
        self.done.wait(seconds)
        self.done.set()
        self.thread.join()
        self.app.close()
        expect(self.failure is None, "application: %s", self.failure)
        return [self.hashes[stream].hexdigest() for stream in sorted(self.hashes)]
