"""DESI spectra of what a network must not label: made of light, noise and the columns of real rows.

Legend: N spectra, Q pixels of the simulator's grid.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.simulate.galaxies import galaxy_spectra
from engine.simulate.instrument import ARMS, GRID, add_noise, add_telluric, inverse_variance, spoil_pixels
from engine.simulate.labels import LABELS, LabelArray, draw_labels
from engine.simulate.photometry import scale_to_magnitude
from engine.simulate.spectrum import LIGHT_SPEED, redden, shift_to, synthesize
from engine.simulate.surveys.apogee_light import WINDOW as H_BAND
from engine.simulate.surveys.gaia_rvs import WAVE as RVS_WAVE
from engine.simulate.surveys.gaia_rvs import WINDOW as RVS
from engine.simulate.surveys.giraffe import WINDOW as HR15N
from engine.simulate.window import Window, synthesize_window
from engine.spec import SurveySpec
from engine.surveys import survey_of
from engine.types import Floats, Task

BRIGHTEST, FAINTEST = 13.5, 18.7
"""G magnitudes: S/N per pixel of about 120 to 10."""
RVS_ARM = "rvs"
XP_ANGSTROM = 60.0
"""Sigma of the blur of a spectrum as Gaia's prisms see it."""


def healthy(root: Path) -> tuple[pa.Table, LabelArray]:
    """Stars of a simulated DESI survey, at their true velocities, dead fibres left out; and their labels."""
    spec = SurveySpec.model_validate({"name": "desi", "root": root, "select": {"by": "all"}})
    survey = survey_of(spec)
    shards = survey.list_shards(spec)
    tasks = (Task(task_id="all", shard=shard, start=0, stop=shard.rows) for shard in shards)
    rows = pa.concat_tables([survey.read(spec, task) for task in tasks]).combine_chunks()
    keys = ("program", "healpix", "targetid")
    truth = pq.read_table(root / "truth.parquet")
    names = zip(*(truth[key].to_pylist() for key in keys), strict=True)
    place = dict(zip(names, range(len(truth)), strict=True))
    at_N = np.array([place[key] for key in zip(*(rows[key].to_pylist() for key in keys), strict=True)])
    truth = truth.take(at_N)
    good_N = (truth["kind"].to_numpy() == "star") & ~truth["dead"].to_numpy(zero_copy_only=False)
    labels_NL = np.stack([truth[name].to_numpy() for name in LABELS], axis=1)
    rows = rows.set_column(rows.column_names.index("rv"), "rv", truth["rv"].cast(pa.float32()))
    return rows.filter(pa.array(good_N)), labels_NL[good_N]


def seen(rows: pa.Table, light_NQ: Floats, *, seed: int) -> pa.Table:
    """The rows with other light in them, at magnitudes of their own, as the instrument records it."""
    random = np.random.default_rng(seed)
    g_mag_N = random.uniform(BRIGHTEST, FAINTEST, len(rows))
    flux_NQ = add_telluric(random, scale_to_magnitude(light_NQ.astype(np.float32), g_mag_N))
    data = {name: rows[name] for name in rows.column_names}
    for arm in ARMS:
        true_NP = flux_NQ[:, arm.start : arm.stop]
        ivar_NP = inverse_variance(true_NP, arm, np.ones(len(rows)))
        flux_NP = add_noise(random, true_NP, ivar_NP)
        mask_NP = spoil_pixels(random, flux_NP, ivar_NP)
        for kind, values in (("flux", flux_NP), ("ivar", ivar_NP), ("mask", mask_NP)):
            data[f"{kind}_{arm.name.lower()}"] = _tensor(values)
    return pa.table(data)


def with_velocity(rows: pa.Table, wrong: float) -> pa.Table:
    """The rows with velocities that are wrong by so much, km/s."""
    rv_N = (rows["rv"].to_numpy() + wrong).astype(np.float32)
    return rows.set_column(rows.column_names.index("rv"), "rv", pa.array(rv_N))


def starlight(rows: pa.Table, labels_NL: LabelArray) -> Floats:
    """The light of stars with these labels at the rows' velocities."""
    light_NQ = shift_to(synthesize(labels_NL), rows["rv"].to_numpy().astype(np.float64), GRID)
    return redden(light_NQ, np.full(len(rows), 0.03), GRID)


def other_light(rows: pa.Table, *, seed: int) -> Mapping[str, Floats]:
    """What is no star of DESI: spectra of other surveys, pixel by pixel, galaxies, and no lines at all."""
    random, count = np.random.default_rng(seed), len(rows)
    labels_NL = draw_labels(random, count)
    galaxies_NQ = galaxy_spectra(random.uniform(0.03, 0.55, count), random.uniform(0, 2, count))
    return {
        "apogee": stretched(H_BAND, labels_NL),
        "gaia_rvs": stretched(RVS, labels_NL),
        "giraffe": stretched(HR15N, labels_NL),
        "gaia_xp": blurred(starlight(rows, labels_NL)),
        "galaxy": galaxies_NQ,
        "noise around a constant": np.ones((count, len(GRID)), np.float32),
    }


def stretched(window: Window, labels_NL: LabelArray) -> Floats:
    """Another survey's spectra with their first pixel on DESI's first and their last on its last."""
    flux_NP = synthesize_window(window, labels_NL, np.zeros(len(labels_NL)))
    place_Q = np.linspace(0, flux_NP.shape[1] - 1, len(GRID))
    return np.stack([np.interp(place_Q, np.arange(flux_NP.shape[1]), row_P) for row_P in flux_NP])


def blurred(light_NQ: Floats) -> Floats:
    """Light at the resolution of Gaia XP."""
    reach = int(4 * XP_ANGSTROM / 0.8)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * 0.8 / XP_ANGSTROM) ** 2)
    wide_NQ = np.pad(light_NQ, ((0, 0), (reach, reach)), mode="edge")
    return np.stack([np.convolve(row, kernel / kernel.sum(), mode="valid") for row in wide_NQ])


def desi_kinds(rows: pa.Table, labels_NL: LabelArray, *, seed: int) -> dict[str, pa.Table]:
    """Every kind of strangeness that has no labels of its own, in as many rows."""
    stars = seen(rows, starlight(rows, labels_NL), seed=seed)
    velocities = {f"velocity {v:+d} km/s": with_velocity(stars, v) for v in (-600, -300, 300, 600)}
    light = other_light(rows, seed=seed + 1)
    others = {kind: seen(rows, light_NQ, seed=seed + 2) for kind, light_NQ in light.items()}
    return velocities | others | {"noise around zero": dark(rows, seed=seed + 3)}


def hot(rows: pa.Table, labels_NL: LabelArray, *, seed: int) -> pa.Table:
    """Stars 3 sigma and more hotter than the hottest that is ever drawn (7200 K, sigma 900 K)."""
    hot_NL = labels_NL.copy()
    hot_NL[:, LABELS.index("teff")] = np.random.default_rng(seed).uniform(9_900, 25_000, len(hot_NL))
    hot_NL[:, LABELS.index("logg")] = 4.2
    return seen(rows, starlight(rows, hot_NL), seed=seed)


def of_rvs(rows: pa.Table) -> dict[str, pa.Table]:
    """Gaia RVS spectra with velocities taken out wrongly, pixels of DESI, and none but noise."""
    names = (f"flux_{RVS_ARM}", f"ivar_{RVS_ARM}")
    flux_NP, ivar_NP = (rows[name].combine_chunks().to_numpy_ndarray() for name in names)
    random, wave_P = np.random.default_rng(1), RVS_WAVE
    noise_NP = random.standard_normal(flux_NP.shape) / np.sqrt(np.where(ivar_NP > 0, ivar_NP, 1))
    desi_NP = synthesize(draw_labels(random, len(rows)))[:, 3000 : 3000 + flux_NP.shape[1]]
    desi_NP = desi_NP / np.median(desi_NP, axis=1, keepdims=True)
    kinds = {"pixels of DESI": desi_NP + noise_NP, "noise around a constant": 1 + noise_NP}
    for velocity in (-300, 300):
        place_P = wave_P * (1 + velocity / LIGHT_SPEED)
        kinds[f"velocity {velocity:+d} km/s"] = np.stack([np.interp(place_P, wave_P, row) for row in flux_NP])
    place = rows.column_names.index(names[0])
    return {kind: rows.set_column(place, names[0], _tensor(values)) for kind, values in kinds.items()}


def _tensor(values: np.ndarray) -> pa.FixedShapeTensorArray:
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values.astype(np.float32)))


def dark(rows: pa.Table, *, seed: int) -> pa.Table:
    """Rows of noise around zero, with the errors of dark sky."""
    random, data = np.random.default_rng(seed), {name: rows[name] for name in rows.column_names}
    for arm in ARMS:
        zero_NP = np.zeros((len(rows), arm.stop - arm.start), np.float32)
        ivar_NP = inverse_variance(zero_NP, arm, np.ones(len(rows)))
        for kind, values in (("flux", add_noise(random, zero_NP, ivar_NP)), ("ivar", ivar_NP)):
            data[f"{kind}_{arm.name.lower()}"] = _tensor(values)
    return pa.table(data)


def rippled(rows: pa.Table, *, amplitude: float, seed: int) -> pa.Table:
    """The rows times 1 + a sine of 50 to 150 A in wavelength, as fringes and flat fields leave it."""
    random, data = np.random.default_rng(seed), {name: rows[name] for name in rows.column_names}
    period_N, phase_N = random.uniform(50, 150, len(rows)), random.uniform(0, 2 * np.pi, len(rows))
    for arm in ARMS:
        wave_P = GRID[arm.start : arm.stop]
        wave_NP = 2 * np.pi * wave_P / period_N[:, None] + phase_N[:, None]
        flux_NP = rows[f"flux_{arm.name.lower()}"].combine_chunks().to_numpy_ndarray()
        data[f"flux_{arm.name.lower()}"] = _tensor(flux_NP * (1 + amplitude * np.sin(wave_NP)))
    return pa.table(data)
