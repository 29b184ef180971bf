"""`abundant import` as a person meets it, and errors calibrated on published predictions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError
from engine.models import MODELS
from engine.models.bundle import load_card
from engine.spec import Sampling
from engine.train.importing import PublishedErrors, calibrate_on
from jobs.__main__ import main
from tests import keras_files as keras
from tests.unit.label_tables import COLUMNS, STARS, write_csv


def predictions(folder: Path, rng: np.random.Generator, networks: int, stars: int = 4000) -> PublishedErrors:
    """Predictions by networks that scatter by 1 around a common error of 2, in another order than truth."""
    columns = COLUMNS["rave_cnn_2019"].split()
    truth = rng.normal(size=(stars, 4))
    each = truth + 2 * rng.normal(size=truth.shape) + rng.normal(size=(networks, *truth.shape))
    values = np.hstack([each.mean(axis=0), each.std(axis=0)])
    ids = [f"s{i}" for i in range(stars)]
    order = rng.permutation(stars)
    told = write_csv(folder / "truth.csv", columns, truth[order], [ids[i] for i in order])
    found = write_csv(folder / "found.csv", [*columns, *(f"e{name}" for name in columns)], values, ids)
    return PublishedErrors(predictions=found, truth=told, networks=networks)


@pytest.mark.parametrize("networks", [2, 5, 20])
def test_published_predictions_calibrate_an_ensemble_of_another_size(networks: int, tmp_path: Path) -> None:
    """The error is right on average for members that scatter by 1, however many networks were published."""
    rng = np.random.default_rng(networks)
    published = predictions(tmp_path, rng, networks)
    found = calibrate_on(published, MODELS["rave_cnn_2019"], 10)
    raw = rng.normal(size=(10, 10_000)).std(axis=0)
    for calibration in found.values():
        assert len(calibration.snr) == 1
        error = np.hypot(calibration.scale[0] * raw, calibration.floor[0])
        assert np.median(error) == pytest.approx(np.sqrt(4 + 1 / networks), rel=0.08)


def test_predictions_that_cannot_calibrate_are_refused(tmp_path: Path) -> None:
    good = predictions(tmp_path, np.random.default_rng(0), 3, stars=50)
    model = MODELS["rave_cnn_2019"]
    with pytest.raises(InputError, match="two or more of each"):
        calibrate_on(good, model, 1)
    swapped = PublishedErrors(predictions=good.truth, truth=good.predictions, networks=3)
    with pytest.raises(InputError, match="0 columns for eteff"):
        calibrate_on(swapped, model, 3)
    good.truth.write_text(good.truth.read_text() + "stranger,1,2,3,4\n")
    with pytest.raises(InputError, match="lacks 1 of the stars"):
        calibrate_on(good, model, 3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["bundle"], "KIND 'bundle' is unknown; known: keras, astra"),
        (["keras", "--model", "desi_mlp_4"], "weights of keras are known of rave_cnn_2019"),
        (["astra", "--labels", "x.csv", "--model", "astronn"], "leave out all options with tables"),
        (["keras", "--truth", "x.csv"], "give both"),
        (["keras", "--out", "."], "is not empty"),
    ],
)
def test_the_command_ends_with_2_and_a_message(
    words: list[str],
    told: str,
    labels: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = keras.write_keras(tmp_path / "a.h5", [keras.RAVE_2019])
    monkeypatch.chdir(tmp_path)
    kind, *options = words
    defaults = {"--model": "rave_cnn_2019", "--out": "b"}
    if kind == "keras":
        defaults["--labels"] = str(labels("rave_cnn_2019"))
    given = dict(zip(options[::2], options[1::2], strict=True))
    line = [word for pair in (defaults | given).items() for word in pair]
    monkeypatch.setattr("sys.argv", ["abundant", "import", kind, str(path), *line])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert (ended.value.code, told in said, "Traceback" in said) == (2, True, False), said
    assert not (tmp_path / "b").exists()


def test_the_command_writes_a_bundle_and_ends_with_0(
    labels: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [keras.write_keras(tmp_path / f"{i}.h5", [keras.RAVE_2019], seed=i) for i in range(2)]
    published = predictions(tmp_path, np.random.default_rng(0), 3, stars=300)
    words = [*paths, "--model", "rave_cnn_2019", "--out", tmp_path / "b", "--labels", labels("rave_cnn_2019")]
    words += ["--predictions", published.predictions, "--truth", published.truth, "--predicted-by", 3]
    monkeypatch.setattr("sys.argv", ["abundant", "import", "keras", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "2 networks of rave_cnn_2019, calibrated errors" in capsys.readouterr().err
    card = load_card(tmp_path / "b")
    assert card.sampling == Sampling(draws=0)
    assert card.lineage["calibration"]["networks"] == 3
    assert card.lineage["limits"]["stars"] == STARS
