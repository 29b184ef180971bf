"""Whatever the bytes of a file: its spectra, or a ShardError that says what was found and expected."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import ShardCorrupt, ShardError
from engine.surveys.apogee import APOGEE, APOGEE_VISIT, count, read
from engine.surveys.apogee.visit import read_visit
from engine.surveys.assemble import assemble
from engine.surveys.store import Folder
from tests.unit.apogee_files import (
    GAIA,
    LOG_GRID,
    PIXELS,
    STAR,
    chips,
    mwm_row,
    read_all,
    spectra,
    survey_spec,
    table,
    write_aspcap,
    write_mwm,
    write_star,
    write_visit,
)

STAR_NAME = f"apStar-r6-{STAR}.fits"
ASPCAP_NAME = f"aspcapStar-dr17-{STAR}.fits"
MWM_NAME = "mwmStar-0.8.1-99560000.fits"
VISIT_NAME = "apVisit-r8-4914-55807-100.fits"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path / "cache"))


def _edit(path: Path, change: Callable[[fits.HDUList], Any]) -> None:
    with fits.open(path) as hdus:
        hdus = fits.HDUList([hdu.copy() for hdu in hdus])
    change(hdus)
    hdus.writeto(path, overwrite=True)


def _cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def _three(**changes: np.ndarray) -> list[np.ndarray]:
    flux, error, mask = spectra(5)
    return list({"flux": flux, "error": error, "mask": mask, **changes}.values())


def _image(hdu: int, values: np.ndarray) -> Callable[[fits.HDUList], Any]:
    return lambda hdus: hdus.__setitem__(hdu, fits.ImageHDU(values, fits.Header(LOG_GRID)))


STARS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "not a FITS file"),
    "text": (lambda path: path.write_text("flux,error\n1,2\n"), "not a FITS file"),
    "html": (lambda path: path.write_text("<html>404</html>"), "not a FITS file"),
    "cut in a header": (lambda path: _cut(path, 4000), "has no END|truncated"),
    "cut in the data": (lambda path: _cut(path, 100_000), "truncated"),
    "one HDU": (lambda path: _edit(path, lambda hdus: hdus.__delitem__(slice(1, None))), "1 HDUs, expected"),
    "no mask": (lambda path: _edit(path, lambda hdus: hdus.pop(3)), "3 HDUs, expected at least 4"),
    "two rows": (
        lambda path: write_star(path, arrays=[values[:2] for values in spectra(5)]),
        r"shape \(2, 8575\)",
    ),
    "no rows": (lambda path: _edit(path, _image(1, np.zeros((0, PIXELS), np.float32))), r"shape \(0, 8575\)"),
    "too few pixels": (
        lambda path: write_star(path, arrays=[values[:, :-1] for values in spectra(5)]),
        r"shape \(5, 8574\)",
    ),
    "three axes": (
        lambda path: _edit(path, _image(1, np.zeros((1, 5, PIXELS), np.float32))),
        r"shape \(1, 5, 8575\)",
    ),
    "ragged": (lambda path: write_star(path, arrays=_three(error=spectra(4)[1])), r"expected \(5, 8575\)"),
    "integer flux": (
        lambda path: write_star(path, arrays=_three(flux=np.ones((5, PIXELS), np.int32))),
        "expected floats",
    ),
    "float mask": (
        lambda path: write_star(path, arrays=_three(mask=np.ones((5, PIXELS), np.float32))),
        "expected a plain image of integers",
    ),
    "table for flux": (lambda path: _edit(path, lambda hdus: hdus.__setitem__(1, table("", []))), "shape"),
    "table for mask": (
        lambda path: _edit(path, lambda hdus: hdus.__setitem__(3, table("", []))),
        "errors or masks: shape",
    ),
    "compressed": (
        lambda path: _edit(
            path, lambda hdus: hdus.__setitem__(1, fits.CompImageHDU(spectra(5)[0], fits.Header(LOG_GRID)))
        ),
        "expected floats",
    ),
    "scaled": (lambda path: _card(path, "CRPIX1", "BSCALE  = 2.0"), "of other numbers, expected floats"),
    "absurd rows": (lambda path: _card(path, "NAXIS2", "NAXIS2  = 999999999999999"), "truncated"),
    "rows of nothing": (
        lambda path: _card(path, "BITPIX", "BITPIX  = 0", number=1),
        "2 HDUs, expected at least 4",
    ),
    "no axes": (lambda path: _card(path, "NAXIS", "NAXIS   = 0", number=1), r"shape \(\)|expected at least"),
    "no BITPIX": (
        lambda path: _card(path, "BITPIX", "BITPIX  = 'x'", number=1),
        "expected integers for BITPIX",
    ),
    "NaN grid": (lambda path: _card(path, "CRVAL1", "CRVAL1  = NaN"), "CRVAL1 = nan"),
    "other start": (lambda path: write_star(path, grid=LOG_GRID | {"CRVAL1": 4.18}), "CRVAL1 = 4.18"),
    "other step": (lambda path: write_star(path, grid=LOG_GRID | {"CDELT1": 6.1e-6}), "CDELT1 = 6.1e-06"),
    "linear grid": (
        lambda path: write_star(path, grid=LOG_GRID | {"CRVAL1": 15100.8, "CDELT1": 0.22}),
        "CRVAL1 = 15100.8, expected 4.179",
    ),
    "no grid": (lambda path: write_star(path, grid={}), "CRVAL1 = None"),
    "grid of text": (lambda path: write_star(path, grid=LOG_GRID | {"CDELT1": "fine"}), "CDELT1 = 'fine'"),
    "other pixel": (lambda path: write_star(path, grid=LOG_GRID | {"CRPIX1": 2}), "CRPIX1 = 2"),
}


@pytest.mark.parametrize("name", STARS)
def test_bad_stars(tmp_path: Path, name: str) -> None:
    spoil, message = STARS[name]
    path = write_star(tmp_path / STAR_NAME)
    spoil(path)
    with pytest.raises(ShardCorrupt, match=message) as error:
        read_all(APOGEE, tmp_path)
    assert STAR_NAME in str(error.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: _card(path, "NVISITS", "NVISITS = 4"), "3 rows of visits, expected NVISITS = 4"),
        (lambda path: _card(path, "NAXIS2", "NAXIS2  = 2"), r"shape \(2, 8575\)"),
        (lambda path: _card(path, "BITPIX", "BITPIX  = 0", number=1), "of other numbers"),
        (lambda path: _card(path, "NAXIS", "NAXIS   = 0", number=1), r"shape \(\)"),
    ],
)
def test_visits_that_cannot_be_counted(tmp_path: Path, spoil: Callable[[Path], Any], message: str) -> None:
    spoil(write_star(tmp_path / STAR_NAME))
    (shard,) = APOGEE.list_shards(survey_spec(APOGEE, tmp_path, spectra="visits"))
    assert shard.rows == 0
    assert re.search(message, shard.problem or "")


ROW = mwm_row(1)
MWMS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no tables": (lambda path: write_star(path), "expected APOGEE/APO and APOGEE/LCO"),
    "no flux": (lambda path: write_mwm(path, apo=[_without(ROW, "flux")]), "column FLUX: missing"),
    "no name": (lambda path: write_mwm(path, apo=[_without(ROW, "obj")]), "column OBJ: missing"),
    "short flux": (
        lambda path: write_mwm(path, apo=[ROW | {"flux": ROW["flux"][1:]}]),
        r"expected \(8575,\)",
    ),
    "text flux": (lambda path: write_mwm(path, apo=[ROW | {"flux": "x" * 40000}]), "FLUX is .*expected kind"),
    "text velocity": (
        lambda path: write_mwm(path, apo=[ROW | {"v_rad": "fast"}]),
        "V_RAD is .*expected kind 'f'",
    ),
    "array of names": (
        lambda path: write_mwm(path, apo=[ROW | {"mjd": np.arange(3, dtype=np.int32)}]),
        "MJD: cells of shape",
    ),
    "other grid": (lambda path: write_mwm(path, apo=[ROW], grid={"CDELT": 1e-5}), "CDELT = 1e-05"),
    "air": (lambda path: write_mwm(path, apo=[ROW], grid={"CUNIT": "Angstrom (Air)"}), "expected vacuum"),
    "few pixels": (lambda path: write_mwm(path, apo=[ROW], grid={"NPIXELS": 4648}), "NPIXELS = 4648"),
    "rows of one byte": (lambda path: _narrow(write_mwm(path, apo=[ROW])), "rows of 1 bytes hold no spectra"),
    "width of text": (
        lambda path: (write_mwm(path, apo=[ROW]), _card(path, "NAXIS1", "NAXIS1  = '171580'", number=2)),
        "hold no spectra|truncated",
    ),
    "absurd rows": (
        lambda path: (write_mwm(path, apo=[ROW]), _card(path, "NAXIS2", "NAXIS2  = 99999999999", number=2)),
        "truncated",
    ),
    "other format": (
        lambda path: (write_mwm(path, apo=[ROW]), _card(path, "TFORM1", "TFORM1  = '9E'", number=2)),
        "expected columns that fill its rows",
    ),
    "cut": (lambda path: (write_mwm(path, apo=[ROW]), _cut(path, 60_000)), "truncated"),
}


@pytest.mark.parametrize("name", MWMS)
def test_bad_mwm_files(tmp_path: Path, name: str) -> None:
    spoil, message = MWMS[name]
    spoil(tmp_path / MWM_NAME)
    with pytest.raises(ShardCorrupt, match=message):
        _attempt(APOGEE, tmp_path / MWM_NAME, "coadds")


VISITS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "two chips": (
        lambda path: write_visit(path, arrays={1: np.ones((2, 4096), np.float32)}),
        "expected 3 chips",
    ),
    "ragged": (
        lambda path: write_visit(path, arrays={2: np.ones((3, 4095), np.float32)}),
        r"shape \(3, 4095\), expected \(3, 4096\)",
    ),
    "too many pixels": (lambda path: write_visit(path, pixels=5000), "up to 4096 pixels"),
    "nanometres": (lambda path: write_visit(path, arrays={4: chips() / 10}), "chip a: wavelengths from 1647"),
    "chips the other way": (lambda path: write_visit(path, arrays={4: chips()[::-1]}), "chip a: wavelengths"),
    "NaN": (
        lambda path: write_visit(path, arrays={4: _replaced(chips(), np.nan)}),
        "expected them to rise or fall",
    ),
    "jump": (
        lambda path: write_visit(path, arrays={4: _replaced(chips(), 16000.0)}),
        "expected them to rise",
    ),
    "no wavelengths": (
        lambda path: _edit(write_visit(path), lambda hdus: hdus.__delitem__(slice(4, None))),
        "4 HDUs",
    ),
    "no summary": (
        lambda path: _edit(write_visit(path, header={"GRELEASE": "dr3"}), lambda hdus: hdus.pop()),
        "11 HDUs, expected at least 12",
    ),
    "float id": (
        lambda path: write_visit(
            path, header={"GRELEASE": "dr3"}, summary={"GAIA_SOURCEID": np.float64(GAIA)}
        ),
        "GAIA_SOURCEID is .*expected kind 'iu'",
    ),
}


@pytest.mark.parametrize("name", VISITS)
def test_bad_visits(tmp_path: Path, name: str) -> None:
    spoil, message = VISITS[name]
    spoil(tmp_path / VISIT_NAME)
    with pytest.raises(ShardCorrupt, match=message):
        read_all(APOGEE_VISIT, tmp_path)


def test_odd_header_values_are_null(tmp_path: Path) -> None:
    odd = {"OBJID": True, "RA": "12h", "DEC": 16.5, "VHELIO": 999999.0, "STARFLAG": 1.5, "FIELD": " "}
    write_star(tmp_path / STAR_NAME, header=odd)
    row = read_all(APOGEE, tmp_path).to_pylist()[0]
    assert row["apogee_id"] == STAR
    assert row["ra"] is row["rv"] is row["rv_source"] is row["instrument_status"] is row["field"] is None


SOUND: dict[str, tuple[Any, Callable[[Path], Any]]] = {
    STAR_NAME: (APOGEE, lambda path: write_star(path, visits=2, header={"STARFLAG": 0})),
    ASPCAP_NAME: (APOGEE, write_aspcap),
    MWM_NAME: (APOGEE, lambda path: write_mwm(path, apo=[mwm_row(1)], lco=[mwm_row(2)])),
    MWM_NAME.replace("Star", "Visit"): (APOGEE, lambda path: write_mwm(path, apo=[mwm_row(1), mwm_row(2)])),
    VISIT_NAME: (
        APOGEE_VISIT,
        lambda path: write_visit(
            path,
            header={"GRELEASE": "dr3"},
            summary={"GAIA_SOURCEID": np.int64(GAIA), "SDSS_ID": np.int64(1)},
        ),
    ),
}
VALUES = (
    "-1",
    "0",
    "1",
    "3",
    "NaN",
    "1E999",
    "'text'",
    "T",
    "",
    "9" * 60,
    "'9'",
    "1e300",
    "'1PE(9)'",
    "'0E'",
)
EDITS = st.lists(
    st.tuples(st.integers(0, 10**6), st.one_of(st.sampled_from(VALUES), st.binary(min_size=1, max_size=40))),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", SOUND)
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=EDITS, size=st.one_of(st.none(), st.integers(0, 10**6)), kind=st.sampled_from(["coadds", "visits"])
)
def test_mutated_bytes_give_spectra_or_a_shard_error(
    tmp_path: Path, name: str, edits: list[tuple[int, Any]], size: int | None, kind: str
) -> None:
    survey, write = SOUND[name]
    sound = tmp_path / "sound" / name
    if not sound.exists():
        write(sound)
    path = tmp_path / name
    path.write_bytes(_mutated(sound.read_bytes(), edits)[:size])
    try:
        _attempt(survey, path, kind)
    except ShardError as error:
        assert str(error)


def _mutated(found: bytes, edits: list[tuple[int, Any]]) -> bytes:
    """Text replaces the value of a header card, bytes are written anywhere in headers or tables."""
    cards = [
        match.start() for match in re.finditer(rb"[A-Z][A-Z0-9-]{1,7} *= ", found) if match.start() % 80 == 0
    ]
    blob = bytearray(found)
    for place, what in edits:
        if isinstance(what, str):
            start = cards[place % len(cards)] + 10
            blob[start : start + 70] = what.encode().ljust(70)
        else:
            start = place % max(1, len(blob) - len(what))
            blob[start : start + len(what)] = what
    return bytes(blob)


def _attempt(survey: Any, path: Path, kind: str) -> None:
    """Count and read a file as a run would; how many rows there may be at most is known from its size."""
    spec, store = survey_spec(survey, path.parent, spectra=kind), Folder(path.parent)
    if survey is APOGEE_VISIT:
        assemble(survey.columns, read_visit(spec, store, path.name, 0, 1), 1)
        return
    rows = count(spec, store, path.name)
    assert rows <= max(1, path.stat().st_size // PIXELS)
    if rows:
        assemble(survey.columns, read(spec, store, path.name, 0, rows), rows)


def _card(path: Path, keyword: str, card: str, number: int = 0) -> None:
    """Write another card over the `number`-th one of that keyword in the file."""
    blob = bytearray(path.read_bytes())
    places = [match.start() for match in re.finditer(keyword.ljust(8).encode() + b"=", bytes(blob))]
    blob[places[number] : places[number] + 80] = card.ljust(80).encode()
    path.write_bytes(bytes(blob))


def _narrow(path: Path) -> None:
    """Call the one row of APOGEE/APO as many rows of one byte."""
    width = fits.getval(path, "NAXIS1", "APOGEE/APO")
    _card(path, "NAXIS1", "NAXIS1  = 1", number=2)
    _card(path, "NAXIS2", f"NAXIS2  = {width}", number=2)


def _without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def _replaced(waves: np.ndarray, value: float) -> np.ndarray:
    waves[0, 100] = value
    return waves
