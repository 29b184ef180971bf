"""Which files a table is made of, and the sha256 of what is in them."""

import hashlib
import os
import re
import time
from collections.abc import Collection
from pathlib import Path

from engine.auxiliary.cache import cache_folder, write_whole
from engine.errors import PlanError

# A file written this recently may be written once more within the resolution of its modification time.
SETTLED_S = 2.0
# HATS catalogs repeat some of their rows in it.
THUMBNAIL = "data_thumbnail.parquet"


def files_of(path: Path) -> list[Path]:
    """The file itself, or the Parquet files anywhere in a folder; PlanError when there is none.

    Of a HATS catalog those of its rows, of a HATS collection those of its main catalog.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise PlanError(f"auxiliary.path: there is no {path}; name a Parquet, FITS or CSV file, or a folder")
    found = (
        file for file in _rows_folder(path).rglob("*.parquet") if file.is_file() and file.name != THUMBNAIL
    )
    if not (files := sorted(found)):
        raise PlanError(f"auxiliary.path: no *.parquet anywhere under {path}")
    return files


def _rows_folder(path: Path) -> Path:
    """Where the rows of a table are: HATS keeps statistics, margins and indices in Parquet beside them."""
    collection = path / "collection.properties"
    if collection.is_file():
        text = collection.read_text(encoding="utf-8", errors="replace")
        if main := re.search(r"^hats_primary_table_url\s*=\s*(\S+)", text, re.MULTILINE):
            path = path / main[1]
    is_hats = any((path / name).is_file() for name in ("hats.properties", "properties"))
    return path / "dataset" if is_hats and (path / "dataset").is_dir() else path


def check_columns(path: Path, asked: Collection[str], have: Collection[str]) -> None:
    """PlanError when a table lacks a column that is asked for."""
    if missing := [name for name in asked if name not in have]:
        raise PlanError(f"auxiliary: {path} has no column {', '.join(missing)}; it has {', '.join(have)}")


def content_sha256(path: Path) -> str:
    """sha256 of a table's content: of a file its bytes, of a folder the names and bytes of its Parquet files.

    A file is read once for as long as its path, size and modification time stay the same.
    """
    files = files_of(path)
    if files == [path]:
        return _file_sha256(path)
    listed = "\n".join(f"{file.relative_to(path).as_posix()} {_file_sha256(file)}" for file in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    try:
        status = path.stat()
        stamp = f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
        known = cache_folder() / "sha256" / hashlib.sha256(stamp.encode()).hexdigest()[:32]
        if known.is_file():
            return known.read_text(encoding="utf-8")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            after = os.fstat(file.fileno())
    except OSError as error:
        raise PlanError(f"auxiliary.path: {path} cannot be read: {error.strerror or error}") from error
    same = (after.st_size, after.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    if same and time.time() - status.st_mtime > SETTLED_S:
        write_whole(known, found)
    return found
