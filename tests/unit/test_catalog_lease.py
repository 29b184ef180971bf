"""Two drivers on one run: one works, the other is told who; a dead one never keeps anybody waiting."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from catalogs import lease
from catalogs.lease import STALE_S, Holder, bury, driving
from engine.errors import RunError, StagingError
from tests.unit.catalog_rows import layout

HOLD = """
import sys, time
from pathlib import Path
from catalogs.lease import driving
from tests.unit.catalog_rows import layout
with driving(layout(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""
RACE = """
import sys, time
from pathlib import Path
from catalogs.lease import driving
from engine.errors import RunError
from tests.unit.catalog_rows import layout
print("ready", flush=True)
sys.stdin.readline()
try:
    with driving(layout(Path(sys.argv[1]))):
        print("won", flush=True)
        sys.stdin.readline()
except RunError as error:
    print("lost", flush=True)
"""


def start(code: str, root: Path) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", code, str(root)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@contextmanager
def holder(root: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the run."""
    with start(HOLD, root) as process:
        try:
            assert line(process) == "held"
            yield process
        finally:
            process.kill()


def test_the_second_driver_is_told_who_drives_and_harms_nothing(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        before = layout(tmp_path).lease.read_bytes()
        with (
            pytest.raises(
                RunError, match=rf"driven by process {other.pid} on .* since 20.*wait until it is done"
            ),
            driving(layout(tmp_path)),
        ):
            pytest.fail("two drivers")
        assert layout(tmp_path).lease.read_bytes() == before


def test_a_killed_driver_is_replaced_at_once(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert layout(tmp_path).lease.exists()
        with driving(layout(tmp_path)) as mine:
            mine.confirm()


@pytest.mark.parametrize("dead", [False, True], ids=["free", "left by a dead driver"])
def test_of_drivers_that_start_at_once_one_wins(tmp_path: Path, dead: bool) -> None:
    if dead:
        with holder(tmp_path):
            pass
    racers = [start(RACE, tmp_path) for _ in range(3)]
    for one in racers:
        assert line(one) == "ready"
    for one in racers:
        tell(one)
    said = sorted(line(one) for one in racers)
    for one in racers:
        one.communicate()
    assert said == ["lost", "lost", "won"]
    assert not layout(tmp_path).lease.exists()


def elsewhere(root: Path, beat: float) -> Path:
    """A lease that a driver on another machine holds."""
    path = layout(root).lease
    path.parent.mkdir(parents=True)
    lease_of = Holder(host="far", space="", pid=os.getpid(), start=beat, beat=beat)
    path.write_text(lease.json.dumps(asdict(lease_of)))
    return path


def test_a_silent_driver_elsewhere_is_replaced_after_two_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(tmp_path, 1000.0)
    monkeypatch.setattr(lease, "now", lambda: 1000.0 + STALE_S)
    with pytest.raises(RunError, match=r"on far .*last heard of 120 s ago"), driving(layout(tmp_path)):
        pytest.fail("two drivers")
    monkeypatch.setattr(lease, "now", lambda: 1001.0 + STALE_S)
    with driving(layout(tmp_path)) as mine:
        mine.confirm()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"host": 3}'])
def test_a_lease_that_nobody_can_read_is_judged_by_its_age(tmp_path: Path, content: bytes) -> None:
    path = elsewhere(tmp_path, 0.0)
    path.write_bytes(content)
    with pytest.raises(RunError, match="driven by another driver, last heard of"), driving(layout(tmp_path)):
        pytest.fail("two drivers")
    os.utime(path, (1000, 1000))
    with driving(layout(tmp_path)):
        pass


def test_a_driver_that_slept_too_long_stops_and_leaves_its_successor_alone(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="taken over by another driver"), driving(layout(tmp_path)) as mine:
        layout(tmp_path).lease.unlink()
        successor = layout(tmp_path).lease
        successor.write_text("another's")
        mine.beat(Holder(host="", space="", pid=0, start=0.0, beat=0.0))
        assert successor.read_text() == "another's"
        mine.confirm()
    assert successor.read_text() == "another's"


def test_the_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 0.01)
    monkeypatch.setattr(lease, "now", iter(range(10**6)).__next__)
    with driving(layout(tmp_path)):
        first = lease.HOLDER.validate_json(layout(tmp_path).lease.read_bytes())
        for _ in range(500):
            if lease.HOLDER.validate_json(layout(tmp_path).lease.read_bytes()).beat > first.beat:
                break
            time.sleep(0.01)
        else:
            pytest.fail("no beat in 5 s")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_lease_is_released_however_the_work_ends(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), driving(layout(tmp_path)):
        raise error
    assert not layout(tmp_path).lease.exists()


def test_a_staging_that_cannot_be_written_is_one_message() -> None:
    with pytest.raises(StagingError, match="cannot be written"), driving(layout(Path("/proc/x"))):
        pytest.fail("written in /proc")


def test_what_a_dead_driver_held_is_buried_and_the_living_keeps_his(tmp_path: Path) -> None:
    where = layout(tmp_path)
    bury(where)
    assert not where.staging.exists()
    with holder(tmp_path) as process:
        bury(where)
        assert where.lease.exists()
        process.kill()
        process.wait()
        bury(where)
        assert not where.lease.exists()
