"""The command line as a person meets it: what it prints, and with which code it ends."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from typer.core import TyperGroup
from typer.main import get_command

from catalogs.lease import driving
from engine.flags import FLAGS
from engine.models import MODELS
from engine.models.bundle import load_card
from engine.plan import make_plan
from engine.spec import RunSpec, SurveySpec
from engine.surveys import SURVEYS
from engine.toml import load
from jobs.cli import app
from jobs.run import layout_of
from tests.bundles import write_bundle
from tests.conftest import SAMPLING
from tests.flows.command import LOCAL, Abundant, local

COMMANDS = """
    baseline bundle commit compare crossmatch demo explain export flags import inspect logs models plan query
    report run simulate status stop submit surveys train verify
"""


def test_the_commands_are_these() -> None:
    assert sorted(_group("").commands) == COMMANDS.split()
    assert sorted(_group("bundle").commands) == ["export", "gradients", "show", "verify"]


@pytest.mark.parametrize("group", ["", "bundle"])
def test_every_command_has_help_with_an_example(abundant: Abundant, group: str) -> None:
    for name, command in _group(group).commands.items():
        if isinstance(command, TyperGroup):
            continue
        words = [*group.split(), name]
        shown = abundant(*words, "--help")
        assert shown.code == 0
        assert f"Example: abundant {' '.join(words)}" in shown.out
        example = shlex.split((command.epilog or "").partition("Example: ")[2])
        assert all(word in shown.out for word in example if word.startswith("--"))


def _group(name: str) -> TyperGroup:
    """The commands of the program, or of a group of it."""
    found = get_command(app)
    assert isinstance(found, TyperGroup)
    inner = found.commands[name] if name else found
    assert isinstance(inner, TyperGroup)
    return inner


def test_a_bundle_is_shown_verified_and_exported(
    abundant: Abundant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_bundle(tmp_path / "b", sampling=SAMPLING)
    monkeypatch.setenv("COLUMNS", "80")
    shown = abundant("bundle", "show", folder)
    assert shown.code == 0 and "Labels and their training range" in shown.out and "# random" not in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    assert abundant("bundle", "show", folder, "--markdown").out.startswith("# random\n")
    sound = abundant("bundle", "verify", folder)
    assert (sound.code, sound.err.startswith("OK: random")) == (0, True)
    file = tmp_path / "networks.pt"
    assert abundant("bundle", "export", folder, file, "--to", "torchscript").code == 0
    assert file.stat().st_size > 0
    again = abundant("bundle", "export", folder, file, "--to", "torchscript")
    assert (again.code, "exists" in again.err) == (2, True)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for words, code in ((("verify", folder), 1), (("verify", tmp_path), 2), (("show", tmp_path), 2)):
        found = abundant("bundle", *words)
        assert (found.code, "Traceback" in found.err, found.err.count(":") > 0) == (code, False, True)


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
    assert "Its staging can be deleted" in done.err
    assert str(spec_file.parent / "catalogs" / "_staging" / "test-1-") in done.err
    for command in (["commit", spec_file], ["run", spec_file]):
        again = abundant(*command)
        assert (again.code, "already published" in again.err) == (0, True)


@pytest.mark.parametrize("command", ["run", "commit", "plan"])
@pytest.mark.parametrize("place", ["/dev/null", "/proc", "inside a catalog"])
def test_an_unusable_root_is_refused_before_any_work(
    abundant: Abundant, run_spec: Callable[..., RunSpec], tmp_path: Path, command: str, place: str
) -> None:
    (tmp_path / "hats.properties").touch()
    root = tmp_path / "new" if place == "inside a catalog" else Path(place)
    plain = run_spec(catalog={"root": root}).model_dump(mode="json", by_alias=True, exclude_unset=True)
    (tmp_path / "run.toml").write_text(tomli_w.dumps(plain))
    refused = abundant(command, tmp_path / "run.toml")
    assert refused.code == 2
    assert "choose a" in refused.err
    assert "Traceback" not in refused.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", ["run", "commit"])
def test_a_second_driver_is_told_who_drives(abundant: Abundant, spec_file: Path, command: str) -> None:
    plan = make_plan(load(spec_file, RunSpec))
    with driving(layout_of(plan)):
        refused = abundant(command, spec_file, *local(spec_file, command))
    assert refused.code == 1
    assert "this run is being driven by process" in refused.err
    assert abundant("run", spec_file, *local(spec_file, "run")).code == 0


def test_a_closed_pipe_ends_every_printing_command_quietly(catalog: Path, spec_file: Path) -> None:
    query = ["query", str(catalog), "SELECT a.* FROM catalog a", "--format"]
    for words in ([*query, "csv"], [*query, "table"], ["flags"], ["plan", str(spec_file)]):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            call = [sys.executable, "-m", "jobs", *words]
            ended = subprocess.run(call, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
        finally:
            os.close(writing)
        assert (ended.returncode, ended.stderr) == (141, ""), words


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


def test_a_full_disk_under_the_output_is_a_message(catalog: Path) -> None:
    sql = "SELECT a.* FROM catalog a"
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "jobs", "query", str(catalog), sql, "--format", "csv"]
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert "Failed: the output cannot be written: No space left" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_damaged_catalog_is_a_message_to_every_command(abundant: Abundant, catalog: Path) -> None:
    victim = next((catalog / "dataset").rglob("Npix=*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-9])
    for words in (["query", catalog, "SELECT * FROM catalog"], ["explain", catalog, 1], ["verify", catalog]):
        found = abundant(*words)
        assert (found.code, victim.name in found.err, "Traceback" in found.err) == (1, True, False)


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


@pytest.mark.parametrize("survey", ["rave", "apogee"])
def test_explain_leads_back_to_a_tiny_file_in_a_group(
    abundant: Abundant, simulated: Callable[[str], SurveySpec], tmp_path: Path, survey: str
) -> None:
    root = simulated(survey).root
    bundle = write_bundle(tmp_path / "b", sampling=SAMPLING, architecture=f"{survey}_mlp", hidden=(16, 8, 8))
    spec = {
        "survey": {"name": survey, "root": str(root), "select": {"by": "all"}},
        "model": {"bundle": str(bundle)},
        "sampling": SAMPLING.model_dump(),
        "tasks": {"rows": 7},
        "catalog": {"name": "test", "version": "1", "root": str(tmp_path / "catalogs")},
    }
    (tmp_path / "run.toml").write_text(tomli_w.dumps(spec))
    (tmp_path / "local.toml").write_text(LOCAL)
    files = list(Path(root).rglob("*.fits"))
    assert f"{len(files)} files" in abundant("plan", tmp_path / "run.toml").out
    done = abundant("run", tmp_path / "run.toml", "--profile", tmp_path / "local.toml")
    assert done.code == 0, done.err
    catalog = tmp_path / "catalogs" / "test" / "1"
    groups = json.loads((catalog / "manifest.json").read_text())["shards"].values()
    assert any(isinstance(group, list) for group in groups)
    key = SURVEYS[survey].keys[0].name
    rows = json.loads(abundant("query", catalog, f"SELECT {key} FROM catalog", "--format", "json").out)
    assert len(rows) >= 48
    for row in rows[::5]:
        shown = abundant("explain", catalog, row[key])
        assert shown.code == 0, shown.err
        file, number = (line.split(maxsplit=1)[1].strip() for line in shown.out.splitlines()[:2])
        assert row[key] in file and Path(file).is_file()
        assert number.startswith("0 of its spectra")


def test_lists_fit_a_terminal_of_80_columns(abundant: Abundant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words, known in (("surveys", SURVEYS), ("models", MODELS)):
        lines = abundant(words).out.splitlines()
        assert {line.split()[0] for line in lines if line[:1].strip()} == {*known}
        assert max(map(len, lines)) <= 80
        assert len(lines) <= 8 * len(known)
        assert "…" not in "".join(lines)
    assert "ccd4" in abundant("surveys").out and "[survey.table]" in abundant("surveys").out


def test_lists_of_surveys_models_and_flags(abundant: Abundant) -> None:
    assert "Dark Energy" in abundant("surveys").out
    models = abundant("models").out
    assert "desi_mlp_4" in models
    assert (
        f"{7781 * 1024 + 1024 + 1024 * 512 + 512 + 512 * 256 + 256 + 256 * 128 + 128 + 128 * 12 + 12:,}"
        in models
    )
    flags = abundant("flags").out
    assert all(flag.text in flags for flag in FLAGS)


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
    assert (again.code, "not empty" in again.err, "Training" in again.err) == (2, True, False)
    spec["labels"] |= {"names": ["teff", "colour"], "error_floor": {"teff": 50.0}}
    spec["bundle"]["out"] = str(tmp_path / "other")
    (tmp_path / "train.toml").write_text(tomli_w.dumps(spec))
    wrong = abundant("train", tmp_path / "train.toml")
    assert (wrong.code, "'colour' is unknown" in wrong.err, "Training" in wrong.err) == (2, True, False)


def test_simulate_refuses_what_it_cannot_do(abundant: Abundant, tmp_path: Path) -> None:
    assert abundant("simulate", "gaia", tmp_path / "x").code == 2
    assert abundant("simulate", "desi", tmp_path / "x", "--stars", 0).code == 2
    assert abundant("simulate", "desi", "/proc/x", "--stars", 10).code == 2
    broken = tmp_path / "labels.parquet"
    broken.write_text("no")
    assert abundant("simulate", "desi", tmp_path / "x", "--labels", broken).code == 2


def test_an_estimate_of_the_mission_needs_no_files(abundant: Abundant) -> None:
    specs = Path(__file__).parents[2] / "jobs" / "infer"
    shown = abundant("plan", specs / "desi-dr1-main.toml", "--estimate", "--price-cpu-hour", "0.04")
    assert shown.code == 0
    for said in ("4,000,000 rows", "core-hours", "not being here: DR1", "100 stars per coadd", "measured on"):
        assert said in shown.out
    unknown = abundant("plan", specs / "galah-dr3.toml", "--estimate")
    assert (unknown.code, "neither files nor bundle" in unknown.err) == (2, True)


def test_an_estimate_counts_the_files_that_are_there(abundant: Abundant, spec_file: Path) -> None:
    shown = abundant("plan", spec_file, "--estimate", "--profile", spec_file.with_name("local.toml"))
    assert shown.code == 0
    assert "this plan, before selection" in shown.out
    assert "not known: --price-cpu-hour" in shown.out
