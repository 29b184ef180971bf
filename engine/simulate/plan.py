"""Which files a simulated survey consists of: programs, pixels, counts. No arrays, no I/O.

Programs take turns in a cycle of ten files over six neighbouring pixels, so that most files are main/bright
and some pixels are seen by two programs, which then share a few targets, as in the survey.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.errors import InputError

NSIDE_DEPTH: Final = 6
PIXELS: Final = 12 * 4**NSIDE_DEPTH
MOST_STARS: Final = 5_000
# The region grows from here through the northern sky at RA 180-270: 3072 nested pixels side by side.
FIRST_PIXEL: Final = 9216

# (program, pixel of the cycle); a dark file comes after the bright file of its pixel.
_CYCLE = (
    ("bright", 0),
    ("dark", 0),
    ("bright", 1),
    ("backup", 1),
    ("bright", 2),
    ("dark", 2),
    ("bright", 3),
    ("bright", 4),
    ("dark", 4),
    ("bright", 5),
)
_CYCLE_PIXELS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """One coadd file: `stars` rows by target bits, the first `shared` of them those of file `twin`.

    `first_own` counts the own (not shared) stars of all files before: their place in a table of labels.
    """

    index: int
    program: str
    healpix: int
    stars: int
    shared: int
    twin: "FilePlan | None"
    first_own: int

    @property
    def survey(self) -> str:
        """The phase of DESI."""
        return "main"

    @property
    def stem(self) -> str:
        """survey-program-healpix, as in the file names."""
        return f"{self.survey}-{self.program}-{self.healpix}"

    @property
    def folder(self) -> str:
        """The folder of the file below the root, in the layout of DR1."""
        return f"healpix/{self.survey}/{self.program}/{self.healpix // 100}/{self.healpix}"

    @property
    def galaxies(self) -> int:
        """Galaxy targets: about 3 per cent."""
        return max(1, round(0.03 * self.stars))

    @property
    def skies(self) -> int:
        """Sky fibres: about 3 per cent."""
        return max(1, round(0.03 * self.stars))

    @property
    def stuck(self) -> int:
        """Stuck fibres without a target: about 1 per cent."""
        return max(1, round(0.01 * self.stars))

    @property
    def dead(self) -> int:
        """Stars whose fibre gave nothing: about 1 per cent, none in a tiny file."""
        return round(0.01 * self.stars) or int(self.stars >= 20)

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return self.stars + self.galaxies + self.skies + self.stuck


def plan_files(stars: int, stars_per_file: int) -> Iterator[FilePlan]:
    """The files of a survey of `stars` stars, in order; all are full but the last.

    InputError when stars or stars_per_file is not positive, a file would be too large, or the sky has too few
    pixels for the files.
    """
    for name, count in (("stars", stars), ("stars_per_file", stars_per_file)):
        if count < 1:
            raise InputError(f"{name} = {count}: give a positive number")
    if stars_per_file > MOST_STARS:
        raise InputError(f"stars_per_file = {stars_per_file}: at most {MOST_STARS}, or arrays outgrow memory")
    files = -(-stars // stars_per_file)
    room = PIXELS // _CYCLE_PIXELS * len(_CYCLE)
    if files > room:
        raise InputError(
            f"stars = {stars} would take {files} files, but the sky holds {room}: lower stars to at most "
            f"{room * stars_per_file}, or raise stars_per_file"
        )
    return _generate(stars, stars_per_file, files)


def _generate(stars: int, stars_per_file: int, files: int) -> Iterator[FilePlan]:
    first_own, previous = 0, None
    for index in range(files):
        cycle, place = divmod(index, len(_CYCLE))
        program, pixel = _CYCLE[place]
        count = min(stars_per_file, stars - index * stars_per_file)
        # A star of both programs: a dark file repeats the first stars of the bright file just before it.
        shared = min(count, max(1, round(0.03 * stars_per_file))) if program == "dark" else 0
        plan = FilePlan(
            index=index,
            program=program,
            healpix=(FIRST_PIXEL + cycle * _CYCLE_PIXELS + pixel) % PIXELS,
            stars=count,
            shared=shared,
            twin=previous if shared else None,
            first_own=first_own,
        )
        yield plan
        first_own += count - shared
        # A bright file has no twin itself, so the chain of twins ends there.
        previous = plan if program == "bright" else None
