"""Who drives a run, whether he lives, and what a second driver is told."""

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from catalogs.remote import Location
from engine.errors import RunError

STALE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who drives a run: `space` tells machines and containers of one name apart; times in s since 1970.

    `token` is like nobody else's, where no open file tells a holder that a lease is his.
    """

    host: str
    space: str
    pid: int
    start: float
    beat: float
    token: str = ""


HOLDER = TypeAdapter(Holder)


def now() -> float:
    """Seconds since 1970, as all machines count them."""
    return time.time()


def this_process(start: float) -> Holder:
    """A holder of leases on a disk that machines share."""
    return Holder(host=socket.gethostname(), space=_space(), pid=os.getpid(), start=start, beat=start)


def is_dead(other: Holder | None, beat: float, own: Holder, at: float) -> bool:
    """May a holder who was heard of at `beat` be replaced? A dead process on the same machine at once."""
    if other is not None and (other.host, other.space) == (own.host, own.space):
        return not _is_alive(other.pid) or at - beat > STALE_S
    return at - beat > STALE_S


def refusal(path: Location, other: Holder | None, beat: float, at: float) -> RunError:
    """The error of a second driver."""
    who = "another driver" if other is None else f"process {other.pid} on {other.host}"
    since = (
        "" if other is None else f" since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(other.start))}"
    )
    return RunError(
        f"this run is being driven by {who}{since}, last heard of {max(0, at - beat):.0f} s ago ({path}); "
        "nothing was touched: wait until it is done, or end it there, then run the same command again "
        f"(a driver that is not heard of for {STALE_S:.0f} s is replaced)"
    )


def taken_over(path: Location) -> RunError:
    """The error of a driver who slept too long."""
    return RunError(
        f"this run was taken over by another driver ({path}), because this one stood still for "
        f"more than {STALE_S:.0f} s; nothing is lost: wait for the other, then run the same command "
        "again"
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _space() -> str:
    """The process ids' namespace, which containers on one machine do not share; "" where there are none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
