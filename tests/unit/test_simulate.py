"""The simulator writes what DESI writes, and its spectra answer to their labels."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import fitsio
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from cdshealpix.nested import lonlat_to_healpix
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.simulate import simulate_desi
from engine.simulate.instrument import ARMS, GRID, inverse_variance
from engine.simulate.labels import LABELS, draw_labels
from engine.simulate.lines import air_to_vacuum, atomic_lines
from engine.simulate.photometry import scale_to_magnitude
from engine.simulate.plan import MOST_STARS, plan_files
from engine.simulate.resolution import lsf_sigma, resolution_diagonals
from engine.simulate.scene import build_scene, observe
from engine.simulate.spectrum import (
    REST_STEP,
    REST_WAVELENGTH,
    absorbers,
    extinction_curve,
    planck,
    shift_to,
    synthesize,
)

STARS, PER_FILE, SEED = 120, 40, 11
LIGHT_SPEED = 299792.458
PIXELS = {"B": 2751, "R": 2326, "Z": 2881}
FILES = ("main-bright-9216", "main-dark-9216", "main-bright-9217")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A simulated survey on disk."""

    root: Path
    told: list[tuple[Path, int]]

    def path(self, stem: str, kind: str = "coadd") -> Path:
        survey, program, pixel = stem.split("-")
        folder = self.root / "healpix" / survey / program / str(int(pixel) // 100) / pixel
        return folder / f"{kind}-{stem}.fits"

    def read(self, stem: str, name: str, kind: str = "coadd") -> npt.NDArray:
        return fitsio.read(str(self.path(stem, kind)), name)

    def truth(self, stem: str) -> dict[str, npt.NDArray]:
        table = pq.read_table(self.root / "truth.parquet")
        key = zip(*(table[name].to_pylist() for name in ("survey", "program", "healpix")), strict=True)
        chosen = ["-".join(map(str, entry)) == stem for entry in key]
        rows = table.filter(pa.array(chosen))
        return {name: rows[name].to_numpy() for name in rows.column_names}


def simulate(root: Path, **changed) -> Tree:
    told: list[tuple[Path, int]] = []
    wanted = {"stars": STARS, "seed": SEED, "stars_per_file": PER_FILE, "resolution": False} | changed
    simulate_desi(root, on_file=lambda path, stars: told.append((path, stars)), **wanted)
    return Tree(root=root, told=told)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Tree:
    return simulate(tmp_path_factory.mktemp("survey") / "iron", resolution=True)


def hdu_names(path: Path) -> list[str]:
    with fitsio.FITS(str(path)) as fits:
        return [hdu.get_extname() for hdu in fits]


def labels(rows: int = 1, **values: float | npt.NDArray) -> npt.NDArray[np.float32]:
    """The Sun, with changes."""
    table = np.zeros((rows, len(LABELS)), dtype=np.float32)
    table[:, :2] = 5772, 4.44
    for name, value in values.items():
        table[:, LABELS.index(name)] = value
    return table


def width_of(flux_NP: npt.NDArray, labels_NL: npt.NDArray, center: float, half: float) -> npt.NDArray:
    """Equivalent widths (Å) against the black body scaled to the window's own brightest pixels."""
    inside = np.abs(REST_WAVELENGTH - center) < half
    ratio = (flux_NP / planck(labels_NL[:, 0], REST_WAVELENGTH))[:, inside]
    return REST_STEP * (1 - ratio / np.quantile(ratio, 0.97, axis=1, keepdims=True)).sum(axis=1)


# --- files ---------------------------------------------------------------------------------


def test_tree_has_the_layout_of_dr1(tree):
    assert [path for path, _ in tree.told] == [tree.path(stem) for stem in FILES]
    assert [stars for _, stars in tree.told] == [PER_FILE] * 3
    written = {path.relative_to(tree.root) for path in tree.root.rglob("*") if path.is_file()}
    expected = {tree.path(stem, kind) for stem in FILES for kind in ("coadd", "redrock")}
    expected |= {tree.root / "truth.parquet", tree.root / "simulation.json"}
    assert written == {path.relative_to(tree.root) for path in expected}


def test_coadd_has_every_hdu_in_order(tree):
    arms = ("WAVELENGTH", "FLUX", "IVAR", "MASK", "RESOLUTION")
    expected = ["FIBERMAP", "EXP_FIBERMAP", *(f"{arm}_{kind}" for arm in "BRZ" for kind in arms), "SCORES"]
    assert hdu_names(tree.path(FILES[0]))[1:] == expected
    assert hdu_names(tree.path(FILES[0], "redrock"))[1:] == ["REDSHIFTS", "FIBERMAP", "EXP_FIBERMAP", "TSNR2"]


@pytest.mark.parametrize("arm", "BRZ")
def test_arm_images_have_the_types_shapes_and_units_of_desi(tree, arm):
    rows, pixels = len(tree.read(FILES[0], "FIBERMAP")), PIXELS[arm]
    expected = {
        "WAVELENGTH": (">f8", (pixels,), "Angstrom"),
        "FLUX": (">f4", (rows, pixels), "10**-17 erg/(s cm2 Angstrom)"),
        "IVAR": (">f4", (rows, pixels), "10**+34 (s2 cm4 Angstrom2) / erg2"),
        "MASK": (">i4", (rows, pixels), None),
        "RESOLUTION": (">f4", (rows, 11, pixels), None),
    }
    for kind, (dtype, shape, unit) in expected.items():
        image = tree.read(FILES[0], f"{arm}_{kind}")
        assert (image.dtype.newbyteorder(">").str, image.shape) == (dtype, shape)
        assert fitsio.read_header(str(tree.path(FILES[0])), f"{arm}_{kind}").get("BUNIT") == unit
    wavelength = tree.read(FILES[0], f"{arm}_WAVELENGTH")
    assert wavelength[0] == {"B": 3600.0, "R": 5760.0, "Z": 7520.0}[arm]
    np.testing.assert_allclose(np.diff(wavelength), 0.8, atol=1e-6)


def test_primary_header_names_survey_program_and_pixel(tree):
    header = fitsio.read_header(str(tree.path("main-dark-9216")), 0)
    found = {
        key: header[key]
        for key in ("SPGRP", "SPGRPVAL", "SURVEY", "PROGRAM", "HPXPIXEL", "HPXNSIDE", "HPXNEST")
    }
    assert list(found.values()) == ["healpix", 9216, "main", "dark", 9216, 64, True]


def test_tables_have_the_columns_of_desi(tree):
    fibers = tree.read(FILES[0], "FIBERMAP").dtype
    expected = {"TARGETID": "i8", "COADD_FIBERSTATUS": "i4", "TARGET_RA": "f8", "OBJTYPE": "U3", "EBV": "f4"}
    expected |= {"REF_ID": "i8", "REF_CAT": "U2", "GAIA_PHOT_G_MEAN_MAG": "f4", "PARALLAX": "f4"}
    expected |= dict.fromkeys(("DESI_TARGET", "BGS_TARGET", "MWS_TARGET", "SCND_TARGET"), "i8")
    assert {name: fibers[name].newbyteorder("=").str[1:] for name in expected} == expected
    assert "TILEID" not in fibers.names
    redshifts = tree.read(FILES[0], "REDSHIFTS", "redrock").dtype
    assert (
        redshifts["COEFF"].shape,
        redshifts["SPECTYPE"].itemsize // 4,
        redshifts["SUBTYPE"].itemsize // 4,
    ) == (
        (10,),
        6,
        20,
    )
    assert {f"MEDIAN_COADD_SNR_{arm}" for arm in "BRZ"} < set(tree.read(FILES[0], "SCORES").dtype.names)


def test_without_resolution_only_those_hdus_are_gone(tree, tmp_path):
    bare = simulate(tmp_path / "bare")
    for stem in FILES:
        kept = [name for name in hdu_names(tree.path(stem)) if not name.endswith("_RESOLUTION")]
        assert hdu_names(bare.path(stem)) == kept
        for name in kept[1:]:
            np.testing.assert_array_equal(bare.read(stem, name), tree.read(stem, name))
        assert bare.path(stem, "redrock").read_bytes() == tree.path(stem, "redrock").read_bytes()


def test_bytes_depend_on_settings_and_on_nothing_else(tmp_path):
    first, again, longer, other = (
        simulate(tmp_path / name, **changed)
        for name, changed in (
            ("first", {"stars": 80}),
            ("again", {"stars": 80}),
            ("longer", {"stars": 100}),
            ("other", {"stars": 80, "seed": SEED + 1}),
        )
    )
    one = coadd_bytes(first)
    assert one == coadd_bytes(again) == coadd_bytes(longer)
    assert all(left != right for left, right in zip(one, coadd_bytes(other), strict=True))
    truth = [(run.root / "truth.parquet").read_bytes() for run in (first, again, other)]
    assert truth[0] == truth[1] != truth[2]


def coadd_bytes(tree: Tree) -> list[bytes]:
    """The first two files, full ones in every survey that is compared."""
    return [tree.path(stem).read_bytes() for stem in FILES[:2]]


# --- rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", FILES)
def test_truth_rows_are_the_rows_of_the_files(tree, stem):
    truth = tree.truth(stem)
    for name, kind in (
        ("FIBERMAP", "coadd"),
        ("SCORES", "coadd"),
        ("REDSHIFTS", "redrock"),
        ("TSNR2", "redrock"),
    ):
        np.testing.assert_array_equal(tree.read(stem, name, kind)["TARGETID"], truth["targetid"])
    fibers = tree.read(stem, "FIBERMAP")
    np.testing.assert_array_equal(fibers["TARGET_RA"], truth["ra"])
    is_star = fibers["DESI_TARGET"] & (1 << 61) != 0
    np.testing.assert_array_equal(is_star, truth["kind"] == "star")
    assert is_star.sum() == PER_FILE
    assert len(set(truth["targetid"])) == len(fibers)
    exposed = tree.read(stem, "EXP_FIBERMAP")
    assert set(exposed["TARGETID"]) == set(truth["targetid"])


@pytest.mark.parametrize("stem", FILES)
def test_dead_and_stuck_fibres_recorded_nothing(tree, stem):
    truth, fibers = tree.truth(stem), tree.read(stem, "FIBERMAP")
    dead, stuck = truth["dead"].astype(bool), truth["kind"] == "stuck"
    assert dead.sum() == 1 and stuck.sum() == 1 and not (dead & stuck).any()
    np.testing.assert_array_equal(fibers["COADD_FIBERSTATUS"] != 0, dead | stuck)
    np.testing.assert_array_equal(fibers["TARGETID"] < 0, stuck)
    np.testing.assert_array_equal(fibers["OBJTYPE"] == "", stuck)
    for arm in "BRZ":
        images = [tree.read(stem, f"{arm}_{kind}") for kind in ("FLUX", "IVAR", "MASK", "RESOLUTION")]
        for image in images:
            assert not image[dead | stuck].any()
            assert np.isfinite(image).all()
        assert (images[1][~(dead | stuck)] > 0).mean() > 0.99
    redshifts = tree.read(stem, "REDSHIFTS", "redrock")
    assert (redshifts["ZWARN"][dead | stuck] & (1 << 9) != 0).all()


def test_sky_fibres_hold_noise_and_galaxies_are_galaxies(tree):
    truth, fibers = tree.truth(FILES[0]), tree.read(FILES[0], "FIBERMAP")
    sky, galaxy = truth["kind"] == "sky", truth["kind"] == "galaxy"
    assert sky.any() and galaxy.any()
    np.testing.assert_array_equal(fibers["OBJTYPE"] == "SKY", sky)
    pull = tree.read(FILES[0], "R_FLUX")[sky] * np.sqrt(tree.read(FILES[0], "R_IVAR")[sky])
    good = tree.read(FILES[0], "R_MASK")[sky] == 0
    assert abs(np.median(pull[good])) < 0.1
    assert (fibers["DESI_TARGET"][galaxy] & (1 << 60) != 0).all()
    redshifts = tree.read(FILES[0], "REDSHIFTS", "redrock")
    assert set(redshifts["SPECTYPE"][galaxy]) == {"GALAXY"}
    assert (redshifts["Z"][galaxy] > 0.02).all()


@pytest.mark.parametrize("stem", FILES)
def test_positions_lie_in_the_pixel_and_gaia_ids_agree(tree, stem):
    truth, fibers = tree.truth(stem), tree.read(stem, "FIBERMAP")
    sky = Longitude(fibers["TARGET_RA"], u.deg), Latitude(fibers["TARGET_DEC"], u.deg)
    assert set(lonlat_to_healpix(*sky, 6)) == {int(stem.split("-")[2])}
    known = fibers["REF_ID"] != 0
    np.testing.assert_array_equal((fibers["REF_ID"] >> 35)[known], lonlat_to_healpix(*sky, 12)[known])
    assert (fibers["REF_ID"][known] > 1 << 53).all()
    assert (np.abs(fibers["TARGETID"][truth["kind"] != "stuck"]) > 1 << 53).all()
    source = truth["gaia_source_id"]
    np.testing.assert_array_equal(np.isnan(source.astype(np.float64)), ~known)


def test_stars_unknown_to_gaia_are_coded_zero(tmp_path):
    survey = simulate(tmp_path, stars=300, stars_per_file=300)
    fibers = survey.read(FILES[0], "FIBERMAP")
    star = fibers["DESI_TARGET"] & (1 << 61) != 0
    unknown = star & (fibers["REF_ID"] == 0)
    assert 0.01 < unknown.sum() / star.sum() < 0.10
    for name in (
        "GAIA_PHOT_G_MEAN_MAG",
        "GAIA_PHOT_BP_MEAN_MAG",
        "GAIA_PHOT_RP_MEAN_MAG",
        "PARALLAX",
        "PMRA",
    ):
        assert (fibers[name][unknown] == 0).all()
        assert (fibers[name][star & ~unknown] != 0).all()


def test_two_programs_share_targets_with_the_same_labels(tree):
    bright, dark = (tree.truth(stem) for stem in FILES[:2])
    common, left, right = np.intersect1d(bright["targetid"], dark["targetid"], return_indices=True)
    assert len(common[common > 0]) == 1
    for name in ("ra", "gaia_source_id", "g_mag", "rv", *LABELS):
        np.testing.assert_array_equal(bright[name][left], dark[name][right])
    both = [tree.read(stem, "R_FLUX")[rows] for stem, rows in ((FILES[0], left), (FILES[1], right))]
    assert not np.array_equal(*both)


def test_redrock_finds_the_velocity_of_stars(tree):
    for stem in FILES:
        truth, redshifts = tree.truth(stem), tree.read(stem, "REDSHIFTS", "redrock")
        trusted = (truth["kind"] == "star") & (redshifts["ZWARN"] == 0)
        assert trusted.sum() > 0.9 * PER_FILE
        pull = (redshifts["Z"] - truth["rv"] / LIGHT_SPEED)[trusted] / redshifts["ZERR"][trusted]
        assert np.abs(pull).max() < 5
        assert set(redshifts["SPECTYPE"][trusted]) == {"STAR"}
        null = np.isnan(truth["rv"])
        np.testing.assert_array_equal(null, truth["kind"] != "star")


# --- refusals and labels -----------------------------------------------------------------------


def test_given_labels_are_used_in_order(tmp_path):
    given_rows = 30
    teff = np.linspace(4000, 6500, given_rows)
    table = pa.table({"teff": teff, "logg": [4.5] * given_rows, "fe_h": np.linspace(-1, 0.3, given_rows)})
    survey = simulate(tmp_path, stars=20, stars_per_file=20, labels=table)
    truth = survey.truth(FILES[0])
    star = truth["kind"] == "star"
    np.testing.assert_allclose(truth["teff"][star], teff[:20], rtol=1e-6)
    np.testing.assert_array_equal(truth["mg_h"][star], truth["fe_h"][star])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"teff": [5000.0] * 20, "logg": [4.5] * 20}, "lacks fe_h"),
        ({"teff": [5000.0] * 9, "logg": [4.5] * 9, "fe_h": [0.0] * 9}, "9 rows for 20 stars"),
        ({"teff": [5000.0] * 20, "logg": [4.5] * 20, "fe_h": [None] + [0.0] * 19}, "fe_h of row 0"),
        ({"teff": [5000.0] * 19 + [5e4], "logg": [4.5] * 20, "fe_h": [0.0] * 20}, "teff of row 19"),
    ],
)
def test_unusable_labels_are_refused_before_anything_is_written(tmp_path, columns, message):
    with pytest.raises(ValueError, match=message):
        simulate(tmp_path / "new", stars=20, stars_per_file=20, labels=pa.table(columns))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "wrong", [{"stars": 0}, {"stars": -5}, {"stars_per_file": 0}, {"stars_per_file": MOST_STARS + 1}]
)
def test_impossible_counts_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="stars"):
        simulate(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_a_root_with_another_survey_is_refused(tmp_path):
    simulate(tmp_path / "mine", stars=5, stars_per_file=5)
    before = (tmp_path / "mine" / "truth.parquet").read_bytes()
    with pytest.raises(ValueError, match="other seed"):
        simulate(tmp_path / "mine", stars=5, stars_per_file=5, seed=SEED + 1)
    assert (tmp_path / "mine" / "truth.parquet").read_bytes() == before
    (tmp_path / "real" / "healpix").mkdir(parents=True)
    with pytest.raises(ValueError, match="not simulated here"):
        simulate(tmp_path / "real")


@given(stars=st.integers(1, 5000), per_file=st.integers(1, 700))
def test_plans_cover_every_star_once(stars, per_file):
    plans = list(plan_files(stars, per_file))
    assert sum(plan.stars for plan in plans) == stars
    assert len({plan.stem for plan in plans}) == len(plans)
    own = [(plan.first_own, plan.first_own + plan.stars - plan.shared) for plan in plans]
    assert all(before[1] == after[0] for before, after in pairwise(own))
    for plan in plans:
        assert (plan.twin is None) == (plan.shared == 0)
        assert plan.twin is None or (plan.twin.healpix, plan.twin.program) == (plan.healpix, "bright")
        assert plan.twin is None or plan.shared <= plan.twin.stars


# --- light ---------------------------------------------------------------------------------

# The strongest clean feature of each element: rest vacuum centre and half width (Å).
FEATURES = {
    "mg_h": (5179.5, 8.5),
    "ca_h": (8544.4, 12.0),
    "na_h": (5894.6, 9.0),
    "c_h": (4308.0, 24.0),
    "ti_h": (4983.1, 3.0),
    "cr_h": (5209.9, 4.0),
    "ni_h": (5478.4, 3.0),
    "si_h": (7425.5, 3.0),
    "al_h": (3962.6, 2.5),
}


@pytest.mark.parametrize("name", FEATURES)
@settings(max_examples=8, deadline=None)
@given(teff=st.floats(4600, 6200), logg=st.floats(2.0, 4.6), fe_h=st.floats(-1.0, 0.2))
def test_a_feature_grows_with_its_element(name, teff, logg, fe_h):
    metals = dict.fromkeys(LABELS[2:], fe_h)
    steps = np.array([-0.3, 0.0, 0.3])
    table = labels(3, **(metals | {"teff": teff, "logg": logg, name: fe_h + steps}))
    width = width_of(synthesize(table), table, *FEATURES[name])
    assert (np.diff(width) > 0.002).all()


def test_iron_lines_grow_with_iron():
    table = labels(4, fe_h=np.array([-2.0, -1.0, 0.0, 0.4]))
    flux = synthesize(table)
    lines = atomic_lines()
    iron = [
        w for w, e in zip(lines.wavelength_L, lines.element_L, strict=True) if e == "Fe" and 5200 < w < 5500
    ]
    depth = np.mean([width_of(flux, table, center, 2.5) for center in iron], axis=0)
    assert (np.diff(depth) > 0.02).all()


def test_balmer_lines_are_a_thermometer_and_molecules_are_cold():
    poor = dict.fromkeys(LABELS[2:], -2.0)
    table = labels(5, **poor, teff=np.array([4200.0, 5000.0, 5800.0, 6500.0, 7200.0]))
    flux = synthesize(table)
    for center in (6564.6, 4862.7):
        assert (np.diff(width_of(flux, table, center, 30.0)) > 0.2).all()
    cold = labels(3, teff=np.array([3700.0, 3900.0, 4500.0]), logg=4.7)
    titanium_oxide = width_of(synthesize(cold), cold, 7100.0, 60.0)
    assert titanium_oxide[0] > 1.5 * titanium_oxide[1] > 3 * titanium_oxide[2]


def test_gravity_shows_in_pressure_broadened_and_in_ionised_lines():
    table = labels(2, teff=4800.0, logg=np.array([2.3, 4.6]))
    flux = synthesize(table)
    giant, dwarf = width_of(flux, table, 5174.0, 13.0)
    assert dwarf > 1.2 * giant
    giant, dwarf = width_of(flux, table, 4925.3, 2.5)
    assert giant > 1.2 * dwarf


def test_solar_lines_have_about_their_measured_widths():
    # Air wavelength: equivalent width (Å) in the solar flux spectrum (Moore, Minnaert & Houtgast 1966).
    measured = {5889.95: 0.75, 5269.54: 0.48, 4383.54: 1.0, 6162.17: 0.22, 8542.09: 3.7, 5206.04: 0.20}
    table = labels()
    ratio = [
        width_of(synthesize(table), table, air_to_vacuum(np.array([air]))[0], 4.0 if width < 1 else 9.0)[0]
        / width
        for air, width in measured.items()
    ]
    assert all(0.4 < value < 2.2 for value in ratio)


def test_absorption_lies_at_vacuum_wavelengths():
    assert air_to_vacuum(np.array([5889.950])) == pytest.approx(5891.583, abs=0.003)
    window = np.abs(REST_WAVELENGTH - 6563) < 15
    assert REST_WAVELENGTH[window][np.argmin(synthesize(labels())[0, window])] == pytest.approx(
        6564.6, abs=0.5
    )


@settings(max_examples=20, deadline=None)
@given(velocity=st.floats(-550, 550))
def test_velocity_moves_lines_by_doppler(velocity):
    center = 6600.0
    line = np.exp(-0.5 * ((REST_WAVELENGTH - center) / 0.75) ** 2).astype(np.float32)[None]
    moved = shift_to(line, np.array([velocity]), GRID)[0]
    expected = np.exp(-0.5 * ((GRID / (1 + velocity / LIGHT_SPEED) - center) / 0.75) ** 2)
    np.testing.assert_allclose(moved, expected, atol=7e-3)


def test_flux_follows_the_magnitude():
    shape = shift_to(synthesize(labels(2)), np.zeros(2), GRID)
    bright, faint = scale_to_magnitude(shape, np.array([15.0, 16.0]))
    np.testing.assert_allclose(bright / faint, 10**0.4, rtol=1e-5)
    assert 80 < np.median(faint[(GRID > 6000) & (GRID < 6500)]) < 130


def test_extinction_curve_is_that_of_the_diffuse_medium():
    a_v, a_b = extinction_curve(np.array([5494.5, 4400.0]))
    assert a_v == pytest.approx(3.1, abs=0.01)
    assert a_b - a_v == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_resolution_columns_conserve_flux_and_have_the_width_of_the_lsf(arm):
    diagonals = resolution_diagonals(arm.wavelength_P).astype(np.float64)
    inner = slice(6, -6)
    np.testing.assert_allclose(diagonals.sum(axis=0)[inner], 1, atol=1e-5)
    offset = np.arange(5, -6, -1)[:, None]
    variance = (diagonals * offset**2).sum(axis=0)
    expected = (lsf_sigma(arm.wavelength_P) / 0.8) ** 2 + 1 / 12
    np.testing.assert_allclose(variance[inner], expected[inner], rtol=2e-3)


def test_a_narrow_line_is_blurred_as_the_resolution_says():
    lines = atomic_lines()
    index = int(np.argmin(np.abs(lines.wavelength_L - 6254.3)))
    profile = absorbers().profile_KP[index].astype(np.float64)
    variance = (profile * (REST_WAVELENGTH - lines.wavelength_L[index]) ** 2).sum() / profile.sum()
    assert profile.sum() * REST_STEP == pytest.approx(1, rel=1e-4)
    assert variance == pytest.approx(lsf_sigma(np.array([6254.3]))[0] ** 2 + 0.8**2 / 12, rel=1e-3)


def test_noise_has_the_size_of_its_ivar_and_the_mask_matters():
    plan = next(iter(plan_files(200, 200)))
    scene = build_scene(3, plan, lambda plan: draw_labels(np.random.default_rng(0), plan.stars - plan.shared))
    masked, spikes = [], 0
    for spectra in observe(3, plan, scene):
        part = slice(spectra.arm.start, spectra.arm.stop)
        pull = (spectra.flux_NP - scene.flux_NQ[:, part]) * np.sqrt(spectra.ivar_NP)
        kept = (spectra.mask_NP == 0) & (spectra.ivar_NP > 0)
        assert 1.4826 * np.median(np.abs(pull[kept])) == pytest.approx(1, abs=0.03)
        hurt = (spectra.mask_NP != 0) & (spectra.ivar_NP > 0)
        assert np.abs(pull[hurt]).mean() > 15
        masked.append(hurt.mean())
        spikes += len(np.unique(np.nonzero(kept & (pull > 15))[0]))
    assert 0.002 < np.mean(masked) < 0.004
    assert 5 < spikes < 50


def test_signal_to_noise_falls_from_100_at_14_to_5_at_20():
    shape = shift_to(synthesize(labels(2)), np.zeros(2), GRID)
    flux = scale_to_magnitude(shape, np.array([14.0, 20.0]))
    middle = ARMS[1]
    part = flux[:, middle.start : middle.stop]
    snr = np.median(part * np.sqrt(inverse_variance(part, middle, np.ones(2))), axis=1)
    assert 80 < snr[0] < 140 and 3 < snr[1] < 7


def test_drawn_labels_show_two_sequences_and_dwarfs_and_giants():
    table = draw_labels(np.random.default_rng(5), 4000)
    values = dict(zip(LABELS, table.T, strict=True))
    assert (values["teff"].min(), values["teff"].max()) >= (3600, 6000) and values["teff"].max() <= 7200
    assert 0.2 < np.mean(values["logg"] < 3.5) < 0.6
    disc = np.abs(values["fe_h"] + 0.5) < 0.1
    ratio = (values["mg_h"] - values["fe_h"])[disc]
    between = np.mean((ratio > 0.16) & (ratio < 0.22))
    assert np.mean(ratio < 0.16) > 2 * between and np.mean(ratio > 0.22) > 2 * between
