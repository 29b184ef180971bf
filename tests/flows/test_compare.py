"""`abundant compare` and the macros of `abundant query` as a person meets them."""

import json
from pathlib import Path

import pytest

from catalogs import open_catalog
from tests.flows.command import Abundant
from tests.unit.catalog_rows import layout, publish, staged, tasks


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = layout(tmp_path_factory.mktemp("compared"))
    made = tasks(2, 200)
    staged(where, made)
    publish(where, list(made))
    return where.catalog


@pytest.fixture
def table(path: Path, tmp_path: Path) -> Path:
    rows = open_catalog(path).to_pandas(["targetid", "teff", "fe_h"]).dropna()
    rows["TEFF"], rows["feh"] = rows["teff"].astype(float) + 50, rows["fe_h"].astype(float)
    rows[["targetid", "TEFF", "feh"]].to_csv(tmp_path / "other.csv", index=False)
    return tmp_path / "other.csv"


def test_a_comparison_is_printed_and_drawn(abundant: Abundant, path: Path, table: Path) -> None:
    png = table.with_name("r.png")
    shown = abundant("compare", path, table, "--on", "targetid", "--plot", png)
    assert shown.code == 0, shown.err
    assert "stars v1 minus other.csv, by targetid" in shown.out
    assert "teff - TEFF [K]" in shown.out and "fe_h - feh [dex]" in shown.out
    [line] = [line for line in shown.out.splitlines() if line.startswith("│ all")][:1]
    stars, bias, scatter = line.replace("│", " ").split()[1:4]
    assert int(stars) > 350 and float(bias) == -50 and float(scatter) < 1e-3
    assert str(png) in shown.err and png.stat().st_size > 10_000


def test_a_table_fits_a_terminal_of_100_columns(
    abundant: Abundant, path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = abundant("compare", path, table, "--on", "targetid", "--column", "teff=TEFF")
    assert max(map(len, shown.out.splitlines())) <= 100
    assert "…" not in shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no two good rows"),
        (["{table}"], "no common id"),
        (["{table}", "--on", "colour"], "no column colour"),
        (["{table}", "--on", "targetid", "--column", "tef=TEFF"], "is no label"),
        (["{table}", "--on", "targetid", "--plot", "/no/such/folder/r.png"], "cannot be written"),
        (["/no/such/table.fits"], "there is no"),
    ],
)
def test_what_is_wrong_is_one_message(
    abundant: Abundant, path: Path, table: Path, words: list[str], said: str
) -> None:
    wrong = abundant("compare", path, *(word.format(table=table) for word in words))
    assert (wrong.code, said in wrong.err, "Traceback" in wrong.err) == (2, True, False)


def test_macros_are_in_the_command_and_its_help(abundant: Abundant, path: Path) -> None:
    shown = abundant("query", "--help").out
    assert all(
        call in shown for call in ("cone(ra, dec, radius)", "good('teff')", "flag_set(", "flag_names(")
    )
    sql = "SELECT flag_names(flags) AS names FROM catalog WHERE cone(10, 10, 60) AND NOT good('teff')"
    rows = json.loads(abundant("query", path, sql, "--format", "json").out)
    assert rows and all("NO_RESULT" in row["names"] for row in rows)
    wrong = abundant("query", path, "SELECT * FROM catalog WHERE flag_set('LOWSNR')")
    assert (wrong.code, "did you mean LOW_SNR?" in wrong.err) == (2, True)
