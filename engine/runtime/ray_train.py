"""A training on Ray: one network on several workers (Ray Train), or the members of an ensemble side by side.

The workers of one network are fed by Ray Data (`ray_stream.py`) with the plain loop's batches, so that one
worker leaves the plain loop's weights. A member of an ensemble, which trains alone, reads the whole set where
it lies in the object store.

Checkpoints are the plain loop's too, in the training's own folder, which all machines must share. Ray
registers what a worker reports only when its controller polls, and a worker that is killed before that would
begin at epoch 0; here a new group of workers goes on from the newest whole checkpoint that is on disk.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from ray.data import ExecutionOptions
from ray.exceptions import RayError
from ray.train import DataConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer
from torch import Tensor
from torch.nn import Module

from engine import errors
from engine.errors import InputError, PlanError, RunError, UnexpectedNaN
from engine.runtime.device import exact_arithmetic, lent_device
from engine.runtime.ray_data import connect
from engine.runtime.ray_fit import Need, pool_size
from engine.runtime.ray_stream import Streamed, streams, without_stars
from engine.spec import Profile
from engine.train.feed import Feed
from engine.train.log import epochs_of
from engine.train.loop import OnEpoch
from engine.train.members import Learnt, Lesson, learn
from engine.train.state import Epoch

# How often a training goes on after workers died, and how often the driver looks at its logs.
RESTARTS, POLL_S = 5, 0.25
SCRATCH, STARS = "ray", "stars"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Weights as arrays with their history, or an error that trying again would repeat."""

    arrays: dict[str, Any] | None = None
    history: Sequence[Epoch] = ()
    error: tuple[str, str] | None = None

    def learnt(self) -> Learnt:
        """The network; raises the error if there is one."""
        if self.error is not None:
            kind, message = self.error
            raise getattr(errors, kind)(message)
        assert self.arrays is not None
        state = {name: torch.tensor(array) for name, array in self.arrays.items()}
        return Learnt(state=state, history=self.history)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The workers of a Ray Train group."""

    rank: int
    workers: int

    def join(self, network: Module, loss: Tensor) -> Tensor:
        """Sum gradients and loss over the workers, in one message."""
        if self.workers == 1:
            return loss
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), loss.reshape(1)])
        dist.all_reduce(flat)
        parts = flat.split([*(gradient.numel() for gradient in gradients), 1])
        for gradient, part in zip(gradients, parts[:-1], strict=True):
            gradient.copy_(part.view_as(gradient))
        return flat[-1]

    def agree(self, values: Tensor) -> Tensor:
        """What the first worker has."""
        if self.workers == 1:
            return values
        agreed = values.clone()
        dist.broadcast(agreed, src=0)
        return agreed


def learn_on_ray(lesson: Lesson, on_epoch: OnEpoch, profile: Profile) -> list[Learnt]:
    """Train where the profile says; PlanError where the cluster cannot hold it.

    Of one network each batch is shared out over `profile.actors` workers (one per GPU where it does not say,
    one without); of an ensemble each member is trained by one worker.
    """
    connect(profile)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    # Members share the whole set in place; a stream's pieces may be spilled.
    fit = pool_size(profile, Need(shared=lesson.nbytes if lesson.settings.members > 1 else 0))
    if lesson.settings.members > 1:
        return _ensemble(lesson, on_epoch, profile, fit)
    return [_together(lesson, on_epoch, profile, profile.actors or (fit if profile.gpus > 0 else 1))]


def refuse_shared_card(profile: Profile, workers: int) -> None:
    """PlanError where workers of one network could share a card, over which NCCL would fail (ray#48012)."""
    if 0 < profile.gpus < 1 < workers:
        raise PlanError(
            f"gpus = {profile.gpus:g} would put {workers} workers of one network on the same card, which "
            "NCCL refuses: set gpus = 1, or actors = 1, in the profile"
        )


def _together(lesson: Lesson, on_epoch: OnEpoch, profile: Profile, workers: int) -> Learnt:
    """One network on several workers."""
    refuse_shared_card(profile, workers)
    gpus = {"GPU": profile.gpus} if profile.gpus > 0 else {}
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "lesson": ray.put(without_stars(lesson)),
            "order": lesson.order(0),
            "threads": _threads(profile),
        },
        datasets={STARS: streams(lesson, workers)},
        # In the order of the batches, and each worker its own.
        dataset_config=DataConfig(execution_options=ExecutionOptions(preserve_order=True)),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=profile.gpus > 0,
            resources_per_worker={"CPU": profile.cpus, **gpus},
        ),
        run_config=RunConfig(
            name=SCRATCH, storage_path=str(lesson.place), failure_config=FailureConfig(max_failures=RESTARTS)
        ),
    )
    tail = Tail(lesson, on_epoch)
    try:
        result = _followed(trainer.fit, tail)
    except TrainingFailedError as error:
        raise RunError(
            f"workers failed more than {RESTARTS} times: {error}\n"
            f"The same command goes on after epoch {tail.seen[0]}"
        ) from error
    finally:
        shutil.rmtree(lesson.place / SCRATCH, ignore_errors=True)
    assert isinstance(result.return_value, Outcome)
    return result.return_value.learnt()


def _threads(profile: Profile) -> int:
    return max(1, int(profile.cpus))


def _work(config: dict[str, Any]) -> Outcome:
    """What each worker of a group does."""
    context = ray.train.get_context()
    joined = Joined(rank=context.get_world_rank(), workers=context.get_world_size())
    lesson: Lesson = ray.get(config["lesson"])
    device, shares = ray.train.torch.get_device(), ray.train.get_dataset_shard(STARS)
    assert isinstance(device, torch.device)
    if device.type == "cuda":
        exact_arithmetic()
    assert shares is not None
    torch.set_num_threads(config["threads"])
    feed = Streamed(shares, config["order"], lesson.train, device)
    return _outcome(lesson, 0, joined, device, feed)


def _outcome(
    lesson: Lesson, member: int, joined: Joined, device: torch.device, feed: Feed | None = None
) -> Outcome:
    """Train; an error that all workers find at once comes back, another ends the group, which begins anew."""
    try:
        found = learn(lesson, member, on_epoch=lambda _: None, together=joined, device=device, feed=feed)
    except (InputError, UnexpectedNaN) as error:
        return Outcome(error=(type(error).__name__, str(error)))
    except RunError as error:
        # The others of a group would wait for this one: it ends them with it.
        if joined.workers > 1:
            raise
        return Outcome(error=(type(error).__name__, str(error)))
    return Outcome(arrays={name: value.numpy() for name, value in found.state.items()}, history=found.history)


class Tail:
    """The logs of a training, read while others write them."""

    def __init__(self, lesson: Lesson, on_epoch: OnEpoch) -> None:
        self._folders = [lesson.folder(member) for member in range(lesson.settings.members)]
        self._on_epoch = on_epoch
        self.seen = [0] * len(self._folders)

    def look(self) -> None:
        """Tell of every epoch that is new; of one that is done again after a crash nothing is told twice."""
        for member, folder in enumerate(self._folders):
            for epoch in epochs_of(folder, after=self.seen[member]):
                self.seen[member] = epoch.number
                self._on_epoch(epoch)


def _followed(work: Callable[[], Any], tail: Tail) -> Any:
    """What `work` gives, or raises, while its logs are followed.

    It runs in a thread: in the main one Ray would take over Ctrl-C and never give it back.
    """
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001, it is raised again below
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        tail.look()
    tail.look()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _ensemble(lesson: Lesson, on_epoch: OnEpoch, profile: Profile, fit: int) -> list[Learnt]:
    """The members, as many at a time as fit; one that dies is begun again where it was."""
    shared = ray.put(lesson)
    task = ray.remote(_member).options(
        num_cpus=profile.cpus, num_gpus=profile.gpus or None, max_retries=RESTARTS
    )
    tail, waiting = Tail(lesson, on_epoch), list(range(lesson.settings.members))
    running: dict[ray.ObjectRef, int] = {}
    done: dict[int, Learnt] = {}
    while waiting or running:
        while waiting and len(running) < fit:
            member = waiting.pop(0)
            running[task.remote(shared, member, _threads(profile))] = member
        ready, _ = ray.wait(list(running), timeout=POLL_S)
        for reference in ready:
            done[running.pop(reference)] = _gathered(reference)
        tail.look()
    return [done[member] for member in sorted(done)]


def _gathered(reference: ray.ObjectRef) -> Learnt:
    try:
        outcome = ray.get(reference)
    except RayError as error:
        raise RunError(
            f"a worker failed more than {RESTARTS} times: {error}\nThe same command goes on"
        ) from error
    return outcome.learnt()


def _member(lesson: Lesson, member: int, threads: int) -> Outcome:
    """What a worker does with one member of an ensemble."""
    torch.set_num_threads(threads)
    device = lent_device()
    return _outcome(lesson, member, Joined(rank=0, workers=1), device)
