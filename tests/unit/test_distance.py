"""Distances: the formulae, errors, what is missing; star by star, and in the rows of a catalog."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from engine.auxiliary import Table, join, open_tables, published_columns
from engine.columns import schema
from engine.distance import A_K_PER_EBV, NAMES, with_distances
from engine.draw import Host, bank_of
from engine.flags import BY_NAME
from engine.models.model import Model, load_model
from engine.route import infer
from engine.spec import Auxiliary, SurveySpec
from engine.support import NO_LABEL
from engine.surveys import survey_of
from engine.types import Batch, Estimates, Task
from tests.bundles import write_bundle
from tests.conftest import SAMPLING

# The red clump in Ks.
CLUMP = -1.61
F_OF_CLUMP = 10 ** (0.2 * CLUMP + 2)
KNOWN = ("tmass_ks", "ebv", "e_tmass_ks", "e_ebv")


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with np.errstate(all="raise", under="ignore"):
        yield


def estimates_of(f: Sequence[float], model: float = 3.0, noise: float = 4.0, total: float = 7.0) -> Estimates:
    """Pseudo-luminosities, all with these errors."""
    f_N1 = np.array(f, np.float32)[:, None]
    return Estimates(
        centre_NL=f_N1,
        model_NL=np.full_like(f_N1, model),
        noise_NL=np.full_like(f_N1, noise),
        total_NL=np.full_like(f_N1, total),
        known_NL=np.isfinite(f_N1),
        calibrated=True,
    )


def photometry(rows: int = 1, **columns: Sequence[float | None]) -> pa.Table:
    """Ks = 10 and E(B-V) = 0 without errors, unless something else is given."""
    given = {"tmass_ks": [10.0] * rows, "ebv": [0.0] * rows} | columns
    return pa.table({name: pa.array(values, pa.float32()) for name, values in given.items()})


def test_the_red_clump() -> None:
    assert pytest.approx(47.64, abs=0.005) == F_OF_CLUMP
    found = with_distances(estimates_of([F_OF_CLUMP]), photometry())
    f, dist, parallax = found.centre_NL[0]
    assert f == pytest.approx(F_OF_CLUMP)
    assert dist == pytest.approx(2099, abs=0.5)
    assert parallax == pytest.approx(1000 / 2099, rel=1e-3)
    # Distance modulus: m - M = 5 log10(d / 10 pc).
    assert 5 * np.log10(dist / 10) == pytest.approx(10 - CLUMP, abs=1e-5)


def test_extinction_makes_the_star_nearer() -> None:
    found = with_distances(estimates_of([F_OF_CLUMP]), photometry(ebv=[0.5]))
    assert found.centre_NL[0, 1] == pytest.approx(2099 * 10 ** (-0.2 * 0.3517 * 0.5), abs=0.5)


def test_errors_without_those_of_photometry_are_relative_errors_of_f() -> None:
    found = with_distances(estimates_of([50.0]), photometry())
    errors = {"model": found.model_NL, "noise": found.noise_NL, "total": found.total_NL}
    for name, sigma in (("model", 3.0), ("noise", 4.0), ("total", 7.0)):
        error_NL = errors[name]
        assert error_NL is not None
        np.testing.assert_allclose(error_NL[0], [sigma, *(found.centre_NL[0, 1:] * sigma / 50)], rtol=1e-5)


def test_errors_of_photometry_and_extinction_are_in_noise_and_total() -> None:
    table = photometry(e_tmass_ks=[0.03], e_ebv=[0.2])
    found = with_distances(estimates_of([50.0]), table)
    photometric = 0.2 * np.log(10) * np.hypot(0.03, A_K_PER_EBV * 0.2)
    assert found.noise_NL is not None
    for error_NL, sigma, part in (
        (found.model_NL, 3, 0),
        (found.noise_NL, 4, photometric),
        (found.total_NL, 7, photometric),
    ):
        relative = error_NL[0, 1:] / found.centre_NL[0, 1:]
        np.testing.assert_allclose(relative, np.hypot(sigma / 50, part), rtol=1e-5)


def test_propagated_errors_are_those_of_a_monte_carlo() -> None:
    generator = np.random.default_rng(0)
    f = generator.normal(47.64, 0.5, 200_000)
    m = generator.normal(10, 0.01, f.size) - A_K_PER_EBV * generator.normal(0.3, 0.02, f.size)
    table = photometry(ebv=[0.3], e_tmass_ks=[0.01], e_ebv=[0.02])
    found = with_distances(estimates_of([47.64], total=0.5), table)
    assert found.total_NL[0, 1] == pytest.approx(np.std(1000 * 10 ** (0.2 * m) / f), rel=0.01)
    assert found.total_NL[0, 2] == pytest.approx(np.std(f / 10 ** (0.2 * m)), rel=0.01)


@pytest.mark.parametrize("missing", [None, np.nan, -9999.0, 99.99])
def test_errors_that_are_missing_count_as_none(missing: float | None) -> None:
    table = photometry(e_tmass_ks=[missing], e_ebv=[missing])
    found = with_distances(estimates_of([50.0]), table)
    np.testing.assert_array_equal(found.total_NL, with_distances(estimates_of([50.0]), photometry()).total_NL)


@pytest.mark.parametrize(
    ("f", "columns", "known"),
    [
        (50.0, {}, True),
        (50.0, {"ebv": [0.0]}, True),
        (0.0, {}, False),
        (-0.0, {}, False),
        (-5.0, {}, False),
        (1e-30, {}, False),
        (np.nan, {}, False),
        (50.0, {"tmass_ks": [None]}, False),
        (50.0, {"tmass_ks": [np.nan]}, False),
        (50.0, {"tmass_ks": [np.inf]}, False),
        (50.0, {"tmass_ks": [98.0]}, False),
        (50.0, {"tmass_ks": [99.99]}, False),
        (50.0, {"tmass_ks": [-9999.0]}, False),
        (50.0, {"tmass_ks": [-1.0]}, False),
        (50.0, {"tmass_ks": [-0.9]}, True),
        (50.0, {"ebv": [None]}, False),
        (50.0, {"ebv": [np.nan]}, False),
        (50.0, {"ebv": [-0.01]}, False),
        (50.0, {"ebv": [-9999.0]}, False),
        (50.0, {"ebv": [98.0]}, False),
        # 1e10 pc is the limit for a distance, and for its error.
        (1.001, {"tmass_ks": [35.0]}, True),
        (0.999, {"tmass_ks": [35.0]}, False),
        (0.1, {"tmass_ks": [25.0]}, True),
        (0.1, {"tmass_ks": [26.0]}, False),
    ],
)
def test_what_has_no_distance_is_not_known_and_finite(
    f: float, columns: dict[str, list[float | None]], known: bool
) -> None:
    small = estimates_of([f], model=0.0, noise=0.0, total=0.7)
    found = with_distances(small, photometry(**columns))
    assert found.known_NL[0].tolist() == [np.isfinite(f), known, known]
    assert found.noise_NL is not None
    for x_NL in (found.centre_NL, found.model_NL, found.noise_NL, found.total_NL):
        assert np.isfinite(x_NL[0, 1:]).all()


def test_a_batch_is_as_its_stars_one_by_one() -> None:
    """The public code took the first star's magnitude and extinction for a whole batch."""
    generator = np.random.default_rng(2)
    rows = 60
    columns = {
        name: generator.uniform(low, high, rows).tolist()
        for name, low, high in zip(KNOWN, (6, 0.0, 0.01, 0.01), (15, 2, 0.1, 0.1), strict=True)
    }
    columns["tmass_ks"][0] = columns["ebv"][7] = None
    f = generator.uniform(-10, 200, rows)
    table = photometry(rows, **columns)
    whole = with_distances(estimates_of(f.tolist()), table)
    singles = [with_distances(estimates_of([f[n]]), table.slice(n, 1)) for n in range(rows)]
    for name in ("centre_NL", "model_NL", "noise_NL", "total_NL", "known_NL"):
        expected = np.concatenate([getattr(single, name) for single in singles])
        np.testing.assert_array_equal(getattr(whole, name), expected)
    assert 20 < whole.known_NL[:, 1].sum() < rows - 2


# In a catalog: row -> what is wrong with its photometry.
NO_KS, NO_EBV, NO_DUST, SENTINEL = 3, 5, 8, 11


@pytest.fixture
def apogee(
    simulated: Callable[[str], SurveySpec], tmp_path: Path
) -> tuple[Batch, Model, Callable[[Batch], pa.Table]]:
    """Simulated apStar spectra with joined photometry, a random AstroNNDist, and infer() with it."""
    spec = simulated("apogee")
    survey = survey_of(spec)
    shard = max(survey.list_shards(spec), key=lambda shard: shard.rows)
    task = Task(task_id="one", shard=shard, start=0, stop=shard.rows)
    spectra = survey.read(spec, task)
    tables = _photometry_of(spectra, survey.columns, tmp_path)
    bundle = write_bundle(tmp_path / "dist", sampling=SAMPLING, architecture="astronn_dist")
    model, networks = load_model(
        bundle,
        keys=survey.keys,
        spectrograph=survey.spectrograph,
        sampling=SAMPLING,
        joined=published_columns(tables),
    )
    banks = [bank_of(network, SAMPLING, torch.device("cpu")) for network in networks]
    return (
        Batch(task=task, spectra=join(spectra, tables)),
        model,
        lambda batch: infer(batch, model, Host(banks)),
    )


def _photometry_of(spectra: pa.Table, columns: tuple, folder: Path) -> tuple[Table, ...]:
    """A table for the stars of a batch, by apogee_id."""
    stars = list(dict.fromkeys(spectra["apogee_id"].to_pylist()))
    generator = np.random.default_rng(1)
    own = {name: generator.uniform(0.02, 0.1, len(stars)) for name in KNOWN}
    own["tmass_ks"] = generator.uniform(7, 13, len(stars))
    for star, name, value in ((NO_KS, "tmass_ks", np.nan), (NO_EBV, "ebv", np.nan)):
        own[name][star] = value
    own["ebv"][NO_DUST], own["tmass_ks"][SENTINEL] = 0.0, 99.99
    pq.write_table(pa.table({"id": stars, **own}), folder / "photometry.parquet")
    plain = {
        "path": folder / "photometry.parquet",
        "key": "id",
        "match": "apogee_id",
        "columns": {name: name for name in KNOWN},
    }
    return open_tables([Auxiliary.model_validate(plain)], columns)


def test_a_catalog_has_distances_with_units_and_null_where_there_is_none(
    apogee: tuple[Batch, Model, Callable[[Batch], pa.Table]],
) -> None:
    batch, model, label = apogee
    rows = label(batch)
    assert rows.schema.equals(schema(model.columns), check_metadata=True)
    usable_N = np.array(rows["fakemag"].is_valid())
    assert usable_N.sum() > 8
    units = {name: (rows.schema.field(name).metadata or {}).get(b"unit") for name in rows.column_names}
    missing_N = np.isin(_star_numbers(batch.spectra), (NO_KS, NO_EBV, SENTINEL))
    assert (usable_N & missing_N).sum() >= 3
    for name, unit in (("dist", b"pc"), ("parallax_nn", b"mas"), ("fakemag", b"mas")):
        known_N = usable_N if name == "fakemag" else usable_N & ~missing_N
        for column in (name, f"e_{name}", f"e_{name}_model", f"e_{name}_noise"):
            assert np.array_equal(rows[column].is_valid(), known_N), column
            assert units[column] == unit
        flag_N = rows[f"flag_{name}"].to_numpy()
        assert np.array_equal(flag_N & NO_LABEL != 0, ~known_N)
    bit = BY_NAME["LABEL_MISSING"].value
    assert np.array_equal(rows["flags"].to_numpy() & bit != 0, usable_N & missing_N)
    assert rows["tmass_ks"].to_pylist() == batch.spectra["tmass_ks"].to_pylist()


def _star_numbers(spectra: pa.Table) -> np.ndarray:
    ids = spectra["apogee_id"].to_pylist()
    order = list(dict.fromkeys(ids))
    return np.array([order.index(one) for one in ids])


def test_distances_of_a_catalog_follow_from_its_own_columns(
    apogee: tuple[Batch, Model, Callable[[Batch], pa.Table]],
) -> None:
    batch, _, label = apogee
    rows = label(batch)
    rows = rows.filter(rows["dist"].is_valid())
    f, ks, ebv, e_ks, e_ebv = (rows[name].to_numpy().astype(float) for name in ("fakemag", *KNOWN))
    m = ks - 0.3517 * ebv
    np.testing.assert_allclose(rows["dist"], 1000 * 10 ** (0.2 * m) / f, rtol=1e-5)
    np.testing.assert_allclose(rows["parallax_nn"], f / 10 ** (0.2 * m), rtol=1e-5)
    relative = np.hypot(rows["e_fakemag"].to_numpy() / f, 0.2 * np.log(10) * np.hypot(e_ks, 0.3517 * e_ebv))
    for name in NAMES:
        np.testing.assert_allclose(rows[f"e_{name}"], rows[name].to_numpy() * relative, rtol=1e-5)


def test_published_flags_stand_in_the_catalog(
    apogee: tuple[Batch, Model, Callable[[Batch], pa.Table]],
) -> None:
    batch, _, label = apogee
    rows, star_N = label(batch), _star_numbers(batch.spectra)
    bits_N = rows["astronn_dist_result_flags"].to_numpy()
    assert np.array_equal(bits_N & 2 != 0, np.isin(star_N, (NO_KS, SENTINEL)))
    # An E(B-V) of 0 is missing there; here it is a value.
    assert np.array_equal(bits_N & 4 != 0, np.isin(star_N, (NO_EBV, NO_DUST)))
    assert np.array_equal(bits_N & 2048 != 0, rows["fakemag"].is_null())
    raw_N = np.hypot(
        rows["e_fakemag_model"].fill_null(0).to_numpy(), rows["e_fakemag_noise"].fill_null(0).to_numpy()
    )
    unreliable_N = raw_N >= np.float32(0.2) * rows["fakemag"].fill_null(1).to_numpy()
    assert np.array_equal(bits_N & 1 != 0, unreliable_N)
    assert np.array_equal(rows["astronn_dist_flag_warn"], bits_N & 4 != 0)
    assert np.array_equal(rows["astronn_dist_flag_bad"], bits_N & (1 | 2 | 2048) != 0)


def test_rows_that_could_not_be_read_have_flags_and_no_distance(
    apogee: tuple[Batch, Model, Callable[[Batch], pa.Table]],
) -> None:
    batch, model, label = apogee
    plain = [name for name in batch.spectra.column_names if not name.startswith(("flux", "ivar", "mask"))]
    without = [name for name in plain if name not in KNOWN]
    rows = label(replace(batch, spectra=batch.spectra.select(without), failure="cut short"))
    assert rows.column_names == [column.name for column in model.columns]
    assert rows["dist"].null_count == rows["e_dist"].null_count == len(rows)
    assert set(rows["flag_dist"].to_pylist()) == {NO_LABEL}
    assert set(rows["astronn_dist_result_flags"].to_pylist()) == {2048}
    assert rows["astronn_dist_flag_bad"].to_pylist() == [True] * len(rows)
    assert rows["flag_bad"].to_pylist() == [True] * len(rows)
