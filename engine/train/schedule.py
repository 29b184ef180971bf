"""How weights move, how the step shrinks, and when a training is over."""

from collections.abc import Sequence

from torch.nn import Module
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, ReduceLROnPlateau

from engine.train.spec import Training
from engine.train.state import Epoch


def optimiser_of(network: Module, settings: Training) -> Optimizer:
    """The optimiser of a network's weights."""
    if settings.optimiser == "adam":
        return Adam(network.parameters(), lr=settings.learning_rate, eps=settings.eps, fused=True)
    return AdamW(
        network.parameters(),
        lr=settings.learning_rate,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def schedule_of(optimiser: Optimizer, settings: Training) -> LRScheduler:
    """The learning rate from epoch to epoch."""
    if settings.schedule == "cosine":
        return CosineAnnealingLR(optimiser, settings.epochs)
    if settings.schedule == "constant":
        return ConstantLR(optimiser, factor=1.0, total_iters=0)
    plateau = settings.plateau
    # Keras reduces after `patience` epochs without improvement, torch after one more.
    return ReduceLROnPlateau(
        optimiser,
        factor=plateau.factor,
        patience=plateau.patience - 1,
        threshold=plateau.min_delta,
        threshold_mode="abs",
        min_lr=plateau.min_learning_rate,
        eps=0.0,
    )


def advance(schedule: LRScheduler, validation_loss: float) -> None:
    """An epoch is over."""
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(validation_loss)
    else:
        schedule.step()


def is_better(loss: float, history: Sequence[Epoch], settings: Training) -> bool:
    """Whether a validation loss is the best so far, by more than early stopping asks for, as in Keras."""
    least = settings.early_stopping.min_delta if settings.early_stopping else 0.0
    best = min((epoch.validation_loss for epoch in history if epoch.best), default=float("inf"))
    return loss < best - least


def is_over(history: Sequence[Epoch], settings: Training) -> bool:
    """Whether all epochs are done, or as many as patience allows have passed without a better one."""
    if len(history) >= settings.epochs or settings.early_stopping is None:
        return len(history) >= settings.epochs
    last_best = max((epoch.number for epoch in history if epoch.best), default=0)
    return len(history) - last_best >= settings.early_stopping.patience


def kept_epoch(history: Sequence[Epoch], settings: Training) -> Epoch:
    """The epoch whose weights a training leaves."""
    if settings.keep == "last":
        return history[-1]
    return max((epoch for epoch in history if epoch.best), key=lambda epoch: epoch.number)
