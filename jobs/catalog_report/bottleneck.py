"""Where the time of a run went, in figures and words: what limits it now, and what would next."""

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catalogs.overview.records import Speed
from jobs.catalog_report.frame import WIDE, frame
from jobs.catalog_report.words import few, share
from jobs.training_report.axes import BLUE, GREEN, ORANGE, PURPLE, VERMILION

# What a worker or reader does for a task; between them a batch waits, which is nobody's work.
STAGES = ("read", "prepare", "draw", "stage")
WAITING = "wait"
# Batches that wait for longer than this share of all work wait for a network.
QUEUED = 0.05
# Room that a name needs in a bar, in per cent of it: for each letter, and around them.
LETTER, AROUND = 1.5, 2.0
LOOKS = (
    (BLUE, ""),
    (ORANGE, "//"),
    (GREEN, ""),
    (VERMILION, "\\\\"),
    (PURPLE, ""),
    ("0.6", "xx"),
    ("0.85", ".."),
)


def work_of(found: Speed) -> dict[str, float]:
    """Seconds of work by stage, in the order of a task."""
    ranked = sorted(found.seconds, key=lambda stage: STAGES.index(stage) if stage in STAGES else len(STAGES))
    return {stage: found.seconds[stage] for stage in ranked if stage != WAITING}


def verdict(found: Speed | None) -> Iterator[str]:
    """Sentences on the bottleneck of now and the next one; none where there is nothing to tell."""
    if found is None or not found.rows or sum((work := work_of(found)).values()) <= 0:
        return
    total = sum(work.values())
    yield from _of_worker(work, found.rows)
    if found.gpus and found.seconds.get(WAITING, 0.0) > QUEUED * total:
        lay = few(found.seconds[WAITING] / max(found.tasks, 1))
        yield f"Batches lay {lay} s on the mean before a network took them: more readers would not help."
    elif found.gpus:
        yield "Batches hardly waited for a network: readers are what to add."
    if found.labelling and found.workers and total <= found.workers * found.labelling:
        yield (
            f"Labelling took {few(found.labelling)} s on {_workers(found.workers)}, at work for "
            f"{share(total, found.workers * found.labelling)} of it; the rest went into starting and waiting."
        )
    if spent := sum(found.commit.values()):
        step, most = max(found.commit, key=lambda one: found.commit[one]), max(1, round(total / spent))
        yield (
            f"The commit took {few(spent)} s, most of it for “{step}”; with more than about {_workers(most)} "
            "like these it would be the bottleneck."
        )


def _of_worker(work: Mapping[str, float], rows: int) -> Iterator[str]:
    """What most of a worker's time goes into, and how fast it would be without."""
    total = sum(work.values())
    first, *others = sorted(work, key=lambda stage: -work[stage])
    yield (
        f"The bottleneck is “{first}”: {share(work[first], total)} of all work. One worker labels "
        f"{few(rows / total)} rows/s."
    )
    if others and work[others[0]] > 0:
        rest = total - work[first]
        yield (
            f"The next bottleneck is “{others[0]}”: were “{first}” for nothing, one worker would label "
            f"{few(rows / rest)} rows/s, with {share(work[others[0]], rest)} of its time in “{others[0]}”."
        )


def _workers(number: int) -> str:
    return "one worker" if number == 1 else f"{number:,} workers"


def draw_time(found: Speed) -> Figure:
    """Two bars: the work on tasks by stage, and the commit by step, each in shares of its own whole."""
    figure, [axes] = frame((WIDE[0], 2.4))
    bars = {"labelling": work_of(found), "commit": found.commit}
    shown = {name: parts for name, parts in bars.items() if sum(parts.values()) > 0}
    for row, (name, parts) in enumerate(shown.items()):
        _bar(axes, row, parts)
        axes.text(0, row - 0.3, f"{name}, {few(sum(parts.values()))} s", fontsize=9, va="bottom")
    axes.set(xlim=(0, 100), ylim=(len(shown) - 0.65, -0.65), yticks=(), xlabel="share of time [%]")
    axes.grid(visible=False)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.tick_params(top=False, which="both")
    figure.subplots_adjust(left=0.04, right=0.96)
    return figure


def _bar(axes: Axes, row: int, parts: Mapping[str, float]) -> None:
    start, total = 0.0, sum(parts.values())
    for (name, seconds), (colour, hatch) in zip(parts.items(), _looks(len(parts)), strict=True):
        width = 100 * seconds / total
        axes.barh(row, width, left=start, height=0.5, color=colour, hatch=hatch, edgecolor="white", lw=0.8)
        if width > LETTER * len(name) + AROUND:
            box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85}
            axes.text(start + width / 2, row, name, ha="center", va="center", fontsize=8, bbox=box)
        start += width


def _looks(number: int) -> Sequence[tuple[str, str]]:
    return [LOOKS[one % len(LOOKS)] for one in range(number)]
