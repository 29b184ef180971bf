"""One driver per run: a lease in the run's staging, with a heartbeat. In an object store: generations.py.

The holder keeps its file open and beats through that handle: a holder that lost its lease, having slept too
long, beats into a removed file and harms nobody. Judging and taking over happen under a file lock, which
the system drops when a process dies; where the disk knows no locks, two drivers that take over a dead one's
lease in the same instant are not told apart. Clocks of machines that share a disk must agree to a minute.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

from catalogs.generations import last_holder, take
from catalogs.holder import HOLDER, STALE_S, Holder, is_dead, now, refusal, taken_over, this_process
from catalogs.layout import LEASE, Layout
from catalogs.remote import Location, Remote
from engine.errors import RunError, StagingError

__all__ = ["BEAT_S", "STALE_S", "Holder", "Lease", "bury", "driving", "holder_at"]

BEAT_S = 30.0
LENGTH = 512


class Lease(Protocol):
    """A lease that was taken."""

    def confirm(self) -> None:
        """RunError when another driver has taken over: this one was not heard of for STALE_S."""
        ...

    def beat(self, holder: Holder) -> None:
        """Say that the holder lives."""
        ...

    def release(self) -> None:
        """Let others drive the run."""
        ...


@dataclass(frozen=True, slots=True)
class FileLease:
    """A lease on a disk: where it lies, and the open file."""

    path: Path
    handle: int

    def confirm(self) -> None:
        if not self.is_held():
            raise taken_over(self.path)

    def is_held(self) -> bool:
        """Is the file at the lease's place the one that was opened?"""
        try:
            there, own = self.path.stat(), os.fstat(self.handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)

    def beat(self, holder: Holder) -> None:
        _write(self.handle, replace(holder, beat=now()))

    def release(self) -> None:
        with suppress(OSError), _locked(self.path.parent):
            if self.is_held():
                self.path.unlink()
        os.close(self.handle)


@contextmanager
def driving(layout: Layout) -> Iterator[Lease]:
    """Hold the run for as long as the block takes; RunError, harming nothing, while another driver does."""
    path = layout.lease
    try:
        lease, holder = _taken(path)
    except OSError as error:
        raise StagingError(
            f"{path}: cannot be written: {error.strerror or error}; "
            "make room or mend the folder, then run the same command again"
        ) from error
    done = Event()
    Thread(target=_keep_beating, args=(lease, holder, done), name="lease", daemon=True).start()
    try:
        yield lease
    finally:
        done.set()
        lease.release()


def bury(layout: Layout) -> None:
    """Take away what a dead driver held of a run that is over; one who lives keeps it."""
    # Nothing depends on it: it may lie where nobody may write.
    with suppress(OSError, StagingError, RunError):
        if holder_at(layout.staging) is not None:
            with driving(layout):
                pass


def holder_at(staging: Location) -> Holder | None:
    """Who holds the run of a staging area, dead or alive; None where that cannot be told. OSError."""
    return last_holder(staging) if isinstance(staging, Remote) else _read(staging / LEASE)[0]


def _taken(path: Location) -> tuple[Lease, Holder]:
    holder = this_process(now())
    if isinstance(path, Remote):
        return take(path.parent, holder)
    path.parent.mkdir(parents=True, exist_ok=True)
    return _take(path, holder), holder


def _take(path: Path, holder: Holder) -> FileLease:
    with _locked(path.parent):
        other, beat = _read(path)
        if path.exists() and not is_dead(other, beat, holder, now()):
            raise refusal(path, other, beat, now())
        path.unlink(missing_ok=True)
        lease = FileLease(path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644))
        _write(lease.handle, holder)
    return lease


def _read(path: Path) -> tuple[Holder | None, float]:
    """Who holds the lease, None where that cannot be read, and when it was last heard of."""
    try:
        holder = HOLDER.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None, 0.0
    except (OSError, ValueError):
        return None, path.stat().st_mtime
    return holder, holder.beat


def _keep_beating(lease: Lease, holder: Holder, done: Event) -> None:
    while not done.wait(BEAT_S):
        with suppress(OSError):
            lease.beat(holder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody else judges or takes the lease meanwhile, where the disk knows locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(handle: int, holder: Holder) -> None:
    """All at once and always as long: a reader never meets half of it."""
    os.pwrite(handle, json.dumps(asdict(holder)).ljust(LENGTH).encode(), 0)
