"""Ctrl-C ends the program with one line and the exit code of shells, 130. Imports next to nothing."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias

INTERRUPTED = 130
STDERR = 2
Handler: TypeAlias = Callable[[int, FrameType | None], object]


@contextmanager
def leaving() -> Iterator[None]:
    """Within the block Ctrl-C ends the program on the spot, unless work is `interruptible`.

    A KeyboardInterrupt would not do: of one inside an import, C code makes another error, or aborts.
    """
    with _handling(signal.default_int_handler, _leave):
        yield


@contextmanager
def interruptible(remark: str) -> Iterator[None]:
    """Within the block Ctrl-C lets everything tidy up, and then the program ends with a remark."""
    try:
        with _handling(_leave, signal.default_int_handler):
            yield
    except KeyboardInterrupt:
        sys.stderr.write(f"Interrupted: {remark}\n")
        sys.exit(INTERRUPTED)


@contextmanager
def _handling(old: Handler, new: Handler) -> Iterator[None]:
    """SIGINT handled by `new` where `old` did; a shell's background job keeps ignoring it."""
    changed = signal.getsignal(signal.SIGINT) is old
    if changed:
        signal.signal(signal.SIGINT, new)
    try:
        yield
    finally:
        if changed:
            signal.signal(signal.SIGINT, old)


def _leave(*_: object) -> None:
    os.write(STDERR, b"Interrupted\n")
    os._exit(INTERRUPTED)
