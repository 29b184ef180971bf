"""What is asked for cannot be, or not fully: refused or warned of in the plan, and said in the catalog."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from catalogs import open_catalog
from engine import plan as planning
from engine.errors import BundleError, InputError, PlanError
from engine.models import MODELS
from engine.models.architecture import handshake
from engine.models.bundle import load_card
from engine.plan import make_plan
from engine.spec import RunSpec
from engine.surveys import SURVEYS
from engine.types import Arm, Basis, Grid, Spectrograph
from jobs.run import run
from tests.bundles import write_bundle
from tests.conftest import SAMPLING
from tests.flows.damage import LOCAL, own_files, rows_with, spec_of


@pytest.fixture
def files(survey_root: Path, tmp_path: Path) -> list[Path]:
    return own_files(survey_root, tmp_path)


@pytest.mark.parametrize("section", ["select", "rv"])
def test_another_list_of_ids_or_velocities_is_another_plan(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path, section: str
) -> None:
    ids = fits.getdata(files[0], "FIBERMAP")["TARGETID"].astype("i8")
    listed = tmp_path / "listed.parquet"
    name = {"select": "by", "rv": "from"}[section]
    change = {section: {name: {"select": "ids", "rv": "table"}[section], "path": listed}}
    plans = []
    for value in (10.0, 300.0):
        pq.write_table(
            pa.table({"targetid": ids[: int(value)], "rv": np.full(len(ids[: int(value)]), value)}), listed
        )
        plans.append(make_plan(run_spec(survey={"root": tmp_path / "own"} | change)))
    assert plans[0].digest != plans[1].digest
    assert plans[0].work_digest != plans[1].work_digest


def test_a_bundle_that_cannot_tell_strange_spectra_is_warned_of(
    run_spec: Callable[..., RunSpec], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "no threshold of support_chi2: which spectra are UNLIKE_TRAINING cannot be told"
    card = load_card(bundle)
    for thresholds, warned in (({}, True), ({"support_chi2": 2.0}, False)):
        able = card.model_copy(update={"thresholds": thresholds})
        monkeypatch.setattr(planning, "load_card", lambda _, able=able: able)
        assert any(words in warning for warning in make_plan(run_spec()).warnings) is warned


def test_bundles_that_cannot_be_used_are_refused_in_the_plan(
    run_spec: Callable[..., RunSpec], bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="no bundle"):
        make_plan(run_spec(model={"bundle": tmp_path / "absent"}))
    altered = tmp_path / "altered"
    shutil.copytree(bundle, altered)
    weights = bytearray((altered / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (altered / "model.safetensors").write_bytes(weights)
    with pytest.raises(BundleError, match="sha256"):
        make_plan(run_spec(model={"bundle": altered}))
    for old, new in (('name = "logg"', 'name = "colour"'), ("members = 1", "members = 0"), ("32,", "33,")):
        shutil.rmtree(altered)
        shutil.copytree(bundle, altered)
        card = (altered / "card.toml").read_text()
        assert old in card
        (altered / "card.toml").write_text(card.replace(old, new, 1))
        with pytest.raises(BundleError):
            make_plan(run_spec(model={"bundle": altered}))
    unknown = tmp_path / "unknown"
    shutil.copytree(bundle, unknown)
    card = (unknown / "card.toml").read_text().replace("desi_mlp_4", "desi_transformer")
    (unknown / "card.toml").write_text(card)
    with pytest.raises(BundleError, match="desi_transformer"):
        make_plan(run_spec(model={"bundle": unknown}))


def test_a_model_whose_inputs_the_survey_lacks_is_refused_by_name() -> None:
    desi, model = SURVEYS["desi"], MODELS["desi_mlp_4"]
    blue_only = Spectrograph(arms=desi.arms[:1], frame="observed", medium="vacuum")
    with pytest.raises(
        PlanError, match=r"blue cannot feed model desi_mlp_4: spectra span 3600-5800 A in steps"
    ):
        handshake(model, "blue", blue_only, columns=())
    coarse = (Arm(name="all", grid=Grid(start=3600, step=4.0, pixels=1600)),)
    with pytest.raises(PlanError, match=r"in steps of 4.00 A, the model wants .* in steps of 0.80 A"):
        handshake(model, "coarse", Spectrograph(arms=coarse, frame="observed", medium="vacuum"), columns=())
    coefficients = (Arm(name="bp", grid=Basis(pixels=55)),)
    with pytest.raises(PlanError, match="coefficients of basis functions, the model wants spectra"):
        handshake(model, "xp", Spectrograph(arms=coefficients, frame="rest", medium="vacuum"), columns=())
    in_air = Spectrograph(arms=desi.arms, frame="observed", medium="air")
    handshake(model, "airy", in_air, columns=())


def test_an_unknown_survey_and_an_empty_folder_are_refused(
    run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match=r"known: desi"):
        make_plan(run_spec(survey={"name": "sdss"}))
    with pytest.raises(InputError, match="no-such-folder"):
        make_plan(run_spec(survey={"root": tmp_path / "no-such-folder"}))


def test_tasks_too_large_for_a_block_are_refused(run_spec: Callable[..., RunSpec]) -> None:
    with pytest.raises(PlanError, match=r"tasks\.rows = 10000 makes tasks of 911 MiB; at most 1317 fit"):
        make_plan(run_spec(tasks={"rows": 10_000}))


def test_other_sampling_than_the_cards_is_warned_of_and_flagged(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    plan = make_plan(spec_of(run_spec, tmp_path, sampling={"draws": 4}))
    assert any("UNCALIBRATED" in warning for warning in plan.warnings)
    rows = open_catalog(run(plan, LOCAL).catalog).to_arrow()
    assert len(rows_with(rows, "UNCALIBRATED")) == len(rows)
    found = rows.filter(pa.compute.is_valid(pa.compute.field("teff")))
    np.testing.assert_allclose(found["e_teff"], found["e_teff_model"])


def test_an_uncalibrated_bundle_is_flagged_too(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    bare = write_bundle(tmp_path / "bare", sampling=None)
    plan = make_plan(spec_of(run_spec, tmp_path, model={"bundle": bare}, sampling=SAMPLING.model_dump()))
    assert any("not calibrated" in warning for warning in plan.warnings)
    rows = open_catalog(run(plan, LOCAL).catalog).to_arrow()
    assert len(rows_with(rows, "UNCALIBRATED")) == len(rows)
