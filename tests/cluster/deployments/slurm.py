"""What is wrong with a Slurm job: by shellcheck, our own checks, and a real slurmctld with made-up nodes."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.deployments.findings import CLUSTER, secrets

SLURM = CLUSTER / "slurm"
PROGRAMS = ("slurmctld", "sbatch", "sinfo", "munged", "mungekey")
# Nodes as Perlmutter's: 128 threads and four GPUs each. Those of a cloud need not be there to be counted on.
CONFIG = """ClusterName=made-up
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoCtldInAddrAny
SlurmctldPidFile={folder}/slurmctld.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
ReturnToService=2
Licenses=scratch:1
SuspendProgram=/bin/true
ResumeProgram=/bin/true
SuspendTime=3600
NodeName=node[1-4] CPUs=128 RealMemory=250000 Gres=gpu:4 Feature=gpu State=CLOUD NodeAddr=127.0.0.1
PartitionName=all Nodes=ALL Default=YES MaxTime=24:00:00 State=UP
"""


def findings(text: str) -> list[str]:
    """What is wrong with a script, without any Slurm."""
    return [*shellcheck(text), *secrets(text), *_ours(text)]


def shellcheck(text: str) -> list[str]:
    """What shellcheck says of a script."""
    program = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [program, "--format", "json", "-"], input=text, capture_output=True, text=True, check=False
    )
    return [f"SC{one['code']}: {one['message']}" for one in json.loads(done.stdout)]


def _ours(text: str) -> Iterator[str]:
    if "set -euo pipefail" not in text:
        yield "goes on after an error"
    if "#SBATCH" in text:
        yield from _asked(text)
    else:
        yield from _started(text)


def _asked(text: str) -> Iterator[str]:
    """What a job asks for."""
    asked = set(re.findall(r"^#SBATCH (\S+)", text, re.MULTILINE))
    for wanted, why in (
        ("--exclusive", "`ray stop` at its end would stop the Ray of others"),
        ("--ntasks-per-node=1", "symmetric-run is one process per node"),
        ("--open-mode=append", "a job that is put back loses its log"),
    ):
        if wanted not in asked:
            yield f"{wanted} is missing: {why}"


def _started(text: str) -> Iterator[str]:
    """How Ray is started."""
    if "RAY_AUTH_MODE=token" not in text or "RAY_AUTH_TOKEN_PATH=" not in text:
        yield "no token: whoever is on the network runs what he likes"
    if "umask 077" not in text.partition("mktemp")[0]:
        yield "the token is made where others may read it: no umask 077 before"
    if "trap 'rm -f \"$token\"' EXIT" not in text:
        yield "the token is left behind"
    if "--dashboard-host=127.0.0.1" not in text.split():
        yield "the dashboard is not on loopback"
    if "RAY_ADDRESS=auto" not in text.split():
        yield "a run that does not find the cluster would start a Ray of its own"
    if '--min-nodes "$SLURM_JOB_NUM_NODES"' not in text:
        yield "begins before all nodes are there"


def missing() -> list[str]:
    """Programs that are not installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


class Controller:
    """A slurmctld that takes jobs for nodes that are not there."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def would_take(self, script: Path, *options: str) -> tuple[bool, str]:
        """Would it take a job, and what it says."""
        done = self.run("sbatch", "--test-only", *options, str(script))
        return done.returncode == 0, done.stderr + done.stdout

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of Slurm's."""
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False, timeout=60
        )


@contextmanager
def controller(folder: Path) -> Iterator[Controller]:
    """A running slurmctld on loopback, with a key and a folder of its own; both processes end with it."""
    environment = os.environ | {
        "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
        "SLURM_CONF": str(folder / "slurm.conf"),
    }
    for name in ("state", "spool"):
        (folder / name).mkdir()
    # munged refuses folders that others may write to.
    folder.chmod(0o755)
    config = CONFIG.format(host=socket.gethostname(), port=_free_port(), folder=folder)
    (folder / "slurm.conf").write_text(config)
    (folder / "gres.conf").write_text("NodeName=node[1-4] Name=gpu Count=4\n")
    key = folder / "munge.key"
    subprocess.run(["mungekey", "--create", "--keyfile", str(key)], check=True, env=environment)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in (_munged(folder, key), ["slurmctld", "-D", "-c", "-f", str(folder / "slurm.conf")]):
            with (folder / f"{command[0]}.log").open("wb") as log:
                started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        found = Controller(environment)
        _wait(found, folder)
        yield found
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(30)


def _munged(folder: Path, key: Path) -> list[str]:
    own = [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")]
    return ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}", *own]


def _wait(found: Controller, folder: Path) -> None:
    """Until it answers."""
    for _ in range(120):
        if found.run("sinfo", "--noheader").returncode == 0:
            return
        time.sleep(0.5)
    raise AssertionError("\n".join(path.read_text() for path in folder.glob("*.log")))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
