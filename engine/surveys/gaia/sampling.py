"""XP coefficients -> spectra sampled as in DR3, by the classes of GaiaXPy that make up `gaiaxpy.calibrate`.

`calibrate` itself loads its configuration anew at every call (0.25 s, against 0.5 ms for a source).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from engine.surveys.gaia.contract import Kind, Values

BANDS, COEFFICIENTS = ("bp", "rp"), 55
# The instrument models of DR3, as `calibrate` has them.
MODELS = {"bp_model": "v375wi", "rp_model": "v142r"}

# The archive keeps the lower triangle of the correlations, without its diagonal.
NEEDED: Mapping[str, Kind] = {
    f"{band}_{what}": kind
    for band in BANDS
    for what, kind in {
        "coefficients": COEFFICIENTS,
        "coefficient_errors": COEFFICIENTS,
        "coefficient_correlations": COEFFICIENTS * (COEFFICIENTS - 1) // 2,
        "standard_deviation": "number",
    }.items()
}


def sample(values: Values, wave_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flux and errors in W m⁻² nm⁻¹ at `wave_P` (DR3's own, in Angstrom), of the columns in NEEDED: (N, 343).

    All 55 bases and all correlations are used. NaN where a source has neither band, and beyond its only one;
    a band counts when all of it is finite.
    """
    assert np.allclose(_calibration()[0] * 10, wave_P)
    usable = {band: _usable(values, band) for band in BANDS}
    flux_NP = np.full((len(values["bp_coefficients"]), len(wave_P)), np.nan)
    error_NP = flux_NP.copy()
    with np.errstate(all="ignore"):
        for row in np.flatnonzero(usable["bp"] | usable["rp"]).tolist():
            flux_NP[row], error_NP[row] = _sampled(values, row, {b: usable[b][row] for b in BANDS})
    return flux_NP, error_NP


def _usable(values: Values, band: str) -> np.ndarray:
    columns = [values[name].reshape(len(values[name]), -1) for name in NEEDED if name.startswith(band)]
    finite_N = np.logical_and.reduce([np.isfinite(column).all(axis=1) for column in columns])
    return finite_N & (values[f"{band}_standard_deviation"] > 0)


def _sampled(values: Values, row: int, usable: Mapping[str, np.bool_]) -> tuple[np.ndarray, np.ndarray]:
    from engine.surveys.gaia.library import (
        CalibrationAbsoluteSampledSpectrum,
        XpContinuousSpectrum,
        correlation_to_covariance,
    )

    _, bases, merge = _calibration()
    continuous = {}
    for band in BANDS:
        coefficients, errors, correlations, deviation = (
            values[name][row] for name in NEEDED if name.startswith(band)
        )
        # GaiaXPy takes a band for missing when its covariance is no matrix.
        covariance: Any = (
            correlation_to_covariance(correlations, errors, deviation) if usable[band] else np.nan
        )
        continuous[band] = XpContinuousSpectrum(row, band, coefficients, covariance, deviation)
    spectrum = CalibrationAbsoluteSampledSpectrum(row, continuous, bases, merge)
    found = spectrum.spectrum_to_dict(with_correlation=False)
    return found["flux"], found["flux_error"]


@cache
def _calibration() -> tuple[np.ndarray, Any, Any]:
    """Wavelengths in nm, basis functions sampled there, and weights of BP and RP, as DR3 used them."""
    from engine.surveys.gaia.library import (
        SampledBasisFunctions,
        load_xpmerge_from_xml,
        load_xpsampling_from_xml,
    )

    wave_nm, merge = load_xpmerge_from_xml(**MODELS)
    matrices = load_xpsampling_from_xml(**MODELS)
    bases = {band: SampledBasisFunctions.from_design_matrix(wave_nm, matrices[band]) for band in BANDS}
    return np.asarray(wave_nm, np.float64), bases, merge
