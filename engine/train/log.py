"""What a training writes down for people while it runs: JSON lines, and events for TensorBoard.

tensorboard --logdir OUT-training
"""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, TextIO

from tensorboardX import SummaryWriter

from engine.errors import RunError
from engine.train.checkpoint import unwritten
from engine.train.state import Epoch

LINES = "log.jsonl"


class Log(AbstractContextManager["Log"]):
    """The log of one network in a folder; what an interrupted training wrote beyond `history` is replaced."""

    def __init__(self, folder: Path, names: Sequence[str], epochs: int, history: Sequence[Epoch]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._names, self._epochs, self._seconds = names, epochs, 0.0
        self._events = SummaryWriter(str(folder), purge_step=len(history) + 1, flush_secs=10)
        self._lines: TextIO = (folder / LINES).open("w", encoding="utf-8", buffering=1)
        for epoch in history:
            self._line(epoch)

    def write(self, epoch: Epoch) -> None:
        """One epoch; RunError, with the remedy, where it cannot be written."""
        self._line(epoch)
        scalars = {
            "loss/train": epoch.train_loss,
            "loss/validation": epoch.validation_loss,
            "learning_rate": epoch.learning_rate,
            **{f"scatter/{name}": s for name, s in zip(self._names, epoch.scatter_L, strict=True)},
        }
        for name, value in scalars.items():
            self._events.add_scalar(name, value, epoch.number)

    def _line(self, epoch: Epoch) -> None:
        self._seconds += epoch.seconds
        try:
            self._lines.write(json.dumps(line_of(epoch, self._names, self._left(epoch))) + "\n")
        except OSError as error:
            raise RunError(unwritten(self._folder, "the log", error)) from error

    def _left(self, epoch: Epoch) -> float:
        """Seconds if all epochs are done, each in the mean time of those before."""
        return self._seconds / epoch.number * (self._epochs - epoch.number)

    def __exit__(self, *error: object) -> None:
        # What cannot be flushed here has been told of, or is for TensorBoard alone.
        for file in (self._lines, self._events):
            with suppress(OSError):
                file.close()


def line_of(epoch: Epoch, names: Sequence[str], seconds_left: float) -> dict[str, Any]:
    """An epoch as a line of the log: scatter by label, in the label's unit."""
    return {
        "member": epoch.member,
        "epoch": epoch.number,
        "train_loss": epoch.train_loss,
        "validation_loss": epoch.validation_loss,
        "best": epoch.best,
        "learning_rate": epoch.learning_rate,
        "scatter": dict(zip(names, epoch.scatter_L, strict=True)),
        "seconds": round(epoch.seconds, 3),
        "seconds_left": round(seconds_left, 1),
    }


def epochs_of(folder: Path, after: int) -> list[Epoch]:
    """The epochs beyond a number that a log has by now; a line in the making is left for later."""
    path = folder / LINES
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    whole, _, _ = text.rpartition("\n")
    plain = [json.loads(line) for line in whole.splitlines()]
    return [_epoch(item) for item in plain if item["epoch"] > after]


def _epoch(plain: dict[str, Any]) -> Epoch:
    names = ("member", "train_loss", "validation_loss", "best", "learning_rate", "seconds")
    return Epoch(
        number=plain["epoch"],
        scatter_L=tuple(plain["scatter"].values()),
        **{name: plain[name] for name in names},
    )
