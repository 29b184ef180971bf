"""What tells one content of a file from another, for any format, without reading all of it.

No dates: a copy of a file is the same input, and a file rewritten in place with its old size is another.
"""

import hashlib
import os
from pathlib import Path

from engine.errors import ShardCorrupt, ShardUnavailable

# Measured: blocks of 4 KiB made listing 10⁴ DESI files 1.4 times as long, these 1.2 times.
BLOCKS = 16
BLOCK_BYTES = 1024


def fingerprint(path: Path) -> str:
    """sha256 of a file's size and of 16 blocks of 1 KiB, evenly spread, its first and last bytes included.

    A file no larger than these blocks is hashed whole; a gzipped one ends in its checksum. "" where there
    is no file that can be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            found = hashlib.sha256(f"{size}\n".encode())
            for offset, count in _spans(size):
                found.update(os.pread(file.fileno(), count, offset))
    except OSError:
        return ""
    return found.hexdigest()


def refuse_change(path: Path, planned: str) -> None:
    """Raise unless a file still has the fingerprint that the plan saw ("" for no file).

    ShardUnavailable where it can no longer be read, ShardCorrupt where its content is another.
    """
    found = fingerprint(path)
    if planned and not found:
        raise ShardUnavailable("cannot be read any more; expected the file that the plan saw: put it back")
    if found != planned:
        raise ShardCorrupt("changed since the plan; plan again")


def _spans(size: int) -> list[tuple[int, int]]:
    """First byte and length of each block."""
    if size <= BLOCKS * BLOCK_BYTES:
        return [(0, size)]
    return [((size - BLOCK_BYTES) * block // (BLOCKS - 1), BLOCK_BYTES) for block in range(BLOCKS)]
