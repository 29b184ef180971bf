"""Real DESI files, and theoretical stars dressed in real DESI noise, through the whole road."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from scipy.sparse import dia_matrix

from engine.prepare.frame import LIGHT_KMS
from tests.flows.catalogs import catalog_of, has
from tests.flows.conftest import Trained
from tests.unit.desi_files import ARMS, DesiFile, write_redrock

pytestmark = pytest.mark.realdata


def test_every_real_row_has_an_outcome(realdata: Path, bundle: Path, tmp_path: Path) -> None:
    rows = catalog_of(realdata / "desi", bundle, tmp_path, 6)
    expected, dark = [], []
    for path in sorted((realdata / "desi").glob("*-thru*.fits")):
        if path.name.startswith("redrock"):
            continue
        with fits.open(path) as hdus:
            expected += hdus["FIBERMAP"].data["TARGETID"].tolist()
            lit = [(hdus[f"{a}_IVAR"].data > 0) & (hdus[f"{a}_MASK"].data == 0) for a in "BRZ"]
            dark += (~np.hstack(lit).any(axis=1)).tolist()
    assert len(expected) == 11
    assert sorted(rows["targetid"].to_pylist()) == sorted(expected)
    assert sum(dark) == 8
    nothing = has(rows, "NO_GOOD_PIXELS")
    assert sorted(rows.filter(pa.array(nothing))["targetid"].to_pylist()) == sorted(
        target for target, none in zip(expected, dark, strict=True) if none
    )
    assert (rows["teff"].is_null().to_numpy() == nothing).all()
    assert (has(rows, "NO_RESULT") == nothing).all()
    assert has(rows, "NOT_A_STAR").sum() == 1
    assert (has(rows, "NOT_A_TARGET") == (rows["targetid"].to_numpy() < 0)).all()
    assert set(rows["expid"].to_pylist()) == {None, 85502}


def dressed_templates(realdata: Path, root: Path) -> np.ndarray:
    """62 theoretical stars as a DESI coadd with the ivar, mask and resolution of a real one; their Teff.

    Each is seen through the real resolution matrix, moved by a velocity, scaled to S/N 60 in the real
    noise, and gets noise from the real ivar.
    """
    random = np.random.default_rng(5)
    with fits.open(realdata / "desi" / "star_templates_v2.0-lite.fits") as hdus:
        flux_ST, wave_T, about = hdus[0].data.astype(float), hdus[2].data.astype(float), hdus["METADATA"].data
        teff, rv = about["TEFF"].astype(float), random.normal(0, 80, len(about))
    images: dict[str, np.ndarray] = {}
    with fits.open(realdata / "desi" / "coadd-5-169-thru20210419.fits") as real:
        row = int(np.flatnonzero(real["FIBERMAP"].data["COADD_FIBERSTATUS"] == 0)[0])
        for arm, (start, pixels) in ARMS.items():
            wave, ivar = start + 0.8 * np.arange(pixels), real[f"{arm}_IVAR"].data[row].astype(float)
            bands = real[f"{arm}_RESOLUTION"].data[row].astype(float)
            offsets = np.arange(len(bands) // 2, -(len(bands) // 2) - 1, -1)
            matrix = dia_matrix((bands, offsets), shape=(pixels, pixels))
            seen = np.stack(
                [
                    matrix @ np.interp(wave / (1 + v / LIGHT_KMS), wave_T, f)
                    for v, f in zip(rv, flux_ST, strict=True)
                ]
            )
            images |= {
                f"{arm}_FLUX": seen,
                f"{arm}_IVAR": ivar,
                f"{arm}_MASK": real[f"{arm}_MASK"].data[row].astype("i4"),
            }
    level = np.median(images["R_FLUX"] * np.sqrt(images["R_IVAR"]), axis=1, keepdims=True) / 60
    for arm in ARMS:
        ivar = np.broadcast_to(images[f"{arm}_IVAR"], images[f"{arm}_FLUX"].shape).astype("f4")
        noise = random.normal(size=ivar.shape) * np.where(
            ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1)), 0
        )
        images[f"{arm}_FLUX"] = (images[f"{arm}_FLUX"] / level + noise).astype("f4")
        images[f"{arm}_IVAR"] = ivar
        images[f"{arm}_MASK"] = np.broadcast_to(images[f"{arm}_MASK"], ivar.shape).copy()
    path = root / "healpix" / "main" / "bright" / "0" / "7" / "coadd-main-bright-7.fits"
    DesiFile(rows=len(teff), images=images).write(path)
    ids = 39633297352951412 + np.arange(len(teff))
    write_redrock(path.with_name("redrock-main-bright-7.fits"), ids, Z=rv / LIGHT_KMS)
    return teff


def test_theoretical_stars_in_real_noise_are_labelled_and_flagged(
    realdata: Path, trained: Trained, tmp_path: Path
) -> None:
    """Hotter than anything in the training set, most get labels from inside its range all the same.

    The box cannot tell; the distance from the training spectra can.
    """
    teff = dressed_templates(realdata, tmp_path / "templates")
    rows = catalog_of(tmp_path / "templates", trained.report.bundle, tmp_path, 50).sort_by("targetid")
    assert len(rows) == 62
    assert rows["teff"].null_count == 0
    flagged = has(rows, "OUTSIDE_TRAINING") | has(rows, "UNLIKE_TRAINING")
    outside = (teff < 3600) | (teff > 7200)
    assert outside.sum() > 30
    assert flagged[outside].all()
