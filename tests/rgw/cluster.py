"""Ceph's own S3 server on loopback: a monitor, a manager, one store in memory and the gateway, as root.

    apt-get install ceph-mon ceph-mgr ceph-osd radosgw

Nothing is kept and nothing but loopback listens. Takes half a minute and about 700 MB of memory.
"""

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

PROGRAMS = ("ceph", "ceph-mon", "ceph-mgr", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool")
ACCESS, SECRET = "tester", "not-a-secret"
START_S = 120
# Without authentication the gateway is refused, unless it is told not to ask for a secure connection.
PLAIN = "--ms-mon-client-mode=crc"

CONF = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = {dir}
admin socket = {dir}/$name.asok
log file = {dir}/$name.log
mon data = {dir}/mon
mgr data = {dir}/mgr
osd data = {dir}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon warn on pool no redundancy = false
mgr initial modules =
"""


@dataclass
class Cluster:
    """The daemons that were started, in a folder of their own."""

    folder: Path
    daemons: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def say(self, *words: str) -> str:
        """Run a program to its end; CalledProcessError."""
        done = subprocess.run(
            [words[0], "-c", f"{self.folder}/ceph.conf", *words[1:]],
            check=True,
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        return done.stdout.strip()

    def start(self, *words: str) -> None:
        """Start a daemon; it ends with the cluster."""
        log = (self.folder / f"{words[0]}.out").open("wb")
        command = [words[0], "-c", f"{self.folder}/ceph.conf", "-f", *words[1:]]
        self.daemons.append(subprocess.Popen(command, stdout=log, stderr=log))

    def stop(self) -> None:
        """End what was started, the gateway first."""
        for daemon in reversed(self.daemons):
            daemon.kill()
            daemon.wait()


def missing() -> Sequence[str]:
    """The programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextmanager
def gateway() -> Iterator[str]:
    """The address of a running gateway, for ACCESS and SECRET."""
    with tempfile.TemporaryDirectory(prefix="abundant-rgw-") as folder:
        cluster = Cluster(Path(folder))
        try:
            _start_store(cluster)
            yield _start_gateway(cluster)
        finally:
            cluster.stop()


def _start_store(cluster: Cluster) -> None:
    folder, fsid, osd = cluster.folder, str(uuid.uuid4()), str(uuid.uuid4())
    port = _free_port()
    (folder / "ceph.conf").write_text(CONF.format(fsid=fsid, mon=port, dir=folder))
    for name in ("mon", "mgr", "osd"):
        (folder / name).mkdir()
    words = ("--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{port}]", f"{folder}/monmap")
    subprocess.run(["monmaptool", *words], check=True, capture_output=True)
    cluster.say("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{folder}/monmap")
    cluster.start("ceph-mon", "-i", "a")
    _wait(lambda: cluster.say("ceph", "--connect-timeout", "5", "mon", "stat") != "")
    cluster.start("ceph-mgr", "-i", "x")
    cluster.say("ceph", "osd", "new", osd)
    cluster.say("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
    cluster.start("ceph-osd", "-i", "0")
    _wait(lambda: " 1 up" in f" {cluster.say('ceph', 'osd', 'stat').partition(':')[2]}")


def _start_gateway(cluster: Cluster) -> str:
    port = _free_port()
    words = ("user", "create", "--uid", "tester", "--display-name", "tester")
    keys = ("--access-key", ACCESS, "--secret-key", SECRET)
    cluster.say("radosgw-admin", *words, *keys, PLAIN)
    cluster.start("radosgw", "-n", "client.rgw", f"--rgw-frontends=beast endpoint=127.0.0.1:{port}", PLAIN)
    address = f"http://127.0.0.1:{port}"
    _wait(lambda: _answers(address))
    return address


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


def _wait(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        try:
            if ready():
                return
        except subprocess.SubprocessError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"Ceph did not start within {START_S} s")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
