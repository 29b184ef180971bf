"""The trials of a search on Ray Tune: many short trainings, of which the worse are stopped early (ASHA).

What is done is told trial by trial and kept by `engine/train/search.py`, not by Tune: a search that goes on
tries the other points alone. What stops a trial is then those it is tried with, so that a search which was
killed may do some epochs more than one that was not.
"""

import logging
import os
import shutil
from collections.abc import Mapping
from typing import Any

import torch
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler

from engine.errors import UnexpectedNaN
from engine.runtime.device import lent_device
from engine.runtime.ray_data import connect
from engine.runtime.ray_fit import Need, pool_size
from engine.spec import Profile
from engine.train.loop import fit
from engine.train.members import Lesson
from engine.train.search import OnTrial, Point, Trial, at
from engine.train.spec import Search
from engine.train.state import Epoch

METRIC, SCRATCH = "validation_loss", "search"


class Teller(tune.Callback):
    """Tells of each trial that ran to its end or was stopped."""

    def __init__(self, on_trial: OnTrial) -> None:
        self._on_trial = on_trial

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:  # noqa: ARG002
        """It is done."""
        if (found := _trial(trial.last_result)) is not None:
            self._on_trial(found)


def try_on_ray(
    lesson: Lesson, search: Search, points: Mapping[int, Point], on_trial: OnTrial, profile: Profile
) -> list[Trial]:
    """Each point tried, as many at a time as the profile's actors; PlanError where they do not fit."""
    connect(profile)
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # Tune would take Ctrl-C for the end of the search, and the training would go on with what there is.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    _forget_scratch(lesson)
    lesson.place.mkdir(parents=True, exist_ok=True)
    try:
        return _trials(_tuner(lesson, search, points, on_trial, profile).fit(), points)
    finally:
        _forget_scratch(lesson)


def _forget_scratch(lesson: Lesson) -> None:
    shutil.rmtree(lesson.place / SCRATCH, ignore_errors=True)


def _tuner(
    lesson: Lesson, search: Search, points: Mapping[int, Point], on_trial: OnTrial, profile: Profile
) -> tune.Tuner:
    """Tune, told what to try and where."""
    work = tune.with_parameters(_try, lesson=lesson, points=dict(points), threads=max(1, int(profile.cpus)))
    return tune.Tuner(
        tune.with_resources(work, {"cpu": profile.cpus, "gpu": profile.gpus}),
        param_space={"number": tune.grid_search(list(points))},
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="min",
            max_concurrent_trials=pool_size(profile, Need(shared=lesson.nbytes)),
            scheduler=ASHAScheduler(
                max_t=lesson.settings.epochs,
                grace_period=min(search.grace, lesson.settings.epochs),
                reduction_factor=search.reduction,
            ),
        ),
        run_config=tune.RunConfig(
            name=SCRATCH, storage_path=str(lesson.place), verbose=0, callbacks=[Teller(on_trial)]
        ),
    )


def _trials(results: tune.ResultGrid, points: Mapping[int, Point]) -> list[Trial]:
    """What became of each point; a trial without a single epoch has a loss that is no number."""
    found = {number: Trial(number=number, epochs=0, validation_loss=float("nan")) for number in points}
    told = [_trial(result.metrics) for result in results]
    return list((found | {trial.number: trial for trial in told if trial is not None}).values())


def _trial(metrics: Mapping[str, Any] | None) -> Trial | None:
    """A trial by what it told last; None where it never told anything."""
    if not metrics or "number" not in metrics:
        return None
    return Trial(number=metrics["number"], epochs=metrics["epoch"], validation_loss=metrics["best"])


def _try(config: dict[str, Any], lesson: Lesson, points: dict[int, Point], threads: int) -> None:
    """One trial: a plain training without checkpoints, which tells Tune of each epoch."""
    torch.set_num_threads(threads)
    device = lent_device()
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
