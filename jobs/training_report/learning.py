"""How the training went: losses by epoch, and the scatter of each label."""

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.models.card import Card
from engine.train.report import EpochScore, Validation
from jobs.training_report.axes import BLUE, GREEN, ORANGE, PURPLE, VERMILION, grid, plain_log, symbol

STYLES = ("-", "--", ":", "-.")
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, "0.3")


def draw_learning(validation: Validation, card: Card) -> Iterator[Figure]:  # noqa: ARG001
    """One figure, none where the training left no history."""
    history = validation.history
    if not history:
        return
    followed = [name for name in validation.names if all(name in epoch.scatter for epoch in history)]
    figure, axes = grid(1, 2 if followed else 1, 3.6)
    _losses(axes[0, 0], history)
    if followed:
        _scatter(axes[0, 1], history, followed)
    yield figure


def _losses(axes: Axes, history: tuple[EpochScore, ...]) -> None:
    epochs, marker = [epoch.number for epoch in history], "." if len(history) < 30 else ""
    train, kept = [epoch.train_loss for epoch in history], [epoch.validation_loss for epoch in history]
    axes.plot(epochs, train, BLUE, marker=marker, label="training stars (with dropout and penalty)")
    axes.plot(epochs, kept, VERMILION, ls="--", marker=marker, label="validation stars (without)")
    _mark_best(axes, history)
    if min(train + kept) > 0:
        axes.set_yscale("log")
        plain_log(axes.yaxis)
    axes.set(xlabel="epoch", ylabel="loss")
    axes.legend(fontsize=8, edgecolor="none", framealpha=0.9)


def _scatter(axes: Axes, history: tuple[EpochScore, ...], names: list[str]) -> None:
    best = _best(history)
    for at, name in enumerate(names):
        relative = [epoch.scatter[name] / best.scatter[name] for epoch in history]
        style = STYLES[at // len(COLOURS) % len(STYLES)]
        label = symbol(name)
        axes.plot(
            [epoch.number for epoch in history], relative, style, lw=1.2, label=label, color=COLOURS[at % 6]
        )
    _mark_best(axes, history)
    axes.axhline(1, color="0.7", lw=0.8, zorder=0)
    axes.set_yscale("log")
    plain_log(axes.yaxis)
    axes.set(xlabel="epoch", ylabel="scatter / that of the kept epoch")
    axes.legend(fontsize=8, edgecolor="none", framealpha=0.9, ncols=1 + len(names) // 8)


def _best(history: tuple[EpochScore, ...]) -> EpochScore:
    return next((epoch for epoch in reversed(history) if epoch.best), history[-1])


def _mark_best(axes: Axes, history: tuple[EpochScore, ...]) -> None:
    axes.axvline(_best(history).number, color="0.4", lw=1, ls=":", label="weights that were kept")
