"""apVisit and asVisit: one night of one star as its three detectors saw it, before any shift.

Wavelengths are vacuum and topocentric: the lines of the night sky stand at rest in them. So the velocity that
takes them to rest is that relative to the observatory. Up to DR16 the header knows it: VHELIO is barycentric
in spite of its name, BC is what was added to get there, so it is VHELIO - BC. From DR17 on there is none.
"""

from typing import Any

import numpy as np

from engine.errors import ShardCorrupt
from engine.spec import SurveySpec
from engine.surveys.apogee import headers, pixels
from engine.surveys.apogee.layout import CHIPS
from engine.surveys.apogee.names import visit_of
from engine.surveys.assemble import Found
from engine.surveys.fits_headers import Hdu
from engine.surveys.fits_tables import read_table
from engine.surveys.store import File, Store
from engine.types import Arm, Doubles, Waves

SUMMARY = 11
SUMMARY_CELLS = {"SDSS_ID": "iu", "GAIA_SOURCEID": "iu"}
# How far the wavelengths of a chip may lie beyond what is nominal: other units and other orders lie further.
SLACK = 60.0


def read_visit(_spec: SurveySpec, store: Store, name: str, _start: int, _stop: int) -> Found:
    """The one spectrum of an apVisit file, wavelengths ascending in each chip."""
    with store.open(name) as file:
        head, flux, error, mask, wave = pixels.first_hdus(file, 5)
        _check(flux, (error, mask, wave))
        rows = len(CHIPS)
        waves = pixels.floats(file, wave, "wavelengths", 0, rows).astype(np.float64)
        spectrum = (
            pixels.floats(file, flux, "flux", 0, rows),
            pixels.inverse_variance(pixels.floats(file, error, "errors", 0, rows)),
            pixels.flags(file, mask, "masks", 0, rows),
        )
        facts = {**visit_of(name), **_star(head), **_gaia(file, head), **_velocity(head)}
    found = headers.known(facts, 1)
    for chip, (arm, ascending) in enumerate(zip(CHIPS, _ascending(waves), strict=True)):
        parts = [values[chip : chip + 1, ascending] for values in (waves, *spectrum)]
        _check_wave(parts[0], arm)
        found |= _padded(arm, parts)
    return found


def _check(flux: Hdu, others: tuple[Hdu, ...]) -> None:
    shape = flux.extent.shape
    most = CHIPS[0].grid.pixels
    if len(shape) != 2 or shape[0] != len(CHIPS) or not 2 <= shape[1] <= most:
        raise ShardCorrupt(f"HDU of flux: shape {shape}, expected {len(CHIPS)} chips of up to {most} pixels")
    for hdu in others:
        pixels.check_shape(hdu, "errors, masks or wavelengths", shape)


def _ascending(waves: Doubles) -> list[slice]:
    """How to read the pixels of each chip: backwards where wavelengths descend, as they all do."""
    return [slice(None, None, -1) if wave[0] > wave[-1] else slice(None) for wave in waves]


def _check_wave(wave_1P: np.ndarray, arm: Arm) -> None:
    nominal = arm.grid
    assert isinstance(nominal, Waves)
    low, high = wave_1P[0, 0], wave_1P[0, -1]
    # Written so that a NaN fails.
    if not (low > nominal.low - SLACK and high < nominal.high + SLACK and np.all(np.diff(wave_1P) > 0)):
        raise ShardCorrupt(
            f"chip {arm.name}: wavelengths from {low} to {high}, expected them to rise or fall steadily "
            f"between about {nominal.low} and {nominal.high} Angstrom"
        )


def _padded(arm: Arm, parts: list[Any]) -> dict[str, Any]:
    """The columns of an arm, at their full length."""
    wave_1P, *spectrum = parts
    lacking = ((0, 0), (0, arm.grid.pixels - wave_1P.shape[1]))
    columns = pixels.columns(*spectrum, arm=arm.name)
    padded = {name: np.pad(values, lacking) for name, values in columns.items()}
    return padded | {f"wave_{arm.name}": np.pad(wave_1P, lacking, constant_values=np.nan)}


def _star(head: Hdu) -> dict[str, Any]:
    """What the primary header says of star and fibre; only what it does say."""
    numbers = {"mjd": headers.integer(head.value("MJD5")), "fiber": headers.integer(head.value("FIBERID"))}
    return {
        **headers.texts(
            apogee_id=head.value("OBJID"), telescope=head.value("TELESCOP"), plate=head.value("PLATE")
        ),
        **{name: value for name, value in numbers.items() if value is not None},
        **headers.position(head.value("RA"), head.value("DEC")),
    }


def _gaia(file: File, head: Hdu) -> dict[str, Any]:
    """What SDSS-V knows of the star from Gaia, where that is DR3; before SDSS-V nothing."""
    if head.value("GRELEASE") != "dr3":
        return {}
    summary = pixels.first_hdus(file, SUMMARY + 1)[SUMMARY]
    found = read_table(file, summary, SUMMARY_CELLS, 0, 1, arrays=True)
    cell = {name: values[0].item() for name, values in found.items() if values.ndim == 1}
    magnitudes = [head.value(f"{band}MAG") for band in ("GG", "GBP", "GRP")]
    return {
        "sdss_id": headers.identifier(cell.get("SDSS_ID")),
        **headers.gaia(cell.get("GAIA_SOURCEID"), head.value("GPLX"), magnitudes),
    }


def _velocity(head: Hdu) -> dict[str, Any]:
    barycentric, correction = (headers.velocity(head.value(keyword)) for keyword in ("VHELIO", "BC"))
    rv = None if barycentric is None or correction is None else barycentric - correction
    return headers.velocities(rv, head.value("VRADERR"), head.value("STARFLAG"))
