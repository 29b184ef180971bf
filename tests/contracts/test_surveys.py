"""What every registered survey must keep, on files simulated in its own format."""

import pickle
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from engine.columns import schema
from engine.errors import PlanError, ShardError
from engine.plan import make_plan
from engine.prepare.gather import tensor
from engine.simulate import SIMULATORS
from engine.simulate.surveys.table import TABLE_COLUMNS
from engine.spec import RunSpec, SurveySpec
from engine.surveys import SURVEYS, survey_of
from engine.surveys.keys import REMEDIES
from engine.surveys.survey import Survey
from engine.types import Basis, Grid, Shard, Task, Waves


@pytest.fixture(params=SURVEYS)
def spec(request: pytest.FixtureRequest, simulated: Callable[[str], SurveySpec]) -> SurveySpec:
    """All rows of the simulated survey of this kind."""
    return simulated(request.param)


@pytest.fixture
def survey(spec: SurveySpec) -> Survey:
    return survey_of(spec)


@pytest.fixture
def shards(survey: Survey, spec: SurveySpec) -> list[Shard]:
    return list(survey.list_shards(spec))


def whole(shard: Shard) -> Task:
    return Task(task_id="whole", shard=shard, start=0, stop=shard.rows)


def same(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables are equal to the bit; unlike Arrow's own answer, NaN pixels are equal."""
    if not one.schema.equals(other.schema):
        return False
    for name in one.column_names:
        if isinstance(one.schema.field(name).type, pa.FixedShapeTensorType):
            if not np.array_equal(tensor(one, name), tensor(other, name), equal_nan=True):
                return False
        elif one[name].to_pylist() != other[name].to_pylist():
            return False
    return True


def elsewhere(spec: SurveySpec, root: Path) -> SurveySpec:
    return spec.model_copy(update={"root": str(root)})


def test_every_survey_can_be_simulated() -> None:
    assert set(SIMULATORS) == set(SURVEYS)


def test_it_is_registered_under_its_name_and_described(survey: Survey) -> None:
    assert survey.name in SURVEYS
    assert re.fullmatch(r"[a-z][a-z0-9_]*", survey.name)
    assert survey.title
    assert survey.reference
    assert survey.files


def test_it_says_where_in_a_file_its_spectra_lie(
    survey: Survey, spec: SurveySpec, shards: list[Shard]
) -> None:
    file = shards[0].members[0].path if shards[0].members else shards[0].path
    place = survey.place_of(file, 0, spec.spectra)
    assert place.hdus or place.remark
    if place.hdus:
        with fits.open(Path(spec.root) / file) as opened:
            assert all(opened[int(hdu) if hdu.isdigit() else hdu] is not None for hdu in place.hdus)


def test_its_columns_are_unique_and_described(survey: Survey) -> None:
    names = [column.name for column in survey.columns]
    assert len(names) == len(set(names))
    assert all(column.description and column.name.islower() for column in survey.columns)
    assert survey.star_key in [key.name for key in survey.keys]


def test_its_arms_say_where_their_pixels_lie(survey: Survey, spec: SurveySpec, shards: list[Shard]) -> None:
    batch = survey.read(spec, whole(shards[0]))
    assert survey.arms
    for arm in survey.arms:
        assert isinstance(arm.grid, Grid | Waves | Basis)
        if isinstance(arm.grid, Waves):
            wave = tensor(batch, f"wave_{arm.name}")
            known = np.isfinite(wave)
            assert (np.diff(known.astype(int), axis=1) <= 0).all(), "missing wavelengths stand at the end"
            steps = np.diff(wave, axis=1)
            assert (steps[np.isfinite(steps)] > 0).all()
            assert wave[known].min() > 0.98 * arm.grid.low
            assert wave[known].max() < 1.02 * arm.grid.high


def test_listing_is_sorted_stable_and_relative(survey: Survey, spec: SurveySpec, shards: list[Shard]) -> None:
    assert shards
    assert [s.path for s in shards] == sorted(s.path for s in shards)
    assert shards == list(survey.list_shards(spec))
    assert not any(Path(s.path).is_absolute() or s.problem for s in shards)
    assert len({s.shard_id for s in shards}) == len(shards)
    assert pickle.loads(pickle.dumps(shards)) == shards


def test_a_batch_has_exactly_the_declared_columns(
    survey: Survey, spec: SurveySpec, shards: list[Shard]
) -> None:
    batch = survey.read(spec, whole(shards[0]))
    assert batch.schema.equals(schema(survey.columns))
    assert len(batch) == shards[0].rows
    assert batch["row_in_shard"].to_pylist() == list(range(shards[0].rows))
    assert batch["read_problem"].null_count == len(batch)


def test_there_is_light(survey: Survey, spec: SurveySpec, shards: list[Shard]) -> None:
    batch = survey.read(spec, whole(shards[0]))
    good = [
        (tensor(batch, f"mask_{arm.name}") == 0) & (tensor(batch, f"ivar_{arm.name}") > 0)
        for arm in survey.arms
    ]
    assert np.concatenate(good, axis=1).any(axis=1).mean() > 0.8


def test_row_ranges_join_up_to_the_whole(survey: Survey, spec: SurveySpec, shards: list[Shard]) -> None:
    shard = max(shards, key=lambda shard: shard.rows)
    cuts = [0, 1, max(2, shard.rows // 3), shard.rows]
    parts = [survey.read(spec, Task(task_id="part", shard=shard, start=a, stop=b)) for a, b in pairwise(cuts)]
    assert same(pa.concat_tables(parts), survey.read(spec, whole(shard)))


def test_ids_without_arrays_are_those_of_the_rows(
    survey: Survey, spec: SurveySpec, shards: list[Shard]
) -> None:
    ids = survey.read_ids(spec, whole(shards[0]))
    batch = survey.read(spec, whole(shards[0]))
    for key in (*survey.keys, *(c for c in survey.columns if c.name in ("ra", "dec", "row_in_shard"))):
        assert ids[key.name].to_pylist() == batch[key.name].to_pylist()
    assert not any(name.startswith(("flux_", "ivar_", "mask_", "wave_")) for name in ids.column_names)


def test_keys_are_unique_over_the_survey(survey: Survey, spec: SurveySpec, shards: list[Shard]) -> None:
    ids = pa.concat_tables([survey.read_ids(spec, whole(shard)) for shard in shards])
    keys = list(zip(*(ids[key.name].to_pylist() for key in survey.keys), strict=True))
    assert len(keys) == len(set(keys)) == sum(shard.rows for shard in shards)
    assert ids[survey.star_key].null_count < len(ids)


def test_missing_is_null_and_never_nan_or_zero(survey: Survey, spec: SurveySpec, shards: list[Shard]) -> None:
    ids = pa.concat_tables([survey.read_ids(spec, whole(shard)) for shard in shards])
    for column in survey.columns:
        if pa.types.is_floating(column.type):
            assert np.isfinite(ids[column.name].drop_null().to_numpy()).all()
    assert (ids["phot_g_mean_mag"].drop_null().to_numpy() > 0).all()
    assert (ids["gaia_source_id"].drop_null().to_numpy() > 2**53).all()
    placed = ids["ra"].is_valid().to_pylist()
    assert placed == ids["position_source"].is_valid().to_pylist()


def test_a_broken_file_is_a_shard_with_a_problem_or_fails_as_one(
    survey: Survey, spec: SurveySpec, shards: list[Shard], tmp_path: Path
) -> None:
    source = Path(spec.root, shards[0].path)
    target = tmp_path / shards[0].path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes()[: source.stat().st_size // 3])
    here = elsewhere(spec, tmp_path)
    [shard] = survey.list_shards(here)
    with pytest.raises(ShardError, match=re.escape(target.name)):
        survey.read(here, whole(shard))
    survey.read_ids(here, whole(shard))


def test_a_broken_file_of_many_costs_its_own_rows_alone(
    survey: Survey, spec: SurveySpec, shards: list[Shard], tmp_path: Path
) -> None:
    shard = max(shards, key=lambda shard: len(shard.members))
    if len(shard.members) < 2:
        pytest.skip("every file is a shard of its own")
    before = survey.read(spec, whole(shard))
    shutil.copytree(spec.root, tmp_path / "copy")
    here = elsewhere(spec, tmp_path / "copy")
    place = next(i for i, member in enumerate(shard.members) if member.rows)
    member = shard.members[place]
    with (tmp_path / "copy" / member.path).open("r+b") as file:
        file.truncate(member.size // 2)
    after = survey.read(here, whole(shard))
    assert len(after) == len(before)
    assert all(member.path in problem for problem in after["read_problem"].drop_null().to_pylist())
    assert len(after) - after["read_problem"].null_count == member.rows
    first = sum(m.rows for m in shard.members[:place])
    rest = [row for row in range(len(before)) if not first <= row < first + member.rows]
    assert same(after.take(rest), before.take(rest))
    lost = after.slice(first, member.rows)
    assert not any(tensor(lost, f"ivar_{arm.name}").any() for arm in survey.arms)


def test_a_file_that_changed_since_the_plan_is_refused(
    survey: Survey, spec: SurveySpec, shards: list[Shard], tmp_path: Path
) -> None:
    shutil.copytree(spec.root, tmp_path / "copy")
    here = elsewhere(spec, tmp_path / "copy")
    path = tmp_path / "copy" / shards[0].path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    single = Task(task_id="t", shard=shards[0], start=0, stop=1)
    try:
        problems = survey.read(here, single)["read_problem"].drop_null().to_pylist()
    except ShardError as error:
        problems = [str(error)]
    assert any("changed since the plan" in problem for problem in problems)


def test_a_folder_without_its_files_is_a_plan_error(survey: Survey, spec: SurveySpec, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=str(tmp_path)):
        list(survey.list_shards(elsewhere(spec, tmp_path)))


def spec_with(name: str, **sections: object) -> SurveySpec:
    """A spec that says no more than a survey needs, and these sections."""
    own = {"table": TABLE_COLUMNS} if name == "table" else {}
    return SurveySpec.model_validate({"name": name, "root": ".", **own, **sections})


# What each key can say; whatever it is, a survey that does not follow the key must not be given it.
SAID: dict[str, list[object]] = {
    "rv": [{"from": source} for source in ("rvtab", "redrock", "table", "none")],
    "spectra": ["coadds", "visits"],
    "table": [TABLE_COLUMNS],
}


def test_every_key_of_a_survey_is_needed_followed_by_all_or_declared() -> None:
    needed_or_followed_by_all = {"name", "root", "select", "storage"}
    assert set(SurveySpec.model_fields) == needed_or_followed_by_all | set(REMEDIES)
    assert set(SAID) == set(REMEDIES)


@pytest.mark.parametrize("name", SURVEYS)
@pytest.mark.parametrize("key", REMEDIES)
def test_a_key_that_a_survey_does_not_follow_is_refused(name: str, key: str) -> None:
    for value in SAID[key]:
        given = spec_with(name, **{key: value})
        if key in SURVEYS[name].follows:
            assert survey_of(given).name == name
            continue
        with pytest.raises(PlanError, match=rf"survey\.{key}: the survey {name} does not use it; .*remove"):
            survey_of(given)


@pytest.mark.parametrize("name", SURVEYS)
def test_what_could_not_count_anywhere_is_refused(name: str) -> None:
    sha256 = "0" * 64
    for sections, message in (
        ({"storage": {"anonymous": True}}, r"survey\.storage: .*remove it"),
        ({"select": {"by": "all", "sha256": sha256}}, r"survey\.select\.sha256: .*remove it"),
    ):
        with pytest.raises(PlanError, match=message):
            survey_of(spec_with(name, **sections))


@pytest.mark.parametrize("name", sorted(SURVEYS.keys() - {"desi"}))
@pytest.mark.parametrize("by", ["targets", "spectype"])
def test_classes_that_a_survey_does_not_have_cannot_be_selected(name: str, by: str) -> None:
    spec = spec_with(name, select={"by": by})
    with pytest.raises(PlanError, match=rf"survey\.select\.by: {name} has no .*; use"):
        list(survey_of(spec).list_shards(spec))


def test_a_plan_checks_the_keys(run_spec: Callable[..., RunSpec]) -> None:
    with pytest.raises(PlanError, match=r"survey\.spectra: the survey desi"):
        make_plan(run_spec(survey={"spectra": "visits"}))
