"""One readable training loop in plain torch, the same on one machine and on several."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from engine.draw import Network, Output
from engine.errors import RunError, UnexpectedNaN
from engine.train.augment import augmented
from engine.train.checkpoint import Checkpoints
from engine.train.feed import Feed, seed_of
from engine.train.losses import Loss
from engine.train.schedule import advance, is_better, is_over, optimiser_of, schedule_of
from engine.train.spec import Training
from engine.train.state import Epoch, State
from engine.train.tensors import Tensors
from engine.train.together import ALONE, Together

Penalty: TypeAlias = Callable[[Network], Tensor]
OnEpoch: TypeAlias = Callable[[Epoch], None]
ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What one network learns from, and how. `member` is its place in an ensemble."""

    train: Feed
    validation: Tensors
    settings: Training
    loss: Loss
    penalty: Penalty
    member: int = 0

    def seed_of(self, epoch: int, what: str) -> int:
        """The seed of an epoch's augmentation or dropout."""
        return seed_of(self.settings.seed, self.member, epoch, what)


def fit(
    network: Network,
    course: Course,
    *,
    on_epoch: OnEpoch,
    checkpoints: Checkpoints | None = None,
    together: Together = ALONE,
) -> list[Epoch]:
    """Train in place and leave the weights that the settings keep; the history comes back.

    With checkpoints it goes on where they end. The penalty counts in training alone: an epoch is as good as
    its labels. UnexpectedNaN when the loss is no longer a number.
    """
    state = _start(network, course.settings)
    if checkpoints is not None:
        checkpoints.resume(state)
    _begin_together(state, together)
    saved = time.monotonic()
    while not is_over(state.history, course.settings):
        epoch = _epoch(state, course, together)
        _take(state, epoch)
        if together.rank == 0:
            if checkpoints is not None and _is_due(checkpoints, saved, state, course.settings):
                checkpoints.save(state)
                saved = time.monotonic()
            on_epoch(epoch)
    if course.settings.keep == "best":
        network.load_state_dict(state.best)
    return state.history


def _start(network: Network, settings: Training) -> State:
    optimiser = optimiser_of(network, settings)
    return State(
        network=network, optimiser=optimiser, schedule=schedule_of(optimiser, settings), best={}, history=[]
    )


def _take(state: State, epoch: Epoch) -> None:
    """The epoch is over: its weights may be the best, and the step may shrink."""
    advance(state.schedule, epoch.validation_loss)
    if epoch.best:
        state.best = {name: value.clone() for name, value in state.network.state_dict().items()}
    state.history.append(epoch)


def _is_due(checkpoints: Checkpoints, saved: float, state: State, settings: Training) -> bool:
    return time.monotonic() - saved >= checkpoints.least_s or is_over(state.history, settings)


def _begin_together(state: State, together: Together) -> None:
    """RunError where this worker goes on from another epoch than the first one does."""
    device = next(state.network.parameters()).device
    first = together.agree(torch.tensor([len(state.history)], device=device))
    if int(first) != len(state.history):
        raise RunError(
            f"worker {together.rank} goes on after epoch {len(state.history)}, the first one after "
            f"{int(first)}: all machines must see the folder of the training"
        )


def _epoch(state: State, course: Course, together: Together) -> Epoch:
    """One pass over the training stars and a look at the validation stars."""
    started, number = time.perf_counter(), len(state.history) + 1
    learning_rate = state.optimiser.param_groups[0]["lr"]
    train_loss = _pass(state, course, number, together)
    reached = together.agree(_validate(state.network, course))
    validation_loss, *scatter = reached.tolist()
    if not np.isfinite(validation_loss):
        raise UnexpectedNaN(_broken(number, "on validation stars"))
    return Epoch(
        number=number,
        train_loss=train_loss,
        validation_loss=validation_loss,
        best=is_better(validation_loss, state.history, course.settings),
        learning_rate=learning_rate,
        scatter_L=tuple(scatter),
        member=course.member,
        seconds=time.perf_counter() - started,
    )


def _pass(state: State, course: Course, number: int, together: Together) -> float:
    """Each batch once, in the epoch's own order; the mean loss comes back."""
    network, settings = state.network, course.settings
    device = course.validation.x_NI.device
    extra = torch.Generator(device).manual_seed(course.seed_of(number, f"augmentation {together.rank}"))
    losses, stars = [], 0
    network.train()
    with _seeded(course.seed_of(number, f"dropout {together.rank}"), device):
        for batch in course.train.epoch(number, together):
            x_NI = augmented(batch.stars, settings, extra)
            with _precision(settings, device):
                value = batch.part * _penalised(network, x_NI, batch.stars, course)
            state.optimiser.zero_grad()
            value.backward()
            loss = together.join(network, value.detach()).item()
            if not np.isfinite(loss):
                raise UnexpectedNaN(_broken(number, f"in batch {batch.number} of {batch.of}"))
            state.optimiser.step()
            network.constrain()
            losses.append(loss * batch.size)
            stars += batch.size
    return sum(losses) / stars


def _penalised(network: Network, x_NI: Tensor, stars: Tensors, course: Course) -> Tensor:
    """The loss of some training stars, and the network's penalty."""
    value = course.loss(network(x_NI), stars.y_NL, stars.inverse_error_NL)
    return value + course.penalty(network)


def _validate(network: Network, course: Course) -> Tensor:
    """The loss on validation stars, then each label's scatter in its unit."""
    stars = course.validation
    network.eval()
    with torch.inference_mode():
        parts = [network(x_NI) for x_NI in stars.x_NI.split(ROWS_AT_ONCE)]
        variances = [part.log_variance_NL for part in parts if part.log_variance_NL is not None]
        output = Output(
            torch.cat([part.value_NL for part in parts]), torch.cat(variances) if variances else None
        )
        loss = course.loss(output, stars.y_NL, stars.inverse_error_NL)
        known_NL = stars.inverse_error_NL > 0
        residual_NL = torch.where(known_NL, (output.value_NL - stars.y_NL).abs(), torch.nan)
        scatter_L = 1.4826 * residual_NL.nanmedian(dim=0).values * stars.label_scale_L
        return torch.cat([loss[None], scatter_L])


def _broken(number: int, where: str) -> str:
    return (
        f"the loss became NaN or infinite {where}, in epoch {number}; lower [training] learning_rate. "
        f"Epochs before are kept as they were"
    )


def _precision(settings: Training, device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 products where they are asked for and fast."""
    mixed = settings.precision == "mixed" and device.type == "cuda"
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Within it torch's own random numbers, which dropout takes, follow from a seed; before and after not."""
    with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
