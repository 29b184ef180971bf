"""What travels to a cluster: this program, a spec and a profile, as one zip file. No data, no secrets."""

import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import catalogs
import engine
import jobs

# The same content makes the same bytes, so that a cluster takes it once: zip files know no earlier date.
DATE = (1980, 1, 1, 0, 0, 0)


def pack(target: Path, files: Mapping[str, str]) -> None:
    """Write the program's modules, its metadata and some files of text into a zip file."""
    release = version("abundant")
    about = f"Metadata-Version: 2.1\nName: abundant\nVersion: {release}\n"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, path in _modules():
            packed.writestr(zipfile.ZipInfo(name, DATE), path.read_bytes(), zipfile.ZIP_DEFLATED)
        # The version is part of a run's name: that of this code, not of what a cluster has installed.
        for name, text in {f"abundant-{release}.dist-info/METADATA": about, **files}.items():
            packed.writestr(zipfile.ZipInfo(name, DATE), text)


def _modules() -> Iterator[tuple[str, Path]]:
    """The modules of the three packages, and the tables of the engine, by their names in the zip file."""
    for package, endings in ((catalogs, (".py",)), (engine, (".py", ".toml")), (jobs, (".py",))):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*")):
            if path.suffix in endings and path.is_file():
                yield f"{folder.name}/{path.relative_to(folder).as_posix()}", path
