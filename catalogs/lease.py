"""One driver per run: a lease in the run's staging, with a heartbeat.

The holder keeps its file open and beats through that handle: a holder that lost its lease, having slept too
long, beats into a removed file and harms nobody. Judging and taking over happen under a file lock, which
the system drops when a process dies; where the disk knows no locks, two drivers that take over a dead one's
lease in the same instant are not told apart. Clocks of machines that share a disk must agree to a minute.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event, Thread

from pydantic import TypeAdapter

from catalogs.layout import Layout
from engine.errors import RunError, StagingError

BEAT_S = 30.0
STALE_S = 120.0
LENGTH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who drives a run: `space` tells machines and containers of one name apart; times in s since 1970."""

    host: str
    space: str
    pid: int
    start: float
    beat: float


HOLDER = TypeAdapter(Holder)


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that was taken: where it lies, and the open file."""

    path: Path
    handle: int

    def confirm(self) -> None:
        """RunError when another driver has taken over: this one was not heard of for STALE_S."""
        if not self.is_held():
            raise RunError(
                f"this run was taken over by another driver ({self.path}), because this one stood still for "
                f"more than {STALE_S:.0f} s; nothing is lost: wait for the other, then run the same command "
                "again"
            )

    def is_held(self) -> bool:
        """Is the file at the lease's place the one that was opened?"""
        try:
            there, own = self.path.stat(), os.fstat(self.handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)

    def beat(self, holder: Holder) -> None:
        """Say that the holder lives."""
        _write(self.handle, replace(holder, beat=now()))


@contextmanager
def driving(layout: Layout) -> Iterator[Lease]:
    """Hold the run for as long as the block takes; RunError, harming nothing, while another driver does."""
    path, holder = layout.lease, _self()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lease = _take(path, holder)
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
        _release(lease)


def now() -> float:
    """Seconds since 1970, as all machines count them."""
    return time.time()


def _take(path: Path, holder: Holder) -> Lease:
    with _locked(path.parent):
        other, beat = _read(path)
        if path.exists() and not _is_dead(other, beat, holder):
            raise RunError(_refusal(path, other, beat))
        path.unlink(missing_ok=True)
        lease = Lease(path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644))
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


def _is_dead(other: Holder | None, beat: float, own: Holder) -> bool:
    if other is not None and (other.host, other.space) == (own.host, own.space):
        return not _is_alive(other.pid) or now() - beat > STALE_S
    return now() - beat > STALE_S


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _refusal(path: Path, other: Holder | None, beat: float) -> str:
    who = "another driver" if other is None else f"process {other.pid} on {other.host}"
    since = (
        "" if other is None else f" since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(other.start))}"
    )
    return (
        f"this run is being driven by {who}{since}, last heard of {max(0, now() - beat):.0f} s ago ({path}); "
        "nothing was touched: wait until it is done, or end it there, then run the same command again "
        f"(a driver that is not heard of for {STALE_S:.0f} s is replaced)"
    )


def _keep_beating(lease: Lease, holder: Holder, done: Event) -> None:
    while not done.wait(BEAT_S):
        with suppress(OSError):
            lease.beat(holder)


def _release(lease: Lease) -> None:
    with suppress(OSError), _locked(lease.path.parent):
        if lease.is_held():
            lease.path.unlink()
    os.close(lease.handle)


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


def _self() -> Holder:
    start = now()
    return Holder(host=socket.gethostname(), space=_space(), pid=os.getpid(), start=start, beat=start)


def _space() -> str:
    """The process ids' namespace, which containers on one machine do not share; "" where there are none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _write(handle: int, holder: Holder) -> None:
    """All at once and always as long: a reader never meets half of it."""
    os.pwrite(handle, json.dumps(asdict(holder)).ljust(LENGTH).encode(), 0)
