"""The command line as a person meets it: what it prints, and with which code it ends."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomli_w

from engine.models.bundle import load_card
from engine.spec import RunSpec
from jobs.__main__ import app, main

LOCAL = 'runtime = "local"\n'


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Abundant = Callable[..., Outcome]


@pytest.fixture
def abundant(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Abundant:
    """Run the command in this process, 200 columns wide."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["abundant", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return call


@pytest.fixture
def spec_file(run_spec: Callable[..., RunSpec], tmp_path: Path) -> Path:
    plain = run_spec().model_dump(mode="json", by_alias=True, exclude_none=True)
    (tmp_path / "run.toml").write_text(tomli_w.dumps(plain))
    (tmp_path / "local.toml").write_text(LOCAL)
    return tmp_path / "run.toml"


@pytest.fixture
def catalog(abundant: Abundant, spec_file: Path) -> Path:
    done = abundant("run", spec_file, "--profile", spec_file.with_name("local.toml"))
    assert done.code == 0, done.err
    return spec_file.parent / "catalogs" / "test" / "1"


def test_every_command_has_help_with_an_example(abundant: Abundant) -> None:
    commands = "commit demo explain flags models plan query run simulate surveys train verify"
    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    assert sorted(names) == commands.split()
    for name in names:
        shown = abundant(name, "--help")
        assert shown.code == 0
        assert f"Example: abundant {name}" in shown.out


def test_examples_name_options_that_exist(abundant: Abundant) -> None:
    for command in app.registered_commands:
        words = shlex.split((command.epilog or "").removeprefix("Example: abundant "))
        shown = abundant(words[0], "--help").out
        assert all(word in shown for word in words if word.startswith("--"))


def test_plan_shows_the_work_and_does_none(abundant: Abundant, spec_file: Path) -> None:
    shown = abundant("plan", spec_file)
    assert shown.code == 0
    assert "tasks" in shown.out
    assert "random (desi_mlp_4), 5 labels" in shown.out
    assert not (spec_file.parent / "catalogs").exists()


def test_run_ends_with_counts_and_the_place(abundant: Abundant, spec_file: Path) -> None:
    done = abundant("run", spec_file, "--profile", spec_file.with_name("local.toml"))
    assert done.code == 0
    assert "Published and verified:" in done.err
    again = abundant("commit", spec_file)
    assert (again.code, "already published" in again.err) == (0, True)


def test_commit_before_run_says_what_is_missing(abundant: Abundant, spec_file: Path) -> None:
    early = abundant("commit", spec_file)
    assert early.code == 1
    assert "Failed:" in early.err


def test_query_prints_tables_csv_and_json(abundant: Abundant, catalog: Path) -> None:
    sql = "SELECT targetid, teff, flag_bad FROM catalog ORDER BY targetid LIMIT 2"
    table = abundant("query", catalog, sql)
    assert "targetid" in table.out
    csv = abundant("query", catalog, sql, "--format", "csv")
    assert csv.out.splitlines()[0].replace('"', "") == "targetid,teff,flag_bad"
    rows = json.loads(abundant("query", catalog, sql, "--format", "json").out)
    assert len(rows) == 2
    assert str(rows[0]["targetid"]) in csv.out


def test_wrong_sql_and_wrong_catalogs_are_messages(abundant: Abundant, catalog: Path) -> None:
    wrong = abundant("query", catalog, "SELECT colour FROM catalog")
    assert (wrong.code, "colour" in wrong.err) == (2, True)
    assert "Traceback" not in wrong.err
    writing = abundant("query", catalog, "COPY catalog TO 'stolen.parquet'")
    assert writing.code == 2
    absent = abundant("verify", catalog.parent / "9")
    assert absent.code == 2
    assert "Traceback" not in absent.err


def test_verify_finds_damage_and_ends_with_one(abundant: Abundant, catalog: Path) -> None:
    assert abundant("verify", catalog).code == 0
    victim = next((catalog / "dataset").rglob("Npix=*.parquet"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0xFF
    victim.write_bytes(content)
    found = abundant("verify", catalog)
    assert (found.code, victim.name in found.err) == (1, True)


def test_explain_leads_back_to_the_file_and_speaks_in_words(
    abundant: Abundant, catalog: Path, survey_root: Path
) -> None:
    sql = "SELECT targetid FROM catalog WHERE teff IS NULL AND targetid > 0 LIMIT 1"
    [row] = json.loads(abundant("query", catalog, sql, "--format", "json").out)
    shown = abundant("explain", catalog, row["targetid"])
    assert shown.code == 0
    assert str(survey_root) in shown.out.replace("\n", "")
    assert "coadd-main-" in shown.out
    assert "flag NO_RESULT" in shown.out
    sql = "SELECT targetid FROM catalog WHERE targetid < 0 LIMIT 1"
    [stuck] = json.loads(abundant("query", catalog, sql, "--format", "json").out)
    assert "NOT_A_TARGET" in abundant("explain", catalog, stuck["targetid"]).out
    unknown = abundant("explain", catalog, 12345)
    assert (unknown.code, "12345" in unknown.err) == (2, True)


def test_lists_of_surveys_models_and_flags(abundant: Abundant) -> None:
    assert "Dark Energy" in abundant("surveys").out
    models = abundant("models").out
    assert "desi_mlp_4" in models
    assert (
        f"{7781 * 1024 + 1024 + 1024 * 512 + 512 + 512 * 256 + 256 + 256 * 128 + 128 + 128 * 12 + 12:,}"
        in models
    )
    assert "OUTSIDE_TRAINING" in abundant("flags").out


def test_a_wrong_spec_is_one_readable_message(abundant: Abundant, spec_file: Path) -> None:
    spec_file.write_text(spec_file.read_text() + "\n[smapling]\ndraws = 3\n")
    wrong = abundant("run", spec_file)
    assert wrong.code == 2
    assert "smapling: unknown key" in wrong.err
    assert "Traceback" not in wrong.err
    absent = abundant("plan", spec_file.with_name("none.toml"))
    assert (absent.code, "no such file" in absent.err) == (2, True)


def test_simulate_then_train_gives_a_bundle(abundant: Abundant, tmp_path: Path) -> None:
    survey = tmp_path / "survey"
    made = abundant("simulate", "desi", survey, "--stars", 400, "--no-resolution")
    assert made.code == 0, made.err
    spec = {
        "survey": {"name": "desi", "root": str(survey)},
        "labels": {
            "path": str(survey / "truth.parquet"),
            "key": ["survey", "program", "healpix", "targetid"],
            "names": ["teff", "fe_h"],
            "error_floor": {"teff": 50.0, "fe_h": 0.05},
        },
        "split": {"validation": 0.15, "calibration": 0.2, "test": 0.2},
        "model": {"name": "desi_mlp_5", "hyper": {"hidden": [32, 16, 16, 8, 8]}},
        "training": {"epochs": 2, "batch": 32},
        "sampling": {"draws": 5},
        "bundle": {"out": str(tmp_path / "bundle"), "name": "tiny"},
    }
    (tmp_path / "train.toml").write_text(tomli_w.dumps(spec))
    trained = abundant("train", tmp_path / "train.toml")
    assert trained.code == 0, trained.err
    assert load_card(tmp_path / "bundle").name == "tiny"
    again = abundant("train", tmp_path / "train.toml")
    assert (again.code, "not empty" in again.err) == (2, True)


def test_simulate_refuses_what_it_cannot_do(abundant: Abundant, tmp_path: Path) -> None:
    assert abundant("simulate", "gaia", tmp_path / "x").code == 2
    assert abundant("simulate", "desi", tmp_path / "x", "--stars", 0).code == 2
    assert abundant("simulate", "desi", "/proc/x", "--stars", 10).code == 2
    broken = tmp_path / "labels.parquet"
    broken.write_text("no")
    assert abundant("simulate", "desi", tmp_path / "x", "--labels", broken).code == 2
