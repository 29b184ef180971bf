"""Training: stars per second of the plain loop, and of Ray with one and two workers, start-up apart.

The same spectra, network and batches each time; one thread per worker. An epoch takes the median of those in
the log; starting, the log and one checkpoint at the end are the rest of the whole.
"""

import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from engine.models import MODELS
from engine.models.mlp import MlpHyper
from engine.runtime.training import TRAINERS
from engine.spec import Profile
from engine.train.checkpoint import Checkpoints, Identity, code_version
from engine.train.members import Lesson
from engine.train.schedule import optimiser_of, schedule_of
from engine.train.spec import Training
from engine.train.state import Epoch, State
from engine.train.tensors import of_arrays

STARS, VALIDATION, BATCH, EPOCHS = 4096, 256, 256, 6
MODEL, HIDDEN, NAMES = "desi_mlp_4", (512, 256, 128, 64), ("teff", "logg", "fe_h")
PROFILES = {
    "plain": Profile(runtime="local"),
    "ray_1": Profile(runtime="ray_data", actors=1),
    "ray_2": Profile(runtime="ray_data", actors=2),
}
AIMS = {"ray_1_over_plain": "about 1", "ray_2_over_ray_1": "up to 2 where there are two free cores"}


def bench(place: Path) -> dict[str, float]:
    """For each runtime stars/s of an epoch, and the seconds that the rest takes; ratios."""
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    for name, profile in PROFILES.items():
        started, epochs = time.perf_counter(), list[Epoch]()
        TRAINERS[profile.runtime](lesson(place / name), epochs.append, profile)
        seconds = time.perf_counter() - started
        figures[f"{name}_stars_per_s"] = STARS / median(epoch.seconds for epoch in epochs)
        figures[f"{name}_rest_s"] = seconds - sum(epoch.seconds for epoch in epochs)
    figures["checkpoint_s"] = checkpoint_seconds(place / "checkpoint")
    rates = {name: figures[f"{name}_stars_per_s"] for name in PROFILES}
    figures["ray_1_over_plain"] = rates["ray_1"] / rates["plain"]
    figures["ray_2_over_ray_1"] = rates["ray_2"] / rates["ray_1"]
    return figures


def lesson(place: Path) -> Lesson:
    """Noise for spectra and labels: what is learnt does not matter here."""
    sizes = {"train": STARS, "validation": VALIDATION}
    parts = {name: of_arrays(made_up(stars)) for name, stars in sizes.items()}
    return Lesson(
        model=MODEL,
        hyper=MlpHyper(hidden=HIDDEN),
        names=NAMES,
        settings=Training(epochs=EPOCHS, batch=BATCH),
        place=place,
        identity=Identity(spec="bench", data="bench", code=code_version()),
        least_s=3600.0,
        **parts,
    )


def checkpoint_seconds(place: Path) -> float:
    """Seconds that one checkpoint takes: weights, and Adam's two moments of each."""
    given = replace(lesson(place), settings=Training(epochs=1, batch=BATCH))
    course, network = given.course(0, torch.device("cpu")), given.build(0)
    kept = Checkpoints(folder=place, identity=given.identity)
    optimiser = optimiser_of(network, given.settings)
    state = State(
        network=network,
        optimiser=optimiser,
        schedule=schedule_of(optimiser, given.settings),
        best={},
        history=[Epoch(number=1, train_loss=0.0, validation_loss=0.0, best=True)],
    )
    course.loss(network(course.validation.x_NI), course.validation.y_NL, course.validation.y_NL).backward()
    optimiser.step()
    started = time.perf_counter()
    kept.save(state)
    return time.perf_counter() - started


def made_up(stars: int) -> dict[str, np.ndarray]:
    """Arrays of the network's size."""
    random, pixels = np.random.default_rng(stars), MODELS[MODEL].inputs
    x_NI, y_NL = (random.standard_normal((stars, n), dtype=np.float32) for n in (pixels, len(NAMES)))
    ones = np.ones(pixels, np.float32)
    return {
        "x_NI": x_NI,
        "sigma_NI": np.full_like(x_NI, 0.05),
        "y_NL": y_NL,
        "inverse_error_NL": np.full_like(y_NL, 10.0),
        "label_scale_L": np.ones(len(NAMES), np.float32),
        "centre_P": 0 * ones,
        "scale_P": ones,
        "missing_P": 0 * ones,
        "span_P": 0 * ones,
    }
