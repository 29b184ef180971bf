"""Giants with the spectra of a Cannon model that was trained on real ones, as apStar files.

The model is quadratic in Teff, log g, [M/H] and [alpha/M] (jobovy/apogee, fitted to APOKASC giants); its
coefficients lie in the real data and are not part of the project.

Legend: N giants, L labels, P pixels of the apStar grid, F pixels that the model knows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.simulate.surveys.apogee import cards, write_star
from engine.simulate.surveys.apogee_light import BADPIX, GAP_ERROR, WAVE, Rows

FloatArray = npt.NDArray[np.float64]

LABELS: Final = ("teff", "logg", "m_h", "alpha_m")
_BASELINE: Final = np.array([4500.0, 2.0, -0.3, 0.05])
_CHIPS: Final = (slice(322, 3242), slice(3648, 6048), slice(6412, 8306))


@dataclass(frozen=True, slots=True)
class CannonModel:
    """Coefficients [15, F] of 1, four labels, and their ten products."""

    coefficients: FloatArray

    def __call__(self, labels_NL: FloatArray) -> FloatArray:
        """Continuum-normalised spectra [N, P], NaN where the model knows nothing."""
        x_NL = labels_NL - _BASELINE
        products = [x_NL[:, i] * x_NL[:, j] for i in range(len(LABELS)) for j in range(i, len(LABELS))]
        terms = np.column_stack([np.ones(len(x_NL)), x_NL, *products])
        flux_NP = np.full((len(x_NL), len(WAVE)), np.nan)
        flux_NP[:, np.r_[_CHIPS]] = terms @ self.coefficients
        return flux_NP


def load_model(realdata: Path) -> CannonModel:
    """The model of the APOKASC giants."""
    return CannonModel(np.loadtxt(realdata / "cannon_apokasc" / "trained_apokasc_gc_ind_feh_fix.txt"))


def training_labels(realdata: Path) -> FloatArray:
    """Labels [N, L] of the giants that the model was trained on."""
    path = realdata / "cannon_apokasc" / "training_apokasc_gc_ind_feh_fix.txt"
    return np.loadtxt(path, usecols=(1, 2, 3, 4))


def write_giants(root: Path, flux_NP: FloatArray, *, snr: float, seed: int) -> Iterator[Path]:
    """Write each spectrum as the apStar file of a star of three visits, on a sloping continuum."""
    rng = np.random.default_rng(seed)
    continuum_P = 150 * (16_000 / WAVE) ** 2
    for number, flux_P in enumerate(flux_NP):
        gap_P = np.isnan(flux_P)
        error_VP = np.tile(continuum_P / snr * np.sqrt(3), (3, 1))
        seen_VP = flux_P * continuum_P + error_VP * rng.standard_normal(error_VP.shape)
        visits = Rows(
            flux_RP=np.where(gap_P, 0.0, seen_VP),
            error_RP=np.where(gap_P, GAP_ERROR, error_VP),
            mask_RP=np.tile(np.where(gap_P, BADPIX, 0).astype(np.int16), (3, 1)),
        )
        name = f"2M1900{number:04d}+4000000"
        path = root / "apo25m" / "kepler" / f"apStar-r6-{name}.fits"
        header = {"OBJID": name, "TELESCOP": "apo25m", "FIELD": "kepler", "NVISITS": 3, "VHELIO": 0.0}
        write_star(path, cards(header), visits)
        yield path
