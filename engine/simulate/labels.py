"""The labels of simulated stars: a plausible Milky Way, or the rows of a table given by the user.

Legend: N stars, L labels in the order of LABELS.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.errors import InputError

LABELS: Final = (
    "teff",
    "logg",
    "fe_h",
    "mg_h",
    "ca_h",
    "c_h",
    "si_h",
    "na_h",
    "ti_h",
    "ni_h",
    "cr_h",
    "al_h",
)
REQUIRED: Final = ("teff", "logg", "fe_h")

LabelArray = npt.NDArray[np.float32]

# Where the simple atmosphere of opacity.py still behaves; wider than what is drawn below.
_LIMITS = {"teff": (3200.0, 8000.0), "logg": (-0.5, 5.5)}
_ABUNDANCE_LIMITS = (-4.0, 1.0)

# [X/Mg-like] of the other elements: slope on [Mg/Fe], slope on [Fe/H] below the Sun, scatter (dex).
# Rough fits by eye to published disc trends (Bensby et al. 2014, A&A 562, A71).
_TRENDS = {
    "ca_h": (0.60, 0.00, 0.03),
    "c_h": (0.30, 0.10, 0.06),
    "si_h": (0.75, 0.00, 0.03),
    "na_h": (0.10, 0.12, 0.06),
    "ti_h": (0.70, 0.00, 0.04),
    "ni_h": (0.05, 0.03, 0.02),
    "cr_h": (0.00, 0.04, 0.03),
    "al_h": (0.70, 0.25, 0.06),
}


def column(labels_NL: LabelArray, name: str) -> npt.NDArray[np.float64]:
    """One label of all stars, in double precision."""
    return labels_NL[:, LABELS.index(name)].astype(np.float64)


def draw_labels(rng: np.random.Generator, stars: int) -> LabelArray:
    """Labels [N, L] of a mix of thin disc (62 %), thick disc (23 %) and halo (15 %): K, log(cm/s2), dex."""
    population = rng.choice(3, size=stars, p=(0.62, 0.23, 0.15))
    fe_h = np.array([-0.10, -0.55, -1.40])[population] + np.array([0.20, 0.25, 0.45])[
        population
    ] * rng.standard_normal(stars)
    fe_h = np.clip(fe_h, -2.5, 0.5)
    mg_fe = _draw_magnesium(rng, population, fe_h)
    teff, logg = _draw_atmospheres(rng, fe_h)
    values = {"teff": teff, "logg": logg, "fe_h": fe_h, "mg_h": np.clip(fe_h + mg_fe, -2.5, 0.7)}
    for name, (on_magnesium, on_iron, scatter) in _TRENDS.items():
        ratio = on_magnesium * mg_fe + on_iron * np.minimum(fe_h, 0) + scatter * rng.standard_normal(stars)
        values[name] = fe_h + ratio
    return np.stack([values[name] for name in LABELS], axis=1).astype(np.float32)


def labels_from_table(table: pa.Table) -> LabelArray:
    """Labels [N, L] of a table; an absent [X/H] column is taken as [Fe/H], so [X/Fe] = 0.

    InputError when teff, logg or fe_h is absent, a column is there twice or holds no numbers, or a value is
    missing or beyond what can be simulated.
    """
    if absent := [name for name in REQUIRED if name not in table.column_names]:
        raise InputError(
            f"the labels table lacks {', '.join(absent)}: add these columns (K, log(cm/s2), dex)"
        )
    columns = [_numbers(table, name if name in table.column_names else "fe_h") for name in LABELS]
    labels_NL = np.stack(columns, axis=1).astype(np.float32)
    for index, name in enumerate(LABELS):
        low, high = _LIMITS.get(name, _ABUNDANCE_LIMITS)
        bad = ~((labels_NL[:, index] >= low) & (labels_NL[:, index] <= high))
        if bad.any():
            row = int(np.argmax(bad))
            source = name if name in table.column_names else f"fe_h (taken for {name})"
            value = labels_NL[row, index]
            what = "missing" if np.isnan(value) else f"{value:g}, outside {low:g}..{high:g}"
            raise InputError(
                f"labels table: {source} of row {row} is {what}: drop {int(bad.sum())} such rows"
            )
    return labels_NL


def _numbers(table: pa.Table, name: str) -> LabelArray:
    """A column as float32, NaN where it is NULL."""
    if table.column_names.count(name) > 1:
        raise InputError(f"labels table: column {name} is there twice: rename one")
    kind = table.schema.field(name).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InputError(f"labels table: column {name} is {kind}, not numbers: store it as float32")
    return table[name].cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy().astype(np.float32)


def _draw_magnesium(
    rng: np.random.Generator, population: npt.NDArray[np.int64], fe_h: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """[Mg/Fe] of thin disc, thick disc and halo: two sequences that meet near solar [Fe/H]."""
    thin = 0.02 - 0.12 * fe_h
    thick = np.clip(0.12 - 0.40 * fe_h, 0.06, 0.34)
    halo = np.clip(0.10 - 0.18 * fe_h, 0.12, 0.38)
    scatter = np.array([0.025, 0.03, 0.06])[population] * rng.standard_normal(len(fe_h))
    return np.choose(population, [thin, thick, halo]) + scatter


def _draw_atmospheres(
    rng: np.random.Generator, fe_h: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Teff and logg on rough isochrones: dwarfs 40 %, turn-off 20 %, giant branch 25 %, red clump 15 %."""
    stars = len(fe_h)
    stage = rng.choice(4, size=stars, p=(0.40, 0.20, 0.25, 0.15))
    place, scatter = rng.random(stars), rng.standard_normal((2, stars))
    dwarf_teff = 3600 + 2700 * place
    dwarf_logg = np.interp(dwarf_teff, (3600, 4500, 5500, 6300), (4.88, 4.66, 4.50, 4.28))
    turnoff_teff = 5600 + 1400 * place - 150 * fe_h
    turnoff_logg = 4.3 - 0.5 * rng.random(stars)
    giant_logg = 0.3 + 3.3 * np.sqrt(place)
    giant_teff = 3520 + 470 * giant_logg - 260 * fe_h
    clump_logg, clump_teff = np.full(stars, 2.45), 4780 - 230 * fe_h
    teff = np.choose(stage, [dwarf_teff, turnoff_teff, giant_teff, clump_teff]) + 60 * scatter[0]
    logg = np.choose(stage, [dwarf_logg, turnoff_logg, giant_logg, clump_logg]) + 0.05 * scatter[1]
    return np.clip(teff, 3600, 7200), np.clip(logg, 0.3, 5.0)
