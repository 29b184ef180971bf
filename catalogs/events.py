"""The event log of a run's staging: what happened when, a JSON object a line. README.md says what they mean.

A thread of its own writes, so that no event holds up the run or breaks it: what cannot be written is left
out, and so is what comes while a thousand others wait. On a disk lines are appended to events.jsonl; in an
object store, where nothing can be appended to, every few seconds' lines are an object with a number.
Nothing in a catalog's data follows from it. Whoever writes holds the run's lease.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from time import monotonic
from typing import Any

from catalogs.layout import Layout
from catalogs.remote import Location, Remote

FILE, PREFIX = "events.jsonl", "events-"
# Objects are not written more often.
GATHER_S = 10.0
# A driver that ends waits so long for its last events.
LAST_S = 10.0
MOST_WAITING = 1000


@dataclass(slots=True)
class Events:
    """An event log that is open for writing."""

    staging: Location
    waiting: "Queue[str | Event]" = field(default_factory=lambda: Queue(MOST_WAITING))
    last: Event = field(default_factory=Event)
    number: int | None = None

    def tell(self, event: str, /, **facts: Any) -> None:
        """Log what happened now; what JSON does not know becomes text."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with suppress(Full):
            self.waiting.put_nowait(json.dumps({"at": at, "event": event, **facts}, default=str))

    def flush(self) -> None:
        """Wait until what was told is written, but not for long."""
        self._wait_for(Event())

    def close(self) -> None:
        """The same, and the last that is written."""
        self._wait_for(self.last)

    def _wait_for(self, written: Event) -> None:
        with suppress(Full):
            self.waiting.put_nowait(written)
            written.wait(LAST_S)

    def write(self) -> None:
        """Write what is told until the log is closed: the thread's life."""
        while not self.last.is_set():
            lines, flushed = self._gathered()
            with suppress(OSError):
                if lines:
                    _append(self._place(), "".join(f"{line}\n" for line in lines).encode())
            for one in flushed:
                one.set()

    def _place(self) -> Location:
        """Where the next lines go."""
        if isinstance(self.staging, Path):
            return self.staging / FILE
        if self.number is None:
            there = (int(path.stem.removeprefix(PREFIX)) for path in _logs(self.staging))
            self.number = max(there, default=0)
        self.number += 1
        return self.staging / f"{PREFIX}{self.number:06d}.jsonl"

    def _gathered(self) -> tuple[list[str], list[Event]]:
        """Lines to be written together, and who waits for that."""
        lines, flushed = list[str](), list[Event]()
        until = monotonic() + (GATHER_S if isinstance(self.staging, Remote) else 0)
        found: str | Event = self.waiting.get()
        while True:
            if isinstance(found, str):
                lines.append(found)
            else:
                flushed.append(found)
            left = 0 if flushed else until - monotonic()
            try:
                found = self.waiting.get(block=left > 0, timeout=left if left > 0 else None)
            except Empty:
                return lines, flushed


@contextmanager
def recording(layout: Layout) -> Iterator[Events]:
    """The run's event log for as long as the block takes; an error that ends the block is logged."""
    events = Events(layout.staging)
    Thread(target=events.write, name="events", daemon=True).start()
    try:
        yield events
    except BaseException as error:
        # Ctrl-C too: the log says why a run ended. It is raised again.
        events.tell("stopped", kind=type(error).__name__, reason=str(error))
        raise
    finally:
        events.close()


def read_events(layout: Layout) -> list[dict[str, Any]]:
    """What was logged so far, the oldest first; a line that a killed driver left half written is left out.

    OSError when it cannot be read.
    """
    return [event for path in _logs(layout.staging) for event in _parsed(path.read_bytes())]


def _parsed(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        with suppress(ValueError):
            if isinstance(event := json.loads(line), dict):
                yield event


def _logs(staging: Location) -> list[Location]:
    """Where events are, in their order."""
    if isinstance(staging, Remote):
        return sorted(staging.glob(f"{PREFIX}[0-9]*.jsonl"))
    path = staging / FILE
    return [path] if path.exists() else []


def _append(place: Location, lines: bytes) -> None:
    """All at once. A line that was begun before and never ended is ended first."""
    if isinstance(place, Remote):
        place.write_bytes(lines)
        return
    handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, b"\n" + lines if torn else lines)
    finally:
        os.close(handle)
