"""What a training report says: known numbers come back, and its page needs nothing beside it."""

import base64
import json
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.image import imread

from engine.columns import describe_label
from engine.errors import InputError
from engine.models import MODELS
from engine.models.bundle import load_card
from engine.models.card import Card
from engine.prepare.scale import Affine
from engine.train.report import (
    EpochScore,
    Validation,
    gradients,
    load_validation,
    save_validation,
    summary,
)
from engine.train.scalers import Scalers
from engine.train.state import Epoch
from engine.train.tested import _scores
from jobs.training_report import draw_gradients, write_report
from jobs.training_report.density import running
from jobs.training_report.page import page
from tests.unit.test_training_checks import spec

NAMES = ("teff", "logg", "fe_h", "mg_h")
BIAS = np.array([25.0, -0.05, 0.02, 0.0])
SIGMA = np.array([80.0, 0.15, 0.08, 0.10])


def synthetic(stars: int = 6000, *, seed: int = 1, reference: bool = True) -> Validation:
    """Gaussian residuals of known bias and scatter, with honest calibrated and half as large raw errors."""
    rng = np.random.default_rng(seed)
    shape = (stars, len(NAMES))
    ranges = np.array([(4000, 6800), (1.0, 4.8), (-2.4, 0.4), (-2.2, 0.5)])
    truth_NL = rng.uniform(*ranges.T, shape)
    label_error_NL = np.broadcast_to(0.6 * SIGMA, shape)
    reference_NL = truth_NL + 3 * BIAS + 2 * SIGMA * rng.normal(size=shape)
    reference_NL[:, 3] = np.nan
    return Validation(
        split="test",
        names=NAMES,
        units=tuple(describe_label(name)[0] for name in NAMES),
        truth_NL=truth_NL.astype(np.float32),
        label_error_NL=label_error_NL.astype(np.float32),
        known_NL=np.ones(shape, bool),
        centre_NL=(truth_NL + BIAS + SIGMA * rng.normal(size=shape)).astype(np.float32),
        raw_error_NL=np.full(shape, 0.5 * SIGMA, np.float32),
        total_error_NL=np.full(shape, 0.8 * SIGMA, np.float32),
        snr_N=np.exp(rng.normal(3.5, 0.6, stars)).astype(np.float32),
        reference="RVS pipeline" if reference else "",
        reference_NL=reference_NL.astype(np.float32) if reference else None,
        history=tuple(
            EpochScore(number=i, train_loss=9 / i, validation_loss=8 / i, best=True, scatter={"teff": 99 / i})
            for i in range(1, 6)
        ),
    )


@pytest.fixture(scope="module")
def validation() -> Validation:
    return synthetic()


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    from tests.bundles import write_bundle
    from tests.conftest import SAMPLING

    return load_card(write_bundle(tmp_path_factory.mktemp("card") / "b", sampling=SAMPLING))


def without(validation: Validation, name: str, *, but: int = 0) -> Validation:
    """All but the first few stars lose a label."""
    known_NL = validation.known_NL.copy()
    known_NL[but:, validation.names.index(name)] = False
    return replace(validation, known_NL=known_NL)


def test_bias_and_scatter_come_back(validation: Validation) -> None:
    for found, bias, sigma in zip(summary(validation), BIAS, SIGMA, strict=True):
        assert found.spread.stars == len(validation)
        assert found.spread.bias == pytest.approx(bias, abs=4 * found.spread.e_bias)
        assert found.spread.e_bias == pytest.approx(1.2533 * sigma / np.sqrt(len(validation)), rel=0.1)
        assert (found.spread.scatter, found.spread.robust) == pytest.approx((sigma, sigma), rel=0.05)
        assert found.label_error == pytest.approx(0.6 * sigma)


def test_robust_scatter_does_not_follow_outliers(validation: Validation) -> None:
    centre_NL = validation.centre_NL.copy()
    centre_NL[::50] += 30 * SIGMA
    found = summary(replace(validation, centre_NL=centre_NL))[0].spread
    assert found.robust == pytest.approx(SIGMA[0], rel=0.1)
    assert found.scatter > 3 * SIGMA[0]


def test_errors_are_judged_with_those_of_the_truth(validation: Validation) -> None:
    """hypot(0.8, 0.6) = 1: honest. A raw error of a half holds 38 %, as a Gaussian says."""
    unbiased = replace(validation, centre_NL=validation.centre_NL - BIAS.astype(np.float32))
    for found in summary(unbiased):
        honesty = found.honesty
        assert honesty.within_68 == pytest.approx(0.683, abs=0.02)
        assert honesty.within_95 == pytest.approx(0.95, abs=0.01)
        assert honesty.raw_68 == pytest.approx(0.383, abs=0.02)
        assert honesty.pull == pytest.approx(1, abs=0.05)
        assert honesty.pit == pytest.approx([0.1] * 10, abs=0.02)
    doubled = replace(unbiased, total_error_NL=0 * unbiased.total_error_NL)
    pit = summary(doubled)[0].honesty.pit
    assert pit[0] > 0.15 and pit[-1] > 0.15 and sum(pit) == pytest.approx(1)


def test_a_prediction_above_the_truth_lowers_the_transform(validation: Validation) -> None:
    high = replace(validation, centre_NL=validation.centre_NL + (3 * SIGMA).astype(np.float32))
    assert summary(high)[0].honesty.pit[0] > 0.9


def test_bins_share_out_the_stars_and_find_where_it_is_wrong(validation: Validation) -> None:
    fe_h = validation.truth_NL[:, NAMES.index("fe_h")]
    centre_NL = validation.centre_NL.copy()
    centre_NL[fe_h < -2, 0] += 400
    bins = summary(replace(validation, centre_NL=centre_NL))[0].bins
    for axis in ("snr", "teff", "fe_h"):
        assert sum(part.spread.stars for part in bins if part.axis == axis) == len(validation)
    wrong = {(part.axis, part.low) for part in bins if part.spread.bias > 300}
    assert wrong == {("fe_h", -2.5)}
    assert all(part.low < part.high for part in bins)


def test_missing_labels_and_results_are_left_out_and_counted(validation: Validation) -> None:
    centre_NL = validation.centre_NL.copy()
    centre_NL[:10, 0] = np.nan
    few = without(replace(validation, centre_NL=centre_NL), "mg_h", but=1)
    teff, _, _, mg_h = summary(few)
    assert (teff.missing, teff.spread.stars) == (10, len(validation) - 10)
    assert np.isfinite(teff.spread.bias)
    assert (mg_h.missing, mg_h.spread.stars) == (0, 1)
    assert np.isfinite(mg_h.spread.bias)
    assert np.isnan([mg_h.spread.scatter, mg_h.spread.robust, mg_h.spread.e_bias, mg_h.honesty.pull]).all()
    none = summary(without(validation, "mg_h"))[3]
    assert none.spread.stars == 0 and np.isnan(none.spread.bias) and none.bins == () and none.versus is None


def test_network_and_reference_are_held_against_the_same_stars(validation: Validation) -> None:
    assert validation.reference_NL is not None
    reference_NL = validation.reference_NL.copy()
    reference_NL[:1000, 0] = np.nan
    teff, _, _, mg_h = summary(replace(validation, reference_NL=reference_NL))
    assert teff.versus is not None and mg_h.versus is None
    assert teff.versus.network.stars == teff.versus.reference.stars == len(validation) - 1000
    assert teff.versus.reference.bias == pytest.approx(3 * BIAS[0], abs=10)
    assert teff.versus.reference.robust == pytest.approx(2 * SIGMA[0], rel=0.05)
    assert summary(synthetic(100, reference=False))[0].versus is None


def test_a_validation_comes_back_from_its_file(validation: Validation, tmp_path: Path) -> None:
    ids = pa.table({"source_id": np.arange(len(validation)) + 2**55, "star": ["s"] * len(validation)})
    some = replace(without(validation, "fe_h", but=7), ids=ids, chi2=1.25)
    save_validation(tmp_path / "p.parquet", some)
    read = load_validation(tmp_path / "p.parquet")
    assert (read.ids, read.chi2) == (ids, 1.25)
    assert pq.read_schema(tmp_path / "p.parquet").names[:3] == ["source_id", "star", "snr"]
    assert (read.split, read.names, read.units) == (some.split, some.names, some.units)
    assert (read.history, read.reference) == (some.history, some.reference)
    for name in ("known_NL", "centre_NL", "raw_error_NL", "total_error_NL", "snr_N", "reference_NL"):
        np.testing.assert_array_equal(getattr(read, name), getattr(some, name))
    for name in ("truth_NL", "label_error_NL"):
        ours = np.where(some.known_NL, getattr(some, name), np.nan)
        np.testing.assert_array_equal(getattr(read, name), ours)
    assert str(summary(read)) == str(summary(some))


def test_a_file_from_before_there_were_ids_is_read(validation: Validation, tmp_path: Path) -> None:
    save_validation(tmp_path / "new.parquet", validation)
    table = pq.read_table(tmp_path / "new.parquet")
    about = json.loads(table.schema.metadata[b"abundant.validation"])
    del about["ids"], about["chi2"]
    pq.write_table(
        table.replace_schema_metadata({"abundant.validation": json.dumps(about)}), tmp_path / "old.parquet"
    )
    read = load_validation(tmp_path / "old.parquet")
    assert (read.ids, read.chi2) == (None, None)
    assert str(summary(read)) == str(summary(validation))


@pytest.mark.parametrize(("keep", "marked"), [("best", 2), ("last", 4)])
def test_the_epoch_that_is_marked_is_the_one_whose_weights_were_kept(keep: str, marked: int) -> None:
    settings = {"training": {"keep": keep}}
    losses = zip((3.0, 1.0, 2.0, 4.0), (True, True, False, False), strict=True)
    history = [
        Epoch(number=i, train_loss=1, validation_loss=loss, best=best)
        for i, (loss, best) in enumerate(losses, start=1)
    ]
    found = _scores(history, spec(**settings))
    assert [epoch.number for epoch in found if epoch.best] == [marked]
    assert _scores([], spec(**settings)) == ()


def test_columns_of_the_file_bear_units(validation: Validation, tmp_path: Path) -> None:
    save_validation(tmp_path / "p.parquet", without(validation, "teff", but=5))
    table = pq.read_table(tmp_path / "p.parquet")
    for name in ("teff", "e_teff", "e_teff_raw", "teff_true", "e_teff_true", "teff_reference"):
        assert table.schema.field(name).metadata[b"unit"] == b"K"
    assert table["teff_true"].null_count == len(validation) - 5
    assert table["mg_h_reference"].null_count == len(validation)
    save_validation(tmp_path / "n.parquet", synthetic(50, reference=False))
    assert "teff_reference" not in pq.read_schema(tmp_path / "n.parquet").names
    assert load_validation(tmp_path / "n.parquet").reference_NL is None


def test_another_file_is_no_validation(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no")
    for path in (tmp_path / "x", tmp_path / "none"):
        with pytest.raises(InputError, match=r"not the predictions\.parquet"):
            load_validation(path)


def images(text: str) -> list[bytes]:
    return [base64.b64decode(found) for found in re.findall(r'src="data:image/png;base64,([^"]+)"', text)]


def test_the_page_holds_every_figure_and_points_nowhere(
    validation: Validation, card: Card, tmp_path: Path
) -> None:
    path = write_report(tmp_path / "report", card, validation)
    text = path.read_text()
    files = sorted(path.parent.glob("*.png"))
    kinds = {file.name.rpartition("-")[0] for file in files}
    assert kinds == {"losses", "kiel", "predicted", "comparison", "residuals", "honesty"}
    assert sorted(images(text)) == sorted(file.read_bytes() for file in files)
    for file in files:
        pixels = imread(file)
        assert pixels.shape[1] > 500
        assert (pixels[..., :3].min(axis=2) < 0.9).mean() > 0.02
    assert not re.findall(r"(?:href|src|action)=\"(?!data:)|https?://|@import|url\(|<script|<link", text)
    for words in (card.name, card.weights_sha256, "RVS pipeline", "[Fe/H]", "6,000 of the part “test”"):
        assert words in text
    assert sorted(x.name for x in path.parent.iterdir() if x.suffix != ".png") == [
        "predictions.parquet",
        "report.html",
    ]


@pytest.mark.parametrize("stars", [0, 1, 40])
def test_few_stars_and_a_label_of_one_star_make_a_report(card: Card, tmp_path: Path, stars: int) -> None:
    few = replace(synthetic(stars, reference=False), history=())
    text = write_report(tmp_path / "report", card, without(few, "mg_h", but=1)).read_text()
    assert not list((tmp_path / "report").glob("losses*")) + list((tmp_path / "report").glob("comparison*"))
    assert "Residuals of the reference pipeline" not in text
    assert len(images(text)) >= 6
    assert "nan" not in re.sub(r"base64,[^\"]+", "", text)


def test_labels_without_kiel_diagram_and_many_of_them(card: Card, tmp_path: Path) -> None:
    whole = synthetic(300, reference=False)
    names = tuple(f"{element}_h" for element in ("mg", "si", "ca", "ti"))
    arrays = {
        name: np.repeat(getattr(whole, name)[:, 2:3], 4, axis=1)
        for name in ("truth_NL", "label_error_NL", "known_NL", "centre_NL", "raw_error_NL", "total_error_NL")
    }
    many = replace(whole, names=names, units=("dex",) * 4, **arrays)
    text = write_report(tmp_path / "report", card, many).read_text()
    assert "Kiel" not in text
    assert {f"predicted-{i}.png" for i in (1, 2)} <= {x.name for x in (tmp_path / "report").iterdir()}


def test_a_card_from_anybody_is_text_on_the_page(card: Card) -> None:
    evil = card.model_copy(update={"name": "<script>alert(1)</script>", "lineage": {"x": "</pre><b>"}})
    text = page(synthetic(50), evil, ())
    assert "<script" not in text and "<b>" not in text


def test_a_report_is_written_in_full_or_not_at_all(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = synthetic(30)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(InputError, match="is not empty"):
        write_report(tmp_path / "full", card, few)

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("jobs.training_report.write.pictures", lambda *_: ())
    monkeypatch.setattr("jobs.training_report.write.save_validation", broken)
    with pytest.raises(InputError, match="disk full"):
        write_report(tmp_path / "new", card, few)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_running_quantiles_reach_the_sparse_end() -> None:
    rng = np.random.default_rng(0)
    x_N = np.concatenate([rng.uniform(-3, -2, 60), rng.normal(-0.3, 0.3, 5000)])
    y_N = np.where(x_N < -2, 1.0, 0.0)
    found = running(x_N, y_N)
    assert found.median_B[found.x_B < -2].size and np.all(found.median_B[found.x_B < -2.05] == 1)
    assert np.all(found.median_B[found.x_B > -1] == 0)
    assert running(x_N[:5], y_N[:5]).x_B.size == 0


def lithium() -> tuple[torch.nn.Module, Scalers]:
    model = MODELS["lithium_cnn"]
    torch.manual_seed(0)
    network = model.build(model.hyper, model.inputs, len(model.labels)).double()
    scale = np.full(model.inputs, 0.1, np.float32)
    scale[:30] = np.inf
    inputs = Affine(centre=np.full(model.inputs, 0.9, np.float32), scale=scale)
    labels = Affine(centre=np.zeros(4, np.float32), scale=np.array([2000, 3, 2, 4], np.float32))
    return network, Scalers(wanted=model.input, extras=(), inputs=inputs, labels=labels)


def test_gradients_are_those_of_small_steps_in_physical_units() -> None:
    network, scalers = lithium()
    rng = np.random.default_rng(2)
    x_NI = np.where(np.isinf(scalers.inputs.scale), 0, rng.normal(size=(2, 6861)))
    found = gradients([network], x_NI, scalers)  # type: ignore[list-item]
    assert found.slope_LP.shape == (4, 6861)
    assert not found.slope_LP[:, :30].any()
    assert found.wave_P.shape == (6861,) and found.medium == "air"
    assert (found.wave_P[0], found.wave_P[-1]) == pytest.approx((6450.5, 6809.5))

    def labels(step: float, pixel: int) -> np.ndarray:
        moved = x_NI.copy()
        moved[:, pixel] += step / scalers.inputs.scale[pixel]
        with torch.inference_mode():
            value_NL = network(torch.from_numpy(moved)).value_NL.numpy()
        return (value_NL * scalers.labels.scale).mean(axis=0)

    for pixel in (40, 3000, 6000):
        step = 1e-6
        slope = (labels(step, pixel) - labels(-step, pixel)) / (2 * step)
        assert found.slope_LP[:, pixel] == pytest.approx(slope, rel=1e-3, abs=1e-7)


def test_gradients_are_drawn_with_the_lithium_line(tmp_path: Path) -> None:
    network, scalers = lithium()
    found = gradients([network], np.zeros((1, 6861)), scalers)  # type: ignore[list-item]
    names, units = ("teff", "logg", "fe_h", "a_li"), ("K", "log(cm.s**-2)", "dex", "dex")
    draw_gradients(found, names, units, tmp_path / "all.png")
    draw_gradients(found, names, units, tmp_path / "li.png", within=(6690, 6725))
    for name in ("all.png", "li.png"):
        assert imread(BytesIO((tmp_path / name).read_bytes())).shape[1] > 1000
    with pytest.raises(InputError, match="no pixel"):
        draw_gradients(found, names, units, tmp_path / "no.png", within=(1, 2))
    with pytest.raises(InputError, match="cannot be written"):
        draw_gradients(found, names, units, tmp_path / "none" / "no.png")


def test_coefficients_have_no_wavelengths(tmp_path: Path) -> None:
    model = MODELS["xp_mlp"]
    network = model.build(model.hyper, model.inputs, 1).eval()
    ones = Affine(centre=np.zeros(model.inputs, np.float32), scale=np.ones(model.inputs, np.float32))
    labels = Affine(centre=np.zeros(1, np.float32), scale=np.ones(1, np.float32))
    extras = tuple(extra.name for extra in model.extras for _ in range(extra.size))
    scalers = Scalers(wanted=model.input, extras=extras, inputs=ones, labels=labels)
    found = gradients([network], np.zeros((1, model.inputs), np.float32), scalers)
    assert found.medium is None and found.wave_P[-1] == model.input.pixels - 1
    draw_gradients(found, ("teff",), ("K",), tmp_path / "xp.png")
