"""Healthy files of every survey, as small as they come, in every serialisation: what mutations start from."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from gzip import compress
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from engine.simulate import SIMULATORS, simulate_desi
from engine.simulate.surveys.table import TABLE_COLUMNS
from engine.surveys.gaia.rvs import RVS
from engine.surveys.gaia.xp_sampled import XP_SAMPLED
from engine.types import Grid
from tests.unit import apogee_files
from tests.unit.desi_files import DesiFile
from tests.unit.gaia_files import (
    FORMS,
    Columns,
    continuous_columns,
    csv_tuples,
    long,
    rvs_columns,
    sampled_columns,
)

STARS, ROWS = 3, 2
NOT_INPUT = ("truth.parquet", "simulation.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The files of one small survey, by relative name, and what its spec says beyond name and root."""

    form: str
    files: Mapping[str, bytes]
    sections: Mapping[str, Any] = field(default_factory=dict)


def samples_of(name: str) -> list[Sample]:
    """All samples of a registered survey."""
    with tempfile.TemporaryDirectory(prefix="abundant-fuzz-") as place:
        return list(MAKERS[name](Path(place)))


def _simulated(name: str, root: Path) -> dict[str, bytes]:
    if name == "desi":
        simulate_desi(root, stars=STARS, seed=1, resolution=False)
    else:
        SIMULATORS[name](root, stars=STARS, seed=1)
    return {path: content for path, content in _files(root).items() if path not in NOT_INPUT}


def _files(root: Path) -> dict[str, bytes]:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def _gzipped(sample: Sample) -> Sample:
    files = {f"{name}.gz": compress(content, 1) for name, content in sample.files.items()}
    return Sample(form=f"{sample.form}.gz", files=files)


def _stars(name: str, unit: Callable[[str], str], packed: bool, place: Path) -> Iterator[Sample]:
    """A survey of a file or a few per spectrum: one spectrum alone, and all in one shard."""
    files = _simulated(name, place / "stars")
    for key, names in groupby(files, unit):
        alone = Sample(form=key, files={path: files[path] for path in names})
        yield alone
        if packed:
            yield _gzipped(alone)
    yield Sample(form="together", files=files)


def _desi(place: Path) -> Iterator[Sample]:
    simulated = Sample(form="simulated", files=_simulated("desi", place / "stars"))
    yield simulated
    yield _gzipped(Sample(form="without redrock", files=dict(list(simulated.files.items())[:1])))
    for kind in ("int32", "uint32", "compressed"):
        path = place / kind / "coadd-main-dark-9216.fits"
        DesiFile(rows=ROWS, mask_kind=kind, shuffled=kind == "uint32").write(path)
        sections = {"rv": {"from": "none"}}
        yield Sample(form=f"mask {kind}", files={path.name: path.read_bytes()}, sections=sections)


def _apogee(place: Path) -> Iterator[Sample]:
    yield from _stars("apogee", str, False, place)
    row, name = apogee_files.mwm_row, f"{apogee_files.SDSS_ID}.fits"
    written = [
        apogee_files.write_star(place / "cube" / "apStar-r6-a.fits"),
        apogee_files.write_star(place / "vector" / "apStar-r6-b.fits", visits=0),
        apogee_files.write_aspcap(place / "aspcap" / "aspcapStar-r6-c.fits"),
        apogee_files.write_mwm(place / "mwm" / f"mwmStar-0.6.0-{name}", apo=[row(1)], lco=[row(2)]),
        apogee_files.write_mwm(place / "visits" / f"mwmVisit-0.6.0-{name}", apo=[row(1), row(2)]),
    ]
    for path in written:
        files = {path.name: path.read_bytes()}
        if path.parent.name != "visits":
            yield Sample(form=path.parent.name, files=files)
        if path.parent.name in ("cube", "visits"):
            yield Sample(form=f"{path.parent.name}, visits", files=files, sections={"spectra": "visits"})


def _visits(place: Path) -> Iterator[Sample]:
    yield from _stars("apogee_visit", str, False, place)
    for pixels in (4096, 2048):
        path = apogee_files.write_visit(place / f"{pixels}" / "apVisit-r6-a.fits", pixels=pixels)
        yield Sample(form=f"{pixels} pixels", files={path.name: path.read_bytes()})


def _gaia(
    name: str, tables: Mapping[str, Columns], grid: Grid | None, one: str, place: Path
) -> Iterator[Sample]:
    yield from _stars(name, str, False, place)
    for kind, columns in tables.items():
        yield from _forms(kind, columns)
    if grid is None:
        return
    first = {key: column[:1] for key, column in next(iter(tables.values())).items()}
    yield from _forms("long", long(first, grid.wave_P / 10))
    source = first["source_id"][0]
    yield Sample(form="DataLink", files={f"{one}-Gaia DR3 {source}.csv": csv_tuples(first)})


def _forms(kind: str, columns: Columns) -> Iterator[Sample]:
    for form, make in FORMS.items():
        sample = Sample(form=f"{kind} {form}", files={f"{kind}-{form}": make(columns)})
        yield sample
        if form in ("json.csv", "variable.fits", "binary.vot"):
            yield _gzipped(sample)


def _table(place: Path) -> Iterator[Sample]:
    sections = {"table": TABLE_COLUMNS}
    [content] = _simulated("table", place / "stars").values()
    stars = pq.read_table(pa.BufferReader(content))
    waves = {"wave": [WAVE] * len(stars), "text": [f"star {row}" for row in range(len(stars))]}
    with_waves = stars.append_column("wave", [waves["wave"]]).append_column("text", [waves["text"]])
    own = {"wave": "wave", "span": [6400.0, 6900.0], "grid": None, "id": "text", "id_type": "text"}
    yield Sample(form="parquet", files={"a.parquet": content}, sections=sections)
    for form, table, said in (
        ("plain", stars, TABLE_COLUMNS),
        ("waves", with_waves, TABLE_COLUMNS | own),
    ):
        for name, written in _written(table).items():
            yield Sample(form=f"{form} {name}", files={name: written}, sections={"table": said})


WAVE = [6475.0 + 0.1 * pixel for pixel in range(TABLE_COLUMNS["pixels"])]


def _written(table: pa.Table) -> dict[str, bytes]:
    """A table as Parquet in small pages without dictionaries, and as Arrow, plain and compressed."""
    with tempfile.TemporaryDirectory(prefix="abundant-fuzz-") as place:
        root = Path(place)
        pq.write_table(
            table, root / "a.parquet", row_group_size=2, use_dictionary=False, compression="snappy"
        )
        pyarrow.feather.write_feather(table, str(root / "a.arrow"), compression="uncompressed")
        pyarrow.feather.write_feather(table, str(root / "a.feather"), compression="zstd")
        return _files(root)


def _galah_star(name: str) -> str:
    return name.rpartition("/")[2][:15]


MAKERS: dict[str, Callable[[Path], Iterable[Sample]]] = {
    "desi": _desi,
    "apogee": _apogee,
    "apogee_visit": _visits,
    "gaia_rvs": partial(_gaia, "gaia_rvs", {"rvs": rvs_columns(ROWS)}, RVS.grid, "RVS"),
    "gaia_xp": partial(_gaia, "gaia_xp", {"xp": continuous_columns(ROWS)}, None, ""),
    "gaia_xp_sampled": partial(
        _gaia,
        "gaia_xp_sampled",
        {"sampled": sampled_columns(ROWS), "continuous": continuous_columns(ROWS)},
        XP_SAMPLED.grid,
        "XP_SAMPLED",
    ),
    "rave": partial(_stars, "rave", str, True),
    "galah": partial(_stars, "galah", _galah_star, True),
    "giraffe": partial(_stars, "giraffe", str, True),
    "table": _table,
}
