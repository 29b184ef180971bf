"""Real files of every survey at hand through `inspect` and `run`, with bundles trained on simulated stars.

Simulated spectra are no model atmospheres, so nearly every real star is UNLIKE_TRAINING, and must say so.
There are no public spectra of RAVE and HR15N at hand: benchmark stars are degraded to them, and to RVS.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy.io import fits

from engine.errors import CommitError
from engine.prepare.frame import LIGHT_KMS
from engine.simulate.lines import air_to_vacuum
from engine.spec import SurveySpec
from jobs.inspect import draw_row, guess
from tests.flows.catalogs import has
from tests.flows.small_bundles import labelled, small_bundle
from tests.unit.gaia_files import csv_tuples, long
from tests.unit.wcs_files import degraded, image_hdu, linear, pixels_of, table_hdu, write_hdus

pytestmark = pytest.mark.realdata

PROXIMA, SECOND = 5853498713190525696, 5762406957886626816
APOGEE_IDS = [
    "2M00452143+1634446",
    "2M03122509+0021585",
    "2M05392474+4038437",
    "2M06521977-2534505",
    "2M07140394+3702459",
    "2M11194647+0820356",
    "2M12132318+3900529",
    "2M19535443+4424541",
]
PROCYON_RV = 2.9
SUN_ID = 4268620287278693121

Run = Callable[..., pa.Table]


@pytest.fixture
def run(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Label every row below a folder, with the bundle of that survey or of another; rows ordered by S/N."""

    def call(name: str, root: Path, learnt: str | None = None, **more: Any) -> pa.Table:
        spec = SurveySpec.model_validate({"name": name, "root": root, "select": {"by": "all"}, **more})
        bundle = small_bundle(learnt or name, tmp_path_factory.getbasetemp())
        rows = labelled(spec, bundle, tmp_path / "catalogs" / root.name / spec.spectra)
        whole = {"NO_RESULT", "TASK_FAILED", "FILE_UNREADABLE", "UNCALIBRATED", "AUXILIARY_MISSING"}
        assert not any(has(rows, flag).any() for flag in whole), "each real row here has labels"
        assert np.isfinite(rows["teff"].to_numpy()).all()
        return rows.sort_by("snr")

    return call


def alone(path: Path, folder: Path, name: str | None = None) -> Path:
    """A folder with nothing but that file, under a name that its survey knows."""
    folder.mkdir()
    (folder / (name or path.name)).symlink_to(path)
    return folder


@pytest.mark.parametrize(
    ("pattern", "survey", "files"),
    [
        ("gaia_rvs/*.csv", "gaia_rvs", 3),
        ("gaia_xp/XP_CONTINUOUS*", "gaia_xp", 4),
        ("gaia_xp/XP_SAMPLED*", "gaia_xp_sampled", 3),
        ("apogee/apStar-*", "apogee", 8),
        ("apogee/apVisit-*", "apogee_visit", 1),
        ("galah/*.fits", "galah", 1),
        ("desi/coadd-*", "desi", 2),
        ("desi/spectra-*", "desi", 1),
    ],
)
def test_inspect_knows_real_files_under_any_name(
    realdata: Path, tmp_path: Path, pattern: str, survey: str, files: int
) -> None:
    found = sorted(realdata.glob(pattern))
    assert len(found) == files
    for number, path in enumerate(found):
        assert guess(path).survey.name == survey
        renamed = guess(alone(path, tmp_path / str(number), f"mine{path.suffix}") / f"mine{path.suffix}")
        assert renamed.survey.name == survey
    draw_row(guess(found[0]), 0, tmp_path / "row.png")
    assert (tmp_path / "row.png").stat().st_size > 20_000


def test_gaia_rvs(realdata: Path, run: Run) -> None:
    rows = run("gaia_rvs", realdata / "gaia_rvs")
    assert rows["source_id"].to_pylist() == [1535964555128078720, 2052747119115620352, 4268620287278693120]
    assert rows["gaia_source_id"].equals(rows["source_id"])
    assert rows["snr"].to_numpy() == pytest.approx([90.5, 126.9, 459.7], abs=0.1)
    assert has(rows, "NONFINITE_FLUX").tolist() == [True, True, False]
    assert has(rows, "UNLIKE_TRAINING").all()
    assert not has(rows, "POSITION_APPROXIMATE").any()
    # Kepler-93 is a star like the Sun: 5669 K, log g 4.47 (Ballard et al. 2014, ApJ 790, 12).
    assert rows["teff"][1].as_py() == pytest.approx(5669, abs=500)
    assert rows["logg"][1].as_py() == pytest.approx(4.47, abs=0.7)


@pytest.mark.parametrize("survey", ["gaia_xp", "gaia_xp_sampled"])
def test_coefficients_give_the_same_labels_in_every_serialisation(
    realdata: Path, run: Run, tmp_path: Path, survey: str
) -> None:
    found = []
    for form in ("csv", "ecsv", "fits", "xml"):
        root = alone(realdata / "gaia_xp" / f"XP_CONTINUOUS_RAW.{form}", tmp_path / form)
        rows = run(survey, root).sort_by("source_id")
        assert rows["source_id"].to_pylist() == rows["gaia_source_id"].to_pylist() == [SECOND, PROXIMA]
        assert set(rows["position_source"].to_pylist()) == {"source_id"}
        assert has(rows, "POSITION_APPROXIMATE").all()
        assert has(rows, "UNLIKE_TRAINING").all()
        found.append(rows.select(["source_id", "ra", "dec", "teff", "e_teff", "logg", "fe_h", "flags"]))
    assert all(other.equals(found[0]) for other in found[1:])
    # Where Proxima Centauri was in 2016, from its source_id alone.
    assert found[0]["ra"][1].as_py() == pytest.approx(217.392, abs=0.03)
    assert found[0]["dec"][1].as_py() == pytest.approx(-62.676, abs=0.014)


def test_sampled_spectra_keep_the_ids_that_the_file_gives(realdata: Path, run: Run, tmp_path: Path) -> None:
    """These files call Proxima 6 and the other star 4, no ids of Gaia's; their positions are real."""
    continuous = run(
        "gaia_xp_sampled", alone(realdata / "gaia_xp" / "XP_CONTINUOUS_RAW.fits", tmp_path / "coefficients")
    ).sort_by("source_id")
    for form in ("csv", "ecsv", "fits"):
        path = realdata / "gaia_xp" / f"XP_SAMPLED_RAW_dr3int6.{form}"
        rows = run("gaia_xp_sampled", alone(path, tmp_path / form)).sort_by("source_id")
        assert rows["source_id"].to_pylist() == [4, 6]
        assert set(rows["position_source"].to_pylist()) == {"survey"}
        assert not has(rows, "POSITION_APPROXIMATE").any()
        assert has(rows, "UNLIKE_TRAINING").all()
        assert rows["ra"].to_numpy() == pytest.approx(continuous["ra"].to_numpy(), abs=0.03)
        # GaiaXPy makes the same spectra of the same stars' coefficients.
        labels, theirs = rows["teff"].to_numpy(), continuous["teff"].to_numpy()
        assert (np.abs(labels - theirs) < 0.02 * rows["e_teff"].to_numpy()).all()


def test_a_folder_with_the_same_stars_four_times_is_refused(realdata: Path, run: Run) -> None:
    with pytest.raises(CommitError, match=str(PROXIMA)):
        run("gaia_xp", realdata / "gaia_xp")


def test_apogee_coadds_and_visits(realdata: Path, run: Run) -> None:
    root = realdata / "apogee"
    coadds, visits = run("apogee", root), run("apogee", root, spectra="visits", learnt="apogee")
    assert sorted(coadds["apogee_id"].to_pylist()) == APOGEE_IDS
    assert len(visits) == 24
    assert set(visits["apogee_id"].to_pylist()) == set(APOGEE_IDS)
    for row in coadds.to_pylist():
        header = fits.getheader(root / f"apStar-r6-{row['apogee_id']}.fits")
        assert (row["ra"], row["dec"]) == (header["RA"], header["DEC"])
        assert row["rv"] == pytest.approx(header["VHELIO"], abs=1e-3)
    assert has(coadds, "UNLIKE_TRAINING").all()
    assert has(visits, "UNLIKE_TRAINING").mean() > 0.8
    # The nights of a star agree: far better than its labels with anybody else's.
    bright = visits.filter(pc.field("snr") > 30)
    nights = bright.group_by("apogee_id").aggregate([("teff", "stddev"), ("teff", "count")])
    several = nights.filter(pc.field("teff_count") > 1)
    assert len(several) >= 6
    assert np.median(several["teff_stddev"].to_numpy()) < 100


@pytest.mark.parametrize("learnt", ["apogee_visit", "apogee"])
def test_a_real_night_as_observed(realdata: Path, run: Run, learnt: str) -> None:
    """A hot star for the telluric lines: Brackett lines 100 A wide, which no star of the training set has."""
    rows = run("apogee_visit", realdata / "apogee", learnt=learnt)
    assert rows.select(["apogee_id", "plate", "mjd", "fiber"]).to_pylist() == [
        {"apogee_id": "2M19584983+2031300", "plate": "4914", "mjd": 55807, "fiber": 100}
    ]
    assert has(rows, "UNLIKE_TRAINING", "LABELS_UNLIKE_TRAINING").all()
    assert rows["rv"][0].as_py() == pytest.approx(7.05, abs=0.01)


def test_galah(realdata: Path, run: Run) -> None:
    """Mu Leonis, of which only the red camera is there; it is the one that the model reads."""
    rows = run("galah", realdata / "galah")
    assert rows["sobject_id"].to_pylist() == [131216002601003]
    assert has(rows, "UNLIKE_TRAINING").all()
    assert has(rows, "POSITION_MISSING").all()
    assert rows["ra"].null_count == rows["dec"].null_count == 1
    assert not has(rows, "FEW_GOOD_PIXELS").any()
    assert rows["snr"][0].as_py() == pytest.approx(326, abs=5)


def sun(realdata: Path) -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths in air, Angstrom, and normalised flux of the Sun around the calcium triplet."""
    flux_P = pixels_of(realdata / "benchmark_stars" / "sick_sun-845-875.fits")
    return 8450 + 0.01 * np.arange(len(flux_P)), flux_P


def is_the_sun(rows: pa.Table) -> None:
    """Within what simulated lines can teach: 5772 K, log g 4.44, [Fe/H] 0; and it says that it is unlike."""
    for label, true, within in (("teff", 5772, 600), ("logg", 4.44, 1.0), ("fe_h", 0.0, 0.5)):
        assert rows[label][0].as_py() == pytest.approx(true, abs=within)
    assert has(rows, "UNLIKE_TRAINING").all()


def test_the_sun_as_rave_sees_it(realdata: Path, run: Run, tmp_path: Path) -> None:
    wave_P, flux_P = sun(realdata)
    flux = degraded(wave_P, flux_P, 7500, 8451 + 0.38 * np.arange(780))
    hdus = (
        image_hdu(flux, "SPECTRUM", **linear(8451.0, 0.38)),
        image_hdu(np.full(len(flux), 0.02), "ERROR"),
    )
    name = "20031109_0823m14_113"
    write_hdus(tmp_path / "rave" / f"RAVE_{name}.fits", {"ROI": name}, *hdus)
    rows = run("rave", tmp_path / "rave")
    assert rows["rave_obs_id"].to_pylist() == [name]
    assert has(rows, "POSITION_MISSING").all()
    is_the_sun(rows)


def test_the_sun_as_gaia_sees_it(realdata: Path, run: Run, tmp_path: Path) -> None:
    wave_P, flux_P = sun(realdata)
    vacuum_P, grid = air_to_vacuum(wave_P), 8460 + 0.1 * np.arange(2401)
    even_P = np.arange(vacuum_P[0], vacuum_P[-1], 0.01)
    flux = degraded(even_P, np.interp(even_P, vacuum_P, flux_P), 11_500, grid)
    columns = {
        "source_id": np.array([SUN_ID]),
        "ra": np.array([10.0]),
        "dec": np.array([-60.0]),
        "flux": flux[None],
        "flux_error": np.full((1, 2401), 0.01),
    }
    (tmp_path / "rvs").mkdir()
    (tmp_path / "rvs" / f"RVS-Gaia DR3 {SUN_ID}.csv").write_bytes(csv_tuples(long(columns, grid / 10)))
    rows = run("gaia_rvs", tmp_path / "rvs")
    assert rows["source_id"].to_pylist() == [SUN_ID]
    is_the_sun(rows)


def test_procyon_as_giraffe_sees_it_in_both_forms(realdata: Path, run: Run, tmp_path: Path) -> None:
    flux_P = pixels_of(realdata / "benchmark_stars" / "HARPS.GBOG_Procyon.fits")
    # The file is at rest; it is moved as the telescope would see it.
    wave_P, grid = 4800 + 0.01 * np.arange(len(flux_P)), 6470 + 0.05 * np.arange(6400)
    flux = degraded(wave_P * (1 + PROCYON_RV / LIGHT_KMS), flux_P, 19_200, grid)
    header = {"OBJECT": "Procyon", "RA": 114.825, "DEC": 5.225, "VHELIO": PROCYON_RV}
    table = table_hdu({"WAVE": "nm"}, WAVE=grid / 10, FLUX=flux, ERR=flux / 80)
    write_hdus(tmp_path / "giraffe" / "a.fits", header | {"SPECSYS": "BARYCENT"}, table)
    image = image_hdu(flux / 80, "ERR")
    write_hdus(tmp_path / "giraffe" / "b.fits", linear(6470.0, 0.05) | header, image, flux=flux)
    rows = run("giraffe", tmp_path / "giraffe").sort_by("file")
    assert rows.select(["object", "file"]).to_pylist() == [
        {"object": "Procyon", "file": "a"},
        {"object": "Procyon", "file": "b"},
    ]
    assert rows["snr"].to_numpy() == pytest.approx([80, 80], rel=0.01)
    assert rows["teff"][0].as_py() == pytest.approx(rows["teff"][1].as_py(), abs=2)
    assert has(rows, "UNLIKE_TRAINING").all()
    # 6554 K, near the hot end of the training set (Heiter et al. 2015, A&A 582, A49).
    assert rows["teff"][0].as_py() == pytest.approx(6554, abs=1200)
