"""Which files DESI spectra come in, and whether one is as it must be."""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from engine.errors import PlanError, ShardCorrupt, ShardError, ShardUnavailable
from engine.surveys.desi.layout import ARMS, IMAGES
from engine.surveys.desi.redrock import redrock_names
from engine.surveys.fits import FitsFile, gunzipped, opened, read_rows
from engine.surveys.fits_headers import Hdu, digest, find_hdu, table_bytes, walk
from engine.surveys.index_cache import Finding
from engine.surveys.store import Entry, Store
from engine.types import Arm, Extent, Grid

SPECTRA_FILE = re.compile(r"(coadd|spectra)-.+\.fits(\.gz)?")
DESI_FILE = re.compile(r"(coadd|spectra|redrock)-.+\.fits(\.gz)?")
WAVE_TOLERANCE = 1e-4
WAVES = {arm.name: arm.grid.wave_P for arm in ARMS if isinstance(arm.grid, Grid)}


def find(store: Store, root: str) -> tuple[list[Entry], dict[str, Entry]]:
    """All coadd and spectra files by name, and the Redrock file beside each that has one.

    PlanError when there are none.
    """
    found = {entry.name: entry for entry in store.entries(DESI_FILE)}
    spectra = [name for name in sorted(found) if SPECTRA_FILE.fullmatch(name.rpartition("/")[2])]
    if not spectra:
        raise PlanError(
            f"survey.root: no coadd-*.fits or spectra-*.fits, gzipped or not, anywhere under {root}"
        )
    beside = {
        name: found[other] for name in spectra for other in reversed(redrock_names(name)) if other in found
    }
    return [found[name] for name in spectra], beside


def inspect(store: Store, beside: Mapping[str, Entry], name: str) -> Finding:
    """What planning must know of a file. A broken one gives a problem, and its rows where FIBERMAP is whole.

    A gzipped file is read as far as FIBERMAP's header: checking the rest costs as much as reading it.
    """
    found: dict[str, Hdu] = {}
    rows, problem, passing, headers = 0, None, False, ""
    try:
        if name.endswith(".gz"):
            return Finding(rows=_rows_of_gzipped(store, name))
        with opened(store, name) as file:
            for hdu in file.walk():
                found[hdu.name] = hdu
                rows = hdu.rows if hdu.name == "FIBERMAP" else rows
            check(file, found)
            headers = _content(store, file, found.values(), "FIBERMAP")
        if other := beside.get(name):
            headers += _content_beside(store, other.name)
    except ShardError as error:
        problem, passing = str(error), isinstance(error, ShardUnavailable)
    extents = {} if problem else {hdu: found[hdu].extent for hdu, _ in IMAGES.values()}
    headers = headers or digest(found.values())
    return Finding(rows=rows, extents=extents, headers=headers, problem=problem, passing=passing)


def _content(store: Store, file: FitsFile, hdus: Iterable[Hdu], table: str) -> str:
    """A digest of headers and of the small table that gives ids and velocities.

    Headers alone where the store's own fingerprints follow every byte.
    """
    if store.exact:
        return digest(hdus)
    return digest(hdus, table_bytes(file.file.fetch, find_hdu(hdus, table)))


def _content_beside(store: Store, name: str) -> str:
    """The same of a Redrock file; "" for one that is broken, which is found when it is read."""
    try:
        with opened(store, name) as file:
            return _content(store, file, list(file.walk()), "REDSHIFTS")
    except ShardError:
        return ""


def _rows_of_gzipped(store: Store, name: str) -> int:
    def fetch(offset: int, count: int) -> bytes:
        plain.seek(offset)
        return plain.read(count)

    with gunzipped(store, name) as plain:
        return find_hdu(walk(fetch, None), "FIBERMAP").rows


def check(file: FitsFile, found: Mapping[str, Hdu]) -> None:
    """ShardCorrupt unless images and wavelengths are as FIBERMAP and the arms say. RESOLUTION is not read."""
    rows = find_hdu(found.values(), "FIBERMAP").rows
    for column, (name, arm) in IMAGES.items():
        extent = _extent(found, name, (rows, arm.grid.pixels))
        kinds = "iu" if column.startswith("mask") else "f"
        if extent.dtype and np.dtype(extent.dtype).kind not in kinds:
            raise ShardCorrupt(f"HDU {name}: numbers of type {extent.dtype}, expected kind {kinds!r}")
        _check_tiles(found[name])
    for arm in ARMS:
        _check_grid(file, found, arm)


def _extent(found: Mapping[str, Hdu], name: str, shape: tuple[int, ...]) -> Extent:
    extent = find_hdu(found.values(), name).extent
    if extent.shape != shape:
        raise ShardCorrupt(f"HDU {name}: shape {extent.shape}, expected {shape}")
    return extent


def _check_tiles(hdu: Hdu) -> None:
    """ShardCorrupt unless the tiles of a compressed image lie in it: as much memory is taken as they say."""
    if "ZIMAGE" not in hdu.cards:
        return
    sides = hdu.extent.shape[::-1]
    tile = [hdu.value(f"ZTILE{axis}", side if axis == 1 else 1) for axis, side in enumerate(sides, start=1)]
    fits = all(isinstance(t, int) and 1 <= t <= side for t, side in zip(tile, sides, strict=True))
    if hdu.value("ZIMAGE") is not True or not (fits or 0 in sides):
        raise ShardCorrupt(f"HDU {hdu.name}: tiles of {tile} pixels, expected some that fit into {sides}")


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
