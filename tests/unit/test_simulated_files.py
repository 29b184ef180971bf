"""The simulator writes the files that DESI writes, byte for byte the same for the same settings."""

from pathlib import Path

import fitsio
import numpy as np
import pytest

from tests.unit.simulated import FILES, PER_FILE, SEED, Tree, simulate

PIXELS = {"B": 2751, "R": 2326, "Z": 2881}


def hdu_names(path: Path) -> list[str]:
    with fitsio.FITS(str(path)) as fits:
        return [hdu.get_extname() for hdu in fits]


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
