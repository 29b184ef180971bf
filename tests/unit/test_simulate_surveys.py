"""Simulated surveys in their own formats: the same bytes, the right labels, and what real files contain."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from engine.errors import InputError
from engine.simulate import SIMULATORS
from engine.simulate.labels import LABELS
from engine.simulate.lines import air_to_vacuum
from engine.simulate.surveys import galah, giraffe, rave
from engine.simulate.surveys.gaia_rvs import WAVE as RVS_WAVE
from engine.simulate.surveys.gaia_rvs import WINDOW as RVS
from engine.simulate.surveys.table import TABLE_COLUMNS
from engine.simulate.window import Window, observe_window, synthesize_window
from engine.spec import SurveySpec
from engine.surveys.apogee import APOGEE, APOGEE_VISIT
from engine.surveys.gaia.rvs import GAIA_RVS
from engine.surveys.gaia.xp import GAIA_XP
from engine.surveys.gaia.xp_sampled import GAIA_XP_SAMPLED
from engine.surveys.galah import GALAH
from engine.surveys.giraffe import GIRAFFE
from engine.surveys.rave import RAVE
from engine.surveys.survey import Survey
from engine.surveys.table import TABLE
from engine.types import Task, Waves
from jobs.cli import app
from jobs.simulate import run_simulation

STARS = 70
READERS = (GAIA_RVS, GAIA_XP, GAIA_XP_SAMPLED, APOGEE, APOGEE_VISIT, RAVE, GIRAFFE, GALAH, TABLE)
NAMES = [survey.name for survey in READERS]


@dataclass(frozen=True)
class Seen:
    """A simulated survey as its reader sees it, and its truth by the first key."""

    root: Path
    survey: Survey
    spectra: pa.Table
    truth: pa.Table

    def arm(self, name: str) -> tuple[np.ndarray, ...]:
        """Flux, ivar and mask [N, P]."""
        return tuple(tensor(self.spectra, f"{kind}_{name}") for kind in ("flux", "ivar", "mask"))

    def true(self, name: str) -> np.ndarray:
        """A truth column in the order of the spectra."""
        key = self.survey.keys[0].name
        values = dict(zip(self.truth[key].to_pylist(), self.truth[name].to_pylist(), strict=True))
        return np.array([values[own] for own in self.spectra[key].to_pylist()])

    @property
    def labels_NL(self) -> np.ndarray:
        return np.stack([self.true(name) for name in LABELS], axis=1).astype(np.float32)


def tensor(table: pa.Table, name: str) -> np.ndarray:
    return table[name].combine_chunks().to_numpy_ndarray()


def spec_of(name: str, root: Path, **more: Any) -> SurveySpec:
    own = {"table": TABLE_COLUMNS} if name == "table" else {}
    place = root / "spectra" if name == "table" else root
    return SurveySpec.model_validate({"name": name, "root": str(place), "select": {"by": "all"}} | own | more)


def read_all(survey: Survey, spec: SurveySpec) -> pa.Table:
    shards = list(survey.list_shards(spec))
    assert not [shard.problem for shard in shards if shard.problem]
    tasks = [Task(task_id="all", shard=shard, start=0, stop=shard.rows) for shard in shards]
    return pa.concat_tables([survey.read(spec, task) for task in tasks])


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function from a survey's name to what its reader makes of 70 simulated stars."""
    known: dict[str, Seen] = {}

    def look(name: str) -> Seen:
        if name not in known:
            root = tmp_path_factory.mktemp(name) / "survey"
            truth = SIMULATORS[name](root, stars=STARS, seed=5)
            spec = spec_of(name, root)
            survey = next(survey for survey in READERS if survey.name == name)
            survey = survey if survey.configure is None else survey.configure(spec)
            known[name] = Seen(root, survey, read_all(survey, spec), pq.read_table(truth))
        return known[name]

    return look


def files_of(root: Path) -> dict[str, str]:
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_every_survey_with_a_reader_can_be_simulated() -> None:
    assert sorted(SIMULATORS) == sorted(["desi", *NAMES])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_makes_the_same_bytes_and_another_does_not(name: str, tmp_path: Path) -> None:
    told: list[int] = []
    SIMULATORS[name](tmp_path / "a", stars=12, seed=5, on_file=lambda _, stars: told.append(stars))
    SIMULATORS[name](tmp_path / "b", stars=12, seed=5)
    SIMULATORS[name](tmp_path / "c", stars=12, seed=6)
    assert sum(told) == 12
    first = files_of(tmp_path / "a")
    assert first == files_of(tmp_path / "b")
    assert not set(first.values()) & set(files_of(tmp_path / "c").values())


@pytest.mark.parametrize("name", NAMES)
def test_readers_find_every_star_and_no_problem(name: str, seen: Any) -> None:
    found = seen(name)
    assert found.spectra["read_problem"].null_count == len(found.spectra) == STARS
    keys = [key.name for key in found.survey.keys if key.name in found.truth.column_names]
    theirs, ours = (
        set(zip(*(table[key].to_pylist() for key in keys), strict=True))
        for table in (found.spectra, found.truth)
    )
    assert theirs == ours
    assert len(ours) == STARS
    for column in found.truth.columns:
        if pa.types.is_floating(column.type):
            assert np.isfinite(column.drop_null().to_numpy()).all()


@pytest.mark.parametrize("name", NAMES)
def test_most_pixels_are_good_and_as_noisy_as_the_truth_says(name: str, seen: Any) -> None:
    found = seen(name)
    arm = found.survey.arms[-1]
    flux_NP, ivar_NP, mask_NP = found.arm(arm.name)
    good_NP = (ivar_NP > 0) & (mask_NP == 0)
    lit_N = good_NP.any(axis=1)
    assert lit_N.mean() > 0.9
    if name != "gaia_xp":
        signal_NP = np.where(good_NP, flux_NP * np.sqrt(ivar_NP), np.nan)
        ratio_N = np.nanmedian(signal_NP[lit_N], axis=1) / found.true("snr").astype(float)[lit_N]
        assert 0.5 < np.median(ratio_N) < 1.6


@pytest.mark.parametrize("name", ["gaia_rvs", "gaia_xp", "gaia_xp_sampled"])
def test_source_ids_are_exact_and_lie_at_their_positions(name: str, seen: Any) -> None:
    found = seen(name)
    ids = found.spectra["gaia_source_id"].to_numpy()
    assert ids.min() > 2**53
    assert (ids & 1).any()
    # Without a position in the file, the reader takes the centre of the source_id's pixel.
    assert np.abs(found.spectra["dec"].to_numpy() - found.true("dec")).max() < 0.01


@pytest.mark.parametrize("name", ["gaia_rvs", "rave", "giraffe", "galah", "table"])
def test_spectra_are_those_of_their_labels_within_the_noise(name: str, seen: Any) -> None:
    found = seen(name)
    arm = found.survey.arms[min(2, len(found.survey.arms) - 1)]
    window = {
        "gaia_rvs": RVS,
        "rave": rave.WINDOW,
        "giraffe": giraffe.WINDOW,
        "table": giraffe.WINDOW,
        "galah": galah.CAMERAS[2].window,
    }[name]
    flux_NP, ivar_NP, mask_NP = found.arm(arm.name)
    a_li_N = found.true("a_li").astype(float)
    rest_NP = synthesize_window(window, found.labels_NL, a_li_N)
    residuals = []
    for row in range(0, STARS, 7):
        good_P = (ivar_NP[row] > 0) & (mask_NP[row] == 0)
        if not good_P.any():
            continue
        wave_P = (
            tensor(found.spectra, f"wave_{arm.name}")[row] if isinstance(arm.grid, Waves) else arm.grid.wave_P
        )
        wave_P = wave_P if found.survey.medium == "vacuum" else air_to_vacuum(wave_P)
        velocity = found.true("rv")[row] if found.survey.frame == "observed" else 0.0
        model_P = observe_window(window, rest_NP[row : row + 1], np.array([velocity]), wave_P[good_P])[0]
        x_P, ratio_P = np.linspace(-1, 1, good_P.sum()), flux_NP[row][good_P] / model_P
        # Blaze, colour and normalisation are smooth: a cubic takes them away.
        level_P = np.polyval(np.polyfit(x_P, ratio_P, 3, w=model_P * np.sqrt(ivar_NP[row][good_P])), x_P)
        residuals.append((flux_NP[row][good_P] - model_P * level_P) * np.sqrt(ivar_NP[row][good_P]))
    assert np.std(np.concatenate(residuals)) == pytest.approx(1.0, abs=0.05)


def star(**labels: float) -> np.ndarray:
    values = dict.fromkeys(LABELS, 0.0) | {"teff": 5000.0, "logg": 3.0} | labels
    return np.array([[values[name] for name in LABELS]], dtype=np.float32)


APOGEE_WINDOW = Window(low=15080.0, high=17020.0, step=0.15, resolving_power=22_500)


def moved(window: Window, before: np.ndarray, after: np.ndarray, a_li: tuple[float, float]) -> np.ndarray:
    """Vacuum wavelengths (Å) of the pixels that change by more than a quarter of the largest change."""
    pair = [
        synthesize_window(window, labels, np.array([lithium]))[0]
        for labels, lithium in zip((before, after), a_li, strict=True)
    ]
    change_P = np.abs(pair[1] - pair[0])
    return window.wave_P[change_P > 0.25 * change_P.max()]


@pytest.mark.parametrize(
    ("window", "label", "step", "lines"),
    [
        (RVS, "ca_h", 0.3, (8500.4, 8544.4, 8664.5)),
        (
            giraffe.WINDOW,
            "ca_h",
            0.3,
            (6440.9, 6451.6, 6457.4, 6464.4, 6473.4, 6495.6, 6501.4, 6574.6, 6719.5),
        ),
        (galah.CAMERAS[2].window, "si_h", 0.3, (6723.7,)),
        (APOGEE_WINDOW, "al_h", 0.3, (16723.5, 16755.1, 16767.9)),
        (
            APOGEE_WINDOW,
            "ni_h",
            0.3,
            (15609.9, 15636.9, 16315.0, 16367.6, 16588.9, 16593.8, 16678.3, 16820.1, 16823.3),
        ),
    ],
)
def test_labels_move_their_own_lines(
    window: Window, label: str, step: float, lines: tuple[float, ...]
) -> None:
    found = moved(window, star(), star(**{label: step}), (1.0, 1.0))
    distance = np.abs(found[:, None] - np.array(lines)).min(axis=1)
    assert distance.max() < (6 if window is RVS else 1.2)


def test_lithium_moves_its_doublet_and_nothing_else() -> None:
    found = moved(giraffe.WINDOW, star(), star(), (0.5, 3.0))
    assert 6709.0 < found.min() < found.max() < 6710.5


@pytest.mark.parametrize(
    ("window", "hydrogen", "iron"), [(giraffe.WINDOW, 6564.6, 6679.8), (APOGEE_WINDOW, 16811.0, 15625.9)]
)
def test_hydrogen_grows_with_temperature_and_iron_fades(window: Window, hydrogen: float, iron: float) -> None:
    cool, hot = (synthesize_window(window, star(teff=teff), np.zeros(1))[0] for teff in (5000.0, 6500.0))
    for line, sign in ((hydrogen, -1), (iron, 1)):
        near_P = np.abs(window.wave_P - line) < 1.0
        assert (sign * (hot[near_P] - cool[near_P]).mean()) > 0.02


def test_magnesium_shows_in_the_h_band() -> None:
    flux = {
        mg_h: synthesize_window(APOGEE_WINDOW, star(mg_h=mg_h), np.zeros(1))[0] for mg_h in (-0.3, 0.0, 0.3)
    }
    for line in (15745.0, 15753.3, 15770.1):
        pixel = int(np.argmin(np.abs(APOGEE_WINDOW.wave_P - line)))
        assert flux[0.3][pixel] < flux[0.0][pixel] - 0.01 < flux[-0.3][pixel] - 0.02


@pytest.mark.parametrize("resolving_power", [7_500, 19_200, 28_000])
def test_a_weak_line_is_as_wide_as_the_spectrograph_and_the_gas_make_it(resolving_power: int) -> None:
    window = Window(low=6690.0, high=6720.0, step=0.01, resolving_power=resolving_power)
    without, with_line = (synthesize_window(window, star(), np.array([li]))[0] for li in (-2.0, 0.0))
    depth_P = without.astype(np.float64) - with_line
    area, mean = depth_P.sum(), (depth_P * window.wave_P).sum() / depth_P.sum()
    sigma = np.sqrt((depth_P * (window.wave_P - mean) ** 2).sum() / area)
    expected = np.sqrt((mean / resolving_power / 2.3548) ** 2 + (mean * 3.0 / 299792.458) ** 2 + 0.07**2)
    assert sigma == pytest.approx(expected, rel=0.05)


def test_rvs_spectra_lack_pixels_at_their_ends_also_the_first(seen: Any) -> None:
    flux_NP, ivar_NP, mask_NP = seen("gaia_rvs").arm("rvs")
    missing_NP = np.isnan(flux_NP)
    assert missing_NP[:, 0].any()
    assert missing_NP[:, -1].any()
    assert not missing_NP[:, 10:-10].any()
    assert (mask_NP[missing_NP] != 0).all()
    assert (ivar_NP[missing_NP] == 0).all()
    assert flux_NP.shape[1] == len(RVS_WAVE)


def test_bulk_files_are_named_after_the_pixels_of_their_sources(seen: Any) -> None:
    for name in ("gaia_rvs", "gaia_xp", "gaia_xp_sampled"):
        files = list(seen(name).root.rglob("*.csv.gz"))
        assert len(files) == 2
        for path in files:
            lines = gzip.decompress(path.read_bytes()).decode().splitlines()
            names = next(line for line in lines if not line.startswith("#")).split(",")
            place = names.index("source_id")
            ids = [int(line.split(",")[place]) for line in lines if line[0].isdigit()]
            low, high = path.name.split("_")[1].split(".")[0].split("-")
            assert ids == sorted(ids)
            assert all(int(low) <= source >> 43 <= int(high) for source in ids)


def test_gaiaxpy_turns_coefficients_back_into_the_spectra(tmp_path: Path) -> None:
    gaiaxpy = pytest.importorskip("gaiaxpy")
    labels = pa.table({"teff": [4800.0, 5800.0] * 12, "logg": [4.5] * 24, "fe_h": [0.0] * 24})
    SIMULATORS["gaia_xp"](tmp_path / "a", stars=24, seed=3, labels=labels)
    [path] = (tmp_path / "a").rglob("XP_CONTINUOUS_RAW.csv")
    theirs, _ = gaiaxpy.calibrate(str(path), save_file=False)
    SIMULATORS["gaia_xp_sampled"](tmp_path / "b", stars=24, seed=3, labels=labels)
    sampled = GAIA_XP_SAMPLED
    ours = read_all(sampled, spec_of("gaia_xp_sampled", tmp_path / "b"))
    [arm] = sampled.arms
    rows = ours["source_id"].to_pylist()
    for source, flux_P in zip(theirs["source_id"], theirs["flux"], strict=True):
        ratio_P = flux_P / tensor(ours, f"flux_{arm.name}")[rows.index(int(source))]
        # 450 to 950 nm, where both bands see well; the unit of the reader is its own.
        middle_P = ratio_P[57:307] / np.median(ratio_P[57:307])
        assert np.median(np.abs(middle_P - 1)) < 0.05
        assert abs(np.median(middle_P[:60]) - np.median(middle_P[-60:])) < 0.05


def test_some_sources_lack_bp_and_others_rp(seen: Any) -> None:
    found = seen("gaia_xp")
    dark = {band: (found.arm(band)[1] == 0).all(axis=1) for band in ("bp", "rp")}
    assert dark["bp"].sum() == 3
    assert dark["rp"].sum() == 3
    assert not (dark["bp"] & dark["rp"]).any()
    assert found.arm("bp")[0].shape[1] == 55


def test_apstar_files_have_the_rows_gaps_and_bits_of_real_ones(seen: Any) -> None:
    found = seen("apogee")
    shapes = set()
    for path in sorted(found.root.rglob("a?Star-*.fits"))[:16]:
        with fitsio.FITS(str(path)) as fits:
            flux, error, mask = (np.atleast_2d(fits[hdu].read()) for hdu in (1, 2, 3))
            visits = fits[0].read_header()["NVISITS"]
            assert fits[1].get_info()["ndims"] == (1 if visits == 1 else 2)
        assert len(flux) == (1 if visits == 1 else visits + 2)
        shapes.add(len(flux))
        gap = error[0] >= 1e10
        assert 0.05 < gap.mean() < 0.15
        assert (flux[0][gap] == 0).all()
        bits = [int(bit) for bit in range(15) if (mask & (1 << bit)).any()]
        assert {0, 12, 13} <= set(bits)
        if visits > 1:
            assert np.median(error[0][~gap]) < np.median(error[2][~gap])
    assert {1, 5} <= shapes
    _, ivar_NP, mask_NP = found.arm("apogee")
    good_NP = (ivar_NP > 0) & (mask_NP == 0)
    assert 0.75 < good_NP.mean() < 0.92
    visits = read_all(APOGEE, spec_of("apogee", found.root, spectra="visits"))
    assert len(visits) > STARS
    assert visits["visit"].null_count == 0


def test_the_sky_stands_still_in_the_observatory_frame(seen: Any) -> None:
    found = seen("apogee_visit")
    wave_NP = tensor(found.spectra, "wave_b")
    _, _, mask_NP = found.arm("b")
    near_NP = np.abs(wave_NP - 16235.0) < 0.3
    assert ((mask_NP & (1 << 12)) > 0)[near_NP].all()
    assert np.allclose(found.spectra["rv"].to_numpy(), found.true("rv"), atol=1e-3)


def test_files_of_fibres_differ_in_their_grids_and_some_stars_lack_a_camera(seen: Any) -> None:
    starts_N = tensor(seen("rave").spectra, "wave_cat")[:, 0]
    assert len(set(starts_N.tolist())) == STARS
    lacking_N = (seen("galah").arm("ccd4")[1] == 0).all(axis=1)
    assert lacking_N.sum() == 3
    assert not (seen("galah").arm("ccd3")[1] == 0).all(axis=1).any()


def test_given_labels_come_back_in_the_truth(tmp_path: Path) -> None:
    labels = pa.table({"teff": [4500.0, 6100.0], "logg": [2.0, 4.2], "fe_h": [-0.5, 0.1], "a_li": [0.2, 3.1]})
    truth = pq.read_table(SIMULATORS["giraffe"](tmp_path / "s", stars=2, seed=1, labels=labels))
    for name in labels.column_names:
        assert truth[name].to_pylist() == pytest.approx(labels[name].to_pylist())
    assert truth["mg_h"].to_pylist() == pytest.approx([-0.5, 0.1])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"teff": [5000.0], "logg": [4.0]}, "lacks fe_h"),
        ({"teff": [5000.0], "logg": [4.0], "fe_h": [0.0], "a_li": [9.0]}, "a_li"),
        ({"teff": [5000.0], "logg": [4.0], "fe_h": [0.0], "a_li": ["much"]}, "a_li"),
        ({"teff": [5000.0], "logg": [4.0], "fe_h": [0.0], "a_li": [None]}, "a_li"),
    ],
)
def test_unusable_labels_are_refused_before_anything_is_written(
    columns: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        SIMULATORS["rave"](tmp_path / "s", stars=1, seed=1, labels=pa.table(columns))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("stars", "seed"), [(0, 1), (10, -1), (10**9, 1)])
def test_impossible_numbers_are_refused_before_anything_is_written(
    stars: int, seed: int, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"stars|seed"):
        SIMULATORS["table"](tmp_path / "s", stars=stars, seed=seed)
    assert not (tmp_path / "s").exists()


def test_a_folder_keeps_to_one_survey_and_one_kind_of_settings(tmp_path: Path) -> None:
    SIMULATORS["table"](tmp_path / "s", stars=3, seed=1)
    SIMULATORS["table"](tmp_path / "s", stars=3, seed=1)
    for name, stars in (("rave", 3), ("table", 4), ("desi", 3)):
        with pytest.raises(InputError, match="other"):
            SIMULATORS[name](tmp_path / "s", stars=stars, seed=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not simulated here"):
        SIMULATORS["rave"](tmp_path / "mine", stars=3, seed=1)


def test_the_command_lists_what_it_can_simulate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    shown = CliRunner().invoke(app, ["simulate", "--help"]).output
    with pytest.raises(InputError, match="cannot simulate 'lamost'") as refused:
        run_simulation("lamost", tmp_path / "s", stars=3, seed=1, labels=None, resolution=True)
    for name in SIMULATORS:
        assert re.search(rf"\b{name}\b", shown)
        assert name in str(refused.value)
    with pytest.raises(InputError, match="--no-resolution"):
        run_simulation("rave", tmp_path / "s", stars=3, seed=1, labels=None, resolution=False)
    assert not (tmp_path / "s").exists()


def test_the_command_simulates_another_survey(tmp_path: Path) -> None:
    truth = run_simulation("table", tmp_path / "s", stars=3, seed=1, labels=None, resolution=True)
    assert pq.read_table(truth).num_rows == 3
