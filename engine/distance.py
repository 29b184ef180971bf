"""Pseudo-luminosity and photometry -> distance and parallax, star by star.

Leung & Bovy (2019b, MNRAS 489, 2079): F = parallax * 10^(0.2 m) with the parallax in mas and m = Ks - A_K, so
that d = 1000 * 10^(0.2 m) / F pc and parallax = F / 10^(0.2 m) mas. The public code ignores the errors of
photometry and extinction, and takes the first star's magnitude for a whole batch; neither is done here.
"""

import numpy as np
import pyarrow as pa

from engine.columns import describe_label
from engine.prepare.array import column
from engine.types import Bools, Doubles, Estimates, Floats, Label

# A_K / E(B-V) as AstroNNDist has it (0.918 / 2.61).
A_K_PER_EBV = 0.3517
PER_MAG = 0.2 * np.log(10)
# Catalogs write 99.99 and -9999 for magnitudes that they do not have; the limits are AstroNNDist's.
NO_MAGNITUDE_FROM, NO_KS_TO = 98.0, -1.0
# Of a distance or its error. The observable Universe is larger, no star's distance is.
MOST_PC = 1e10
NAMES = ("dist", "parallax_nn")
NEEDS = ("tmass_ks", "ebv")
WISHES = ("e_tmass_ks", "e_ebv")


def distance_labels() -> tuple[Label, ...]:
    """What follows from a pseudo-luminosity: labels whose training range and calibration are those of F."""
    labels = []
    for name in NAMES:
        unit, ucd, description = describe_label(name)
        labels.append(Label(name=name, unit=unit, ucd=ucd, description=description))
    return tuple(labels)


def with_distances(estimates: Estimates, spectra: pa.Table) -> Estimates:
    """Estimates of F alone, shape (N, 1) -> of F, distance [pc] and parallax [mas], shape (N, 3).

    Errors are propagated to first order: sigma_d / d = sqrt((sigma_F / F)² + (0.2 ln 10)² sigma_m²), where
    sigma_m² = sigma_Ks² + sigma_AK²; what is not joined of these counts as 0. The photometric part belongs to
    `noise`. Both are unknown where F is not above 0, Ks or E(B-V) is missing, or the distance or its error is
    more than MOST_PC.
    """
    assert estimates.noise_NL is not None
    m_N, photometric_N = _magnitude(spectra)
    f_N = estimates.centre_NL[:, 0].astype(np.float64)
    known_N = estimates.known_NL[:, 0] & (f_N > 0) & np.isfinite(m_N)
    f_N, factor_N = np.where(known_N, f_N, 1.0), 10.0 ** (0.2 * np.where(known_N, m_N, 0.0))
    centre_N2 = np.stack([1000 * factor_N / f_N, f_N / factor_N], axis=1)
    model_N = estimates.model_NL[:, 0] / f_N
    noise_N, total_N = (
        np.hypot(x_N1[:, 0] / f_N, photometric_N) for x_N1 in (estimates.noise_NL, estimates.total_NL)
    )
    known_N &= centre_N2[:, 0] * np.maximum(total_N, 1) <= MOST_PC
    centre_N2 = np.where(known_N[:, None], centre_N2, 0.0)
    return Estimates(
        centre_NL=_beside(estimates.centre_NL, centre_N2),
        model_NL=_beside(estimates.model_NL, centre_N2 * model_N[:, None]),
        noise_NL=_beside(estimates.noise_NL, centre_N2 * noise_N[:, None]),
        total_NL=_beside(estimates.total_NL, centre_N2 * total_N[:, None]),
        known_NL=np.column_stack([estimates.known_NL, known_N, known_N]),
        calibrated=estimates.calibrated,
    )


def without_ks(spectra: pa.Table) -> Bools:
    """Where there is no Ks: not finite, 98 or more, -1 or less."""
    ks_N = column(spectra, "tmass_ks")
    return ~((ks_N > NO_KS_TO) & (ks_N < NO_MAGNITUDE_FROM))


def _magnitude(spectra: pa.Table) -> tuple[Doubles, Doubles]:
    """Ks free of extinction, NaN where it is not known, and the relative error of distances from it."""
    ks_N, ebv_N = column(spectra, "tmass_ks"), column(spectra, "ebv")
    known_N = ~without_ks(spectra) & (ebv_N >= 0) & (ebv_N < NO_MAGNITUDE_FROM)
    m_N = np.where(known_N, ks_N - A_K_PER_EBV * ebv_N, np.nan)
    e_ks_N, e_ebv_N = (_error(spectra, name) for name in WISHES)
    return m_N, PER_MAG * np.hypot(e_ks_N, A_K_PER_EBV * e_ebv_N)


def _error(spectra: pa.Table, name: str) -> Doubles:
    """An error of photometry, 0 where there is none."""
    if name not in spectra.column_names:
        return np.zeros(len(spectra))
    error_N = column(spectra, name)
    return np.where((error_N >= 0) & (error_N < NO_MAGNITUDE_FROM), error_N, 0.0)


def _beside(f_N1: Floats, derived_N2: Doubles) -> Floats:
    return np.column_stack([f_N1, derived_N2]).astype(np.float32)
