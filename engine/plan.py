"""make_plan(spec): every check that can fail before any work fails here. Nothing has run yet."""

import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, TypeVar

from engine.auxiliary import Table, given_names, joined_columns, open_tables, published_columns, table_digests
from engine.columns import bytes_of
from engine.errors import BundleError, PlanError
from engine.models.architecture import handshake
from engine.models.bundle import bundle_digest, load_card
from engine.models.card import Card
from engine.models.model import architecture_of, load_model
from engine.side import side_columns
from engine.spec import RunSpec, Sampling, Select, Velocity, digest
from engine.surveys import survey_of
from engine.surveys.pinned import sha256_of
from engine.surveys.tasks import cut
from engine.types import Column, Shard, Task

# One task is one block of Ray Data; larger blocks than this would be held twice in memory.
LARGEST_TASK_BYTES = 120 * 2**20
USUAL_ROWS = 512
# In messages; hashes are longer.
LONGEST_VALUE = 40

# What labels can depend on beside the program itself; kept in the manifest.
VERSIONS = ("abundant", "torch", "numpy", "scipy", "pyarrow", "astropy", "fitsio", "gaiadr3-zeropoint", "ray")

T = TypeVar("T", Select, Velocity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run, cut into tasks.

    `digest` names its catalog: equal digests make equal bytes. `work_digest` leaves the list of tasks out:
    tasks of plans that share it make the same labels, so a run whose damaged file was mended keeps the rest.
    `columns` are those of the catalog, `side` those that only its side catalog has, `row_bytes` the bytes of
    one row's arrays, `most_rows` the rows of the largest task, whichever are left to do.
    """

    spec: RunSpec
    digest: str
    work_digest: str
    tables: Mapping[str, str]
    card: Card
    auxiliary: tuple[Table, ...]
    columns: tuple[Column, ...]
    side: tuple[Column, ...]
    row_bytes: int
    most_rows: int
    tasks: tuple[Task, ...]
    warnings: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Input rows of all tasks, before selection."""
        return sum(task.stop - task.start for task in self.tasks)

    @property
    def bytes(self) -> int:
        """Bytes of all arrays of all rows."""
        return self.rows * self.row_bytes

    def without(self, done: Collection[str]) -> "Plan":
        """The same plan, its digest included, with only the tasks that are not done."""
        return replace(self, tasks=tuple(task for task in self.tasks if task.task_id not in done))

    def record(self) -> dict[str, Any]:
        """What the staging folder and the manifest keep of a plan, as plain values."""
        return {
            "digest": self.digest,
            "versions": {name: version(name) for name in VERSIONS},
            "python": platform.python_version(),
            "machine": platform.machine(),
            "spec": self.spec.model_dump(mode="json", by_alias=True),
            "tables": dict(self.tables),
            "bundle_sha256": self.spec.model.sha256,
            "card": self.card.model_dump(mode="json"),
            "tasks": len(self.tasks),
            "rows": self.rows,
        }


def make_plan(spec: RunSpec) -> Plan:
    """The plan of a run; PlanError or BundleError, with the remedy, for everything that cannot work."""
    spec = pinned(spec)
    survey = survey_of(spec.survey)
    card = load_card(spec.model.bundle)
    tables = open_tables(spec.auxiliary, survey.columns)
    given = survey.fills.union(given_names(tables))
    handshake(architecture_of(card), survey.name, survey.spectrograph, given)
    sampling = _sampling(spec, card)
    model, _ = load_model(
        spec.model.bundle,
        keys=survey.keys,
        spectrograph=survey.spectrograph,
        sampling=sampling,
        sha256=spec.model.sha256,
        joined=published_columns(tables),
        rounded=spec.catalog.rounded,
    )
    row_bytes = survey.row_bytes + bytes_of(joined_columns(tables))
    rows = _rows(spec, row_bytes)
    shards = sorted(survey.list_shards(spec.survey), key=lambda shard: shard.path)
    tasks = tuple(task for shard in shards for task in cut(shard, rows))
    digests = table_digests(tables)
    work = _work_digest(spec, digests)
    return Plan(
        spec=spec,
        digest=digest([work, [task.task_id for task in tasks]]),
        work_digest=work,
        tables=digests,
        card=card,
        auxiliary=tables,
        columns=model.columns,
        side=side_columns(spec.catalog.side, model.labelling),
        row_bytes=row_bytes,
        most_rows=max((task.stop - task.start for task in tasks), default=0),
        tasks=tasks,
        warnings=tuple(_warnings(spec, card, shards)),
    )


def work_digest_of(spec: RunSpec) -> str:
    """A plan's `work_digest` without looking at the survey: what names its staging. Errors as `make_plan`."""
    spec = pinned(spec)
    return _work_digest(spec, table_digests(open_tables(spec.auxiliary, survey_of(spec.survey).columns)))


def work_digest_in(record: Mapping[str, Any]) -> str:
    """The `work_digest` of a plan by its record; "" where another program wrote it."""
    try:
        spec = RunSpec.model_validate(record["spec"])
        return digest([record["versions"]["abundant"], spec.digest(), spec.model.sha256, record["tables"]])
    except (KeyError, TypeError, ValueError):
        return ""


def _work_digest(spec: RunSpec, tables: Mapping[str, str]) -> str:
    return digest([version("abundant"), spec.digest(), spec.model.sha256, tables])


def unlike(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What two plans' records say otherwise of all that decides on labels, a line each.

    Where there is nothing, tasks of the same id have the same labels, whatever the catalog's version is.
    PlanError for a record that this program cannot read.
    """
    old, new = _decisive(then), _decisive(now)
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return [f"{key} was {_short(old.get(key))}, now is {_short(new.get(key))}" for key in keys]


def _decisive(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan's `work_digest` is made from, flat; without what names the catalog's version."""
    try:
        spec = RunSpec.model_validate(record["spec"]).decisive()
        said = {"program": record["versions"]["abundant"], "bundle": record["bundle_sha256"]}
        tables = dict(record["tables"])
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(f"its plan was written by another program: {str(error).splitlines()[0]}") from None
    for key in ("version", "follows"):
        spec["catalog"].pop(key, None)
    return said | _flat(spec) | _flat(tables, "tables.")


def _flat(plain: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested values by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:12]}…"


def _sampling(spec: RunSpec, card: Card) -> Sampling:
    """How the networks are drawn; PlanError where the draws could have no spread."""
    assert spec.sampling is not None, "filled in by pinned"
    if max(spec.sampling.draws, 1) * card.members < 2:
        raise PlanError(
            f"sampling.draws = {spec.sampling.draws} of the one network of bundle {card.name} gives no "
            "spread to tell errors from: ask for 2 draws or more"
        )
    return spec.sampling


def pinned(spec: RunSpec) -> RunSpec:
    """The spec with the sha256 of every file it names, so that the run reads these and no others.

    PlanError or BundleError when the spec names another sha256 already.
    """
    select, rv = _pinned(spec.survey.select, "select"), _pinned(spec.survey.rv, "rv")
    survey = spec.survey.model_copy(update={"select": select, "rv": rv})
    bundle = bundle_digest(spec.model.bundle)
    if spec.model.sha256 not in (None, bundle):
        raise BundleError(f"{spec.model.bundle}: its card has sha256 {bundle}, model.sha256 is another")
    model = spec.model.model_copy(update={"sha256": bundle})
    sampling = spec.sampling or _usual_sampling(load_card(spec.model.bundle))
    return spec.model_copy(update={"survey": survey, "model": model, "sampling": sampling})


def _usual_sampling(card: Card) -> Sampling:
    """As the bundle was calibrated, or else as the authors of its network draw."""
    return card.sampling or architecture_of(card).sampling


def _pinned(part: T, key: str) -> T:
    if part.path is None or not part.path.is_file():
        return part
    found = sha256_of(part.path)
    if part.sha256 not in (None, found):
        raise PlanError(f"survey.{key}.path: {part.path} has sha256 {found}, survey.{key}.sha256 is another")
    return part.model_copy(update={"sha256": found})


def _rows(spec: RunSpec, row_bytes: int) -> int:
    """Rows of a task: what the spec says, or as many as fit; PlanError when it says more than that."""
    most = LARGEST_TASK_BYTES // row_bytes
    if spec.tasks.rows is None:
        return min(USUAL_ROWS, most)
    if spec.tasks.rows > most:
        size = spec.tasks.rows * row_bytes / 2**20
        raise PlanError(f"tasks.rows = {spec.tasks.rows} makes tasks of {size:.0f} MiB; at most {most} fit")
    return spec.tasks.rows


def _warnings(spec: RunSpec, card: Card, shards: Sequence[Shard]) -> list[str]:
    warnings = [f"{shard.path}: {shard.problem}" for shard in shards if shard.problem is not None]
    if card.sampling is None:
        warnings.append(
            f"bundle {card.name} is not calibrated: errors are raw spreads, flag UNCALIBRATED is set"
        )
    elif card.sampling != spec.sampling:
        warnings.append(
            f"sampling differs from the one that bundle {card.name} was calibrated with "
            f"(draws = {card.sampling.draws}, seed = {card.sampling.seed}): flag UNCALIBRATED is set"
        )
    if "support_chi2" not in card.thresholds:
        warnings.append(
            f"bundle {card.name} has no threshold of support_chi2: which spectra are UNLIKE_TRAINING "
            "cannot be told"
        )
    if unknown := [label.name for label in card.labels if label.low is None]:
        warnings.append(f"bundle {card.name} does not know the training range of {', '.join(unknown)}")
    return warnings
