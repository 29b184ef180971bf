"""The demo, smaller; and what the README tells a reader to type, on its catalog."""

import re
import shlex
from pathlib import Path

import pytest

from catalogs import query
from catalogs.formats import render
from jobs import demo

README = Path(__file__).parents[2] / "README.md"


SAID: list[str] = []


@pytest.fixture(scope="module")
def folder(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo on 700 stars; what it said is in SAID."""
    target = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "say", SAID.append)
        for name, value in {"STARS": 700, "TRAINING_STARS": 520, "EPOCHS": 3}.items():
            patch.setattr(demo, name, value)
        demo.run_demo(target)
    return target


@pytest.mark.ray
def test_it_leaves_specs_bundle_catalog_and_plots(folder: Path) -> None:
    made = {path.name for path in folder.iterdir()}
    assert {"survey", "bundle", "catalogs", "train.toml", "run.toml", "kiel.png", "mg_fe.png"} <= made
    assert len(list((folder / "survey").rglob("coadd-*.fits"))) == len(
        list((folder / "survey").rglob("redrock-*.fits"))
    )
    assert (folder / "kiel.png").read_bytes().startswith(b"\x89PNG")
    report = (folder / "catalogs" / "demo" / "1-report.html").read_text()
    assert report.count('<img width="') > 20 and "Kiel diagram" in report
    found = query(
        folder / "catalogs" / "demo" / "1", "SELECT count(*) AS n, count(mg_fe) AS labelled FROM catalog"
    )
    assert found["n"][0].as_py() > found["labelled"][0].as_py() > 100


@pytest.mark.ray
def test_its_last_words_name_the_report(folder: Path) -> None:
    assert SAID[-1].endswith(str(folder / "catalogs" / "demo" / "1-report.html"))


@pytest.mark.ray
def test_training_stars_are_not_in_the_catalog(folder: Path) -> None:
    import pyarrow.parquet as pq

    trained = set(pq.read_table(folder / "train_ids.parquet")["targetid"].to_pylist())
    rows = query(folder / "catalogs" / "demo" / "1", "SELECT targetid FROM catalog")
    assert not trained & set(rows["targetid"].to_pylist())


@pytest.mark.ray
def test_the_next_steps_it_prints_work(folder: Path) -> None:
    at, catalog = demo.Folders(root=folder), folder / "catalogs" / "demo" / "1"
    commands = [shlex.split(line) for line in demo.next_steps(at, catalog).splitlines()[1:]]
    assert [command[1] for command in commands] == ["query", "explain", "plan"]
    assert render(query(catalog, commands[0][3]), "table")


@pytest.mark.ray
def test_the_readme_speaks_the_truth(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its SQL and its Python run as printed, from the folder that holds demo/."""
    text = README.read_text()
    monkeypatch.chdir(folder.parent)
    [sql] = re.findall(r'"(SELECT .*?)"', text)
    [row] = query("demo/catalogs/demo/1", sql).to_pylist()
    assert row["stars"] > 100
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code, {})


def test_a_used_folder_is_refused(tmp_path: Path) -> None:
    from engine.errors import InputError

    (tmp_path / "something").touch()
    with pytest.raises(InputError, match="--dir"):
        demo.run_demo(tmp_path)
