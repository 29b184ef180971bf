"""What we and our tests use of GaiaXPy, imported so that it changes nothing: it turns LaTeX on in figures.

Importing this takes two seconds, so it is imported where it is needed, and most runs do not need it.
"""

import matplotlib as mpl

with mpl.rc_context():
    from gaiaxpy import calibrate
    from gaiaxpy.core.config import load_xpmerge_from_xml, load_xpsampling_from_xml
    from gaiaxpy.core.generic_functions import correlation_to_covariance
    from gaiaxpy.spectrum.calibration_absolute_sampled_spectrum import CalibrationAbsoluteSampledSpectrum
    from gaiaxpy.spectrum.sampled_basis_functions import SampledBasisFunctions
    from gaiaxpy.spectrum.xp_continuous_spectrum import XpContinuousSpectrum

__all__ = [
    "CalibrationAbsoluteSampledSpectrum",
    "SampledBasisFunctions",
    "XpContinuousSpectrum",
    "calibrate",
    "correlation_to_covariance",
    "load_xpmerge_from_xml",
    "load_xpsampling_from_xml",
]
