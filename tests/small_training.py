"""Trainings of a tiny network on made-up coefficients: an epoch takes milliseconds."""

import os
import resource
import signal
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.errors import RunError
from engine.models.mlp import MlpHyper
from engine.train import checkpoint
from engine.train.checkpoint import Identity, code_version
from engine.train.members import Learnt, Lesson, learn_here
from engine.train.spec import Training
from engine.train.state import Epoch
from engine.train.tensors import Tensors, digest_of, of_arrays

PIXELS, NAMES = 110, ("teff", "logg")
MIXING_PL = np.random.default_rng(7).normal(0, 0.1, (PIXELS, len(NAMES)))


def stars(count: int, seed: int) -> Tensors:
    """Stars whose labels are two functions of their coefficients."""
    random = np.random.default_rng(seed)
    x_NI = random.normal(0, 1, (count, PIXELS))
    y_NL = np.tanh(x_NI @ MIXING_PL) + random.normal(0, 0.02, (count, len(NAMES)))
    arrays = {
        "x_NI": x_NI,
        "sigma_NI": np.full_like(x_NI, 0.05),
        "y_NL": y_NL,
        "inverse_error_NL": np.full_like(y_NL, 20.0),
        "label_scale_L": np.array([800.0, 1.2]),
        "centre_P": np.zeros(PIXELS),
        "scale_P": np.ones(PIXELS),
        "missing_P": np.zeros(PIXELS),
        "span_P": np.zeros(PIXELS),
    }
    return of_arrays({name: array.astype(np.float32) for name, array in arrays.items()})


def lesson(place: Path, count: int = 256, **settings: Any) -> Lesson:
    """A lesson for `xp_mlp` with two hidden layers and dropout."""
    train, validation = stars(count, 1), stars(64, 2)
    given = Training.model_validate({"epochs": 8, "batch": 64, "learning_rate": 3e-3} | settings)
    identity = Identity(spec=given.model_dump_json(), data=digest_of(train, validation), code=code_version())
    return Lesson(
        model="xp_mlp",
        hyper=MlpHyper(hidden=(16, 8), dropout=0.1),
        names=NAMES,
        settings=given,
        train=train,
        validation=validation,
        place=place,
        identity=identity,
    )


def learn_quietly(given: Lesson) -> list[Learnt]:
    """Train in this process, on one thread."""
    torch.set_num_threads(1)
    return learn_here(given, lambda _: None)


def die_at_sync(place: Path, settings: dict[str, Any], sync: int) -> None:
    """Train in a process that kills itself the n-th time that something is flushed to disk."""
    count = 0
    flush = checkpoint._sync

    def counted(path: Path) -> None:
        nonlocal count
        count += 1
        if count == sync:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(path)

    checkpoint._sync = counted
    learn_quietly(lesson(place, **settings))


def learn_in(place: Path, settings: dict[str, Any], started: Event) -> None:
    """Train in a process that somebody kills once it has told of its first epoch."""
    torch.set_num_threads(1)
    learn_here(lesson(place, **settings), lambda _: started.set())


def fill_disk(place: Path, settings: dict[str, Any], room: int, least_s: float) -> None:
    """Train in a process where, after two epochs, no file may grow beyond `room` bytes; keep what it says."""
    told: list[str] = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(epoch: Epoch) -> None:
        if epoch.number == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))

    try:
        learn_here(replace(lesson(place, **settings), least_s=least_s), fill)
    except RunError as error:
        told.append(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (place / "told").write_text("\n".join(told))


def same_weights(one: Learnt, other: Learnt) -> bool:
    """Whether two networks are the same to the last bit."""
    assert one.state.keys() == other.state.keys()
    return all(torch.equal(value, other.state[name]) for name, value in one.state.items())


def with_other(given: Lesson, **identity: str) -> Lesson:
    """The same lesson as if something had changed."""
    return replace(given, identity=replace(given.identity, **identity))
