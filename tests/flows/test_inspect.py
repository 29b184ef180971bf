"""`abundant inspect`: which survey a file is of, whatever it is called, what is in it, and how it looks."""

import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib import rc_context
from matplotlib.image import imread
from rich.console import Console
from typer.testing import CliRunner

from engine.errors import InputError
from engine.simulate import SIMULATORS
from engine.spec import SurveySpec
from engine.surveys import survey_of
from jobs.cli import app
from jobs.inspect import draw_row, guess, page

# What a survey's files are called by somebody who keeps his own order.
OTHER_NAMES = {".fits": "mine.fits", ".csv": "mine.csv", ".gz": "mine.csv.gz", ".parquet": "mine.parquet"}
PNG = b"\x89PNG\r\n"


@pytest.fixture(params=SIMULATORS)
def spec(request: pytest.FixtureRequest, simulated: Callable[[str], SurveySpec]) -> SurveySpec:
    """All rows of the simulated survey of this kind."""
    return simulated(request.param)


@pytest.fixture
def file(spec: SurveySpec) -> Path:
    """The first file of the survey; of GALAH's four cameras the red one, which its model reads."""
    if spec.name == "galah":
        return next(Path(spec.root).rglob("*0013.fits"))
    shard = next(iter(survey_of(spec).list_shards(spec)))
    return Path(spec.root) / (shard.members[0].path if shard.members else shard.path)


def printed(file: Path, spec: SurveySpec) -> str:
    paper = StringIO()
    Console(width=300, file=paper).print(page(guess(file, spec.table)))
    return paper.getvalue()


def test_a_file_is_recognised_with_all_its_rows(file: Path, spec: SurveySpec) -> None:
    found = guess(file, spec.table)
    assert found.survey.name == spec.name
    assert len(found.spectra) == found.shard.rows > 0


def test_a_renamed_file_is_recognised_by_what_is_in_it(file: Path, spec: SurveySpec, tmp_path: Path) -> None:
    other = tmp_path / OTHER_NAMES[file.suffix]
    shutil.copy(file, other)
    found = guess(other, spec.table)
    assert (found.survey.name, found.shard.rows) == (spec.name, guess(file, spec.table).shard.rows)


def test_the_page_tells_rows_grids_signal_and_models(file: Path, spec: SurveySpec) -> None:
    found, text = guess(file, spec.table), printed(file, spec)
    lines = {line.split()[0] for line in text.splitlines() if line.strip()}
    assert {"file", "survey", "rows", "key", "arm", "models"} <= lines
    assert f"{spec.name}: {found.survey.title} ({found.survey.reference})" in text
    assert all(f"arm {arm.name}" in text for arm in found.survey.arms)
    assert "S/N per" in text
    assert "_mlp" in text
    assert str(file) in text


def test_a_picture_is_drawn_with_light_in_it(file: Path, spec: SurveySpec, tmp_path: Path) -> None:
    png = tmp_path / "row.png"
    draw_row(guess(file, spec.table), 0, png)
    assert png.read_bytes().startswith(PNG)
    picture = imread(png)[..., :3]
    assert picture.shape[0] > 900, "one panel before and one after"
    upper, lower = np.array_split(picture, 2)
    assert all((half < 0.9).any(axis=2).mean() > 0.005 for half in (upper, lower)), (
        "something is drawn in both"
    )


def test_a_row_that_is_not_there_and_a_place_that_takes_no_file(
    simulated: Callable[[str], SurveySpec], tmp_path: Path
) -> None:
    found = guess(next(Path(simulated("galah").root).rglob("*1.fits")))
    with pytest.raises(InputError, match="--row 1: the rows looked at are 0 to 0"):
        draw_row(found, 1, tmp_path / "row.png")
    for place in (tmp_path / "absent" / "row.png", tmp_path / "row.exe"):
        with pytest.raises(InputError, match=r"--plot .* cannot be written"):
            draw_row(found, 0, place)


def test_a_picture_does_not_follow_a_matplotlibrc(
    simulated: Callable[[str], SurveySpec], tmp_path: Path
) -> None:
    found = guess(next(Path(simulated("rave").root).rglob("RAVE_*.fits")))
    draw_row(found, 0, tmp_path / "one.png")
    with rc_context({"text.usetex": True, "figure.facecolor": "black"}):
        draw_row(found, 0, tmp_path / "other.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_the_command_prints_the_page_and_draws_the_row(
    simulated: Callable[[str], SurveySpec], tmp_path: Path
) -> None:
    path, png = next(Path(simulated("rave").root).rglob("RAVE_*.fits")), tmp_path / "row.png"
    done = CliRunner().invoke(app, ["inspect", str(path), "--plot", str(png), "--row", "0"])
    assert done.exit_code == 0
    assert "rave: RAVE DR6 spectra" in done.output
    assert png.read_bytes().startswith(PNG)


def test_cameras_of_a_star_that_lie_beside_are_shown_too(simulated: Callable[[str], SurveySpec]) -> None:
    spec = simulated("galah")
    third = next(Path(spec.root).rglob("*0013.fits"))
    assert "no good pixel" not in printed(third, spec)


def test_pixels_are_counted_where_rows_have_fewer_than_the_most(
    simulated: Callable[[str], SurveySpec],
) -> None:
    spec = simulated("rave")
    text = printed(next(Path(spec.root).rglob("RAVE_*.fits")), spec)
    assert "good 100.0%" in text


def test_positions_that_are_only_approximate_are_told(simulated: Callable[[str], SurveySpec]) -> None:
    for name, told in (("gaia_xp", True), ("gaia_xp_sampled", False)):
        spec = simulated(name)
        text = printed(next(Path(spec.root).rglob("XP_*.fits")), spec)
        assert ("source_id, good to 50 arcsec" in text) is told


def wrong(name: str) -> bytes:
    """Content that is no survey's."""
    table = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), table)
    known = {
        "empty.fits": b"",
        "text.fits": b"not FITS at all\n",
        "header.fits": b"SIMPLE  =                    T" + b" " * 50,
        "stars.csv": b"id,teff\n1,5000\n",
        "cut.csv.gz": b"\x1f\x8b\x08\x00",
        "own.parquet": table.getvalue().to_pybytes(),
        "weights.h5": b"\x89HDF\r\n",
        "no ending": b"\x00" * 999,
    }
    return known[name]


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("empty.fits", "desi:"),
        ("text.fits", "giraffe:"),
        ("header.fits", "apogee:"),
        ("stars.csv", "gaia_rvs: column flux: missing, expected beside id, teff"),
        ("cut.csv.gz", "gaia_xp:"),
        ("own.parquet", "a spec tells its columns"),
        ("weights.h5", "rave: its files are called RAVE_"),
        ("no ending", "apogee: its files are called apStar-"),
    ],
)
def test_what_no_reader_understands_gets_one_message(tmp_path: Path, name: str, remark: str) -> None:
    path = tmp_path / name
    path.write_bytes(wrong(name))
    with pytest.raises(InputError, match="no survey's reader understands it") as caught:
        guess(path)
    message = str(caught.value)
    assert remark in message
    assert "abundant-inspect-" not in message, "nobody knows of the folder it stood alone in"
    told = [line.split(":")[0].strip() for line in message.splitlines()[1:] if line.startswith("  ")]
    assert sorted(told) == sorted(SIMULATORS.keys() - {"table"})
    assert max(map(len, message.splitlines()[1:])) < 200


@pytest.mark.parametrize(
    ("path", "survey", "message"),
    [
        (".", None, "is a folder: name one file of it"),
        ("absent.fits", None, "there is no such file"),
        ("s3://bucket/coadd.fits", None, "only files on this machine"),
        (__file__, "sdss", "'sdss' is unknown; known: desi"),
        (__file__, "table", "only a spec can tell the columns"),
    ],
)
def test_what_cannot_be_asked(path: str, survey: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        guess(Path(path), survey=survey)


def test_one_reader_can_be_asked_alone(simulated: Callable[[str], SurveySpec]) -> None:
    """Coefficients are read by two surveys: as they are, and sampled by GaiaXPy."""
    path = next(Path(simulated("gaia_xp").root).rglob("XP_*.fits"))
    assert guess(path).survey.name == "gaia_xp"
    assert guess(path, survey="gaia_xp_sampled").survey.name == "gaia_xp_sampled"
    with pytest.raises(InputError, match=r"reader understands it:\n  rave: HDU SPECTRUM: missing"):
        guess(path, survey="rave")
