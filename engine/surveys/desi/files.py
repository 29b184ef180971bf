"""Which files DESI spectra come in, and whether one is as it must be."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from engine.errors import PlanError, ShardCorrupt, ShardError, ShardUnavailable
from engine.surveys.desi.layout import ARMS, IMAGES
from engine.surveys.fits import FitsFile, gunzipped, opened, read_rows
from engine.surveys.fits_headers import Hdu, digest, find_hdu, walk
from engine.surveys.index_cache import Finding
from engine.types import Arm, Extent, Grid

SPECTRA_FILE = re.compile(r"(coadd|spectra)-.+\.fits(\.gz)?")
WAVE_TOLERANCE = 1e-4
WAVES = {arm.name: arm.grid.wave_P for arm in ARMS if isinstance(arm.grid, Grid)}


def find(root: Path) -> list[str]:
    """Relative paths of all coadd and spectra files under `root`, sorted; PlanError when there are none."""
    if not root.is_dir():
        raise PlanError(f"survey.root: {root} is not a folder; name the one that holds the DESI files")
    names = sorted(path.relative_to(root).as_posix() for path in _find(root))
    if not names:
        raise PlanError(
            f"survey.root: no coadd-*.fits or spectra-*.fits, gzipped or not, anywhere under {root}"
        )
    return names


def _find(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise PlanError(f"survey.root: {error.filename} cannot be listed: {error.strerror}; mend its access")

    for folder, folders, files in os.walk(root, onerror=refuse):
        # A folder named like a spectra file is listed as broken: skipping it could hide a lost file.
        yield from (Path(folder, name) for name in (*files, *folders) if SPECTRA_FILE.fullmatch(name))
        folders[:] = [name for name in folders if not SPECTRA_FILE.fullmatch(name)]


def inspect(path: Path) -> Finding:
    """What planning must know of a file. A broken one gives a problem, and its rows where FIBERMAP is whole.

    A gzipped file is read as far as FIBERMAP's header: checking the rest costs as much as reading it.
    """
    found: dict[str, Hdu] = {}
    rows, problem, passing = 0, None, False
    try:
        if path.suffix == ".gz":
            return Finding(rows=_rows_of_gzipped(path))
        with opened(path) as file:
            for hdu in file.walk():
                found[hdu.name] = hdu
                rows = hdu.rows if hdu.name == "FIBERMAP" else rows
            check(file, found)
    except ShardError as error:
        problem, passing = str(error), isinstance(error, ShardUnavailable)
    extents = {} if problem else {name: found[name].extent for name, _ in IMAGES.values()}
    headers = digest(found.values())
    return Finding(rows=rows, extents=extents, headers=headers, problem=problem, passing=passing)


def _rows_of_gzipped(path: Path) -> int:
    def fetch(offset: int, count: int) -> bytes:
        stream.seek(offset)
        return stream.read(count)

    with gunzipped(path) as stream:
        return find_hdu(walk(fetch, None), "FIBERMAP").rows


def check(file: FitsFile, found: Mapping[str, Hdu]) -> None:
    """ShardCorrupt unless images and wavelengths are as FIBERMAP and the arms say. RESOLUTION is not read."""
    rows = find_hdu(found.values(), "FIBERMAP").rows
    for column, (name, arm) in IMAGES.items():
        extent = _extent(found, name, (rows, arm.grid.pixels))
        kinds = "iu" if column.startswith("mask") else "f"
        if extent.dtype and np.dtype(extent.dtype).kind not in kinds:
            raise ShardCorrupt(f"HDU {name}: numbers of type {extent.dtype}, expected kind {kinds!r}")
    for arm in ARMS:
        _check_grid(file, found, arm)


def _extent(found: Mapping[str, Hdu], name: str, shape: tuple[int, ...]) -> Extent:
    extent = find_hdu(found.values(), name).extent
    if extent.shape != shape:
        raise ShardCorrupt(f"HDU {name}: shape {extent.shape}, expected {shape}")
    return extent


def _check_grid(file: FitsFile, found: Mapping[str, Hdu], arm: Arm) -> None:
    name, grid = f"{arm.name.upper()}_WAVELENGTH", arm.grid
    assert isinstance(grid, Grid)
    extent = _extent(found, name, (grid.pixels,))
    wave = np.empty((1, grid.pixels))
    as_row = Extent(offset=extent.offset, dtype=extent.dtype, shape=wave.shape)
    read_rows(file, name, as_row, np.zeros(1, np.int64), wave)
    if not np.abs(wave[0] - WAVES[arm.name]).max() < WAVE_TOLERANCE:
        raise ShardCorrupt(
            f"HDU {name}: {wave[0, 0]:.4f} to {wave[0, -1]:.4f} Angstrom, "
            f"expected {grid.start} to {grid.high:.1f} in steps of {grid.step}"
        )
