"""Specs: what is accepted, what is refused, and what the hash stands for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from engine.errors import SpecError
from engine.models.card import Card
from engine.spec import Profile, RunSpec
from engine.toml import complaints, load
from engine.train.spec import TrainSpec

GOOD = """
[survey]
name = "desi"
root = "spectra"
[model]
bundle = "bundle"
[catalog]
name = "demo"
version = "1"
root = "catalogs"
"""


def spec(tmp_path: Path, text: str) -> RunSpec:
    path = tmp_path / "spec.toml"
    path.write_text(text)
    return load(path, RunSpec)


def test_defaults_are_the_documented_ones(tmp_path: Path) -> None:
    found = spec(tmp_path, GOOD)
    assert (found.sampling, found.tasks.rows) == (None, None)
    assert (found.survey.select.by, found.survey.rv.source) == ("targets", "redrock")
    assert found.tolerance.failed_tasks == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("[smapling]\ndraws = 3\n", ["smapling: unknown key", "sampling"]),
        ("[sampling]\ndrawz = 3\n", ["sampling.drawz: unknown key", "draws"]),
        ('[sampling]\ndraws = "many"\n', ["sampling.draws", "integer", "'many'"]),
        ("[sampling]\ndraws = -1\n", ["sampling.draws", "greater than or equal to 0"]),
        ('[survey.rv]\nfrom = "guess"\n', ["survey.rv.from", "rvtab"]),
        ("[tasks]\nrows = 0\n", ["tasks.rows"]),
        ("not toml at all", ["not a readable TOML file"]),
        ('[sampling]\ndraws = "10"\n', ["sampling.draws: input should be a valid integer (got '10')"]),
        ("[sampling]\ndraws = true\n", ["sampling.draws: input should be a valid integer (got True)"]),
        ("[sampling]\ndraws = nan\n", ["sampling.draws"]),
        ("[sampling]\nseed = 9223372036854775808\n", ["sampling.seed", "less than 9223372036854775808"]),
        ("[tolerance]\nfailed_tasks = 2026-01-01\n", ["2026-01-01 is a date", '"2026-01-01"']),
        ('[survey.select]\npath = "ids.csv"\n', ["survey.select: path", 'by = "ids"', 'by = "targets"']),
        ('[survey.select]\nspectype = ["QSO"]\n', ["survey.select: spectype", 'by = "spectype"']),
        ('[survey.select]\nby = "spectype"\nspectype = []\n', ["survey.select.spectype", "at least 1"]),
        ('[survey.rv]\npath = "rv.fits"\n', ["survey.rv: path", '"rvtab" or "table"', 'from = "redrock"']),
        ('[survey.rv]\nfrom = "none"\npath = "rv.fits"\n', ["survey.rv: path", 'from = "none"']),
        ('[survey.rv]\nfrom = "table"\npath = ""\n', ["survey.rv.path: an empty path"]),
    ],
)
def test_wrong_specs_are_refused_with_the_key_and_the_remedy(
    tmp_path: Path, change: str, words: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        spec(tmp_path, GOOD + change)
    message = str(caught.value)
    assert "spec.toml" in message
    assert all(word in message for word in words), message


def test_a_missing_section_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="model: missing"):
        spec(tmp_path, GOOD.replace('[model]\nbundle = "bundle"\n', ""))
    with pytest.raises(SpecError, match="no such file"):
        load(tmp_path / "absent.toml", Profile)


def test_a_catalog_name_cannot_leave_its_root(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"catalog\.name"):
        spec(tmp_path, GOOD.replace('name = "demo"', 'name = "../demo"'))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('root = "spectra"', 'root = ""', "survey.root: an empty path; name the place"),
        ('root = "spectra"', 'root = "   "', "survey.root: an empty path"),
        ('root = "spectra"', 'root = "~no-such-user/spectra"', "there is no such home folder"),
        ('bundle = "bundle"', 'bundle = ""', "model.bundle: an empty path"),
        ('name = "demo"', 'name = "De mo"', "'^[A-Za-z0-9][A-Za-z0-9_.-]*$' (got 'De mo')"),
    ],
)
def test_places_and_names_that_are_none_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec(tmp_path, GOOD.replace(old, new))
    assert words in str(caught.value)


def test_the_current_folder_is_a_place(tmp_path: Path) -> None:
    assert spec(tmp_path, GOOD.replace('root = "spectra"', 'root = "."')).survey.root == str(Path.cwd())


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(GOOD, encoding="utf-8-sig")
    assert load(tmp_path / "spec.toml", RunSpec).catalog.name == "demo"


def test_whole_numbers_stand_for_others_and_lists_for_tuples(tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text("cpus = 2\n")
    assert load(tmp_path / "profile.toml", Profile).cpus == 2.0
    by = '[survey.select]\nby = "spectype"\nspectype = ["STAR", "QSO"]\n'
    assert spec(tmp_path, GOOD + by).survey.select.spectype == ("STAR", "QSO")


TRAINING = """
[survey]
name = "desi"
root = "spectra"
[model]
name = "desi_mlp_4"
[bundle]
out = "bundle"
name = "small"
[labels]
path = "labels.parquet"
"""
LABELS = 'key = ["targetid"]\nnames = ["teff", "logg"]\n'


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            'key = ["targetid"]\nnames = ["teff", "logg", "teff"]\n',
            "labels.names: teff: named more than once",
        ),
        ('key = ["a", "a"]\nnames = ["teff"]\n', "labels.key: a: named more than once"),
        (LABELS + "error_floor = {fe_h = 0.1}\n", "labels: error_floor of fe_h: not among names"),
        (LABELS + "error_floor = {teff = 0}\n", "labels.error_floor.teff: input should be greater than 0"),
        (LABELS + "error_floor = {teff = -5.0}\n", "labels.error_floor.teff: input should be greater than 0"),
        (LABELS + "[split]\nseed = 9223372036854775808\n", "split.seed: input should be less than"),
        (LABELS + "[training]\nseed = 9223372036854775808\n", "training.seed: input should be less than"),
        (LABELS + "[split]\nvalidation = 0.4\ncalibration = 0.4\ntest = 0.4\n", "split: validation, calib"),
    ],
)
def test_trainings_that_contradict_themselves_are_refused(tmp_path: Path, labels: str, words: str) -> None:
    path = tmp_path / "training.toml"
    path.write_text(TRAINING + LABELS)
    assert load(path, TrainSpec).labels.names == ("teff", "logg")
    path.write_text(TRAINING + labels)
    with pytest.raises(SpecError) as caught:
        load(path, TrainSpec)
    assert words in str(caught.value)


def test_the_largest_seed_is_one_for_torch_and_numpy() -> None:
    torch.Generator().manual_seed(2**63 - 1)
    np.random.default_rng(2**63 - 1)


def test_unknown_keys_of_optional_records_and_of_lists_of_records_are_named() -> None:
    with pytest.raises(ValidationError) as caught:
        Card.model_validate({"sampling": {"drawz": 3}, "labels": [{"colour": 1}]})
    found = complaints(caught.value, Card)
    assert "sampling.drawz: unknown key; known here: draws, noise, precision, seed" in found
    assert "labels.0.colour: unknown key; known here: calibration, description, high" in found


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('root = "spectra"', 'root = "/elsewhere"', True),
        ('root = "catalogs"', 'root = "/elsewhere"', True),
        ('root = "catalogs"', 'root = "catalogs"\n[tolerance]\nfailed_tasks = 3', True),
        ('version = "1"', 'version = "2"', False),
        ('root = "spectra"', 'root = "spectra"\nselect = {by = "all"}', False),
        ('root = "catalogs"', 'root = "catalogs"\n[sampling]\nseed = 2', False),
        ('root = "catalogs"', 'root = "catalogs"\n[tasks]\nrows = 100', False),
    ],
)
def test_the_hash_stands_for_what_can_change_a_number(tmp_path: Path, old: str, new: str, same: bool) -> None:
    assert old in GOOD
    assert (spec(tmp_path, GOOD).digest() == spec(tmp_path, GOOD.replace(old, new)).digest()) is same
