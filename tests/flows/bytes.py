"""What "the same catalog" means: the same bytes in dataset/, partition_info.csv and the sky map."""

import hashlib
from pathlib import Path

SAME = ("dataset/", "partition_info.csv", "skymap.fits")


def fingerprint(catalog: Path) -> dict[str, str]:
    """sha256 of every file that must not depend on how a run went; AssertionError if there are none."""
    found = {name: sha256 for name, sha256 in hashes(catalog).items() if name.startswith(SAME)}
    assert any(name.endswith(".parquet") for name in found)
    return found


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file in a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
