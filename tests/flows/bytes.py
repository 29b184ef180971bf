"""What "the same catalog" means: the same bytes in dataset/, partition_info.csv and the sky map."""

import hashlib
from pathlib import Path


def fingerprint(catalog: Path) -> dict[str, str]:
    """sha256 of every file that must not depend on how a run went; AssertionError if there are none."""
    files = [*(catalog / "dataset").rglob("*"), catalog / "partition_info.csv", catalog / "skymap.fits"]
    found = {
        str(f.relative_to(catalog)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()
    }
    assert any(name.endswith(".parquet") for name in found)
    return found
