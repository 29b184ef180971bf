"""Damage planted in a published catalog: query, explain and verify end in one clear message each."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalogs import open_catalog, query, verify
from catalogs.query import find
from engine.errors import InputError, VerifyError
from jobs import show
from tests.unit.catalog_rows import FIRST_ID, layout, publish, staged, tasks

Damage = Callable[[Path], Any]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = layout(tmp_path_factory.mktemp("good"))
    made = tasks(3, 120)
    staged(where, made)
    publish(where, list(made))
    return where.catalog


@pytest.fixture
def catalog(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "v1"))


def ask(catalog: Path) -> None:
    query(catalog, "SELECT * FROM catalog")


def explain(catalog: Path) -> None:
    show.explained(find(catalog, [str(FIRST_ID)]), open_catalog(catalog).manifest)


def partitions(catalog: Path) -> list[Path]:
    return sorted(catalog.rglob("Npix=*.parquet"))


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def manifest(change: Callable[[dict[str, Any]], Any]) -> Damage:
    """A damage of the manifest's content."""

    def damage(catalog: Path) -> None:
        content = json.loads((catalog / "manifest.json").read_text())
        change(content)
        (catalog / "manifest.json").write_text(json.dumps(content))

    return damage


def rename_first_file(content: dict[str, Any], name: str) -> None:
    files = content["files"]
    files[name] = files.pop(next(iter(files)))


MANIFEST: dict[str, Damage] = {
    "gone": lambda catalog: (catalog / "manifest.json").unlink(),
    "a folder": lambda catalog: to_folder(catalog / "manifest.json"),
    "empty": lambda catalog: (catalog / "manifest.json").write_bytes(b""),
    "not JSON": lambda catalog: (catalog / "manifest.json").write_text("thesis"),
    "not UTF-8": lambda catalog: (catalog / "manifest.json").write_bytes(b'{"a": "\xff"}'),
    "a list": lambda catalog: (catalog / "manifest.json").write_text("[]"),
    "null": lambda catalog: (catalog / "manifest.json").write_text("null"),
    "too deep": lambda catalog: (catalog / "manifest.json").write_text("[" * 100_000),
    "half": lambda c: (c / "manifest.json").write_bytes((c / "manifest.json").read_bytes()[:900]),
    "files a list": manifest(lambda m: m.update(files=[])),
    "files a number": manifest(lambda m: m.update(files=3)),
    "no file": manifest(lambda m: m.update(files={})),
    "a file a word": manifest(lambda m: m["files"].update({next(iter(m["files"])): "x"})),
    "a file without bytes": manifest(lambda m: next(iter(m["files"].values())).pop("bytes")),
    "rows a word": manifest(lambda m: next(iter(m["files"].values())).update(rows="ten")),
    "a path outside": manifest(lambda m: rename_first_file(m, "../../../etc/hostname")),
    "an absolute path": manifest(lambda m: rename_first_file(m, "/etc/hostname")),
    "a NUL in a path": manifest(lambda m: rename_first_file(m, "a\0b")),
    "total a list": manifest(lambda m: m["rows"].update(total=[])),
    "rows gone": manifest(lambda m: m.pop("rows")),
    "an outcome gone": manifest(lambda m: m["rows"].pop("ok")),
    "keys a word": manifest(lambda m: m.update(keys="targetid")),
    "no key": manifest(lambda m: m.update(keys=[])),
    "an unknown key": manifest(lambda m: m.update(keys=["colour"])),
    "columns gone": manifest(lambda m: m.pop("columns")),
    "columns null": manifest(lambda m: m.update(columns=[None])),
    "a column gone": manifest(lambda m: m["columns"].pop()),
    "flags gone from columns": manifest(
        lambda m: m.update(columns=[c for c in m["columns"] if c["name"] != "flags"])
    ),
    "another type": manifest(lambda m: m["columns"][0].update(type="string")),
    "counts a list": manifest(lambda m: m.update(flag_counts=[1])),
    "failures a word": manifest(lambda m: m.update(failures="none")),
    "failures without reason": manifest(lambda m: m.update(failures=[{"task_id": "t000"}])),
    "shards a list": manifest(lambda m: m.update(shards=[1])),
    "a shard's file without rows": manifest(lambda m: m.update(shards={"s": [["a.fits"]]})),
    "a shard's file of less than no rows": manifest(lambda m: m.update(shards={"s": [["a.fits", -1]]})),
    "flags without text": manifest(lambda m: m.update(flags=[{"name": "NO_RESULT"}])),
    "the digest a number": manifest(lambda m: m.update(plan_digest=3)),
}
FILES: dict[str, Damage] = {
    "no dataset": lambda catalog: shutil.rmtree(catalog / "dataset"),
    "a dataset that is a file": lambda c: (shutil.rmtree(c / "dataset"), (c / "dataset").touch()),
    "no schema": lambda catalog: (catalog / "dataset/_common_metadata").unlink(),
    "an empty schema": lambda catalog: (catalog / "dataset/_common_metadata").write_bytes(b""),
    "a schema of noise": lambda catalog: (catalog / "dataset/_common_metadata").write_bytes(b"PAR1" * 99),
    "first partition gone": lambda catalog: partitions(catalog)[0].unlink(),
    "last partition gone": lambda catalog: partitions(catalog)[-1].unlink(),
    "a partition that is a folder": lambda catalog: to_folder(partitions(catalog)[0]),
    "first footer cut": lambda c: partitions(c)[0].write_bytes(partitions(c)[0].read_bytes()[:-9]),
    "last footer cut": lambda c: partitions(c)[-1].write_bytes(partitions(c)[-1].read_bytes()[:-9]),
    "an empty partition": lambda catalog: partitions(catalog)[1].write_bytes(b""),
    "a partition of noise": lambda c: partitions(c)[0].write_bytes(b"x" * partitions(c)[0].stat().st_size),
}
DAMAGES = {**{f"manifest: {name}": damage for name, damage in MANIFEST.items()}, **FILES}


@pytest.mark.parametrize("command", [ask, explain, verify])
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_clear_message(catalog: Path, name: str, command: Callable[[Path], object]) -> None:
    DAMAGES[name](catalog)
    with pytest.raises(VerifyError) as caught:
        command(catalog)
    said = str(caught.value)
    assert str(catalog) in said
    assert command is verify or ("is damaged: " in said and said.count("\n") == 0), said


@pytest.mark.parametrize(
    "change", [lambda p: p.write_bytes(b"\xff\xfe=1\n"), to_folder, lambda p: p.write_bytes(b"")]
)
def test_properties_that_cannot_be_read_are_found_by_verify(
    catalog: Path, change: Callable[[Path], Any]
) -> None:
    change(catalog / "hats.properties")
    with pytest.raises(VerifyError, match=r"hats\.properties: "):
        verify(catalog)
    ask(catalog)


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_byte_never_ends_in_a_traceback(catalog: Path, place: float) -> None:
    """Readers cannot see every flip; verify does."""
    from engine.errors import AbundantError

    for path in partitions(catalog):
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 0x55
        path.write_bytes(content)
    for command in (ask, explain):
        try:
            command(catalog)
        except AbundantError as error:
            assert "abundant verify" in str(error)
    with pytest.raises(VerifyError, match="sha256 is"):
        verify(catalog)


def test_explain_blames_a_flipped_byte_on_the_catalog_and_not_on_the_key(catalog: Path) -> None:
    """In the middle of the compressed pages, where the size and the footer stay what they were."""
    for path in partitions(catalog):
        content = bytearray(path.read_bytes())
        for place in range(len(content) // 10, len(content) // 2, 97):
            content[place] ^= 0x55
        path.write_bytes(content)
    with pytest.raises(VerifyError, match=r"is damaged: .*abundant verify") as caught:
        explain(catalog)
    assert "key" not in str(caught.value)


@pytest.mark.parametrize("key", [["four"], ["1e30"], ["main", "bright", "x", "NULL", "7"], ["1", "2"]])
def test_a_key_that_cannot_be_one_is_blamed_itself(catalog: Path, key: list[str]) -> None:
    with pytest.raises(InputError, match=r"is no (targetid|healpix)|has 2 parts"):
        find(catalog, key)


@pytest.mark.parametrize("key", ["plan", "shards", "flags", "failures", "warnings"])
def test_an_older_manifest_still_explains(catalog: Path, key: str) -> None:
    manifest(lambda m: m.pop(key, None))(catalog)
    explain(catalog)


def test_a_plan_of_another_shape_still_explains(catalog: Path) -> None:
    for plan in ({"spec": None}, {"spec": {"survey": []}}, {"spec": {"survey": {"root": 7}}}):
        manifest(lambda m, plan=plan: m.update(plan=plan))(catalog)
        explain(catalog)
