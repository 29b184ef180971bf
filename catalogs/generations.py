"""One driver per run in an object store, where no file can be locked: leases with numbers.

Whoever takes the run over writes the next number, where there is none; the holder alone rewrites its own as
a heartbeat, and holds the run for as long as there is no higher one. All that is asked of the server is
If-None-Match, which is probed. A server that ignores it overwrites silently: there a driver waits and then
reads back, so of several that start at once the last to write wins and the others find that out. Clocks must
agree to a minute.
"""

import json
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from catalogs.holder import HOLDER, Holder, is_dead, now, refusal, taken_over
from catalogs.remote import Remote
from engine.errors import RunError

NAME = "lease-"
# Longer than between a driver's look and its write, on a server without If-None-Match.
SETTLE_S = 3.0
# Asking the server before every step would slow a run down.
CHECK_S = 5.0


@dataclass(slots=True)
class RemoteLease:
    """A lease that was taken: its object, whose it is, and when it was last found to be the highest."""

    path: Remote
    token: str
    checked: float = field(default_factory=time.monotonic)

    def confirm(self) -> None:
        """RunError when another driver has taken over, or when nobody can tell.

        The server is asked every CHECK_S at most.
        """
        if time.monotonic() - self.checked < CHECK_S:
            return
        try:
            held = self.is_held()
        except OSError as error:
            raise RunError(
                f"{self.path}: it cannot be told whether this run is still ours: {error.strerror}; what is "
                "done is kept: run the same command again"
            ) from error
        if not held:
            raise taken_over(self.path)
        self.checked = time.monotonic()

    def is_held(self) -> bool:
        """Is this the highest number, and still ours? OSError when nobody can tell."""
        return _leases(self.path.parent)[-1:] == [self.path] and _token(self.path) == self.token

    def beat(self, holder: Holder) -> None:
        """Say that the holder lives, unless he has lost the run."""
        if self.is_held():
            self.path.write_bytes(_content(replace(holder, beat=now())))

    def release(self) -> None:
        """Remove the lease, and older ones that it replaced."""
        with suppress(OSError):
            if self.is_held():
                for path in _leases(self.path.parent):
                    path.unlink()


def take(folder: Remote, driver: Holder) -> tuple[RemoteLease, Holder]:
    """The lease on a run's staging, and its holder; RunError while another driver holds it. OSError."""
    holder = replace(driver, space=f"{driver.space} {_boot()}", token=uuid.uuid4().hex)
    pause = 0.0 if honours_absence(folder) else SETTLE_S
    path = folder / f"{NAME}{_next(folder, holder):06d}.json"
    if path.create(_content(holder)):
        time.sleep(pause)
        lease = RemoteLease(path, holder.token)
        if lease.is_held():
            return lease, holder
        if _token(path) == holder.token:
            path.unlink()
    raise _refusal((_leases(folder) or [path])[-1])


def honours_absence(folder: Remote) -> bool:
    """Does the server refuse to overwrite where it was asked to? Two small writes tell."""
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        return probe.create(b"1") and not probe.create(b"2")
    finally:
        probe.unlink()


def last_holder(folder: Remote) -> Holder | None:
    """Who took the run last and has not let it go; None where there is nobody."""
    leases = _leases(folder)
    return _read(leases[-1]) if leases else None


def _next(folder: Remote, holder: Holder) -> int:
    """The number of the next lease; RunError while the last one's holder lives."""
    leases = _leases(folder)
    if not leases:
        return 1
    last = _read(leases[-1])
    if last is not None and not is_dead(last, last.beat, holder, now()):
        raise _refusal(leases[-1])
    return int(leases[-1].stem.removeprefix(NAME)) + 1


def _refusal(path: Remote) -> RunError:
    found = _read(path)
    return refusal(path, found, found.beat if found else now(), now())


def _leases(folder: Remote) -> list[Remote]:
    """The leases that there are, the highest last."""
    return sorted(folder.glob(f"{NAME}[0-9]*.json"))


def _token(path: Remote) -> str:
    found = _read(path)
    return found.token if found else ""


def _read(path: Remote) -> Holder | None:
    """Who holds a lease; None where there is none, or nothing that a driver would write."""
    try:
        return HOLDER.validate_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _content(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _boot() -> str:
    """What tells machines of one name apart, whose process ids say nothing about each other's."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
