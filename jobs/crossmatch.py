"""The `crossmatch` command."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from typing import Any

from rich.markup import escape
from rich.table import Table

from engine.train.checks import check_stars
from engine.train.crossmatch import Crossmatch, crossmatch
from engine.train.spec import TrainSpec
from engine.train.store import labels_only
from jobs.progress import CONSOLE, Bar, bars, say

CONDITIONS = {
    "spectra": "selected by [survey] and read",
    "with_labels": "a row of the label table with a label",
    "without_doubts": "no flag that a run would raise before any network",
    "min_snr": "median S/N per pixel",
    "min_good_fraction": "share of good pixels",
    "inputs": "all that the model wants beside pixels",
    "best_snr": "the best spectrum of each star",
}


def run_crossmatch(spec: TrainSpec) -> Crossmatch:
    """Make the training set of a spec with progress, show what came of it, and check that it can teach."""
    with ExitStack() as display:

        @cache
        def bar() -> Bar:
            """It appears with the first spectra: what is refused before leaves no empty bar behind."""
            return display.enter_context(bars(Reading=1))[0]

        found = crossmatch(spec, on_shard=lambda done, of: bar().reach(done, of))
    CONSOLE.print(steps(found.store.about))
    say(escape(outcome(found)))
    check_stars(spec, labels_only(found.store))
    return found


def steps(about: Mapping[str, Any]) -> Table:
    """How many spectra and stars are left after each step, and how many it removes."""
    columns = ("step", "spectra", "removed", "stars", "removed", "condition")
    table = Table(*columns, title="From spectra to stars")
    for column in table.columns[1:5]:
        column.justify = "right"
    last: Mapping[str, Any] = {"spectra": None, "stars": None}
    for step in about["steps"]:
        numbers = [
            text
            for kind in ("spectra", "stars")
            for text in (_count(step[kind]), _count(_lost(last[kind], step[kind])))
        ]
        condition = about["cuts"].get(step["name"], CONDITIONS.get(step["name"], ""))
        table.add_row(step["name"].replace("_", " "), *numbers, escape(condition))
        last = step
    return table


def _lost(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else before - after


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def outcome(found: Crossmatch) -> str:
    """Where the set is, how its stars are shared out, and what else is worth knowing."""
    about, lines = found.store.about, []
    if found.replaced:
        lines.append(f"The set that was there was made for other {', '.join(found.replaced)}; replaced.")
    table, counts = about["label_table"], about["counts"]
    if table["keyless"] or table["repeated"]:
        lines.append(
            f"Of {table['rows']:,} rows of {table['name']}, {table['keyless']:,} have no key and "
            f"{table['repeated']:,} are a worse row of one."
        )
    if about["ambiguous"]:
        lines.append(f"{about['ambiguous']:,} spectra have two labels within the radius and got the nearest.")
    if counts["unreadable_tasks"]:
        lines.append(f"{counts['unreadable_tasks']:,} tasks could not be read.")
    parts = ", ".join(f"{part['stars']:,} {name}" for name, part in about["parts"].items())
    how = "Was already made" if found.reused else "Made"
    lines.append(f"{how}: {len(found.store):,} spectra of stars ({parts}) in {found.store.folder}")
    return "\n".join(lines)
