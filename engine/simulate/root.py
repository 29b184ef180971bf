"""The folder of a simulated survey: claimed for one set of settings, so that two kinds never mix in it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from engine.errors import InputError
from engine.simulate.labels import LabelArray, labels_from_table

SETTINGS_FILE = "simulation.json"


def claim(root: Path, settings: Mapping[str, object]) -> None:
    """Leave the settings in the root, or find the same ones there; InputError for anything else."""
    path = root / SETTINGS_FILE
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file: choose another folder")
    if path.exists():
        _check_same(path, settings)
        return
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} holds files that were not simulated here: choose another folder")
    root.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(settings, indent=1) + "\n")
    temporary.replace(path)


def _check_same(path: Path, settings: Mapping[str, object]) -> None:
    try:
        found = dict(json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): choose another folder or remove this one") from error
    if found != settings:
        changed = sorted(key for key in {*settings, *found} if found.get(key) != settings.get(key))
        raise InputError(
            f"{path.parent} holds a simulated survey with other {', '.join(changed)}: "
            "choose another folder or remove this one"
        )


def given_labels(labels: pa.Table | None, stars: int) -> LabelArray | None:
    """The given labels as an array [N, L], None when they are to be drawn."""
    if labels is None:
        return None
    if labels.num_rows < stars:
        raise InputError(
            f"the labels table has {labels.num_rows} rows for {stars} stars: add rows or lower stars"
        )
    return labels_from_table(labels.slice(0, stars))
