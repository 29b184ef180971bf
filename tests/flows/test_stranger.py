"""A spec from a stranger reads and writes what it names, nothing else; neither it nor a bundle runs code."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from engine.errors import BundleError, SpecError
from engine.models.bundle import load_card, load_weights
from engine.spec import RunSpec
from engine.toml import load
from tests.bundles import write_bundle
from tests.conftest import SAMPLING
from tests.flows.command import LOCAL

REPOSITORY = Path(__file__).parents[2]
# Prints, at the end of a program, what Python opened to write, and every program or library that it started.
WITNESS = """
import sys
WRITES = 1 | 2 | 64
def hear(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
        print("wrote", arguments[0], file=LOG)
    elif event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "pickle.find_class"):
        print("ran", event, arguments[:2], file=LOG)
LOG = open(sys.argv.pop(1), "w", buffering=1)
sys.addaudithook(hear)
from jobs.__main__ import main
main()
"""


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below, by size and date."""
    found = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (about.st_size, about.st_mtime_ns) for path, about in found}


def test_a_run_writes_its_catalog_and_the_cache_alone(
    run_spec: Callable[..., RunSpec], survey_root: Path, bundle: Path, tmp_path: Path
) -> None:
    """Files are compared before and after, since not everything that writes is Python."""
    home, log = tmp_path / "home", tmp_path / "log"
    home.mkdir()
    plain = run_spec().model_dump(mode="json", by_alias=True, exclude_unset=True)
    (home / "run.toml").write_text(tomli_w.dumps(plain))
    (home / "local.toml").write_text(LOCAL)
    before = {place: contents(place) for place in (survey_root, bundle, home)}
    environment = os.environ | {
        "HOME": str(home),
        # Of matplotlib's fonts, which it lists with fc-list.
        "XDG_CACHE_HOME": str(tmp_path / "scratch"),
        "TMPDIR": str(tmp_path / "scratch"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ABUNDANT_CACHE": str(tmp_path / "cache"),
    }
    (tmp_path / "scratch").mkdir()
    call = [sys.executable, "-c", WITNESS, str(log), "run", "run.toml", "--profile", "local.toml"]
    done = subprocess.run(call, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {place: contents(place) for place in before} == before
    allowed = tuple(str(tmp_path / name) for name in ("catalogs", "cache", "scratch"))
    heard = log.read_text().splitlines()
    wrote = [line.partition(" ")[2] for line in heard if line.startswith("wrote")]
    assert wrote and not [path for path in wrote if not path.startswith((*allowed, "/dev/"))]
    assert not [line for line in heard if line.startswith("ran") and "fc-list" not in line]


@pytest.mark.parametrize("key", ["name", "version", "follows"])
@pytest.mark.parametrize("value", ["../elsewhere", "a/b", "/tmp", ".hidden", ""])
def test_a_catalog_cannot_be_named_out_of_its_root(
    run_spec: Callable[..., RunSpec], tmp_path: Path, key: str, value: str
) -> None:
    plain = run_spec().model_dump(mode="json", by_alias=True, exclude_unset=True)
    plain["catalog"][key] = value
    (tmp_path / "run.toml").write_text(tomli_w.dumps(plain))
    with pytest.raises(SpecError, match=f"catalog.{key}"):
        load(tmp_path / "run.toml", RunSpec)


class Bomb:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(Path(os.environ["ABUNDANT_BOMB"])),)


def test_a_bundle_whose_weights_are_a_pickle_is_refused_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABUNDANT_BOMB", str(tmp_path / "ran"))
    folder = write_bundle(tmp_path / "bundle", sampling=SAMPLING)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    card = load_card(folder)
    with pytest.raises(BundleError):
        load_weights(folder, card)
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Bomb()))
    assert (tmp_path / "ran").exists()
