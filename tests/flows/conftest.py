"""Fixtures of whole runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import tomli_w

from engine.simulate import simulate_desi
from engine.spec import RunSpec
from engine.train import TrainReport, train
from engine.train.spec import TrainSpec
from tests.flows.command import LOCAL, Abundant, in_process


@dataclass(frozen=True)
class Trained:
    """A trained bundle with the spec and the report of its training."""

    plain: dict[str, Any]
    report: TrainReport
    on_epoch: Mock


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small network that has learnt from 1,200 simulated stars of 3600-7200 K."""
    root = tmp_path_factory.mktemp("trained")
    truth = simulate_desi(root / "survey", stars=1200, seed=11, resolution=False)
    plain: dict[str, Any] = {
        "survey": {"name": "desi", "root": root / "survey"},
        "labels": {
            "path": truth,
            "key": ["survey", "program", "healpix", "targetid"],
            "names": ["teff", "logg", "fe_h"],
            "error_floor": {"teff": 50.0, "logg": 0.1, "fe_h": 0.05},
        },
        "model": {"name": "desi_mlp_4", "hyper": {"hidden": [128, 64, 32, 16], "dropout": 0.05}},
        "training": {"epochs": 30, "batch": 64},
        "sampling": {"draws": 50},
        "bundle": {"out": root / "bundle", "name": "small"},
    }
    on_epoch = Mock()
    report = train(TrainSpec.model_validate(plain), on_shard=Mock(), on_epoch=on_epoch)
    return Trained(plain, report, on_epoch)


@pytest.fixture
def abundant(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Abundant:
    """Run the command in this process, 200 columns wide."""
    return in_process(monkeypatch, capsys)


@pytest.fixture
def spec_file(run_spec: Callable[..., RunSpec], tmp_path: Path) -> Path:
    plain = run_spec().model_dump(mode="json", by_alias=True, exclude_unset=True)
    (tmp_path / "run.toml").write_text(tomli_w.dumps(plain))
    (tmp_path / "local.toml").write_text(LOCAL)
    return tmp_path / "run.toml"


@pytest.fixture
def catalog(abundant: Abundant, spec_file: Path) -> Path:
    done = abundant("run", spec_file, "--profile", spec_file.with_name("local.toml"))
    assert done.code == 0, done.err
    return spec_file.parent / "catalogs" / "test" / "1"
