"""Spectra on a grid that all sources share (RVS, sampled XP): a row for each, or one for each wavelength."""

from dataclasses import dataclass

import numpy as np
from astropy import units as u

from engine.errors import ShardCorrupt
from engine.spec import SurveySpec
from engine.surveys.assemble import Found
from engine.surveys.gaia.contract import Kind, Table, Values
from engine.surveys.gaia.sources import named_source, pixels_of, refuse_others
from engine.surveys.gaia.tables import opened, read_columns, require
from engine.surveys.store import Store
from engine.types import Grid

# Wavelengths are printed to 0.01 nm or held as float32; air differs from vacuum by 23 pixels of RVS.
TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One kind of spectra: its arm and grid, the unit of its flux in files, and what we count it in."""

    arm: str
    grid: Grid
    unit: u.UnitBase
    scale: float


def count_spectra(product: Product, _spec: SurveySpec, store: Store, name: str) -> int:
    """Sources of a file. One that is named after a source holds that one, and is not opened for it."""
    if named_source(name) is not None:
        return 1
    with opened(store, name) as table:
        return sources_in(product, table)


def sources_in(product: Product, table: Table) -> int:
    """How many sources an open table holds; ShardCorrupt when the last is not whole."""
    require(table, ("flux", "flux_error"))
    rows, each = table.rows(), _rows_each(product, table)
    if rows == 0 or rows % each:
        raise ShardCorrupt(f"{rows} rows, expected at least one source, and {each} of each")
    return rows // each


def _rows_each(product: Product, table: Table) -> int:
    return 1 if table.holds_arrays("flux") else product.grid.pixels


def read_spectra(
    product: Product, _spec: SurveySpec, store: Store, name: str, start: int, stop: int
) -> Found:
    """Sources [start, stop): ids, positions where the file has them, and pixels."""
    with opened(store, name) as table:
        return spectra_of(product, table, name, start, stop)


def spectra_of(product: Product, table: Table, name: str, start: int, stop: int) -> Found:
    """The same from a table that is open."""
    _check_unit(product, table)
    values = _values(product, table, name, start, stop)
    all_sources = 1 if named_source(name) is None else sources_in(product, table)
    _check_waves(product.grid, values)
    refuse_others(name, values["source_id"], all_sources)
    position = {key: values[key] for key in ("ra", "dec") if {"ra", "dec"} <= values.keys()}
    return {
        "source_id": values["source_id"],
        "gaia_source_id": values["source_id"],
        **position,
        **pixels_of(product.arm, values["flux"], values["flux_error"], product.scale),
    }


def _values(product: Product, table: Table, name: str, start: int, stop: int) -> Values:
    """Columns of sources [start, stop), whichever way the table lists them: (N,) and (N, pixels)."""
    pixels, each = product.grid.pixels, _rows_each(product, table)
    kind: Kind = pixels if each == 1 else "number"
    welcome: dict[str, Kind] = {"source_id": "id", "ra": "number", "dec": "number", "wavelength": kind}
    values = read_columns(table, {"flux": kind, "flux_error": kind}, welcome, start * each, stop * each)
    if "source_id" not in values:
        values["source_id"] = _id_from_name(name, (stop - start) * each)
    return values if each == 1 else {key: _folded(key, column, pixels) for key, column in values.items()}


def _id_from_name(name: str, rows: int) -> np.ndarray:
    source = named_source(name)
    if source is None:
        raise ShardCorrupt("column source_id: missing, expected it there or in the file's name")
    return np.full(rows, source, np.int64)


def _folded(key: str, column: np.ndarray, pixels: int) -> np.ndarray:
    """A column of a row per wavelength as a row per source."""
    folded_NP = column.reshape(-1, pixels)
    if key not in ("source_id", "ra", "dec"):
        return folded_NP
    if key == "source_id" and (folded_NP != folded_NP[:, :1]).any():
        raise ShardCorrupt(
            f"column source_id: changes within {pixels} rows, expected that many of each source"
        )
    return folded_NP[:, 0]


def _check_unit(product: Product, table: Table) -> None:
    """ShardCorrupt where the file says that its flux is in another unit."""
    for column in ("flux", "flux_error"):
        found = table.units.get(column, "")
        if found and not _same(found, product.unit):
            raise ShardCorrupt(f"column {column}: in {found!r}, expected {product.unit.to_string()!r}")


def _same(found: str, expected: u.UnitBase) -> bool:
    try:
        return u.Unit(found) == expected
    except (ValueError, TypeError):
        return False


def _check_waves(grid: Grid, values: Values) -> None:
    """ShardCorrupt unless the wavelengths, where there are any, are those of the grid, in nm."""
    if "wavelength" not in values:
        return
    found_NP, expected_P = values["wavelength"], grid.wave_P / 10
    if not (np.abs(found_NP - expected_P) <= TOLERANCE * grid.step / 10).all():
        low, high = (extreme.reduce(found_NP, axis=None) for extreme in (np.fmin, np.fmax))
        raise ShardCorrupt(
            f"column wavelength: {low:g} to {high:g}, expected {expected_P[0]:g} to {expected_P[-1]:g} nm in "
            f"vacuum, in steps of {grid.step / 10:g}"
        )
