"""Where a training goes on after it was killed: the state after each epoch, in a folder of its own.

A folder is written under another name, its manifest last, and then renamed: half a checkpoint never bears
the name of one. Two are kept, so that there is one while the next is written. Nothing in them is executed.
"""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from engine.errors import PlanError, RunError
from engine.train.state import Epoch, State

MANIFEST, WEIGHTS, STEPS = "manifest.json", "model.safetensors", "steps.pt"
FORMAT, KEPT = 1, 2
PREFIX, LOCK = "epoch-", "lock"
PATIENCE_S, PAUSE_S = 30.0, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What must be the same for a training to go on: its spec, its data, and the program."""

    spec: str
    data: str
    code: str


def code_version() -> str:
    """The program and what it computes with."""
    return f"abundant {version('abundant')}, torch {torch.__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one network in a folder, of which one process is the only writer.

    Where an epoch takes less than `least_s` seconds, not every one is kept.
    """

    folder: Path
    identity: Identity
    least_s: float = 0.0

    def save(self, state: State) -> None:
        """Keep the state after its last epoch; RunError, with the remedy, where it cannot be written."""
        final = self.folder / f"{PREFIX}{len(state.history):06d}"
        trial = self.folder / f".{final.name}.{secrets.token_hex(4)}"
        try:
            trial.mkdir(parents=True)
            self._write(trial, state)
            if final.exists():
                shutil.rmtree(final)
            trial.rename(final)
            _sync(self.folder)
        except OSError as error:
            shutil.rmtree(trial, ignore_errors=True)
            raise RunError(unwritten(self.folder, "a checkpoint", error)) from error
        self._tidy()

    def _write(self, trial: Path, state: State) -> None:
        now = {f"now.{name}": value for name, value in state.network.state_dict().items()}
        best = {f"best.{name}": value for name, value in state.best.items() if not state.history[-1].best}
        weights = save({name: value.contiguous() for name, value in (now | best).items()})
        steps, packed = BytesIO(), {"optimiser": state.optimiser, "schedule": state.schedule}
        torch.save({name: part.state_dict() for name, part in packed.items()}, steps)
        # Both libraries have errors of their own for a full disk; written by us it is an OSError.
        (trial / WEIGHTS).write_bytes(weights)
        (trial / STEPS).write_bytes(steps.getbuffer())
        manifest = {
            "format": FORMAT,
            "identity": asdict(self.identity),
            "files": {name: _sha256(trial / name) for name in (WEIGHTS, STEPS)},
            "history": [asdict(epoch) for epoch in state.history],
        }
        for name in manifest["files"]:
            _sync(trial / name)
        (trial / MANIFEST).write_text(json.dumps(manifest))
        _sync(trial / MANIFEST)
        _sync(trial)

    def resume(self, state: State) -> None:
        """Make the state what it was after the last epoch that was kept; as it is where none was.

        PlanError, with the remedy, where the newest checkpoint is of another training.
        """
        if (found := _newest(self.folder)) is not None:
            _refuse_other(found[1], self.identity, self.folder)
            _load(*found, state)

    def history(self) -> list[Epoch]:
        """The epochs that are kept; PlanError as above."""
        if (found := _newest(self.folder)) is None:
            return []
        _refuse_other(found[1], self.identity, self.folder)
        return _history(found[1])

    def _tidy(self) -> None:
        """Leave the newest ones alone, and nothing of what was never finished."""
        old = _finished(self.folder)[:-KEPT]
        for folder in (*old, *self.folder.glob(f".{PREFIX}*")):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def only_writer(folder: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Within it no other process trains in this folder; RunError where one still does after a while.

    The lock goes with its process: the worker of a training that was killed may outlive it by seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        for attempt in range(int(patience_s / PAUSE_S) + 1):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(PAUSE_S if attempt < patience_s / PAUSE_S else 0)
        else:
            raise RunError(f"another process trains in {folder}; wait for it, or stop it, and try again")
        yield


def unwritten(folder: Path, what: str, error: OSError) -> str:
    """What to say where the folder of a training takes no more."""
    epoch = max((int(path.name.removeprefix(PREFIX)) for path in _finished(folder)), default=0)
    goes_on = f"goes on after epoch {epoch}" if epoch else "begins anew"
    return f"{folder}: {what} cannot be written: {error}; make room there, and the same command {goes_on}"


def refuse_others(folders: Sequence[Path], spec: str) -> None:
    """PlanError where a folder has checkpoints of another spec or program, before anything is read."""
    for place in folders:
        if (found := _newest(place)) is not None:
            data = found[1]["identity"]["data"]
            _refuse_other(found[1], Identity(spec=spec, data=data, code=code_version()), place)


def _refuse_other(manifest: dict[str, Any], ours: Identity, place: Path) -> None:
    theirs, wanted = manifest["identity"], asdict(ours)
    other = [name for name in wanted if theirs[name] != wanted[name]]
    if not other:
        return
    code = f" ({theirs['code']}, now {ours.code})" if "code" in other else ""
    raise PlanError(
        f"{place} has the checkpoint of a training with other {' and '.join(other)}{code} after epoch "
        f"{len(manifest['history'])}: put that back and the training goes on, or delete {place.parent} "
        "to begin anew"
    )


def _finished(folder: Path) -> list[Path]:
    """Checkpoints in the order of their epochs."""
    return sorted(path for path in folder.glob(f"{PREFIX}*") if path.is_dir())


def _newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole checkpoint and its manifest."""
    for path in reversed(_finished(folder)):
        if (manifest := _manifest(path)) is not None:
            return path, manifest
    return None


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a checkpoint whose files are as they were written; None for any other."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        whole = all(_sha256(folder / name) == sha256 for name, sha256 in manifest["files"].items())
    except (OSError, ValueError):
        return None
    return manifest if whole and manifest["format"] == FORMAT else None


def _load(folder: Path, manifest: dict[str, Any], state: State) -> None:
    arrays = load_file(folder / WEIGHTS)
    now, best = (
        {name.removeprefix(part): value for name, value in arrays.items() if name.startswith(part)}
        for part in ("now.", "best.")
    )
    steps = torch.load(folder / STEPS, map_location="cpu", weights_only=True)
    state.network.load_state_dict(now)
    state.optimiser.load_state_dict(steps["optimiser"])
    state.schedule.load_state_dict(steps["schedule"])
    state.history = _history(manifest)
    state.best = now if state.history[-1].best else best


def _history(manifest: dict[str, Any]) -> list[Epoch]:
    epochs = (epoch | {"scatter_L": tuple(epoch["scatter_L"])} for epoch in manifest["history"])
    return [Epoch(**epoch) for epoch in epochs]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
