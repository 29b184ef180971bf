"""How a job dies: at an operation of its file system, at a request, at an instant, or with the power.

A job is told of its death before it starts. What it does to files under one folder is heard through Python's
audit events, so that nothing in the program knows of drills. SIGKILL leaves no time for tidying up.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

# Audit events that change a folder, and how many of their arguments are paths.
CHANGES = {"os.rename": 2, "os.link": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.truncate": 1}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
Kind = Literal["operation", "power", "request", "instant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """When a job dies: before its `at`-th operation or request (counted from 1), or after `at` seconds.

    operation: SIGKILL. power: as if the power went, so that what was not forced onto the disk is lost too.
    """

    kind: Kind
    at: float

    def __str__(self) -> str:
        return f"{self.kind} {self.at:.4g}"


@dataclass(slots=True)
class Disk:
    """What a power cut would take: files whose bytes, and names whose folder, nobody has synced."""

    synced: set[tuple[int, int]] = field(default_factory=set)
    renamed: list[tuple[Path, Path]] = field(default_factory=list)
    unnamed: list[tuple[Path, Path]] = field(default_factory=list)

    def sync(self, descriptor: int) -> None:
        """Note that a file's bytes or a folder's names are on the disk."""
        self.synced.add(_identity(os.fstat(descriptor)))
        folder = Path(f"/proc/self/fd/{descriptor}").readlink()
        self.unnamed = [(old, new) for old, new in self.unnamed if new.parent != folder]

    def rename(self, old: Path, new: Path) -> None:
        """Note a file with a new name, which is not on the disk before its folder is synced."""
        self.renamed.append((old, new))
        self.unnamed.append((old, new))

    def link(self, old: Path) -> None:
        """Note that a file of old gets another name: its bytes are on the disk."""
        self.synced.add(_identity(old.stat()))

    def cut(self) -> None:
        """Lose what is not on the disk: bytes are halved, names go back to what they were."""
        for _, new in self.renamed:
            if new.is_file() and _identity(new.stat()) not in self.synced:
                os.truncate(new, new.stat().st_size // 2)
        for old, new in reversed(self.unnamed):
            if new.exists() and not old.exists():
                new.rename(old)


def expect(death: Death | None, folder: Path) -> Callable[[], int]:
    """Arrange a death of this process.

    What comes back counts its operations under `folder` so far; its requests, if it is to die at one.
    """
    if death is not None and death.kind == "instant":
        Thread(target=_wait, args=(death.at,), daemon=True).start()
    if death is not None and death.kind == "request":
        return _expect_request(death)
    return _expect_operation(death, folder)


def _expect_operation(death: Death | None, folder: Path) -> Callable[[], int]:
    disk, count, over = Disk(), [0], [False]
    _follow_syncs(disk)

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if over[0] or not (paths := _changed(event, arguments, folder)):
            return
        count[0] += 1
        if death is not None and death.kind != "instant" and count[0] >= death.at:
            over[0] = True
            if death.kind == "power":
                disk.cut()
            _die()
        if event == "os.rename":
            disk.rename(paths[0], paths[1])
        elif event == "os.link":
            disk.link(paths[0])

    sys.addaudithook(hear)
    return lambda: count[0]


def _expect_request(death: Death) -> Callable[[], int]:
    from aiobotocore.httpsession import AIOHTTPSession

    send, count = AIOHTTPSession.send, [0]

    async def counted(session: AIOHTTPSession, request: Any) -> Any:
        count[0] += 1
        if count[0] >= death.at:
            _die()
        return await send(session, request)

    AIOHTTPSession.send = counted
    return lambda: count[0]


def _changed(event: str, arguments: tuple[Any, ...], folder: Path) -> list[Path]:
    """The paths under `folder` that an event is about to change."""
    if event == "open":
        path, _, flags = arguments
        given = [path] if isinstance(flags, int) and flags & WRITING else []
    elif event in CHANGES:
        given = list(arguments[: CHANGES[event]])
    else:
        return []
    paths = [Path(os.fsdecode(one)) for one in given if isinstance(one, (str, bytes, os.PathLike))]
    return paths if paths and all(path.is_relative_to(folder) for path in paths) else []


def _follow_syncs(disk: Disk) -> None:
    sync = os.fsync

    def fsync(descriptor: Any) -> None:
        sync(descriptor)
        disk.sync(descriptor if isinstance(descriptor, int) else descriptor.fileno())

    os.fsync = fsync


def _wait(seconds: float) -> None:
    Event().wait(seconds)
    _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
