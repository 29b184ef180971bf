"""The command `baseline`: before a training, after it, and with a spec that is not the training's."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w

from engine.models.bundle import load_card
from engine.train import train
from engine.train.baseline import baseline
from engine.train.spec import TrainSpec
from jobs.cli import command_line
from tests.bundles import write_bundle
from tests.conftest import SAMPLING

NAMES = ["teff", "logg", "fe_h", "mg_h", "o_h"]


@pytest.fixture(scope="module")
def plain(survey_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A training on 240 stars with an element, O, that has nothing to do with their spectra."""
    root = tmp_path_factory.mktemp("baseline")
    truth = pq.read_table(survey_root / "truth.parquet")
    o_h = np.random.default_rng(0).normal(0, 0.3, len(truth)).astype(np.float32)
    pq.write_table(truth.append_column("o_h", pa.array(o_h)), root / "labels.parquet")
    return {
        "survey": {"name": "desi", "root": str(survey_root)},
        "labels": {
            "path": str(root / "labels.parquet"),
            "key": ["survey", "program", "healpix", "targetid"],
            "names": NAMES,
            "error_floor": dict.fromkeys(NAMES, 0.1) | {"teff": 50.0},
        },
        "cuts": {"min_snr": 1.0},
        "split": {"validation": 0.2, "calibration": 0.2, "test": 0.25},
        "model": {"name": "desi_mlp_4", "hyper": {"hidden": [32, 16, 16, 8], "dropout": 0.05}},
        "training": {"epochs": 2, "batch": 16},
        "sampling": {"draws": 5},
        "bundle": {"out": str(root / "bundle"), "name": "two-epochs"},
    }


@pytest.fixture(scope="module")
def bundle(plain: dict[str, Any]) -> Path:
    return train(TrainSpec.model_validate(plain), on_shard=Mock(), on_epoch=Mock()).bundle


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command with a spec; its exit code, stdout and stderr."""

    def call(spec: dict[str, Any]) -> tuple[int, str, str]:
        (tmp_path / "train.toml").write_text(tomli_w.dumps(spec))
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr("sys.argv", ["abundant", "baseline", str(tmp_path / "train.toml")])
        code = 0
        try:
            command_line()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return call


def elsewhere(plain: dict[str, Any], **sections: dict[str, Any]) -> dict[str, Any]:
    return plain | {name: plain.get(name, {}) | section for name, section in sections.items()}


def test_before_a_training_it_stands_alone(plain: dict[str, Any], tmp_path: Path, command: Any) -> None:
    spec = elsewhere(plain, bundle={"out": str(tmp_path / "later")})
    code, out, err = command(spec)
    assert code == 0, err
    assert "From teff, logg, fe_h alone" in out
    assert all(name in out for name in ("mg_h", "o_h", "mg_fe", "o_fe"))
    assert "nothing to compare with" in err
    assert not (tmp_path / "later").exists()


def test_after_a_training_the_network_of_its_card_stands_beside(
    plain: dict[str, Any], bundle: Path, command: Any
) -> None:
    report = baseline(TrainSpec.model_validate(plain), on_shard=Mock())
    card = load_card(bundle)
    assert report.card == card
    found = {reach.name: reach for reach in report.reaches}
    scatters = {label.name: label.test_scatter for label in card.labels}
    assert {name: reach.network for name, reach in found.items()} == {name: scatters[name] for name in found}
    # The same test stars as on the card: those with labels, no spectrum left out.
    assert 20 < found["mg_h"].stars < 80
    assert found["mg_h"].scatter is not None
    assert found["mg_h"].scatter < 0.15
    # Nobody can tell O, and a network of two epochs nothing.
    assert found["o_h"].verdict != "uses the spectrum"
    assert found["mg_h"].verdict == "worse than labels"
    code, out, err = command(plain)
    assert code == 0, err
    assert "worse than labels" in out
    assert "two-epochs uses the spectrum where its scatter is smaller" in err


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"split": {"seed": 2}}, "was trained with other [split], so that its test stars are not those"),
        ({"cuts": {"min_snr": 20.0}}, "was trained with other [cuts]"),
        (
            {"labels": {"names": NAMES[:4]}},
            "was trained with other [labels] names",
        ),
        ({"labels": {"names": ["teff", "fe_h", "mg_h"]}}, "logg is not among the labels"),
        ({"labels": {"names": NAMES[:3]}}, "there is no label to predict"),
        ({"labels": {"path": "absent.parquet"}}, "absent.parquet; name a Parquet, FITS or CSV file"),
        ({"model": {"name": "transformer"}}, "known: desi_mlp_4"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_remedy(
    plain: dict[str, Any], bundle: Path, command: Any, sections: dict[str, Any], message: str
) -> None:
    spec = elsewhere(plain, **sections)
    labels = spec["labels"]
    floors = {name: labels["error_floor"][name] for name in labels["names"]}
    spec["labels"] = labels | {"error_floor": floors}
    code, _, err = command(spec)
    assert code == 2
    assert message in err


def test_a_bundle_that_does_not_say_what_tested_it_is_refused(
    plain: dict[str, Any], tmp_path: Path, command: Any
) -> None:
    other = write_bundle(tmp_path / "imported", sampling=SAMPLING)
    code, _, err = command(elsewhere(plain, bundle={"out": str(other)}))
    assert code == 2
    assert "does not say which stars tested it: name a new place" in err
