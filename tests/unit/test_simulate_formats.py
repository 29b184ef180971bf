"""Simulated files hold what real ones of their survey do: gaps, bits, dark bands, names and grids."""

import gzip
from collections.abc import Callable
from pathlib import Path

import fitsio
import numpy as np
import pyarrow as pa
import pytest

from engine.simulate import SIMULATORS
from engine.simulate.surveys.gaia_rvs import WAVE as RVS_WAVE
from engine.surveys.apogee import APOGEE
from engine.surveys.gaia.xp_sampled import GAIA_XP_SAMPLED
from tests.unit.simulated_surveys import STARS, Seen, read_all, spec_of, tensor


@pytest.mark.parametrize("name", ["gaia_rvs", "gaia_xp", "gaia_xp_sampled"])
def test_source_ids_are_exact_and_lie_at_their_positions(name: str, seen: Callable[[str], Seen]) -> None:
    found = seen(name)
    ids = found.spectra["gaia_source_id"].to_numpy()
    assert ids.min() > 2**53
    assert (ids & 1).any()
    # Without a position in the file, the reader takes the centre of the source_id's pixel.
    assert np.abs(found.spectra["dec"].to_numpy() - found.true("dec")).max() < 0.01


def test_rvs_spectra_lack_pixels_at_their_ends_also_the_first(seen: Callable[[str], Seen]) -> None:
    flux_NP, ivar_NP, mask_NP = seen("gaia_rvs").arm("rvs")
    missing_NP = np.isnan(flux_NP)
    assert missing_NP[:, 0].any()
    assert missing_NP[:, -1].any()
    assert not missing_NP[:, 10:-10].any()
    assert (mask_NP[missing_NP] != 0).all()
    assert (ivar_NP[missing_NP] == 0).all()
    assert flux_NP.shape[1] == len(RVS_WAVE)


def test_bulk_files_are_named_after_the_pixels_of_their_sources(seen: Callable[[str], Seen]) -> None:
    for name in ("gaia_rvs", "gaia_xp", "gaia_xp_sampled"):
        files = list(seen(name).root.rglob("*.csv.gz"))
        assert len(files) == 2
        for path in files:
            lines = gzip.decompress(path.read_bytes()).decode().splitlines()
            names = next(line for line in lines if not line.startswith("#")).split(",")
            place = names.index("source_id")
            ids = [int(line.split(",")[place]) for line in lines if line[0].isdigit()]
            low, high = path.name.split("_")[1].split(".")[0].split("-")
            assert ids == sorted(ids)
            assert all(int(low) <= source >> 43 <= int(high) for source in ids)


def test_gaiaxpy_turns_coefficients_back_into_the_spectra(tmp_path: Path) -> None:
    gaiaxpy = pytest.importorskip("gaiaxpy")
    labels = pa.table({"teff": [4800.0, 5800.0] * 12, "logg": [4.5] * 24, "fe_h": [0.0] * 24})
    SIMULATORS["gaia_xp"](tmp_path / "a", stars=24, seed=3, labels=labels)
    [path] = (tmp_path / "a").rglob("XP_CONTINUOUS_RAW.csv")
    theirs, _ = gaiaxpy.calibrate(str(path), save_file=False)
    SIMULATORS["gaia_xp_sampled"](tmp_path / "b", stars=24, seed=3, labels=labels)
    sampled = GAIA_XP_SAMPLED
    ours = read_all(sampled, spec_of("gaia_xp_sampled", tmp_path / "b"))
    [arm] = sampled.arms
    rows = ours["source_id"].to_pylist()
    for source, flux_P in zip(theirs["source_id"], theirs["flux"], strict=True):
        ratio_P = flux_P / tensor(ours, f"flux_{arm.name}")[rows.index(int(source))]
        # 450 to 950 nm, where both bands see well; the unit of the reader is its own.
        middle_P = ratio_P[57:307] / np.median(ratio_P[57:307])
        assert np.median(np.abs(middle_P - 1)) < 0.05
        assert abs(np.median(middle_P[:60]) - np.median(middle_P[-60:])) < 0.05


def test_some_sources_lack_bp_and_others_rp(seen: Callable[[str], Seen]) -> None:
    found = seen("gaia_xp")
    dark = {band: (found.arm(band)[1] == 0).all(axis=1) for band in ("bp", "rp")}
    assert dark["bp"].sum() == 3
    assert dark["rp"].sum() == 3
    assert not (dark["bp"] & dark["rp"]).any()
    assert found.arm("bp")[0].shape[1] == 55


def test_apstar_files_have_the_rows_gaps_and_bits_of_real_ones(seen: Callable[[str], Seen]) -> None:
    found = seen("apogee")
    shapes = set()
    for path in sorted(found.root.rglob("a?Star-*.fits"))[:16]:
        with fitsio.FITS(str(path)) as fits:
            flux, error, mask = (np.atleast_2d(fits[hdu].read()) for hdu in (1, 2, 3))
            visits = fits[0].read_header()["NVISITS"]
            assert fits[1].get_info()["ndims"] == (1 if visits == 1 else 2)
        assert len(flux) == (1 if visits == 1 else visits + 2)
        shapes.add(len(flux))
        gap = error[0] >= 1e10
        assert 0.05 < gap.mean() < 0.15
        assert (flux[0][gap] == 0).all()
        bits = [int(bit) for bit in range(15) if (mask & (1 << bit)).any()]
        assert {0, 12, 13} <= set(bits)
        if visits > 1:
            assert np.median(error[0][~gap]) < np.median(error[2][~gap])
    assert {1, 5} <= shapes
    _, ivar_NP, mask_NP = found.arm("apogee")
    good_NP = (ivar_NP > 0) & (mask_NP == 0)
    assert 0.75 < good_NP.mean() < 0.92
    visits = read_all(APOGEE, spec_of("apogee", found.root, spectra="visits"))
    assert len(visits) > STARS
    assert visits["visit"].null_count == 0


def test_the_sky_stands_still_in_the_observatory_frame(seen: Callable[[str], Seen]) -> None:
    found = seen("apogee_visit")
    wave_NP = tensor(found.spectra, "wave_b")
    _, _, mask_NP = found.arm("b")
    near_NP = np.abs(wave_NP - 16235.0) < 0.3
    assert ((mask_NP & (1 << 12)) > 0)[near_NP].all()
    assert np.allclose(found.spectra["rv"].to_numpy(), found.true("rv"), atol=1e-3)


def test_files_of_fibres_differ_in_their_grids_and_some_stars_lack_a_camera(
    seen: Callable[[str], Seen],
) -> None:
    starts_N = tensor(seen("rave").spectra, "wave_cat")[:, 0]
    assert len(set(starts_N.tolist())) == STARS
    lacking_N = (seen("galah").arm("ccd4")[1] == 0).all(axis=1)
    assert lacking_N.sum() == 3
    assert not (seen("galah").arm("ccd3")[1] == 0).all(axis=1).any()
