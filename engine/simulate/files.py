"""Writes the FITS files of a simulated survey; the only module of the simulator that knows FITS.

Legend: N rows, P pixels of an arm, D diagonals.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import numpy.typing as npt

from engine.simulate.plan import FilePlan
from engine.simulate.resolution import resolution_diagonals
from engine.simulate.scene import ArmSpectra, Scene

Records = npt.NDArray[np.void]

_FLUX_UNIT = "10**-17 erg/(s cm2 Angstrom)"
_IVAR_UNIT = "10**+34 (s2 cm4 Angstrom2) / erg2"


def write_coadd(
    folder: Path,
    plan: FilePlan,
    scene: Scene,
    arms: Sequence[ArmSpectra],
    tables: Mapping[str, Records],
    *,
    resolution: bool,
) -> Path:
    """Write coadd-{stem}.fits with the HDUs of a DESI healpix coadd, in their order; returns its path.

    `tables` holds FIBERMAP, EXP_FIBERMAP and SCORES. Without `resolution` the three RESOLUTION HDUs, four
    fifths of the bytes, are left out.
    """
    path = folder / f"coadd-{plan.stem}.fits"
    temporary = path.with_suffix(".tmp")
    with fitsio.FITS(str(temporary), "rw", clobber=True) as fits:
        _write_primary(fits, plan)
        for name in ("FIBERMAP", "EXP_FIBERMAP"):
            fits.write_table(tables[name], extname=name)
        for spectra in arms:
            _write_arm(fits, spectra)
            if resolution:
                _write_resolution(fits, spectra, scene.dark_N)
        fits.write_table(tables["SCORES"], extname="SCORES")
    temporary.replace(path)
    return path


def write_redrock(folder: Path, plan: FilePlan, tables: Mapping[str, Records]) -> Path:
    """Write redrock-{stem}.fits with REDSHIFTS, FIBERMAP, EXP_FIBERMAP and TSNR2; returns its path."""
    path = folder / f"redrock-{plan.stem}.fits"
    temporary = path.with_suffix(".tmp")
    with fitsio.FITS(str(temporary), "rw", clobber=True) as fits:
        _write_primary(fits, plan)
        for name in ("REDSHIFTS", "FIBERMAP", "EXP_FIBERMAP", "TSNR2"):
            fits.write_table(tables[name], extname=name)
    temporary.replace(path)
    return path


def _write_primary(fits: Any, plan: FilePlan) -> None:
    header = {
        "SPGRP": "healpix",
        "SPGRPVAL": plan.healpix,
        "SURVEY": plan.survey,
        "PROGRAM": plan.program,
        "HPXPIXEL": plan.healpix,
        "HPXNSIDE": 64,
        "HPXNEST": True,
        "ORIGIN": "abundant simulate desi",
    }
    fits.write_image(None, header=[{"name": key, "value": value} for key, value in header.items()])


def _write_arm(fits: Any, spectra: ArmSpectra) -> None:
    name = spectra.arm.name
    images = (
        ("WAVELENGTH", spectra.arm.wavelength_P, "Angstrom"),
        ("FLUX", spectra.flux_NP, _FLUX_UNIT),
        ("IVAR", spectra.ivar_NP, _IVAR_UNIT),
        ("MASK", spectra.mask_NP, None),
    )
    for kind, image, unit in images:
        header = [{"name": "BUNIT", "value": unit}] if unit else None
        fits.write_image(image, extname=f"{name}_{kind}", header=header)


def _write_resolution(fits: Any, spectra: ArmSpectra, dark_N: npt.NDArray[np.bool_]) -> None:
    """One matrix for every fibre, zero where the fibre recorded nothing."""
    diagonals_DP = resolution_diagonals(spectra.arm.wavelength_P)
    cube_NDP = np.where(dark_N[:, None, None], np.float32(0), diagonals_DP)
    fits.write_image(cube_NDP, extname=f"{spectra.arm.name}_RESOLUTION")
