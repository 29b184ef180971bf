"""Every row of a simulated file is a fibre that could be: a star, a galaxy, sky, or one that gave nothing."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from cdshealpix.nested import lonlat_to_healpix

from engine.simulate.labels import LABELS
from tests.unit.simulated import FILES, PER_FILE, simulate

LIGHT_SPEED = 299792.458


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
