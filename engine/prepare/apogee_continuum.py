"""APOGEE spectra -> pixels of astroNN (Leung & Bovy 2019, MNRAS 483, 3255): chips without the gaps between
them, each over a parabola through its continuum pixels.

After henrysky/astroNN: src/astroNN/apogee/chips.py (gap_delete, continuum, apogee_continuum). Two things
differ: bad pixels take no part in the fit (there all but NaN do), and a chip with too few continuum pixels is
missing.

Legend: N stars, P pixels, Q continuum pixels of one chip.
"""

from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from engine.prepare.array import Array, array_namespace, constant, quiet
from engine.prepare.as_given import join, parts_of, share
from engine.prepare.gather import gather, joined
from engine.prepare.normalised import Device, in_blocks
from engine.types import Bools, Floats, Grid, Input, Normalised, Spectrograph

Weighting: TypeAlias = Literal["ivar", "astronn"]

APOGEE_GRID = Grid(start=4.179, step=6e-6, pixels=8575, spacing="log10")
# The three chips, blue to red, without their edges: 3028 + 2495 + 1991 = 7514 pixels (DR13 to DR17).
APOGEE_PARTS = ((246, 3274), (3585, 6080), (6344, 8335))

DEGREE = 2
# A parabola through fewer of the near 200 continuum pixels of a chip says nothing of the rest of it.
LEAST_CONTINUUM_PIXELS = 10
LOW_QUANTILE, STRETCH, PER_STRETCH = 0.05, 50, 4


class _Term(NamedTuple):
    """One polynomial of a basis that is orthogonal on a star's own weights: its share, and how it recurs."""

    share_N1: Array
    centre_N1: Array
    ratio_N1: Array


def over_apogee_continuum(
    spectra: pa.Table,
    spectrograph: Spectrograph,
    wanted: Input,
    device: Device = None,
    *,
    continuum_P: Bools | None = None,
    weighting: Weighting = "ivar",
) -> Normalised:
    """Spectra over one parabola per chip (a part of `wanted`); negative flux becomes 0.

    `continuum_P` tells the continuum pixels among those that are kept: those that astroNN publishes (192, 138
    and 202 of the chips, engine/models/astronn_pixels.py), or those that `line_free` finds in training
    spectra. The default, every pixel, is no continuum but a level that depends on the star's lines.
    """
    used_P = np.ones(wanted.pixels, bool) if continuum_P is None else continuum_P
    assert len(used_P) == wanted.pixels, f"{len(used_P)} continuum flags for {wanted.pixels} pixels"
    way = partial(_over_parabolas, continuum_P=used_P, weighting=weighting)
    return in_blocks(way, spectra, spectrograph, wanted, device)


def _over_parabolas(
    spectra: pa.Table,
    spectrograph: Spectrograph,
    wanted: Input,
    device: Device,
    *,
    continuum_P: Bools,
    weighting: Weighting,
) -> Normalised:
    assert isinstance(wanted.grid, Grid)
    found = gather(spectra, spectrograph, wanted.grid, wanted.medium, wanted.frame == "rest", device)
    parts = parts_of(wanted)
    ends = np.cumsum([last - first for first, last in parts])
    chips = [
        over_parabola(found.flux_NP[:, first:last], found.ivar_NP[:, first:last], used, weighting)
        for (first, last), used in zip(parts, np.split(continuum_P, ends[:-1]), strict=True)
    ]
    flux_NP, ivar_NP = (joined(part) for part in zip(*chips, strict=True))
    return Normalised(
        flux_NP=flux_NP,
        ivar_NP=ivar_NP,
        snr_N=found.snr_N,
        lit_fraction_N=share(join(found.ivar_NP, parts)),
        good_fraction_N=share(ivar_NP),
        nonfinite_N=found.nonfinite_N,
        spikes_N=array_namespace(flux_NP).zeros_like(found.nonfinite_N),
    )


def over_parabola(
    flux_NP: Array, ivar_NP: Array, continuum_P: Bools, weighting: Weighting
) -> tuple[Array, Array]:
    """Flux of one chip over its continuum, at least 0, and its ivar; missing pixels are (1, 0)."""
    xp = array_namespace(flux_NP)
    level_NP = chip_level(flux_NP, ivar_NP, continuum_P, weighting)
    with quiet():
        ratio_NP = xp.clip(xp.astype(flux_NP / level_NP, xp.float32), min=0.0)
        weight_NP = xp.astype(ivar_NP * level_NP**2, xp.float32)
    good_NP = (weight_NP > 0) & (level_NP > 0) & xp.isfinite(ratio_NP) & xp.isfinite(weight_NP)
    return xp.where(good_NP, ratio_NP, 1.0), xp.where(good_NP, weight_NP, 0.0)


def chip_level(flux_NP: Array, ivar_NP: Array, continuum_P: Bools, weighting: Weighting) -> Array:
    """The continuum of one chip, float64, shape (N, P); 0 for stars with too few continuum pixels.

    The parabola that minimises sum weight (flux - level)^2 is one, whatever the basis: it equals numpy's
    Chebyshev.fit. "ivar" weights by ivar, as chi2 asks. "astronn" repeats the published networks' quirk:
    1 / (sigma^2 + 1e-8), handed to numpy as the w that it squares, weights by ivar^2.
    """
    xp = array_namespace(flux_NP)
    x_P = np.linspace(-1.0, 1.0, flux_NP.shape[1])
    places_Q = constant(np.flatnonzero(continuum_P), flux_NP)
    y_NQ, ivar_NQ = (xp.astype(xp.take(a, places_Q, axis=1), xp.float64) for a in (flux_NP, ivar_NP))
    weight_NQ = ivar_NQ if weighting == "ivar" else (ivar_NQ / (1 + 1e-8 * ivar_NQ)) ** 2
    terms = _fit(constant(x_P[continuum_P], flux_NP), y_NQ, weight_NQ)
    enough_N = xp.count_nonzero(ivar_NQ > 0, axis=1) >= LEAST_CONTINUUM_PIXELS
    return xp.where(enough_N[:, None], _evaluate(constant(x_P, flux_NP), terms), 0.0)


def _fit(x_Q: Array, y_NQ: Array, weight_NQ: Array) -> list[_Term]:
    """Weighted least squares by polynomials that recur in three terms (Forsythe 1957, J. SIAM 5, 74).

    Sums along rows are all it takes, so on a processor a star's numbers do not depend on its batch, and a few
    pixels of overwhelming weight do no harm, as they would to normal equations.
    """
    xp = array_namespace(y_NQ)
    p_NQ, before_NQ, norm_before_N1 = xp.ones_like(y_NQ), xp.zeros_like(y_NQ), xp.inf
    terms = []
    for _ in range(DEGREE + 1):
        weighted_NQ = weight_NQ * p_NQ
        norm_N1 = _total(weighted_NQ * p_NQ)
        norm_N1 = xp.where(norm_N1 > 0, norm_N1, 1.0)
        term = _Term(
            _total(weighted_NQ * y_NQ) / norm_N1,
            _total(weighted_NQ * p_NQ * x_Q) / norm_N1,
            norm_N1 / norm_before_N1,
        )
        # What is left to fit; in exact arithmetic the next shares would be the same without.
        y_NQ = y_NQ - term.share_N1 * p_NQ
        p_NQ, before_NQ, norm_before_N1 = _next(x_Q, term, p_NQ, before_NQ), p_NQ, norm_N1
        terms.append(term)
    return terms


def _total(x_NQ: Array) -> Array:
    return array_namespace(x_NQ).sum(x_NQ, axis=1, keepdims=True)


def _evaluate(x_P: Array, terms: list[_Term]) -> Array:
    """The fitted polynomial of each star at some places."""
    xp = array_namespace(x_P)
    p_NP, before_NP = xp.ones_like(x_P), xp.zeros_like(x_P)
    level_NP = before_NP
    for term in terms:
        level_NP = level_NP + term.share_N1 * p_NP
        p_NP, before_NP = _next(x_P, term, p_NP, before_NP), p_NP
    return level_NP


def _next(x_P: Array, term: _Term, p_NP: Array, before_NP: Array) -> Array:
    return (x_P - term.centre_N1) * p_NP - term.ratio_N1 * before_NP


def line_free(flux_NP: Floats, ivar_NP: Floats) -> Bools:
    """Continuum pixels chosen from normalised training spectra: ours, not the published list.

    In every stretch of 50 pixels the 4 that lie highest in almost all stars, by their fifth percentile. Being
    compared with neighbours they hardly depend on the level that the spectra were divided by, and they are
    spread over the chips as parabolas want it. A pixel must be good in half of the stars. On giants of a
    Cannon model the level then differs between stars by 0.3 %, against 1.3 % for every pixel and 0.1 % for
    the published ones.
    """
    known_NP = ivar_NP > 0
    often_P = known_NP.mean(axis=0) >= 0.5
    x_NP = np.where(known_NP | ~often_P, flux_NP, np.float32(np.nan))
    height_P = np.where(often_P, np.nanquantile(x_NP, LOW_QUANTILE, axis=0), -np.inf)
    chosen_P = np.zeros(len(height_P), bool)
    for first in range(0, len(height_P), STRETCH):
        highest = np.argsort(-height_P[first : first + STRETCH], kind="stable")[:PER_STRETCH]
        chosen_P[first + highest] = True
    return chosen_P & often_P
