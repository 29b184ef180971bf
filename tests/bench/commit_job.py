"""`python -m tests.bench.commit_job ROOT RUNTIME`: publish what `big_catalog` has staged there."""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path

from catalogs.commit import commit
from engine.runtime import MAPS
from engine.spec import Profile
from tests.bench.big_catalog import PRODUCT, place


def main(root: str, runtime: str) -> None:
    """Commit, and print seconds by step as JSON."""
    layout = place(Path(root))
    names = sorted(path.stem for path in layout.receipts.glob("*.json"))
    steps, last = dict[str, float](), time.perf_counter()

    def on_step(step: str, _done: int, _of: int) -> None:
        nonlocal last
        now = time.perf_counter()
        steps[step] = steps.get(step, 0.0) + now - last
        last = now

    profile = Profile.model_validate({"runtime": runtime})
    mapper = partial(MAPS[runtime], profile)
    report = commit(layout, names, PRODUCT, manifest={}, failed_allowed=0, mapper=mapper, on_step=on_step)
    sys.stdout.write(json.dumps({"rows": report.rows, "steps": steps}) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(*sys.argv[1:])
