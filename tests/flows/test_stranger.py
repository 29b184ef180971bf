"""A spec from a stranger reads and writes what it names, nothing else; neither it nor a bundle runs code."""

import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
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
# Of matplotlib.
FONTS = "/var/cache/fontconfig"
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


@dataclass(frozen=True)
class Stranger:
    """A folder with a spec of a local run, in which it is started; nothing else of this machine is named."""

    home: Path
    environment: dict[str, str]

    def run(self, *before: str) -> None:
        """Run it, by a program with these words before the command's own."""
        call = [*before, "run", "run.toml", "--profile", "local.toml"]
        done = subprocess.run(
            call, cwd=self.home, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def stranger(run_spec: Callable[..., RunSpec], tmp_path: Path) -> Stranger:
    home = tmp_path / "home"
    for folder in (home, tmp_path / "scratch"):
        folder.mkdir()
    plain = run_spec().model_dump(mode="json", by_alias=True, exclude_unset=True)
    (home / "run.toml").write_text(tomli_w.dumps(plain))
    (home / "local.toml").write_text(LOCAL)
    own = {
        "HOME": str(home),
        # Of matplotlib's fonts, which it lists with fc-list.
        "XDG_CACHE_HOME": str(tmp_path / "scratch"),
        "TMPDIR": str(tmp_path / "scratch"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ABUNDANT_CACHE": str(tmp_path / "cache"),
    }
    return Stranger(home, dict(os.environ) | own)


def test_a_run_writes_its_catalog_and_the_cache_alone(
    stranger: Stranger, survey_root: Path, bundle: Path, tmp_path: Path
) -> None:
    """Files are compared before and after, since not everything that writes is Python."""
    log = tmp_path / "log"
    before = {place: contents(place) for place in (survey_root, bundle, stranger.home)}
    stranger.run(sys.executable, "-c", WITNESS, str(log))
    assert {place: contents(place) for place in before} == before
    allowed = tuple(str(tmp_path / name) for name in ("catalogs", "cache", "scratch"))
    heard = log.read_text().splitlines()
    wrote = [line.partition(" ")[2] for line in heard if line.startswith("wrote")]
    assert wrote and not [path for path in wrote if not path.startswith((*allowed, "/dev/"))]
    assert not [line for line in heard if line.startswith("ran") and "fc-list" not in line]


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace: apt-get install strace")
def test_a_run_reads_what_its_spec_names_and_its_own_program(
    stranger: Stranger, survey_root: Path, bundle: Path, tmp_path: Path
) -> None:
    """By what the kernel opened, since not everything that reads is Python."""
    log = tmp_path / "log"
    for secret in (".netrc", ".aws/credentials", ".ssh/id_rsa", "notes.toml"):
        (stranger.home / secret).parent.mkdir(exist_ok=True)
        (stranger.home / secret).write_text("secret")
    (tmp_path / "neighbour.fits").write_text("secret")
    stranger.run(
        *("strace", "-f", "-qq", "-y", "-e", "trace=open,openat", "-e", "status=successful", "-o", str(log)),
        *(sys.executable, "-m", "jobs"),
    )
    opened = {Path(found) for found in re.findall(r"O_[^)]*\)\s+= \d+<([^>]+)>", log.read_text())}
    named = [survey_root, bundle, *(stranger.home / name for name in ("run.toml", "local.toml"))]
    named += [tmp_path / name for name in ("catalogs", "cache", "scratch")]
    program = [REPOSITORY / name for name in ("engine", "catalogs", "jobs", "abundant.egg-info")]
    system = [Path(place) for place in ("/usr", "/lib", "/etc", "/proc", "/sys", "/dev", FONTS)]
    system += [Path(place).resolve() for place in (sys.prefix, sys.base_prefix)]
    allowed = [place.resolve() for place in (*named, *program)] + system
    strange = {path for path in opened if path.is_file() and not any(map(path.is_relative_to, allowed))}
    assert not strange, "\n".join(map(str, strange))
    assert {survey_root, bundle} <= {place for path in opened for place in path.parents}


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
