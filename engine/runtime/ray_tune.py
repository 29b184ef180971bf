"""The trials of a search on Ray Tune: many short trainings, of which the worse are stopped early (ASHA)."""

import logging
import os
import shutil
from collections.abc import Sequence
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from engine.errors import UnexpectedNaN
from engine.runtime.ray_data import connect, pool_size
from engine.spec import Profile
from engine.train.loop import fit
from engine.train.members import Lesson
from engine.train.search import Point, Trial, at
from engine.train.spec import Search
from engine.train.state import Epoch

METRIC, SCRATCH = "validation_loss", "search"


def try_on_ray(lesson: Lesson, search: Search, points: Sequence[Point], profile: Profile) -> list[Trial]:
    """Each point tried, as many at a time as the profile's actors; PlanError where they do not fit."""
    connect(profile)
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    lesson.place.mkdir(parents=True, exist_ok=True)
    work = tune.with_parameters(_try, lesson=lesson, points=tuple(points), threads=max(1, int(profile.cpus)))
    tuner = tune.Tuner(
        tune.with_resources(work, {"cpu": profile.cpus, "gpu": profile.gpus}),
        param_space={"number": tune.grid_search(list(range(len(points))))},
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="min",
            max_concurrent_trials=pool_size(profile),
            scheduler=ASHAScheduler(
                max_t=lesson.settings.epochs,
                grace_period=min(search.grace, lesson.settings.epochs),
                reduction_factor=search.reduction,
            ),
        ),
        run_config=tune.RunConfig(name=SCRATCH, storage_path=str(lesson.place), verbose=0),
    )
    try:
        return _trials(tuner.fit(), len(points))
    finally:
        shutil.rmtree(lesson.place / SCRATCH, ignore_errors=True)


def _trials(results: tune.ResultGrid, count: int) -> list[Trial]:
    """What became of each point; a trial without a single epoch has a loss that is no number."""
    found = {number: Trial(number=number, epochs=0, validation_loss=float("nan")) for number in range(count)}
    for result in results:
        if result.metrics and "number" in result.metrics:
            number = result.metrics["number"]
            found[number] = Trial(
                number=number, epochs=result.metrics["epoch"], validation_loss=result.metrics["best"]
            )
    return list(found.values())


def _try(config: dict[str, Any], lesson: Lesson, points: tuple[Point, ...], threads: int) -> None:
    """One trial: a plain training without checkpoints, which tells Tune of each epoch."""
    torch.set_num_threads(threads)
    device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
    number, best = config["number"], float("inf")
    chosen = at(lesson, points[number])

    def tell(epoch: Epoch) -> None:
        nonlocal best
        best = min(best, epoch.validation_loss)
        tune.report({METRIC: epoch.validation_loss, "best": best, "epoch": epoch.number, "number": number})

    try:
        fit(chosen.build(0).to(device), chosen.course(0, device), on_epoch=tell)
    except UnexpectedNaN:
        tune.report({METRIC: float("inf"), "best": best, "epoch": 0, "number": number})
