"""Which rows are stars: by target bits, by class, by a list of ids."""

from pathlib import Path

import fitsio
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from engine.errors import PlanError, ShardUnavailable
from engine.surveys.desi import DESI
from tests.unit.desi_files import DesiFile, read_all, survey_spec, tasks_of, write_redrock

pytestmark = pytest.mark.usefixtures("cache")

FIRST = 39633297352951412


def chosen(root: Path, **select: object) -> list[int]:
    return read_all(root, select=select)["row_in_shard"].to_pylist()


@pytest.mark.parametrize("phase", ["", "SV1_", "SV2_", "SV3_"])
def test_target_bits_of_each_phase(tmp_path: Path, phase: str) -> None:
    desi = np.array([1 << 61, 1 << 33, 1 << 34, 1 << 35, 1 << 60, 0, 1 << 61, 1 << 36])
    mws = np.array([0, 0, 0, 0, 0, 5, 0, 0])
    objects = np.array(["TGT"] * 6 + ["SKY", "TGT"], "S3")
    none = np.zeros(8, "i8")
    columns = {"DESI_TARGET": none, "MWS_TARGET": none, "OBJTYPE": objects}
    columns |= {f"{phase}DESI_TARGET": desi, f"{phase}MWS_TARGET": mws}
    DesiFile(rows=8, fibermap=columns).write(tmp_path / "coadd-x.fits")
    assert chosen(tmp_path, by="targets") == [0, 1, 2, 3, 5]


def test_targets_without_object_type(tmp_path: Path) -> None:
    DesiFile(fibermap={"OBJTYPE": None}).write(tmp_path / "coadd-x.fits")
    assert chosen(tmp_path, by="targets") == [0, 1, 2, 3]


def test_dead_fibres_are_kept(tmp_path: Path) -> None:
    DesiFile(fibermap={"COADD_FIBERSTATUS": np.full(4, 512, "i4")}).write(tmp_path / "coadd-x.fits")
    assert chosen(tmp_path, by="targets") == [0, 1, 2, 3]


def test_no_star_gives_no_row(tmp_path: Path) -> None:
    DesiFile(fibermap={"DESI_TARGET": np.zeros(4, "i8")}).write(tmp_path / "coadd-x.fits")
    assert chosen(tmp_path, by="targets") == []


def test_by_class_joins_by_targetid(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / "coadd-x.fits")
    classes = np.array(["STAR", "QSO", "STAR", "STAR"], "S6")
    write_redrock(tmp_path / "redrock-x.fits", [FIRST + 3, FIRST, 5, FIRST + 1], SPECTYPE=classes)
    assert chosen(tmp_path, by="spectype") == [1, 3]
    assert chosen(tmp_path, by="spectype", spectype=["QSO", "STAR"]) == [0, 1, 3]
    assert read_all(tmp_path)["spectype"].to_pylist() == ["QSO", "STAR", None, "STAR"]


def test_by_class_without_the_file_says_what_to_do(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / "coadd-x.fits")
    spec = survey_spec(tmp_path, select={"by": "spectype"})
    (task,) = tasks_of(spec)
    with pytest.raises(ShardUnavailable, match=r'coadd-x\.fits: no redrock file.*"targets"'):
        DESI.read(spec, task)
    assert len(DESI.read_ids(spec, task)) == 4


@pytest.mark.parametrize("kind", ["parquet", "csv", "fits"])
def test_by_ids(tmp_path: Path, kind: str) -> None:
    DesiFile().write(tmp_path / "coadd-x.fits")
    ids, path = np.array([FIRST + 2, 17, FIRST, FIRST]), tmp_path / f"ids.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"targetid": ids}), path)
    elif kind == "csv":
        pyarrow.csv.write_csv(pa.table({"targetid": ids}), path)
    else:
        fitsio.write(str(path), {"TARGETID": ids})
    assert chosen(tmp_path, by="ids", path=path) == [0, 2]


def test_ids_that_cannot_be_used(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / "coadd-x.fits")
    for name, table, message in (
        ("none.parquet", None, "is no file"),
        ("other.parquet", {"source_id": [1]}, "no readable column targetid"),
        ("float.parquet", {"targetid": [1.0]}, "is double; store it as int64"),
        ("text.parquet", {"targetid": ["1"]}, "store it as int64"),
        ("gap.parquet", {"targetid": [FIRST, None]}, "with no cell empty"),
        ("empty.parquet", {"targetid": pa.array([], pa.int64())}, "has no rows; list the ids"),
    ):
        if table is not None:
            pq.write_table(pa.table(table), tmp_path / name)
        with pytest.raises(PlanError, match=message):
            DESI.list_shards(survey_spec(tmp_path, select={"by": "ids", "path": tmp_path / name}))
    with pytest.raises(PlanError, match="is no file"):
        DESI.list_shards(survey_spec(tmp_path, select={"by": "ids"}))
    with fitsio.FITS(str(tmp_path / "image.fits"), "rw") as file:
        file.write(None)
        file.write(np.zeros((2, 2)))
    with pytest.raises(PlanError, match="first extension is an image"):
        DESI.list_shards(survey_spec(tmp_path, select={"by": "ids", "path": tmp_path / "image.fits"}))


def test_ids_that_vanished_after_the_plan(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / "coadd-x.fits")
    path = tmp_path / "ids.parquet"
    pq.write_table(pa.table({"targetid": [FIRST]}), path)
    spec = survey_spec(tmp_path, select={"by": "ids", "path": path})
    (task,) = tasks_of(spec)
    path.unlink()
    with pytest.raises(PlanError):
        DESI.read(spec, task)
    assert len(DESI.read_ids(spec, task)) == 4
