"""A simulated survey on disk, and the Sun with changes, for the tests of the simulator."""

from dataclasses import dataclass
from pathlib import Path

import fitsio
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from engine.simulate import simulate_desi
from engine.simulate.labels import LABELS

STARS, PER_FILE, SEED = 120, 40, 11
FILES = ("main-bright-9216", "main-dark-9216", "main-bright-9217")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A simulated survey on disk."""

    root: Path
    told: list[tuple[Path, int]]

    def path(self, stem: str, kind: str = "coadd") -> Path:
        survey, program, pixel = stem.split("-")
        folder = self.root / "healpix" / survey / program / str(int(pixel) // 100) / pixel
        return folder / f"{kind}-{stem}.fits"

    def read(self, stem: str, name: str, kind: str = "coadd") -> npt.NDArray:
        return fitsio.read(str(self.path(stem, kind)), name)

    def truth(self, stem: str) -> dict[str, npt.NDArray]:
        table = pq.read_table(self.root / "truth.parquet")
        key = zip(*(table[name].to_pylist() for name in ("survey", "program", "healpix")), strict=True)
        chosen = ["-".join(map(str, entry)) == stem for entry in key]
        rows = table.filter(pa.array(chosen))
        return {name: rows[name].to_numpy() for name in rows.column_names}


def simulate(root: Path, **changed) -> Tree:
    told: list[tuple[Path, int]] = []
    wanted = {"stars": STARS, "seed": SEED, "stars_per_file": PER_FILE, "resolution": False} | changed
    # A test that loads a bundle leaves its process one thread, and sums over several round otherwise.
    with threadpool_limits(1):
        simulate_desi(root, on_file=lambda path, stars: told.append((path, stars)), **wanted)
    return Tree(root=root, told=told)


def labels(rows: int = 1, **values: float | npt.NDArray) -> npt.NDArray[np.float32]:
    """The Sun, with changes."""
    table = np.zeros((rows, len(LABELS)), dtype=np.float32)
    table[:, :2] = 5772, 4.44
    for name, value in values.items():
        table[:, LABELS.index(name)] = value
    return table
