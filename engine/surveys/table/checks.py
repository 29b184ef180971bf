"""What a table says of itself, against what the spec says of it."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from astropy import units as u

from engine.errors import ShardCorrupt
from engine.spec import TableColumns
from engine.types import Bools, Doubles

MEDIA = {"air": "air", "vac": "vacuum", "vacuum": "vacuum"}


def check_schema(schema: pa.Schema, table: TableColumns) -> None:
    """ShardCorrupt unless the columns are there, and their metadata agree with the spec.

    `medium` may be said by the table's or a field's metadata; `unit` by that of the wavelengths.
    """
    wanted = (table.id, table.flux, table.ivar, table.error, table.mask, table.wave)
    missing = [name for name in wanted if name is not None and schema.get_field_index(name) < 0]
    if missing:
        raise ShardCorrupt(f"no single column {', '.join(missing)}; there are: {', '.join(schema.names)}")
    said = [schema.metadata, *(schema.field(name).metadata for name in (table.flux, table.wave) if name)]
    check_medium([_text(about or {}, b"medium") for about in said], table)
    if table.wave is not None:
        _check_unit(_text(schema.field(table.wave).metadata or {}, b"unit"), table.wave)


def check_medium(said: Sequence[str | None], table: TableColumns) -> None:
    """ShardCorrupt where a table says that its wavelengths are in another medium than the spec."""
    for medium in filter(None, said):
        if MEDIA.get(medium.strip().lower()) != table.medium:
            raise ShardCorrupt(
                f"its wavelengths are in {medium!r}, expected {table.medium}: mend survey.table.medium"
            )


def check_waves(wave_NP: Doubles, known_N: Bools, table: TableColumns) -> None:
    """ShardCorrupt unless wavelengths ascend, NaN only at their end, and lie within the span."""
    assert table.span is not None
    low, high = table.span
    for row in np.flatnonzero(known_N):
        wave_P = wave_NP[row]
        count = int(np.isfinite(wave_P).sum())
        if count and not (np.isfinite(wave_P[:count]).all() and (np.diff(wave_P[:count]) > 0).all()):
            raise ShardCorrupt(f"column {table.wave}: wavelengths that do not ascend, expected such")
        if count and (wave_P[count - 1] < low or wave_P[0] > high):
            raise ShardCorrupt(
                f"column {table.wave}: wavelengths from {wave_P[0]:g} to {wave_P[count - 1]:g}, expected "
                f"some within {low:g} to {high:g} Angstrom (survey.table.span)"
            )


def _check_unit(unit: str | None, column: str) -> None:
    if unit is None:
        return
    try:
        same = u.Unit(unit) == u.AA
    except (ValueError, TypeError) as error:
        raise ShardCorrupt(f"column {column}: unit {unit!r}, expected Angstrom") from error
    if not same:
        raise ShardCorrupt(f"column {column}: unit {unit!r}, expected Angstrom")


def _text(about: dict[bytes, bytes], key: bytes) -> str | None:
    return about[key].decode("latin-1") if key in about else None
