"""What a run will take: hours, memory and money, from rates that `python -m tests.bench` measured.

`rates.toml` holds these rates with the machine and the date, and is written by the bench alone;
`published.toml` says how large a survey's release is, where its files are not here. Prices are the caller's.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Annotated

from pydantic import Field

from engine.errors import PlanError
from engine.models import MODELS
from engine.plan import Plan
from engine.spec import Frozen, Profile, RunSpec
from engine.surveys import SURVEYS, survey_of
from engine.surveys.store.file import STREAM_BYTES
from engine.surveys.survey import Survey

# What the rates of networks were measured with.
DRAWS = 100
Rate = Annotated[float, Field(gt=0)]


class Rates(Frozen):
    """Figures of the bench, each of one core: spectra/s, unless it says otherwise."""

    machine: str
    date: str
    """Of the oldest figure."""
    read: dict[str, Rate]
    """By survey."""
    megabytes_read: dict[str, Rate]
    """Of files, per second, by survey."""
    network: dict[str, Rate]
    """100 draws of one network, by its name."""
    members: dict[str, Rate]
    """One member of an ensemble without draws, by its name."""
    gpu: dict[str, Rate]
    """100 draws of one network on one card, by its name; none where no card was measured."""
    requests_per_file: dict[str, Rate]
    """Of planning a survey in an object store, by survey."""
    requests_per_task: dict[str, Rate]
    """Of reading a task there."""
    job: Rate
    """The whole job with a DESI network, of one worker."""
    job_network: Rate
    """That network alone."""
    job_survey: str
    """And its survey."""
    ray_over_processes: Rate
    commit: Rate
    """Rows per second of a commit, of one process."""
    bytes_per_row: Rate
    """Of a published catalog with five labels."""
    process_mib: Rate
    """Peak of a process that labels."""
    driver_bytes_per_task: Rate
    """Peak of what a driver keeps of a task."""


class Published(Frozen):
    """The size of a survey's release."""

    release: str
    stars: int = Field(gt=0)
    files: int | None = None
    stars_per_file: int | None = None
    network: str
    """The network that is taken where the bundle is not here."""
    source: str
    assumed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Money per hour of a core and of a card, in any currency."""

    cpu_hour: float | None
    gpu_hour: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What there is to do. `members` networks with `draws` each; `said` is where the numbers are from."""

    survey: str
    pixels: int
    rows: int
    files: int
    tasks: int
    network: str
    members: int
    draws: int
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What it takes. None: nothing was measured, or no price was given.

    `wall_hours` of cards are theirs alone, which `feeding_cores` cores must keep busy.
    """

    size: Size
    read_bytes: float
    requests: float
    catalog_bytes: float
    read_hours: float
    prepare_hours: float
    network_hours: float
    commit_hours: float
    gpu_hours: float | None
    core_hours: float
    workers_mib: float
    driver_mib: float
    wall_hours: float | None
    feeding_cores: float | None
    cost: float | None


def rates() -> Rates:
    """The rates that this program was shipped with."""
    return Rates.model_validate(tomllib.loads(_shipped("rates.toml")))


def published() -> Mapping[str, Published]:
    """Sizes of releases, by survey."""
    return {
        name: Published.model_validate(one) for name, one in tomllib.loads(_shipped("published.toml")).items()
    }


def _shipped(name: str) -> str:
    return resources.files("engine").joinpath(name).read_text()


def size_of(plan: Plan) -> Size:
    """What a plan has to do."""
    sampling, shards = plan.spec.sampling, {task.shard.shard_id: task.shard for task in plan.tasks}
    assert sampling is not None, "a plan fills it in"
    return Size(
        survey=plan.spec.survey.name,
        pixels=_pixels(plan.spec),
        rows=plan.rows,
        files=sum(len(shard.members) or 1 for shard in shards.values()),
        tasks=len(plan.tasks),
        network=plan.card.architecture,
        members=plan.card.members,
        draws=sampling.draws,
        said=("rows, files and network: this plan, before selection",),
    )


def published_size(spec: RunSpec) -> Size:
    """What a spec has to do by the size of its survey's release; PlanError where that is not known."""
    name, known = spec.survey.name, published()
    if name not in known:
        raise PlanError(
            f"neither files nor bundle of this spec are here, nor is the size of a release of {name} known; "
            f"plan where they are, or ask for one of {', '.join(known)}"
        )
    found = known[name]
    sampling = spec.sampling or MODELS[found.network].sampling
    files = found.files or -(-found.stars // (found.stars_per_file or 1))
    rows = spec.tasks.rows or 512
    return Size(
        survey=name,
        pixels=_pixels(spec),
        rows=found.stars,
        files=files,
        tasks=files * max(1, -(-found.stars // (files * rows))),
        network=found.network,
        members=1,
        draws=sampling.draws,
        said=tuple(
            line
            for line in (
                f"rows and files, the spec's not being here: {found.release} ({found.source})",
                f"network: one {found.network} of its usual size",
                found.assumed,
            )
            if line
        ),
    )


def _pixels(spec: RunSpec) -> int:
    return _arm_pixels(survey_of(spec.survey))


def _arm_pixels(survey: Survey) -> int:
    return sum(arm.grid.pixels for arm in survey.arms)


def forecast(size: Size, profile: Profile, prices: Prices, measured: Rates) -> Forecast:
    """Hours of cores and cards, memory and cost; PlanError for a survey or network that was not measured."""
    read = size.rows / _known(measured.read, size.survey, "reader") / 3600
    network = size.rows * _network_seconds(size, measured) / 3600
    prepare = size.rows * _rest_seconds(size, measured) / 3600
    commit = size.rows / measured.commit / 3600
    on_card = profile.gpus > 0
    card = _gpu_hours(size, measured) if on_card else 0.0
    on_cores = read + prepare + (0.0 if on_card else network)
    cores = on_cores / measured.ray_over_processes + commit
    label = _label_hours(on_cores / measured.ray_over_processes, card, profile)
    per_byte = _known(measured.megabytes_read, size.survey, "reader") * 1e6 / measured.read[size.survey]
    return Forecast(
        size=size,
        read_bytes=size.rows * per_byte,
        requests=_requests(size, size.rows * per_byte, measured),
        catalog_bytes=size.rows * measured.bytes_per_row,
        read_hours=read,
        prepare_hours=prepare,
        network_hours=network,
        commit_hours=commit,
        gpu_hours=card,
        core_hours=cores,
        workers_mib=measured.process_mib,
        driver_mib=size.tasks * measured.driver_bytes_per_task / 2**20,
        wall_hours=None if label is None else label + commit,
        feeding_cores=on_cores / measured.ray_over_processes / label if on_card and label else None,
        cost=_cost(cores, card, prices),
    )


def _label_hours(on_cores: float, card: float | None, profile: Profile) -> float | None:
    """Until the last label; None where the profile has no actors, or the card was not measured."""
    if profile.actors is None or card is None:
        return None
    return card / (profile.actors * profile.gpus) if profile.gpus else on_cores / profile.actors


def _requests(size: Size, read_bytes: float, measured: Rates) -> float:
    """Of an object store, as they were counted; else one for each piece of the files, which are streamed."""
    if size.survey not in measured.requests_per_file:
        return size.files + read_bytes / STREAM_BYTES
    per_file, per_task = (of[size.survey] for of in (measured.requests_per_file, measured.requests_per_task))
    return size.files * per_file + size.tasks * per_task


def _known(rates_of: Mapping[str, float], name: str, what: str) -> float:
    if name not in rates_of:
        raise PlanError(f"the {what} of {name} was not measured; measured are {', '.join(sorted(rates_of))}")
    return rates_of[name]


def _network_seconds(size: Size, measured: Rates) -> float:
    """Of one core, for one row; draws cost alike, and so do members."""
    if size.draws == 0:
        return size.members / _known(measured.members, size.network, "ensemble")
    return size.members * size.draws / DRAWS / _known(measured.network, size.network, "network")


def _rest_seconds(size: Size, measured: Rates) -> float:
    """Of one core, for one row: all that is neither reading nor the network, in proportion to pixels."""
    whole = 1 / measured.job - 1 / measured.job_network - 1 / measured.read[measured.job_survey]
    return max(0.0, whole) * size.pixels / _arm_pixels(SURVEYS[measured.job_survey])


def _gpu_hours(size: Size, measured: Rates) -> float | None:
    rate = measured.gpu.get(size.network)
    if rate is None or size.draws == 0:
        return None
    return size.rows * size.members * size.draws / DRAWS / rate / 3600


def _cost(cores: float, cards: float | None, prices: Prices) -> float | None:
    """None where a price is missing for what is used, or what is used is not known."""
    if prices.cpu_hour is None or cards is None or (cards > 0 and prices.gpu_hour is None):
        return None
    return cores * prices.cpu_hour + cards * (prices.gpu_hour or 0.0)
