"""SHA256SUMS, as `sha256sum -c` reads it."""

from collections.abc import Mapping
from pathlib import Path

from catalogs.layout import sha256_file

SUMS = "SHA256SUMS"


def sums_of(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a folder, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write SHA256SUMS; names with a backslash or line end are written as GNU coreutils escape them."""
    (folder / SUMS).write_text("".join(_line(name, found) for name, found in sums.items()), encoding="utf-8")


def _line(name: str, found: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{found}  {escaped}\n"
