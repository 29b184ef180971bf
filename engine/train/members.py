"""The networks of a training: one, or the members of an ensemble, wherever each is trained."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from engine.draw import Network
from engine.models import MODELS
from engine.spec import Frozen
from engine.train.checkpoint import LOCK, PREFIX, Checkpoints, Identity, only_writer
from engine.train.feed import Feed, Held, Order
from engine.train.log import Log
from engine.train.loop import Course, OnEpoch, fit
from engine.train.losses import LOSSES
from engine.train.schedule import kept_epoch
from engine.train.spec import Training
from engine.train.state import Epoch
from engine.train.tensors import Tensors
from engine.train.together import ALONE, Together

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """All that the networks of a training need, wherever they are trained.

    `place` is the training's own folder, `names` are the labels in the order of the outputs. `least_s` is
    the least time between two checkpoints.
    """

    model: str
    hyper: Frozen
    names: tuple[str, ...]
    settings: Training
    train: Tensors
    validation: Tensors
    place: Path
    identity: Identity
    least_s: float = 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of all stars."""
        return self.train.nbytes + self.validation.nbytes

    def folder(self, member: int) -> Path:
        """Where a member keeps its log and its checkpoints."""
        return self.place / f"member-{member}"

    def checkpoints(self, member: int) -> Checkpoints:
        """Those of a member."""
        return Checkpoints(folder=self.folder(member), identity=self.identity, least_s=self.least_s)

    def build(self, member: int) -> Network:
        """A member as it is before training: its seed decides, and no random number of torch is used up."""
        architecture = MODELS[self.model]
        with torch.random.fork_rng([]):
            torch.manual_seed((self.settings.seed + member) % 2**63)
            return architecture.build(self.hyper, architecture.inputs, len(self.names))

    def order(self, member: int) -> Order:
        """In which batches a member sees the training stars."""
        settings = self.settings
        return Order(stars=len(self.train), batch=settings.batch, seed=settings.seed, member=member)

    def course(self, member: int, device: torch.device, feed: Feed | None = None) -> Course:
        """What a member learns from, on a device, and how: from `train`, where there is no other feed."""
        architecture = MODELS[self.model]
        return Course(
            train=feed or Held(stars=self.train.to(device), order=self.order(member)),
            validation=self.validation.to(device),
            settings=self.settings,
            loss=LOSSES[self.settings.loss or architecture.loss],
            penalty=lambda weights: architecture.penalty(weights, self.hyper),
            member=member,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What came of one network: the weights that it keeps, and its epochs."""

    state: Mapping[str, Tensor]
    history: Sequence[Epoch]


Learn: TypeAlias = Callable[[Lesson, OnEpoch], Sequence[Learnt]]


def learn_here(lesson: Lesson, on_epoch: OnEpoch, device: torch.device = CPU) -> list[Learnt]:
    """All members in this process, one after the other."""
    return [
        learn(lesson, member, on_epoch=on_epoch, device=device) for member in range(lesson.settings.members)
    ]


def learn(
    lesson: Lesson,
    member: int,
    *,
    on_epoch: OnEpoch,
    together: Together = ALONE,
    device: torch.device = CPU,
    feed: Feed | None = None,
) -> Learnt:
    """Train one member, or go on with it; the worker of rank 0 writes log and checkpoints."""
    network = lesson.build(member).to(device)
    course = lesson.course(member, device, feed)
    checkpoints = lesson.checkpoints(member)
    with only_writer(checkpoints.folder) if together.rank == 0 else nullcontext():
        # The others look at the checkpoints once nobody else can write them.
        together.agree(torch.zeros(1, device=device))
        history = _fit(network, course, lesson.names, checkpoints, on_epoch, together)
    return Learnt(state={name: value.cpu() for name, value in network.state_dict().items()}, history=history)


def _fit(
    network: Network,
    course: Course,
    names: Sequence[str],
    checkpoints: Checkpoints,
    on_epoch: OnEpoch,
    together: Together,
) -> list[Epoch]:
    """Fit, with a log where this is the worker that writes."""
    if together.rank > 0:
        return fit(network, course, on_epoch=on_epoch, checkpoints=checkpoints, together=together)
    with Log(checkpoints.folder, names, course.settings.epochs, checkpoints.history()) as log:

        def written(epoch: Epoch) -> None:
            log.write(epoch)
            on_epoch(epoch)

        return fit(network, course, on_epoch=written, checkpoints=checkpoints, together=together)


def kept(learnt: Sequence[Learnt], settings: Training) -> list[int]:
    """The members that an ensemble keeps: validation loss below the quantile of all, the best at least.

    Guiglion et al. 2020 and Nepal et al. 2023 keep those below the 80th percentile.
    """
    losses = [kept_epoch(item.history, settings).validation_loss for item in learnt]
    if settings.keep_share == 1:
        return list(range(len(learnt)))
    limit = float(np.quantile(losses, settings.keep_share))
    return [i for i, loss in enumerate(losses) if loss < limit] or [int(np.argmin(losses))]


def lineage_of(learnt: Sequence[Learnt], settings: Training) -> list[dict[str, Any]]:
    """For the card: each member's seed, the epoch that it kept, and whether the ensemble keeps it."""
    members, epochs = set(kept(learnt, settings)), [kept_epoch(item.history, settings) for item in learnt]
    return [
        {
            "seed": (settings.seed + member) % 2**63,
            "epochs": len(learnt[member].history),
            "epoch": epoch.number,
            "validation_loss": epoch.validation_loss,
            "kept": member in members,
        }
        for member, epoch in enumerate(epochs)
    ]


def networks_of(lesson: Lesson, learnt: Sequence[Learnt]) -> tuple[Network, ...]:
    """The networks that are kept, in evaluation mode."""
    networks = []
    for member in kept(learnt, lesson.settings):
        network = lesson.build(member)
        network.load_state_dict(dict(learnt[member].state))
        networks.append(network.eval().requires_grad_(False))
    return tuple(networks)


def forget_checkpoints(lesson: Lesson) -> None:
    """Delete what is of no use once the bundle is written; logs stay."""
    for folder in lesson.place.glob(f"member-*/*{PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
    for lock in lesson.place.glob(f"member-*/{LOCK}"):
        lock.unlink(missing_ok=True)
