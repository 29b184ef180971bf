"""Simulated stars chunk by chunk, the same for every survey: labels, places, magnitudes, and random numbers.

Legend: N stars, L labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.errors import InputError
from engine.simulate.labels import LABELS, LabelArray, column, draw_labels
from engine.simulate.plan import FIRST_PIXEL, PIXELS
from engine.simulate.root import given_labels
from engine.simulate.targets import Targets, draw_targets, source_ids

FloatArray = npt.NDArray[np.float64]

CHUNK: Final = 64
LITHIUM_LIMITS: Final = (-2.0, 4.0)
# Streams of random numbers of one chunk; each is seeded by (seed, chunk, stream) and by nothing else.
_LABELS, _LITHIUM, _TARGETS, _SURVEY = range(6, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Stars of one HEALPix pixel (nside 64): `first` counts the stars of all chunks before.

    `targets` has a source_id for every star; `in_gaia_N` says which the survey knows to be Gaia's. `rng` is
    the chunk's own stream of random numbers.
    """

    index: int
    first: int
    pixel: int
    targets: Targets
    in_gaia_N: npt.NDArray[np.bool_]
    a_li_N: FloatArray
    rng: np.random.Generator

    def __len__(self) -> int:
        """The number of stars."""
        return len(self.targets)

    def label(self, name: str) -> FloatArray:
        """One label of all stars."""
        return column(self.targets.labels_NL, name)

    def snr(self, best: float, slope: float = 0.3) -> FloatArray:
        """Signal over noise per pixel: `best` at the bright end, falling by `slope` dex per magnitude."""
        scatter_N = np.exp(0.15 * self.rng.standard_normal(len(self)))
        return best * 10 ** (-slope * (self.targets.g_mag_N - 12.5)) * scatter_N


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Labels that the user gives: [N, L], and A(Li) [N]."""

    labels_NL: LabelArray
    a_li_N: FloatArray | None


def given_of(labels: pa.Table | None, stars: int) -> Given | None:
    """The labels of a table, None when they are to be drawn; InputError as labels_from_table has it."""
    labels_NL = given_labels(labels, stars)
    if labels is None or labels_NL is None:
        return None
    if "a_li" not in labels.column_names:
        return Given(labels_NL=labels_NL, a_li_N=None)
    try:
        a_li_N = labels["a_li"].cast(pa.float64()).to_numpy()[:stars]
    except pa.ArrowException as error:
        raise InputError(f"labels table: a_li holds no numbers: {error}") from error
    low, high = LITHIUM_LIMITS
    if not np.all((a_li_N >= low) & (a_li_N <= high)):
        raise InputError(f"labels table: a_li is missing or outside {low:g}..{high:g}: drop such rows")
    return Given(labels_NL=labels_NL, a_li_N=a_li_N)


def chunks(stars: int, seed: int, given: Given | None) -> Iterator[Chunk]:
    """The stars of a survey in chunks of CHUNK; InputError for counts that make no sense."""
    if stars < 1:
        raise InputError(f"stars = {stars}: give a positive number")
    if seed < 0:
        raise InputError(f"seed = {seed}: give 0 or a positive number")
    if stars > CHUNK * PIXELS:
        raise InputError(f"stars = {stars}: at most {CHUNK * PIXELS} fit on the sky")
    return (_chunk(seed, first, min(CHUNK, stars - first), given) for first in range(0, stars, CHUNK))


def _chunk(seed: int, first: int, count: int, given: Given | None) -> Chunk:
    index = first // CHUNK
    pixel = (FIRST_PIXEL + index) % PIXELS
    labels_rng, lithium_rng, targets_rng, survey_rng = (
        np.random.default_rng((seed, index, stream)) for stream in (_LABELS, _LITHIUM, _TARGETS, _SURVEY)
    )
    rows = slice(first, first + count)
    labels_NL = draw_labels(labels_rng, count) if given is None else given.labels_NL[rows]
    drawn = None if given is None or given.a_li_N is None else given.a_li_N[rows]
    targets = draw_targets(targets_rng, labels_NL, program="backup", healpix=pixel, first_object=0)
    source_id_N = source_ids(targets_rng, targets.ra_N, targets.dec_N)
    return Chunk(
        index=index,
        first=first,
        pixel=pixel,
        targets=replace(targets, source_id_N=source_id_N),
        in_gaia_N=targets.source_id_N > 0,
        a_li_N=draw_lithium(lithium_rng, labels_NL) if drawn is None else drawn,
        rng=survey_rng,
    )


def draw_lithium(rng: np.random.Generator, labels_NL: LabelArray) -> FloatArray:
    """A(Li) (dex): high in warm dwarfs, burnt in cool ones, diluted in giants, one giant in forty rich."""
    teff, logg = column(labels_NL, "teff"), column(labels_NL, "logg")
    dwarf_N = np.interp(teff, (4500, 5300, 5800, 6300, 7000), (-0.4, 0.6, 1.8, 2.6, 2.9))
    giant_N = np.interp(teff, (3800, 4500, 5200), (-0.6, 0.3, 1.1))
    mean_N = np.where(logg > 3.6, dwarf_N, giant_N)
    rich_N = (logg < 3.0) & (rng.random(len(teff)) < 0.025)
    drawn_N = mean_N + 0.45 * rng.standard_normal(len(teff)) + np.where(rich_N, 2.5, 0.0)
    return np.clip(drawn_N, -1.0, 3.8)


def label_columns(chunk: Chunk) -> dict[str, npt.NDArray[np.float32]]:
    """The labels as truth columns."""
    columns = {name: chunk.targets.labels_NL[:, place] for place, name in enumerate(LABELS)}
    return columns | {"a_li": chunk.a_li_N.astype(np.float32)}
