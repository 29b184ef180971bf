"""Specs: what is accepted, what is refused, and what the hash stands for."""

from pathlib import Path

import pytest

from engine.errors import SpecError
from engine.spec import Profile, RunSpec, load

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
    assert (found.sampling.draws, found.sampling.seed, found.tasks.rows) == (100, 1, 512)
    assert (found.survey.select.by, found.survey.rv.source) == ("targets", "redrock")
    assert found.tolerance.failed_tasks == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("[smapling]\ndraws = 3\n", ["smapling: unknown key", "sampling"]),
        ("[sampling]\ndrawz = 3\n", ["sampling.drawz: unknown key", "draws"]),
        ('[sampling]\ndraws = "many"\n', ["sampling.draws", "integer", "'many'"]),
        ("[sampling]\ndraws = 1\n", ["sampling.draws", "greater than or equal to 2"]),
        ('[survey.rv]\nfrom = "guess"\n', ["survey.rv.from", "rvtab"]),
        ("[tasks]\nrows = 0\n", ["tasks.rows"]),
        ("not toml at all", ["not a readable TOML file"]),
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
