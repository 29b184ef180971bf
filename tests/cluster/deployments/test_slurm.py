"""Slurm jobs pass shellcheck, our checks and a real slurmctld, which find what is planted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.deployments.findings import planted
from tests.cluster.deployments.slurm import SLURM, Controller, controller, findings, missing

SCRIPTS = {path.name: path.read_text() for path in SLURM.iterdir() if path.suffix in (".sh", ".sbatch")}
JOBS = sorted(name for name in SCRIPTS if name.endswith(".sbatch"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_sound(name: str) -> None:
    assert findings(SCRIPTS[name]) == []


def test_jobs_start_the_script_that_is_there() -> None:
    assert SLURM.joinpath("nodes.sh").stat().st_mode & 0o111
    assert all('exec "$ABUNDANT/cluster/slurm/nodes.sh"' in SCRIPTS[name] for name in JOBS)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("set -euo pipefail\n", "", "goes on after an error"),
        ("RAY_AUTH_MODE=token ", "", "no token"),
        ("umask 077\n", "", "others may read it"),
        ("trap 'rm -f \"$token\"' EXIT\n", "", "left behind"),
        ("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "not on loopback"),
        ("env RAY_ADDRESS=auto ", "", "a Ray of its own"),
        ('--min-nodes "$SLURM_JOB_NUM_NODES"', "", "before all nodes"),
        ('> "$token"', "> $token", "SC2086"),
        ("mapfile -t nodes < <(", "nodes=($(", "SC"),
        ("export PATH", "export TOKEN=" + "0123456789abcdef" * 3 + "\nexport PATH", "hexadecimal"),
        ('"$address"', '"$adress"', "SC2154"),
    ],
)
def test_what_is_planted_in_the_script_is_found(old: str, new: str, found: str) -> None:
    assert any(found in line for line in findings(planted(SCRIPTS["nodes.sh"], old, new)))


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("#SBATCH --exclusive\n", "", "--exclusive is missing"),
        ("--ntasks-per-node=1", "--ntasks-per-node=4", "--ntasks-per-node=1 is missing"),
        ("#SBATCH --open-mode=append\n", "", "--open-mode=append is missing"),
        ('nodes.sh"', "nodes.sh", "SC1"),
    ],
)
def test_what_is_planted_in_a_job_is_found(name: str, old: str, new: str, found: str) -> None:
    assert any(found in line for line in findings(planted(SCRIPTS[name], old, new)))


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """A running slurmctld."""
    if lacks := missing():
        pytest.skip(
            f"no {', '.join(lacks)}: apt-get install slurmctld slurm-client munge, then make test-cluster"
        )
    with controller(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.mark.parametrize("name", JOBS)
def test_slurm_takes_a_job(slurm: Controller, name: str) -> None:
    # Queues are those of NERSC's accounting, which nobody here has.
    taken, said = slurm.would_take(SLURM / name)
    assert taken, said
    assert "512 processors" in said


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--gpus-per-node=4", "--gpus-per-node=5"),
        ("--nodes=4", "--nodes=5"),
        ("--cpus-per-task=128", "--cpus-per-task=129"),
        ("--time=12:00:00", "--time=12hours"),
        ("--exclusive", "--exclusiv=yes"),
        ("--ntasks-per-node", "--ntask-per-node"),
        ("#!/bin/bash\n", ""),
    ],
)
def test_slurm_refuses_what_is_planted(
    slurm: Controller, tmp_path: Path, name: str, old: str, new: str
) -> None:
    job = tmp_path / name
    job.write_text(planted(SCRIPTS[name], old, new))
    taken, said = slurm.would_take(job)
    assert not taken, said
