"""Files of a survey to hurt, ways to hurt them, and ways to look at what came of it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from astropy.io import fits

from catalogs import open_catalog
from engine.flags import BY_NAME
from engine.spec import Profile, RunSpec
from jobs.run import RunReport

LOCAL = Profile(runtime="local")


def own_files(survey_root: Path, tmp_path: Path) -> list[Path]:
    """Three coadds with their redrock files, in a tree of the test's own: tmp_path/own."""
    own = []
    for path in sorted(survey_root.rglob("coadd-*.fits"))[:3]:
        target = tmp_path / "own" / path.relative_to(survey_root)
        target.parent.mkdir(parents=True)
        for one in (path, path.with_name(path.name.replace("coadd-", "redrock-"))):
            shutil.copy(one, target.with_name(one.name))
        own.append(target)
    return own


def spec_of(run_spec: Callable[..., RunSpec], tmp_path: Path, **sections: dict[str, object]) -> RunSpec:
    """A run over the files of `own_files`."""
    return run_spec(survey={"root": tmp_path / "own"}, **sections)


def rows_of(path: Path) -> int:
    """Rows of a spectra file."""
    return fits.getheader(path, "FIBERMAP")["NAXIS2"]


def edit(path: Path, change: Callable[[fits.HDUList], None]) -> None:
    """Rewrite a FITS file after changing its HDUs in memory."""
    with fits.open(path, memmap=False) as hdus:
        change(hdus)
        hdus.writeto(path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def truncate(path: Path) -> None:
    """Lose the last third of a file."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def rows_with(rows: pa.Table, flag: str) -> pa.Table:
    """The rows of a catalog that carry a flag."""
    return rows.filter(pa.array((rows["flags"].to_numpy() & BY_NAME[flag].value) != 0))


def labels_of(report: RunReport) -> dict[int, float]:
    """teff by targetid, where there is one."""
    rows = open_catalog(report.catalog).to_arrow().filter(pa.compute.is_valid(pa.compute.field("teff")))
    return dict(zip(rows["targetid"].to_pylist(), rows["teff"].to_pylist(), strict=True))
