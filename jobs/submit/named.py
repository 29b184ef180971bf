"""A run as a person names it: by its spec, or by the folder that it works in."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from catalogs.layout import Layout
from catalogs.remote import Location, Remote, location
from engine.errors import InputError
from engine.plan import work_digest_of
from engine.spec import RunSpec
from engine.toml import load, sections
from engine.train.bundle import place_of
from engine.train.spec import TrainSpec

Spec: TypeAlias = RunSpec | TrainSpec
# What only a training's spec has.
LABELS = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run's own folder, the staging area of a catalog or OUT-training of a bundle; its spec if given."""

    place: Location
    is_training: bool
    spec: Spec | None = None


def load_spec(path: Path) -> Spec:
    """The spec in a TOML file, of a training if it has [labels]; SpecError as `load`."""
    return load(path, TrainSpec if LABELS in sections(path) else RunSpec)


def run_named(word: str) -> Run:
    """The run that a spec or a folder stands for; InputError where neither is there.

    A catalog's staging is named by the content of its bundle and tables, so these must be here with the spec.
    """
    if word.endswith(".toml"):
        return run_of(load_spec(Path(word)))
    place = location(word)
    if isinstance(place, Path) and not place.is_dir():
        raise InputError(
            f"{place}: there is no such folder; name a run by its spec, or by "
            "root/_staging/NAME-VERSION-HASH, a training by OUT-training"
        )
    return Run(place=place, is_training=isinstance(place, Path) and any(place.glob("member-*")))


def run_of(spec: Spec) -> Run:
    """The run of a spec; errors as `work_digest_of`."""
    if isinstance(spec, TrainSpec):
        return Run(place=place_of(spec), is_training=True, spec=spec)
    return Run(place=layout_of_spec(spec).staging, is_training=False, spec=spec)


def layout_of_spec(spec: RunSpec) -> Layout:
    """Where a run is staged and published, without a list of its tasks: `plan_digest` is empty."""
    return Layout(
        root=location(spec.catalog.root, spec.catalog.storage, "[catalog.storage]"),
        name=spec.catalog.name,
        version=spec.catalog.version,
        plan_digest="",
        work_digest=work_digest_of(spec),
        has_side=bool(spec.catalog.side),
    )


def unseen(spec: Spec) -> list[Location]:
    """The places of a spec that cannot be seen from this machine: a cluster may see them."""
    places = [spec.survey.select.path, spec.survey.rv.path, *(table.path for table in spec.auxiliary)]
    places += [spec.model.bundle] if isinstance(spec, RunSpec) else [spec.labels.path]
    read = [*filter(None, places), location(spec.survey.root, spec.survey.storage)]
    return [place for place in read if not _is_open(place)] + ([] if is_seen(spec) else [_out(spec)])


def is_seen(spec: Spec) -> bool:
    """Can what a run leaves be seen from here?"""
    out = _out(spec)
    return _is_open(out) or (isinstance(out, Path) and out.parent.exists())


def _is_open(place: Location) -> bool:
    """Is it on this machine, or in a bucket that lets us in? What else a bucket lacks, its users tell."""
    try:
        return place.exists() or isinstance(place, Remote)
    except PermissionError:
        return False
    except OSError:
        return True


def _out(spec: Spec) -> Location:
    if isinstance(spec, TrainSpec):
        return spec.bundle.out
    return location(spec.catalog.root, spec.catalog.storage)
