"""DESI networks of all stars and of dwarfs like the Sun alone, and stars far outside of what those know."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.simulate import simulate_desi
from engine.simulate.labels import LABELS, LabelArray, column, draw_labels
from engine.train import train
from engine.train.spec import TrainSpec

NAMES = ("teff", "logg", "fe_h")
LOW, HIGH = {"teff": 4600.0, "logg": 3.8, "fe_h": -0.8}, {"teff": 5900.0, "logg": 5.0, "fe_h": 0.5}
SIGMAS = 3.0
DRAWN, SEED = 12_000, 31
LIMITS = {"teff": (3250.0, 7900.0), "logg": (0.0, 5.5), "fe_h": (-3.9, 1.0)}
"""What can be simulated."""


def learn_all(folder: Path, *, stars: int) -> Path:
    """The bundle of a DESI network that has learnt all kinds of stars."""
    return _learnt(folder, "all", stars, None)


def learn_dwarfs(folder: Path, *, stars: int) -> Path:
    """The bundle of a DESI network that has learnt dwarfs of 4600-5900 K with [Fe/H] > -0.8 alone."""
    columns = zip(LABELS, dwarfs()[:stars].T, strict=True)
    return _learnt(folder, "dwarfs", stars, pa.table(dict(columns)))


def _learnt(folder: Path, name: str, stars: int, labels: pa.Table | None) -> Path:
    root, out = folder / f"learn-{name}", folder / f"bundle-{name}"
    truth = simulate_desi(root, stars=stars, seed=SEED, labels=labels, resolution=False)
    plain = {
        "survey": {"name": "desi", "root": root},
        "labels": {
            "path": truth,
            "key": ["survey", "program", "healpix", "targetid"],
            "names": NAMES,
            "error_floor": {"teff": 50.0, "logg": 0.1, "fe_h": 0.05},
        },
        "model": {"name": "desi_mlp_4", "hyper": {"hidden": [128, 64, 32, 16], "dropout": 0.05}},
        "training": {"epochs": 30, "batch": 64},
        "sampling": {"draws": 50},
        "bundle": {"out": out, "name": name},
    }
    train(TrainSpec.model_validate(plain), on_shard=lambda *_: None, on_epoch=lambda _: None)
    return out


def dwarfs() -> LabelArray:
    """Labels of dwarfs like the Sun, as many as there are among those that are drawn."""
    drawn_NL = draw_labels(np.random.default_rng(SEED), DRAWN)
    inside = [(column(drawn_NL, name) > LOW[name]) & (column(drawn_NL, name) < HIGH[name]) for name in NAMES]
    return drawn_NL[np.logical_and.reduce(inside)]


def strangers(count: int) -> Mapping[str, LabelArray]:
    """Stars of which one label lies three standard deviations or more beyond all of those dwarfs."""
    known_NL, random = dwarfs(), np.random.default_rng(SEED + 1)
    found = {}
    for name in NAMES:
        values, place = column(known_NL, name), LABELS.index(name)
        reach, (low, high) = SIGMAS * values.std(), LIMITS[name]
        sides = {"below": (low, values.min() - reach), "above": (values.max() + reach, high)}
        for side, (least, most) in sides.items():
            if least < most:
                strange_NL = known_NL[random.permutation(len(known_NL))[:count]].copy()
                strange_NL[:, place] = random.uniform(least, most, count)
                found[f"{name} {side} by 3 sigma"] = _with_metals(strange_NL, name, known_NL)
    return found


def _with_metals(labels_NL: LabelArray, name: str, known_NL: LabelArray) -> LabelArray:
    """All elements follow iron where iron is what is strange."""
    if name != "fe_h":
        return labels_NL
    ratio_NL = known_NL[: len(labels_NL), 3:] - known_NL[: len(labels_NL), 2:3]
    return np.concatenate([labels_NL[:, :3], labels_NL[:, 2:3] + ratio_NL], axis=1)
