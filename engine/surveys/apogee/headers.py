"""Values of headers and table cells: None where they are absent, or placeholders such as -9999.99."""

import math
from collections.abc import Sequence
from typing import Any

from engine.surveys.apogee.layout import STAR_BITS

SPEED_LIMIT_KMS = 5000.0


def number(value: Any, low: float, high: float) -> float | None:
    """A number strictly between `low` and `high`, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and low < value < high else None


def identifier(value: Any) -> int | None:
    """A positive integer of 64 bits; never from a float, which is exact only up to 2**53."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 < value < 2**63 else None


def velocity(value: Any) -> float | None:
    """A velocity in km/s."""
    return number(value, -SPEED_LIMIT_KMS, SPEED_LIMIT_KMS)


def text(value: Any) -> str | None:
    """Text that says something; a plate that was written as a number counts as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def texts(**values: Any) -> dict[str, str]:
    """Those of some values that are text and say something."""
    found = {name: text(value) for name, value in values.items()}
    return {name: said for name, said in found.items() if said is not None}


def integer(value: Any) -> int | None:
    """An integer of 32 bits, from 0."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < 2**31 else None


def velocities(found: Any, error: Any, flag: Any) -> dict[str, Any]:
    """A velocity in km/s with its error and source, and those bits of a STARFLAG that spoil the spectrum."""
    whole = isinstance(flag, int) and not isinstance(flag, bool)
    rv = velocity(found)
    return {
        "instrument_status": flag & STAR_BITS if whole else None,
        "rv": rv,
        # SDSS-V writes 0 for an error that it does not know.
        "rv_err": None if rv is None else number(error, 0.0, SPEED_LIMIT_KMS),
        "rv_source": None if rv is None else "survey",
    }


def position(ra: Any, dec: Any) -> dict[str, float]:
    """Right ascension and declination, degrees; neither unless both are known."""
    east, north = number(ra, -1e-9, 360.0), number(dec, -90.0, 90.0)
    return {} if east is None or north is None else {"ra": east, "dec": north}


def gaia(source_id: Any, parallax: Any, magnitudes: Sequence[Any]) -> dict[str, Any]:
    """Gaia's columns of one star: the id, the parallax in mas, the magnitudes G, BP and RP."""
    names = ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag")
    return {
        "gaia_source_id": identifier(source_id),
        "parallax": number(parallax, -1000.0, 1000.0),
        **{name: number(value, -5.0, 30.0) for name, value in zip(names, magnitudes, strict=True)},
    }


def known(facts: dict[str, Any], rows: int) -> dict[str, list[Any]]:
    """Facts of a file as columns of its rows; without those that are not known."""
    return {name: [value] * rows for name, value in facts.items() if value is not None}
