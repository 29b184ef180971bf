"""The `train` command."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path

from engine.errors import InputError
from engine.spec import Profile
from engine.train import Epoch, TrainReport, train
from engine.train.bundle import place_of
from engine.train.crossmatch import set_place
from engine.train.loop import OnEpoch
from engine.train.members import Learn, Learnt, Lesson, learn_here
from engine.train.search import OnTrial, Point, Trial, Try
from engine.train.spec import Search, TrainSpec
from engine.train.store import read_about
from jobs import show
from jobs.crossmatch import steps
from jobs.progress import CONSOLE, Bar, bars, epoch_remark, say
from jobs.submit.record import keep_own_job
from jobs.training_report import report_place, write_report


def run_training(spec: TrainSpec, profile: Profile | None = None) -> TrainReport:
    """Train with progress, and show what came of it. Without a profile: in this process."""
    settings, done = spec.training, dict[int, int]()
    page = _free_place(spec)
    keep_own_job(place_of(spec))
    total = settings.members * settings.epochs
    with ExitStack() as display:

        @cache
        def shown() -> list[Bar]:
            """The bars appear with the first spectra: what is refused before leaves no empty bar behind."""
            return display.enter_context(bars(Reading=1, Training=total))

        def on_epoch(epoch: Epoch) -> None:
            done[epoch.member] = epoch.number
            shown()[1].reach(sum(done.values()), total, epoch_remark(epoch))

        report = train(
            spec,
            on_shard=lambda done, of: shown()[0].reach(done, of),
            on_epoch=on_epoch,
            learn=_learn(profile),
            attempt=_attempt(profile),
        )
    if (about := read_about(set_place(spec))) is not None:
        CONSOLE.print(steps(about))
    CONSOLE.print(show.trained(report))
    stars = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.counts.items())
    say(f"Bundle {report.card.name} in {report.bundle} ({stars}); its log is in {place_of(spec)}")
    say(f"How it did on test stars: {write_report(page, report.card, report.validation)}")
    say(f"Where in the spectrum it finds its labels: abundant bundle gradients {report.bundle}")
    return report


def _free_place(spec: TrainSpec) -> Path:
    """The folder for the report, beside the bundle; InputError where there is something in it already."""
    place = report_place(spec.bundle.out)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"{place} is not empty: it is the report of an earlier training; move or delete it")
    return place


def _learn(profile: Profile | None) -> Learn:
    """Where networks are trained; Ray is imported where it is asked for."""
    if profile is None:
        return learn_here
    from engine.runtime.training import TRAINERS

    def learn(lesson: Lesson, on_epoch: OnEpoch) -> Sequence[Learnt]:
        patient = replace(lesson, least_s=60 * profile.checkpoint_minutes)
        return TRAINERS[profile.runtime](patient, on_epoch, profile)

    return learn


def _attempt(profile: Profile | None) -> Try | None:
    """Where the trials of a search are done; nowhere without Ray."""
    if profile is None:
        return None
    from engine.runtime.training import SEARCHERS

    if profile.runtime not in SEARCHERS:
        return None

    def attempt(
        lesson: Lesson, search: Search, points: Mapping[int, Point], on_trial: OnTrial
    ) -> Sequence[Trial]:
        return SEARCHERS[profile.runtime](lesson, search, points, on_trial, profile)

    return attempt
