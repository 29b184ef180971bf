"""Nodes of a real Ray cluster on this machine, each a raylet of its own, with a token.

Every process of a node inherits a mark in its environment, by which it is found again and killed by its id,
whatever a SIGKILL has made of its parents. Ray's agents write their names over it, so children are found too:
agents that lost their node take a core for a minute. In a network namespace a node has its own address.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError

import psutil

REPOSITORY = Path(__file__).parents[3]
RAY = Path(sys.executable).with_name("ray")
MARK = "ABUNDANT_TEST_NODE"
PATIENCE_S, STORE = 240.0, 120 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node listens: its address, the words that start a process there, and Ray's command there."""

    address: str = "127.0.0.1"
    words: tuple[str, ...] = ()
    ray: str = str(RAY)


HERE = Place()


@dataclass(slots=True)
class Node:
    """A node: `ray start`, and all that comes of it."""

    process: subprocess.Popen[bytes]
    mark: str

    def processes(self) -> list[psutil.Process]:
        """Every living process of the node, whoever its parent is by now."""
        there = [*psutil.process_iter()]
        marked = {one.pid for one in there if _environment(one).get(MARK) == self.mark}
        return [one for one in there if one.pid in marked or _parent(one) in marked]

    def actors(self) -> list[psutil.Process]:
        """The processes of Ray Data's actors."""
        return [one for one in self.processes() if "MapWorker" in _title(one)]

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Within the block the node's actors do nothing, so that others have time to."""
        actors = self.actors()
        for one in actors:
            _signal(one, signal.SIGSTOP)
        try:
            yield
        finally:
            for one in actors:
                _signal(one, signal.SIGCONT)

    def kill(self) -> None:
        """Lose the node at once: SIGKILL to its raylet first, then to all that is left of it."""
        found = self.processes()
        for one in sorted(found, key=lambda one: one.name() != "raylet"):
            _signal(one, signal.SIGKILL)
        psutil.wait_procs(found, timeout=20)
        self.reap()

    def stop(self) -> None:
        """End the node in peace, then what is left of it by force."""
        found = self.processes()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.reap(found)

    def reap(self, found: Sequence[psutil.Process] = ()) -> None:
        """Kill by id what is still there, of what was found before and of what is found now."""
        left = [*found, *self.processes()]
        while left:
            for one in left:
                _signal(one, signal.SIGKILL)
            psutil.wait_procs(left, timeout=5)
            left = self.processes()
        self.process.wait()


@dataclass(slots=True)
class Raylets:
    """A cluster: its head first, then other nodes as they join."""

    folder: Path
    sockets: Path
    environment: Mapping[str, str]
    gcs: str
    dashboard: str
    nodes: list[Node] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)

    @property
    def token(self) -> str:
        """The cluster's token."""
        return Path(self.environment["RAY_AUTH_TOKEN_PATH"]).read_text()

    def for_drivers(self, **more: str) -> dict[str, str]:
        """The environment of a process that joins the cluster."""
        return dict(self.environment) | {"RAY_ADDRESS": self.gcs} | more

    def join(self, cpus: int, place: Place = HERE) -> Node:
        """One more node; it is there once it is counted (`alive`)."""
        return self._start([f"--address={self.gcs}"], cpus, place)

    def stop(self) -> None:
        """End all nodes, the head last."""
        for node in reversed(self.nodes):
            node.stop()

    def _start(self, words: Sequence[str], cpus: int, place: Place) -> Node:
        mark, number = uuid.uuid4().hex, len(self.nodes)
        log = self.folder / f"node-{number}.log"
        self.logs.append(log)
        command = [*place.words, place.ray, "start", "--block", *words, f"--num-cpus={cpus}"]
        command += [f"--node-ip-address={place.address}", f"--object-store-memory={STORE}"]
        # Defaults are ports that another node on this machine may have; 0 lets the system choose.
        command += [f"--dashboard-agent-listen-port={free_port()}", "--min-worker-port=0"]
        # Nodes that start at once in one folder would take the same names for their sockets.
        command += [
            "--max-worker-port=0",
            "--disable-usage-stats",
            f"--temp-dir={self.sockets / str(number)}",
        ]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=dict(self.environment) | {MARK: mark}, stdout=out, stderr=out, cwd=REPOSITORY
            )
        self.nodes.append(Node(process, mark))
        return self.nodes[-1]


@contextmanager
def raylets(folder: Path, cpus: int, place: Place = HERE) -> Iterator[Raylets]:
    """A cluster of one head node; all its nodes are ended with the block.

    The paths of Ray's sockets may have 107 bytes, so its own folder lies in /tmp.
    """
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    without = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = without | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "PYTHONPATH": str(REPOSITORY),
        # Ray's own 15 lets workers stand still wherever anything else is busy.
        "RAY_worker_niceness": "0",
    }
    port, dashboard = free_port(), free_port()
    sockets = Path(f"/tmp/r{secrets.token_hex(3)}")
    gcs, api = f"{place.address}:{port}", f"http://{place.address}:{dashboard}"
    found = Raylets(folder, sockets, environment, gcs, api)
    words = ["--head", f"--port={port}", f"--dashboard-host={place.address}", f"--dashboard-port={dashboard}"]
    words += [f"--ray-client-server-port={free_port()}"]
    try:
        found._start(words, cpus, place)
        _wait(found)
        yield found
    finally:
        found.stop()
        shutil.rmtree(sockets, ignore_errors=True)


def free_port() -> int:
    """A port that nobody listens to at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(cluster: Raylets) -> None:
    """Until the head's Jobs API asks for a token."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            urllib.request.urlopen(f"{cluster.dashboard}/api/version", timeout=5)
        except HTTPError as error:
            assert error.code == 401, error
            return
        except OSError:
            assert time.monotonic() < deadline, cluster.logs[0].read_text()
            assert cluster.nodes[0].process.poll() is None, cluster.logs[0].read_text()
            time.sleep(0.2)


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0


def _title(process: psutil.Process) -> str:
    """How a process calls itself: Ray's workers say what they do in place of their command."""
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
