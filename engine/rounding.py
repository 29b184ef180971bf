"""Labels, errors and scores without the bits in which nothing was measured: only where a spec asks for it.

Noise does not compress. Rounding to powers of two leaves zeros that do, and says less than a thousandth of an
error otherwise: a label moves by at most 1/2048 of its error, an error or a score by 1/2048 of itself. Ids,
positions and what comes from the survey or other tables stay as they are.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from engine.columns import SCORES
from engine.types import Column, Doubles, Estimates, Floats, Label, Support

# Of an error, in steps of powers of two; and the bits that errors and scores keep.
STEPS, BITS = 1024, 10


def rounded_estimates(estimates: Estimates) -> Estimates:
    """Labels in steps of a 1024th of their error or finer, errors to 10 bits; NaN stays NaN."""
    noise_NL = estimates.noise_NL
    return replace(
        estimates,
        centre_NL=in_steps(estimates.centre_NL, estimates.total_NL),
        model_NL=to_bits(estimates.model_NL),
        noise_NL=None if noise_NL is None else to_bits(noise_NL),
        total_NL=to_bits(estimates.total_NL),
    )


def rounded_support(support: Support) -> Support:
    """Scores to 10 bits; what they tell was decided before."""
    return replace(support, scores={name: to_bits(score_N) for name, score_N in support.scores.items()})


def in_steps(value: Floats, error: Floats) -> Floats:
    """Values in steps of the power of two at or below error / STEPS; as they are without an error."""
    known = np.isfinite(error) & (error > 0)
    exponent = np.floor(np.log2(np.where(known, error, 1.0).astype(np.float64) / STEPS))
    step: Doubles = np.exp2(exponent)
    return np.where(known, np.round(value / step) * step, value).astype(np.float32)


def to_bits(value: Floats) -> Floats:
    """Values with BITS significant bits."""
    mantissa, exponent = np.frexp(value)
    return np.ldexp(np.round(mantissa * 2**BITS) / 2**BITS, exponent).astype(np.float32)


def described_as_rounded(columns: Iterable[Column], labels: Iterable[Label]) -> tuple[Column, ...]:
    """The columns of a catalog whose labels, errors and scores are rounded, saying so."""
    said = {score.name: f"rounded to {BITS} bits" for score in SCORES}
    for label in labels:
        said[label.name] = f"rounded to 1/{STEPS} of its error"
        said |= {f"e_{label.name}{of}": f"rounded to {BITS} bits" for of in ("", "_model", "_noise")}
    return tuple(
        replace(column, description=f"{column.description}; {said[column.name]}")
        if column.name in said
        else column
        for column in columns
    )
