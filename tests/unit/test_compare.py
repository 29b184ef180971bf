"""Comparisons: the numbers are numpy's, whatever the second side is; what cannot be compared is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from catalogs import open_catalog
from catalogs.compare import Asked, Bin, Report, compare, residuals
from catalogs.compare.measure import EDGES
from catalogs.compare.names import find, find_error, pairs_of
from engine.errors import InputError, VerifyError
from tests.unit.catalog_rows import layout, publish, staged, stars, tasks

NAMES = {"teff": "TEFF", "fe_h": "FEH"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = layout(tmp_path_factory.mktemp("first"))
    made = tasks(3, 300)
    staged(where, made)
    publish(where, list(made))
    return where.catalog


@pytest.fixture(scope="module")
def frame(path: Path) -> pd.DataFrame:
    """The catalog's rows, and a second opinion on two labels; NaN where there is none."""
    columns = ["survey", "program", "healpix", "targetid", "snr", "flag_bad", "gaia_source_id"]
    labels = ["teff", "e_teff", "flag_teff", "fe_h", "e_fe_h", "flag_fe_h"]
    rows = open_catalog(path).to_pandas(columns + labels)
    for label in ("teff", "e_teff", "fe_h", "e_fe_h", "snr"):
        rows[label] = rows[label].astype("float64")
    rng = np.random.default_rng(4)
    rows["TEFF"] = rows["teff"] + 25 + rng.normal(0, 60, len(rows))
    rows.loc[rng.random(len(rows)) < 0.03, "TEFF"] += 2000
    rows.loc[rng.random(len(rows)) < 0.05, "TEFF"] = np.nan
    rows.loc[rng.random(len(rows)) < 0.02, "TEFF"] = -9999.0
    rows["TEFF_ERR"] = rng.uniform(30, 70, len(rows))
    rows["FEH"] = (rows["fe_h"] + rng.normal(0, 0.1, len(rows))).fillna(np.nan)
    return rows


def as_fits(frame: pd.DataFrame, out: Path) -> Path:
    """As mwsall has it: an empty first HDU, then RVTAB with names in capitals, then SPTAB."""
    ids = {"TARGETID": frame["targetid"].to_numpy(np.int64), "HEALPIX": frame["healpix"].to_numpy(np.int32)}
    words = {key.upper(): frame[key].to_numpy(str).astype("S8") for key in ("survey", "program")}
    numbers = {name: frame[name].to_numpy(np.float64) for name in ("TEFF", "TEFF_ERR", "FEH")}
    table = fits.table_to_hdu(Table(ids | words | numbers))
    table.name = "RVTAB"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(out)
    return out


def as_csv(frame: pd.DataFrame, out: Path) -> Path:
    frame[["survey", "program", "healpix", "targetid", "TEFF", "TEFF_ERR", "FEH"]].to_csv(out, index=False)
    return out


def as_parquet(frame: pd.DataFrame, out: Path) -> Path:
    columns = {
        "SOURCE_ID": pa.array(frame["gaia_source_id"], pa.int64()),
        "targetid": pa.array(frame["targetid"], pa.int64()),
        "Teff": pa.array(frame["TEFF"].to_numpy(np.float32)),
        "e_Teff": pa.array(frame["TEFF_ERR"].to_numpy(np.float32)),
        "feh": pa.array(frame["FEH"].to_numpy(np.float64)),
    }
    pq.write_table(pa.table(columns), out)
    return out


def expected(frame: pd.DataFrame, label: str) -> pd.DataFrame:
    """Differences and pulls of the pairs that have both."""
    good = ~frame["flag_bad"].astype(bool) & (frame[f"flag_{label}"] == 0)
    theirs = frame[NAMES[label]]
    good &= frame[label].notna() & theirs.notna() & (theirs > -9998)
    error = frame[f"e_{label}"] ** 2 + (frame["TEFF_ERR"] ** 2 if label == "teff" else 0)
    difference = frame[label] - theirs
    found = frame.assign(d=difference, p=difference / np.sqrt(error), **{"": 0.0})
    return found[good]


def check(one: Bin, rows: pd.DataFrame) -> None:
    d, p = rows["d"].to_numpy(float), rows["p"].to_numpy(float)
    robust = 1.4826 * np.median(np.abs(d - np.median(d)))
    assert one.stars == len(d)
    assert one.bias == pytest.approx(d.mean(), rel=1e-4, abs=1e-4)
    assert one.scatter == pytest.approx(d.std(), rel=1e-4, abs=1e-4)
    assert one.robust == pytest.approx(robust, rel=1e-4, abs=1e-4)
    assert one.pull_bias == pytest.approx(np.median(p), rel=1e-3, abs=1e-4)
    assert one.pull_scatter == pytest.approx(1.4826 * np.median(np.abs(p - np.median(p))), rel=1e-3, abs=1e-4)
    assert one.outliers == pytest.approx(np.mean(np.abs(d - np.median(d)) > 5 * robust), abs=1.5 / len(d))


def report_of(asked: Asked) -> Report:
    with compare(asked) as (report, _):
        return report


@pytest.mark.parametrize(
    ("write", "ending", "on"),
    [
        (as_fits, "fits", ()),
        (as_fits, "fits", ("targetid",)),
        (as_csv, "csv", ()),
        (as_parquet, "parquet", ("targetid",)),
        (as_parquet, "parquet", ("targetid=TARGETID",)),
    ],
)
def test_the_numbers_are_numpys(
    path: Path,
    frame: pd.DataFrame,
    tmp_path: Path,
    write: Callable[[pd.DataFrame, Path], Path],
    ending: str,
    on: tuple[str, ...],
) -> None:
    report = report_of(Asked(first=path, second=write(frame, tmp_path / f"b.{ending}"), on=on))
    assert report.key == (("targetid",) if on else ("survey", "program", "healpix", "targetid"))
    assert (report.matched, report.rows_second) == (report.rows_first, 900)
    assert [label.name for label in report.labels] == ["teff", "fe_h"]
    for label in report.labels:
        rows = expected(frame, label.name)
        for axis, edges in EDGES.items():
            place = np.searchsorted(edges, rows[axis].to_numpy(float), side="right")
            bins = [one for one in label.bins if one.axis == axis]
            assert len(bins) == len(np.unique(place))
            bounds = (None, *edges, None)
            for one, at in zip(bins, np.unique(place), strict=True):
                assert (one.low, one.high) == (bounds[at], bounds[at + 1])
                check(one, rows[place == at])


def test_gaia_ids_join_and_missing_ids_join_nothing(path: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    known = frame[frame["gaia_source_id"].notna()]
    with_nulls = pd.concat([known, frame[frame["gaia_source_id"].isna()].head(1)])
    table = as_parquet(with_nulls, tmp_path / "b.parquet")
    for on in (("gaia_source_id=source_id",), ("source_id",), ("gaia_source_id",)):
        report = report_of(Asked(first=path, second=table, on=on))
        assert report.key == ("gaia_source_id",)
        assert report.matched == int((~known["flag_bad"].astype(bool)).sum())


def test_two_catalogs_join_by_their_full_key(path: Path) -> None:
    report = report_of(Asked(first=path, second=path))
    assert report.key == ("survey", "program", "healpix", "targetid")
    assert [label.name for label in report.labels] == ["teff", "logg", "fe_h", "mg_fe"]
    assert {label.unit for label in report.labels} == {"K", "log(cm.s**-2)", "dex"}
    for label in report.labels:
        assert {(one.bias, one.scatter, one.robust, one.outliers) for one in label.bins} == {(0, 0, 0, 0)}


def test_columns_are_mapped_by_hand(path: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    odd = frame.rename(columns={"TEFF": "temperature", "TEFF_ERR": "sigma"})
    table = tmp_path / "b.csv"
    odd[["targetid", "temperature", "sigma"]].to_csv(table, index=False)
    asked = ("teff=temperature", "e_teff=sigma")
    report = report_of(Asked(first=path, second=table, on=("targetid",), columns=asked))
    [label] = report.labels
    assert label.theirs == "temperature"
    check(label.bins[0], expected(frame, "teff"))
    report = report_of(Asked(first=path, second=table, on=("targetid",), columns=asked[:1]))
    alone = report.labels[0].bins[0].pull_scatter
    assert alone is not None and label.bins[0].pull_scatter is not None and alone > label.bins[0].pull_scatter


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 stars; the first 80 have three spectra each, in as many tiles, with errors that hold."""
    rng = np.random.default_rng(8)
    first = stars(200)
    tables = {"one": first}
    for tile in (1, 2):
        again = first.slice(0, 80).to_pydict()
        again["tile"], again["snr"] = [tile] * 80, rng.uniform(1, 100, 80).tolist()
        for label in ("teff", "logg", "fe_h", "mg_fe"):
            pairs = zip(again[label], again[f"e_{label}"], rng.normal(0, 1, 80), strict=True)
            again[label] = [None if value is None else value + error * noise for value, error, noise in pairs]
        tables[f"again{tile}"] = pa.table(again, schema=first.schema)
    where = layout(tmp_path_factory.mktemp("repeated"))
    staged(where, tables)
    publish(where, list(tables))
    return where.catalog


def test_repeats_are_held_against_the_best_spectrum(repeated: Path) -> None:
    rows = open_catalog(repeated).to_pandas(["targetid", "snr", "teff", "e_teff", "flag_bad"])
    good = rows[~rows["flag_bad"].astype(bool)].sort_values("snr", ascending=False)
    d, p = [], []
    for _, star in good.groupby("targetid"):
        best = star.iloc[0]
        for _, other in star.iloc[1:].iterrows():
            d.append(float(other["teff"]) - float(best["teff"]))
            p.append(d[-1] / np.hypot(float(other["e_teff"]), float(best["e_teff"])))
    report = report_of(Asked(first=repeated))
    assert (report.key, report.matched) == (("targetid",), len(d))
    teff = report.labels[0]
    check(teff.bins[0], pd.DataFrame({"d": d, "p": p}))
    assert report.labels[0].bins[0].stars == len(d) > 140


def test_a_figure_is_drawn_from_counts(
    path: Path, frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.image import imread

    with compare(Asked(first=path, second=as_csv(frame, tmp_path / "b.csv"))) as (report, joined):
        residuals(report, joined, tmp_path / "r.png")
        with pytest.raises(InputError, match="cannot be written"):
            residuals(report, joined, tmp_path / "no" / "r.png")
    image = imread(tmp_path / "r.png")
    assert len(set(map(tuple, image[::4, ::4, :3].reshape(-1, 3).tolist()))) > 20


def test_what_cannot_be_compared_is_said(
    path: Path, repeated: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    table = as_fits(frame, tmp_path / "b.fits")
    ids = pd.DataFrame({"targetid": frame["targetid"], "colour": 1.0})
    ids.to_csv(tmp_path / "colours.csv", index=False)
    other = frame.assign(targetid=frame["targetid"] + 1)
    as_csv(other, tmp_path / "others.csv")
    as_csv(pd.concat([frame, frame.head(2)]), tmp_path / "twice.csv")
    pd.DataFrame({"x": [1], "teff": [5000.0]}).to_csv(tmp_path / "none.csv", index=False)
    pd.DataFrame({"targetid": [1.5], "teff": [5000.0]}).to_csv(tmp_path / "float.csv", index=False)
    wrong: list[tuple[str, Asked]] = [
        (r"no common id: .*lacks survey.*--on targetid", Asked(first=path, second=tmp_path / "colours.csv")),
        ("no common id: .*name an id of both", Asked(first=path, second=tmp_path / "none.csv")),
        (
            "no common label: .*none of teff, logg",
            Asked(first=path, second=tmp_path / "colours.csv", on=("targetid",)),
        ),
        ("nothing matched: .*such as main/", Asked(first=path, second=tmp_path / "others.csv")),
        (
            r"duplicate ids.*2 ids have several rows, such as main/.*/39633\d+, main/",
            Asked(first=path, second=tmp_path / "twice.csv"),
        ),
        ("duplicate ids", Asked(first=path, second=repeated, on=("targetid",))),
        ("expected whole numbers", Asked(first=path, second=tmp_path / "float.csv", on=("targetid",))),
        ("--on: .*no column tragetid", Asked(first=path, second=table, on=("tragetid",))),
        ("--on: .*no column NOPE", Asked(first=path, second=table, on=("targetid=NOPE",))),
        ("--on teff: .*ids are integers or text", Asked(first=path, second=table, on=("teff",))),
        ("--column tef: is no label", Asked(first=path, second=table, columns=("tef=TEFF",))),
        ("no column TEF;", Asked(first=path, second=table, columns=("teff=TEF",))),
        ("give OURS=THEIRS", Asked(first=path, second=table, columns=("teff=",))),
        ("teff is given twice", Asked(first=path, second=table, columns=("teff=TEFF", "teff=FEH"))),
        ("there is no .*absent", Asked(first=path, second=tmp_path / "absent.fits")),
        ("nothing to compare: no two good rows", Asked(first=path)),
        ("give one", Asked(first=path, columns=("teff=TEFF",))),
        ("not a published catalog", Asked(first=tmp_path, second=table)),
    ]
    for said, asked in wrong:
        with pytest.raises(InputError, match=said) as caught:
            report_of(asked)
        assert "auxiliary" not in str(caught.value)


def test_a_damaged_catalog_is_said_to_be_damaged(path: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    import shutil

    broken = Path(shutil.copytree(path, tmp_path / "v1"))
    victim = max(broken.rglob("Npix=*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-9])
    table = as_csv(frame, tmp_path / "b.csv")
    for asked in (Asked(first=broken, second=table), Asked(first=path, second=broken), Asked(first=broken)):
        with pytest.raises(VerifyError, match=f"is damaged: .*{victim.name}"):
            report_of(asked)


def mwsall(frame: pd.DataFrame, out: Path, **change: Any) -> Path:
    """As DESI has it: RVTAB, SPTAB (here without any id), FIBERMAP, SCORES, GAIA, all row by row."""
    ids = {"TARGETID": frame["targetid"].to_numpy(np.int64)}
    words = {key.upper(): frame[key].to_numpy(str).astype("S8") for key in ("survey", "program")}
    healpix = {"HEALPIX": frame["healpix"].to_numpy(np.int64)}
    zero = np.zeros(len(frame))
    wrong = {"TEFF": frame["TEFF"].to_numpy(float) + 1, "TEFF_ERR": zero + 9}
    labels = {name: frame[name].to_numpy(np.float64) for name in ("TEFF", "TEFF_ERR", "FEH")}
    tables: dict[str, dict[str, Any]] = {
        "RVTAB": {"VRAD": zero, **wrong, **ids, **healpix, **words},
        "SPTAB": {"SUCCESS": zero > 1, **labels, "COVAR": np.zeros((len(frame), 25))},
        "FIBERMAP": {**ids, "OBJTYPE": np.array(["TGT"] * len(frame))},
        "SCORES": ids,
        "GAIA": {"SOURCE_ID": frame["gaia_source_id"].fillna(0).to_numpy(np.int64)},
    }
    made = [fits.table_to_hdu(Table(columns | change.get(name, {}))) for name, columns in tables.items()]
    for name, hdu in zip(tables, made, strict=True):
        hdu.name = name
    fits.HDUList([fits.PrimaryHDU(), *made, fits.ImageHDU(np.zeros(4), name="IMAGE")]).writeto(out)
    return out


@pytest.mark.parametrize(
    ("hdu", "ending", "on"),
    [
        (None, "fits", ()),
        ("SPTAB", "fits", ("targetid",)),
        ("2", "fits.gz", ("gaia_source_id=SOURCE_ID",)),
        ("sptab", "fits.gz", ()),
    ],
)
def test_labels_come_from_the_hdu_and_ids_from_those_beside_it(
    path: Path, frame: pd.DataFrame, tmp_path: Path, hdu: str | None, ending: str, on: tuple[str, ...]
) -> None:
    known = frame[frame["gaia_source_id"].notna()] if on[:1] == ("gaia_source_id=SOURCE_ID",) else frame
    report = report_of(Asked(first=path, second=mwsall(known, tmp_path / f"m.{ending}"), on=on, hdu=hdu))
    assert report.second == f"m.{ending}[SPTAB]"
    assert [(one.name, one.theirs) for one in report.labels] == [("teff", "TEFF"), ("fe_h", "FEH")]
    for label in report.labels:
        check(label.bins[0], expected(known, label.name))


def test_an_hdu_that_is_asked_for_is_taken_and_ids_of_other_rows_are_not(
    path: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    table = mwsall(frame, tmp_path / "m.fits")
    teff = report_of(Asked(first=path, second=table, hdu="RVTAB")).labels
    assert [one.name for one in teff] == ["teff"]
    assert teff[0].bins[0].bias == pytest.approx(expected(frame, "teff")["d"].mean() - 1, abs=1e-3)
    # As in the published files: without errors of its own a table is second to one that has them.
    more = {"FEH": frame["FEH"].to_numpy(float), "FEH_ERR": np.ones(len(frame))}
    rich = mwsall(frame, tmp_path / "real.fits", RVTAB=more)
    assert report_of(Asked(first=path, second=rich)).second == "real.fits[RVTAB]"
    other = mwsall(frame, tmp_path / "o.fits", SPTAB={"TARGETID": np.arange(len(frame))})
    short = fits.open(mwsall(frame, tmp_path / "long.fits"))
    for name in ("RVTAB", "FIBERMAP"):
        short[name].data = short[name].data[1:]
    short.writeto(tmp_path / "short.fits")
    wrong: list[tuple[str, Asked]] = [
        ("rows of RVTAB are not those of SPTAB: .*TARGETID differ", Asked(first=path, second=other)),
        ("no common id: .*lacks survey", Asked(first=path, second=tmp_path / "short.fits", hdu="SPTAB")),
        ("--hdu STARS: .*tables are 1 RVTAB, 2 SPTAB, 3 F", Asked(first=path, second=table, hdu="STARS")),
        ("--hdu 6: .*no such table", Asked(first=path, second=table, hdu="6")),
        ("--hdu IMAGE: .*no such table", Asked(first=path, second=table, hdu="IMAGE")),
        (
            "--hdu 1: .*b.csv is no FITS file",
            Asked(first=path, second=as_csv(frame, tmp_path / "b.csv"), hdu="1"),
        ),
        ("--hdu 1: .*is a catalog", Asked(first=path, second=path, hdu="1")),
        ("--hdu is about a second catalog", Asked(first=path, hdu="1")),
    ]
    for said, asked in wrong:
        with pytest.raises(InputError, match=said):
            report_of(asked)


def test_a_broken_archive_is_said_to_be_one(path: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    whole = mwsall(frame, tmp_path / "m.fits.gz").read_bytes()
    for name, content in (("half", whole[: len(whole) // 2]), ("noise", whole[:20] + b"x" * 900)):
        (tmp_path / f"{name}.fits.gz").write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}\.fits\.gz cannot be unpacked"):
            report_of(Asked(first=path, second=tmp_path / f"{name}.fits.gz"))


@pytest.mark.realdata
def test_a_real_packed_table_is_read(realdata: Path, tmp_path: Path) -> None:
    from catalogs.compare.tables import table_of

    real = realdata / "labels" / "APOGEE-allStar-v603-Hipparcos.fits.gz"
    found = table_of(real, {"teff": "teff", "fe_h": "fe_h"}, None, tmp_path)
    assert found.fits is not None and {"TEFF", "FE_H"} <= {*found.columns}


def test_names_are_found_in_other_spellings() -> None:
    have = ["TARGETID", "TEFF", "TEFF_ERR", "FEH", "ALPHAFE", "LOGG", "SOURCE_ID", "eteff"]
    wanted = ("targetid", "teff", "fe_h", "alpha_fe", "logg", "gaia_source_id", "mg_fe")
    assert [find(name, have) for name in wanted] == [*have[:2], *have[3:7], None]
    assert find("feh", ["FEH", "feh"]) == "feh"
    assert find_error("teff", "TEFF", have) == "eteff"
    assert find_error("fe_h", "FEH", have) is None
    assert pairs_of("--on", ["a", "b=c"]) == {"a": "a", "b": "c"}
