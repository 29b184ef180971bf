"""Rows as a run gives them: labels of simulated stars with calibrated errors, ids and positions of a survey.

Stars are the simulator's; a small network with fixed weights sees their labels with noise that follows S/N,
in DRAWS draws under dropout, and `engine.estimate` makes labels and errors of them. Gaia's ids hold the pixel
of order 12 and end in seven zero bits, DESI's hold release, brick and object. Nothing is rounded but where it
is asked for, as a spec may.
"""

from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.columns import SCORES, describe_label
from engine.draw.masks import keep_mask
from engine.estimate import Labelling, estimate
from engine.prepare.scale import Affine
from engine.rounding import rounded_estimates, to_bits
from engine.simulate.labels import column, draw_labels
from engine.types import Calibration, Derived, Draws, Estimates, Label
from tests.bench.big_catalog import POPULATION, ROWS, Doubles, rows_of

# The network's labels: centre, scale, 1-sigma error at S/N 30.
NETWORK: Final = {
    "teff": (5200.0, 800.0, 60.0),
    "logg": (3.5, 1.2, 0.12),
    "fe_h": (-0.5, 0.5, 0.06),
    "mg_h": (-0.4, 0.5, 0.07),
}
DRAWS, HIDDEN, DROPOUT, SEED = 50, 32, 0.1, 5
MODEL_PIXELS = 7_781
SOURCE_ORDER, SOURCE_BITS, COMPONENT_BITS = 12, 35, 7
RELEASE, BRICK_DEGREES = 9_011, 0.25
GIANT_TO_DWARF = ((0.3, 2.45, 3.6, 4.3, 4.6, 4.9), (-2.5, 0.5, 2.9, 3.9, 6.0, 9.0))


def simulated_rows(number: int, files: int, *, rounded: bool = False) -> pa.Table:
    """The rows of one file of so many, with the positions, shards and flags of `rows_of`."""
    table = rows_of(number, files)
    rng = np.random.default_rng([11, number])
    none_N = table["flag_bad"].to_numpy()
    truth_NL = draw_labels(rng, ROWS)
    magnitude_N = 16 + 3 * np.sqrt(rng.random(ROWS))
    snr_N = 60 * 10 ** (-0.25 * (magnitude_N - 16)) * rng.lognormal(0, 0.3, ROWS)
    columns = (
        _ids(rng, table) | _light(rng, table, truth_NL, magnitude_N) | _spectrum(rng, snr_N, rounded=rounded)
    )
    found = estimates(rng, truth_NL, snr_N.astype(np.float32))
    columns |= _labels(rounded_estimates(found) if rounded else found, none_N)
    for name, values in columns.items():
        place, kind = table.schema.get_field_index(name), table.schema.field(name)
        table = table.set_column(place, kind, pa.array(values, kind.type, from_pandas=True))
    return table


def _ids(rng: np.random.Generator, table: pa.Table) -> dict[str, Any]:
    ra_N, dec_N, index_N = (table[name].to_numpy() for name in ("ra", "dec", "_healpix_29"))
    brick_N = ((dec_N + 90) // BRICK_DEGREES * 900 + ra_N // BRICK_DEGREES * 1.25).astype(np.int64)
    target_N = RELEASE << 42 | brick_N << 22 | rng.permutation(20 * ROWS)[:ROWS]
    pixel_N = index_N >> 2 * (29 - SOURCE_ORDER) << SOURCE_BITS
    source_N = pixel_N | rng.integers(0, 2**25, ROWS) << COMPONENT_BITS
    return {"targetid": target_N, "gaia_source_id": pa.array(source_N, mask=rng.random(ROWS) < 0.02)}


def _light(
    rng: np.random.Generator, table: pa.Table, truth_NL: np.ndarray, magnitude_N: Doubles
) -> dict[str, np.ndarray]:
    """Magnitudes, dust and parallaxes of stars of these labels and G."""
    ra_N, dec_N = table["ra"].to_numpy(), table["dec"].to_numpy()
    ebv_N = 0.03 * np.exp(np.sin(np.radians(7 * ra_N)) + np.cos(np.radians(5 * dec_N)))
    ebv_N *= 1 + 0.1 * np.sin(np.radians(400 * (ra_N + dec_N)))
    colour_N = 0.8 * (5777 / column(truth_NL, "teff")) ** 2 + 1.3 * ebv_N
    colour_N += rng.normal(0, 0.01, ROWS)
    absolute_N = np.interp(column(truth_NL, "logg"), *GIANT_TO_DWARF)
    parallax_N = 100 * 10 ** (0.2 * (absolute_N - magnitude_N))
    return {
        "phot_g_mean_mag": magnitude_N,
        "phot_bp_mean_mag": magnitude_N + 0.4 * colour_N,
        "phot_rp_mean_mag": magnitude_N - 0.6 * colour_N,
        "ebv": ebv_N,
        "parallax": parallax_N + rng.normal(0, 0.02 * 10 ** (0.2 * (magnitude_N - 15))),
    }


def _spectrum(rng: np.random.Generator, snr_N: Doubles, *, rounded: bool) -> dict[str, np.ndarray]:
    """What is measured on a spectrum beside labels."""
    rv_N = rng.normal(0, np.where(rng.random(ROWS) < 0.15, 130, 35))
    missing_N = rng.poisson(6, ROWS) + rng.poisson(200, ROWS) * (rng.random(ROWS) < 0.05)
    found = {
        "snr": snr_N,
        "rv": rv_N,
        "rv_err": 0.2 + 30 / snr_N * rng.lognormal(0, 0.2, ROWS),
        "rv_check": rv_N + rng.normal(0, 1 + 100 / snr_N),
        "rv_warn": (rng.random(ROWS) < 0.02).astype(np.int32),
        "instrument_status": np.zeros(ROWS, np.int32),
        "good_fraction": 1 - missing_N / MODEL_PIXELS,
        "largest_gap": 1 + missing_N // 4,
        "support_chi2": rng.chisquare(1000, ROWS) / 1000 * (1 + (snr_N / 300) ** 2),
        "support_mahalanobis": rng.chisquare(4, ROWS) ** 0.5,
        "support_neighbours": rng.lognormal(-1.5, 0.4, ROWS),
        "support_hidden": rng.chisquare(HIDDEN, ROWS) ** 0.5,
        "wiggle": rng.chisquare(486, ROWS) / 486,
    }
    if rounded:
        found |= {score.name: to_bits(found[score.name].astype(np.float32)) for score in SCORES}
    return found


def estimates(rng: np.random.Generator, truth_NL: np.ndarray, snr_N: np.ndarray) -> Estimates:
    """What the network makes of stars that it sees with noise."""
    labelling = labels_of_network()
    centre_L, scale_L, error_L = np.array(list(NETWORK.values())).T
    seen_NL = np.stack([column(truth_NL, name) for name in NETWORK], axis=1) - centre_L
    noise_NL = error_L * 30 / snr_N[:, None]
    seen_NL = (seen_NL + noise_NL * rng.standard_normal(seen_NL.shape)) / scale_L
    into, out, spread, masks = weights()
    hidden_NH = np.tanh(seen_NL.astype(np.float32) @ into)
    thinned_KNH = hidden_NH * masks[:, None, :] / np.float32(1 - DROPOUT)
    told_NL = np.log(noise_NL / scale_L).astype(np.float32)
    draws = Draws(
        value_KNL=seen_NL.astype(np.float32) + thinned_KNH @ out,
        log_variance_KNL=2 * told_NL + thinned_KNH @ spread,
        hidden_NH=hidden_NH,
    )
    return estimate(draws, np.ones(ROWS, bool), snr_N, labelling)


@cache
def weights() -> tuple[np.ndarray, ...]:
    """Input to hidden, hidden to labels and to log-variances; and what each draw keeps, shape (K, H)."""
    rng = np.random.default_rng(SEED)
    shapes = {0.5: (len(NETWORK), HIDDEN), 0.02: (HIDDEN, len(NETWORK)), 0.1: (HIDDEN, len(NETWORK))}
    layers = [rng.normal(0, size, shape).astype(np.float32) for size, shape in shapes.items()]
    keep = np.array([keep_mask(SEED, draw, 0, HIDDEN, DROPOUT) for draw in range(DRAWS)])
    return (*layers, keep.astype(np.float32))


@cache
def labels_of_network() -> Labelling:
    """Four labels and [Mg/Fe], with errors that are calibrated along S/N."""
    centre_L, scale_L, _ = np.array(list(NETWORK.values()), np.float32).T
    labels = tuple(_label(name) for name in (*NETWORK, "mg_fe"))
    derived = (Derived(name="mg_fe", minuend="mg_h", subtrahend="fe_h"),)
    return Labelling(scale=Affine(centre=centre_L, scale=scale_L), labels=labels, derived=derived)


def _label(name: str) -> Label:
    unit, ucd, description = describe_label(name)
    floor = 0.2 * NETWORK.get(name, NETWORK["fe_h"])[2]
    along = Calibration(snr=(5.0, 20.0, 100.0), scale=(1.1, 1.2, 1.6), floor=(2 * floor, floor, floor))
    return Label(name=name, unit=unit, ucd=ucd, description=description, calibration=along)


def _labels(found: Estimates, none_N: np.ndarray) -> dict[str, Any]:
    """The columns of the published labels."""
    made: dict[str, Any] = {}
    names = [label.name for label in labels_of_network().labels]
    parts = {"{}": found.centre_NL, "e_{}": found.total_NL, "e_{}_model": found.model_NL}
    assert found.noise_NL is not None
    parts |= {"e_{}_noise": found.noise_NL}
    for name, (centre, scatter, _) in POPULATION.items():
        place = names.index(name)
        made |= {key.format(name): pa.array(x_NL[:, place], mask=none_N) for key, x_NL in parts.items()}
        value_N = found.centre_NL[:, place]
        low_N, high_N = value_N < centre - 3 * scatter, value_N > centre + 3 * scatter
        made[f"flag_{name}"] = np.where(none_N, 4, low_N + 2 * high_N).astype(np.int16)
    return made
