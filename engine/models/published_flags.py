"""Flags as the networks' authors publish them, under their own names, beside ours.

They repeat what the public code does, flaws included, so that catalogs can be compared row by row. Raw
errors are sqrt(model² + noise²) of the network, before any calibration; they are that code's where
`[sampling] noise` is "astronn". For selecting stars ours are meant: no condition of ours is relative to a
label's value, and `flag_bad` holds rows without a result.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from engine.distance import NO_MAGNITUDE_FROM, without_ks
from engine.models.architecture import Published, Verdict
from engine.prepare.array import column
from engine.support import ABOVE, BELOW
from engine.types import Bools, Column, Floats

UNCERTAIN_LOGG, UNCERTAIN_TEFF, UNCERTAIN_FE_H = 1 << 0, 1 << 1, 1 << 2
FAKEMAG_UNRELIABLE, MISSING_PHOTOMETRY, MISSING_EXTINCTION = 1 << 0, 1 << 1, 1 << 2
NO_RESULT = 1 << 11

BOUNDARY = ("teff", "logg", "m_h", "alpha_m", "fe_h", "phot_g_mean_mag", "parallax")


def _label(found: Verdict, name: str) -> tuple[Floats, Floats]:
    """A label and its raw error, both NaN where there is no result or the bundle does not give it."""
    estimates, nan = found.estimates, np.float32(np.nan)
    assert estimates is not None
    if name not in found.names:
        return np.full(len(found.spectra), nan), np.full(len(found.spectra), nan)
    i = found.names.index(name)
    known_N, model_N = estimates.known_NL[:, i], estimates.model_NL[:, i]
    raw_N = model_N if estimates.noise_NL is None else np.hypot(model_N, estimates.noise_NL[:, i])
    return np.where(known_N, estimates.centre_NL[:, i], nan), np.where(known_N, raw_N, nan)


def _beyond(error_N: Floats, label_N: Floats, share: float) -> Bools:
    """abs(error / label) > share, without dividing: at a label of 0 any error is beyond."""
    return error_N > share * np.abs(label_N)


def judge_astronn(found: Verdict) -> Mapping[str, pa.Array]:
    """AstroNN's flags as `apply_flags` of the public code (SDSS Astra, models/astronn.py) sets them.

    The DR19 page gives UNCERTAIN_FE_H by abs(error / fe_h) alone; the code also asks for an error above
    0.2 dex, and so do we. Inference in the code sets UNCERTAIN_LOGG at an error of 0.2 already; every
    condition is strict here, as in `apply_flags`. As published, the bad flag does not hold NO_RESULT.
    """
    bits_N = np.full(len(found.spectra), NO_RESULT, np.int32)
    if found.estimates is not None:
        logg_N, e_logg_N = _label(found, "logg")
        fe_h_N, e_fe_h_N = _label(found, "fe_h")
        _, e_teff_N = _label(found, "teff")
        bits_N = np.where(np.any(found.estimates.known_NL, axis=1), 0, bits_N)
        bits_N |= _set((e_logg_N > 0.2) & _beyond(e_logg_N, logg_N, 0.075), UNCERTAIN_LOGG)
        bits_N |= _set(e_teff_N > 300, UNCERTAIN_TEFF)
        bits_N |= _set((e_fe_h_N > 0.2) & _beyond(e_fe_h_N, fe_h_N, 0.12), UNCERTAIN_FE_H)
    both = UNCERTAIN_LOGG | UNCERTAIN_FE_H
    bad_N = ((bits_N & UNCERTAIN_TEFF) != 0) | ((bits_N & both) == both)
    return _arrays("astronn", bits_N, warn_N=bits_N > 0, bad_N=bad_N)


def judge_astronn_dist(found: Verdict) -> Mapping[str, pa.Array]:
    """AstroNNDist's flags. As published, the warning flag is bit 2 alone, and an E(B-V) of 0 is missing.

    Where photometry or extinction is missing the public code goes on with 0; our distances are NULL without
    Ks or E(B-V), and take an E(B-V) of 0 for a value.
    """
    bits_N = np.full(len(found.spectra), NO_RESULT, np.int32)
    if found.estimates is not None:
        f_N, e_f_N = _label(found, "fakemag")
        bits_N = np.where(np.any(found.estimates.known_NL, axis=1), 0, bits_N)
        bits_N |= _set(e_f_N >= 0.2 * f_N, FAKEMAG_UNRELIABLE)
        ebv_N = column(found.spectra, "ebv")
        bits_N |= _set(without_ks(found.spectra), MISSING_PHOTOMETRY)
        bits_N |= _set(~((ebv_N > 0) & (ebv_N < NO_MAGNITUDE_FROM)), MISSING_EXTINCTION)
    bad_N = (bits_N & (FAKEMAG_UNRELIABLE | MISSING_PHOTOMETRY | NO_RESULT)) != 0
    return _arrays("astronn_dist", bits_N, warn_N=(bits_N & MISSING_EXTINCTION) != 0, bad_N=bad_N)


def judge_rvs_hybrid(found: Verdict) -> Mapping[str, pa.Array]:
    """A digit for each of seven quantities, 1 where it is outside the training range; NULL without a result.

    After Guiglion et al. (2024): the paper names the quantities; the order of its digits is not known to us.
    """
    if found.estimates is None:
        return {_BOUNDARY.name: pa.nulls(len(found.spectra), pa.string())}
    nothing_N = np.zeros(len(found.spectra), np.int16)
    sides_QN = np.stack([found.sides.get(name, nothing_N) for name in BOUNDARY])
    digits_QN = np.where(sides_QN & (BELOW | ABOVE), "1", "0")
    text = ["".join(digits_Q) for digits_Q in digits_QN.T]
    unknown_N = ~np.any(found.estimates.known_NL, axis=1)
    return {_BOUNDARY.name: pa.array(text, pa.string(), mask=unknown_N)}


def _set(condition_N: Bools, bit: int) -> np.ndarray:
    return np.where(condition_N, np.int32(bit), np.int32(0))


def _arrays(system: str, bits_N: np.ndarray, *, warn_N: Bools, bad_N: Bools) -> Mapping[str, pa.Array]:
    return {
        f"{system}_result_flags": pa.array(bits_N, pa.int32()),
        f"{system}_flag_warn": pa.array(warn_N),
        f"{system}_flag_bad": pa.array(bad_N),
    }


def _columns(system: str, bits: str, *, warn: str, bad: str) -> tuple[Column, ...]:
    """The three columns of a system of Astra."""
    kinds = {"result_flags": pa.int32(), "flag_warn": pa.bool_(), "flag_bad": pa.bool_()}
    texts = {"result_flags": bits, "flag_warn": warn, "flag_bad": bad}
    return tuple(
        Column(name=f"{system}_{name}", type=kind, ucd="meta.code.qual", description=texts[name])
        for name, kind in kinds.items()
    )


_BOUNDARY = Column(
    name="rvs_hybrid_flag_boundary",
    type=pa.string(),
    ucd="meta.code.qual",
    description="A digit each for teff, logg, m_h, alpha_m, fe_h, G, parallax, in our order (the published "
    "one is unknown): 1 = outside the training range, 0 = inside or not known; NULL = no result",
)

ASTRONN_FLAGS = Published(
    columns=_columns(
        "astronn",
        "As AstroNN sets them, on raw errors: 1: e_logg > 0.2 and > 0.075 |logg|; 2: e_teff > 300; "
        "4: e_fe_h > 0.2 and > 0.12 |fe_h|; 2048: no result",
        warn="As published by AstroNN: astronn_result_flags > 0",
        bad="As published by AstroNN: 2, or 1 and 4, of astronn_result_flags; NOT rows without a result",
    ),
    judge=judge_astronn,
)
ASTRONN_DIST_FLAGS = Published(
    columns=_columns(
        "astronn_dist",
        "As AstroNNDist sets them: 1: raw e_fakemag >= 0.2 fakemag; 2: Ks missing; "
        "4: E(B-V) missing or 0; 2048: no result",
        warn="As published by AstroNNDist: 4 of astronn_dist_result_flags, and no other",
        bad="As published by AstroNNDist: any of 1, 2, 2048 of astronn_dist_result_flags",
    ),
    judge=judge_astronn_dist,
)
RVS_HYBRID_FLAGS = Published(columns=(_BOUNDARY,), judge=judge_rvs_hybrid)
