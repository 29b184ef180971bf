"""What catalogs/README.md shows beside plain SQL and Python, run word for word on a catalog of that name."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table

import catalogs
from catalogs import open_catalog, query
from catalogs.layout import Layout
from jobs.__main__ import main
from tests.unit.catalog_rows import PLAN, WORK, Rows, layout, publish, staged, table

README = Path(catalogs.__file__).with_name("README.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"```([a-z ]+)\n(.*?)```", README, re.DOTALL)
# Where blocks of each kind are run.
KINDS = {
    "python": "unit/test_catalog_read.py",
    "sql": "unit/test_catalog_read.py",
    "python side": "flows/test_side.py",
    "sql join": "flows/test_side.py",
    "sql macros": "here",
    "python crossmatch": "here",
    "sh": "here",
}


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCKS if found == kind]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """stars/v1, other/v2 with the same rows, and every table that the commands name."""
    root = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(140, 160, 400), rng.uniform(-8, 12, 400)
    ra[:2] = dec[:2] = np.nan
    rows = table(Rows(ra=ra, dec=dec, task_id="one"))
    other = Layout(root=root, name="other", version="v2", plan_digest=PLAN, work_digest=WORK)
    for where in (layout(root), other):
        staged(where, {"one": rows})
        publish(where, ["one"])
    write_tables(open_catalog(root / "stars" / "v1").to_arrow().to_pandas(), root)
    return root


def write_tables(rows: pd.DataFrame, root: Path) -> None:
    """mwsall.fits, gspspec.csv and gaia.parquet: the same stars as others see them."""
    label = {"TEFF": rows["teff"] + 20, "TEFF_ERR": 40.0, "LOGG": rows["logg"], "FEH": rows["fe_h"] - 0.02}
    ours = {"TARGETID": rows["targetid"].to_numpy(), "HEALPIX": rows["healpix"].to_numpy(np.int64)}
    ours |= {key.upper(): rows[key].to_numpy(str) for key in ("survey", "program")}
    columns = {name: np.broadcast_to(values, len(rows)).astype(float) for name, values in label.items()}
    of_ferre = {name: values for name, values in columns.items() if name != "TEFF_ERR"}
    tables = {"RVTAB": ours | columns, "SPTAB": {"TARGETID": ours["TARGETID"]} | of_ferre}
    hdus = [fits.BinTableHDU(Table(found), name=name) for name, found in tables.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(root / "mwsall.fits")
    spectra = open_catalog(root / "stars" / "v1").to_pandas(["gaia_source_id", "fe_h"]).dropna()
    gspspec = {"source_id": spectra["gaia_source_id"], "mh": spectra["fe_h"] + 0.1, "mh_err": 0.05}
    pd.DataFrame(gspspec).to_csv(root / "gspspec.csv", index=False)
    known = rows[rows["ra"].notna()]
    pd.DataFrame(
        {"number": range(len(known)), "ra": known["ra"].to_numpy(), "dec": known["dec"].to_numpy()}
    ).to_parquet(root / "gaia.parquet")


def test_every_block_is_run_somewhere() -> None:
    assert {kind for kind, _ in BLOCKS} == set(KINDS)
    for file in {*KINDS.values()} - {"here"}:
        assert "README" in (Path(__file__).parents[1] / file).read_text()


@pytest.mark.parametrize("sql", blocks("sql macros"))
def test_sql_with_macros_runs(root: Path, sql: str) -> None:
    rows = query(root / "stars" / "v1", sql)
    assert rows.num_rows > 2
    assert "flags" in rows.column_names
    with open_catalog(root / "stars" / "v1").duckdb() as connection:
        assert len(connection.execute(sql).fetchall()) == rows.num_rows


COMMANDS = [line for block in blocks("sh") for line in block.replace("\\\n", " ").strip().splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setattr("sys.argv", shlex.split(line))
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (0, None)
    shown = capsys.readouterr().out
    assert "stars v1 minus" in shown and "pairs" in shown and "fe_h" in shown
    if "--plot" in line:
        assert (root / line.split("--plot ")[1]).stat().st_size > 10_000


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("code", blocks("python crossmatch"))
def test_a_cross_match_runs(root: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.chdir(root)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    pairs = names["pairs"]
    assert isinstance(pairs, pd.DataFrame)
    assert len(pairs) == 398
