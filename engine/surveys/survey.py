"""The contract of a survey: three functions and the facts that let a model know whether it can read it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pyarrow as pa

from engine.columns import bytes_of, spectra_columns
from engine.spec import SurveySpec
from engine.types import Arm, Column, Shard, Spectrograph, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a spectrum lies in its file: HDUs by name, or by number from 0 as text; the rest in words.

    No HDUs where the file is no FITS, or each file has its own.
    """

    hdus: tuple[str, ...] = ()
    remark: str = ""


PlaceOf: TypeAlias = Callable[[str, int, str], Place]
"""The place of a row, by its file, its number there and what survey.spectra says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a survey before any of its files is opened."""

    name: str
    title: str
    reference: str
    keys: tuple[Column, ...]
    star_key: str
    files: tuple[str, ...]
    """Names that its files have: examples for people, and for `inspect` of a file that was renamed."""
    arms: tuple[Arm, ...]
    frame: Literal["observed", "rest"]
    medium: Literal["vacuum", "air"]
    place: Place | PlaceOf
    """Where in a file a row's ids and arrays lie, for people who look at it there; see `place_of`."""
    follows: frozenset[Literal["rv", "spectra", "table"]] = frozenset()
    """Which of these keys of [survey] its readers follow; the plan refuses the others (`keys.py`)."""
    fills: frozenset[str] = frozenset()
    """Photometry, parallax and extinction that its own files hold, by our names."""
    configure: "Callable[[SurveySpec], Survey] | None" = None
    """For a survey whose columns only the spec knows: the record for that spec."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every column of a batch of spectra."""
        return spectra_columns(self.keys, self.arms)

    def place_of(self, file: str, row: int, spectra: str = "coadds") -> Place:
        """Where a row lies in its file, which is named by its path; `spectra` is that of [survey]."""
        return self.place if isinstance(self.place, Place) else self.place(file, row, spectra)

    def stars(self, spectra: pa.Table) -> list[str]:
        """What tells stars apart, the same for every spectrum of one: the Gaia id, else the survey's own."""
        keys = [spectra[key.name].to_pylist() for key in self.keys]
        own, gaia = spectra[self.star_key].to_pylist(), spectra["gaia_source_id"].to_pylist()
        return [
            f"gaia {gaia[row]}"
            if gaia[row] is not None
            # Without any id a row shares its star with no other.
            else f"{self.name} {own[row] if own[row] is not None else [key[row] for key in keys]}"
            for row in range(len(spectra))
        ]

    @property
    def spectrograph(self) -> Spectrograph:
        """What a model needs to know to prepare this survey's spectra."""
        return Spectrograph(arms=self.arms, frame=self.frame, medium=self.medium)

    @property
    def row_bytes(self) -> int:
        """Bytes of one spectrum's arrays."""
        return bytes_of(self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey(Facts):
    """One survey, as data and functions.

    `list_shards(spec)` finds the input files and never raises for a broken one: it becomes a Shard with
    a `problem`. `read(spec, task)` gives the selected rows of a task, columns as in `columns`; a
    ShardError when it cannot. `read_ids(spec, task)` gives the same rows without arrays, as far as they
    can still be read, for the rows of a failed task.
    """

    list_shards: Callable[[SurveySpec], Iterable[Shard]]
    read: Callable[[SurveySpec, Task], pa.Table]
    read_ids: Callable[[SurveySpec, Task], pa.Table]
