"""Surveys in an object store: the same rows as from a folder, few bytes, and faults that pass."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pytest

from engine.errors import PlanError, ShardCorrupt, ShardUnavailable
from engine.simulate import simulate_desi
from engine.spec import Storage, SurveySpec
from engine.surveys import SURVEYS, survey_of
from engine.surveys.store import bucket, client
from engine.types import Task
from tests.s3_server import KEYS, Server, running


@pytest.fixture(scope="module")
def few(survey_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of the simulated survey with their redshifts."""
    root = tmp_path_factory.mktemp("few")
    for path in sorted(survey_root.rglob("coadd-*.fits"))[:2]:
        target = root / path.parent.relative_to(survey_root)
        shutil.copytree(path.parent, target)
    return root


@pytest.fixture(scope="module")
def server(few: Path) -> Iterator[Server]:
    with running() as started:
        started.put("survey", few)
        yield started


@pytest.fixture(autouse=True)
def fresh(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Credentials in the environment, no pauses, nothing remembered."""
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.001)
    for kept in (bucket._about, bucket._whole):
        kept.cache_clear()
    server.reset()


def spec_of(root: str, server: Server, **storage: object) -> SurveySpec:
    plain = {"name": "desi", "root": root, "select": {"by": "all"}, "storage": storage}
    plain["storage"] = {"endpoint": server.address, "region": "us-east-1"} | storage
    return SurveySpec.model_validate(plain)


def local_spec(root: Path) -> SurveySpec:
    return SurveySpec.model_validate({"name": "desi", "root": root, "select": {"by": "all"}})


def tasks_of(spec: SurveySpec) -> list[Task]:
    shards = SURVEYS["desi"].list_shards(spec)
    return [Task(task_id=s.path, shard=s, start=0, stop=s.rows) for s in shards]


def read_all(spec: SurveySpec) -> pa.Table:
    return pa.concat_tables([SURVEYS["desi"].read(spec, task) for task in tasks_of(spec)]).combine_chunks()


@pytest.mark.parametrize("anonymous", [False, True])
def test_the_rows_are_those_of_the_folder(server: Server, few: Path, anonymous: bool) -> None:
    there = read_all(spec_of("s3://survey", server, anonymous=anonymous))
    assert there.equals(read_all(local_spec(few)))


def test_listing_twice_asks_for_no_object(server: Server) -> None:
    spec = spec_of("s3://survey", server)
    first = tasks_of(spec)
    server.reset()
    assert tasks_of(spec) == first
    assert {path for _, path in server.requests} <= {"/survey", "/survey/"}


def test_a_task_moves_little_more_than_its_images(server: Server, few: Path) -> None:
    """The survey's RESOLUTION images, 78 % of its bytes, stay where they are."""
    spec = spec_of("s3://survey", server)
    task = max(tasks_of(spec), key=lambda task: task.shard.size)
    server.reset()
    SURVEYS["desi"].read(spec, task)
    images = task.shard.rows * SURVEYS["desi"].row_bytes
    if task.shard.size > bucket.SMALL_BYTES:
        assert server.bytes_out < 1.1 * images
    assert len(server.requests) < 25


@pytest.mark.parametrize("fault", ["slow down", "cut short"])
def test_faults_that_pass_change_nothing(server: Server, few: Path, fault: str) -> None:
    spec = spec_of("s3://survey", server)
    tasks = tasks_of(spec)
    server.fault = lambda number: fault if number % 3 == 0 else None
    here = local_spec(few)
    for task, same in zip(tasks, tasks_of(here), strict=True):
        assert SURVEYS["desi"].read(spec, task).equals(SURVEYS["desi"].read(here, same))


@pytest.mark.parametrize("fault", ["slow down", "cut short"])
def test_faults_that_stay_end_clearly(server: Server, fault: str) -> None:
    spec = spec_of("s3://survey", server)
    task = tasks_of(spec)[0]
    bucket._about.cache_clear()
    server.fault = lambda _number: fault
    with pytest.raises(ShardUnavailable, match=r"s3://survey/.*8 times; check the network"):
        SURVEYS["desi"].read(spec, task)
    with pytest.raises(PlanError, match=r"survey.root: s3://survey: .*8 times"):
        tasks_of(spec_of("s3://survey", server, region="eu-west-1"))


def test_an_object_that_changed_is_refused(server: Server, few: Path) -> None:
    spec = spec_of("s3://survey", server)
    task = tasks_of(spec)[0]
    direct = boto3.client("s3", endpoint_url=server.address, **KEYS)
    body = bytearray((few / task.shard.path).read_bytes())
    body[-1] ^= 1
    direct.put_object(Bucket="survey", Key=task.shard.path, Body=bytes(body))
    bucket._about.cache_clear()
    with pytest.raises(ShardCorrupt, match="changed since the plan"):
        SURVEYS["desi"].read(spec, task)
    direct.put_object(Bucket="survey", Key=task.shard.path, Body=(few / task.shard.path).read_bytes())


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("s3://no-such-bucket", "no such bucket"),
        ("s3://survey/nothing-here", "no coadd-"),
        ("ftp://survey", "from a folder or from s3://, not ftp://"),
    ],
)
def test_roots_that_cannot_be_listed(server: Server, root: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        tasks_of(spec_of(root, server))


@pytest.mark.parametrize("name", ["rave", "apogee", "gaia_xp", "table", "galah"])
def test_other_surveys_give_the_rows_of_the_folder(
    server: Server, simulated: Callable[[str], SurveySpec], name: str
) -> None:
    """Groups of tiny files, text in gzip, Parquet: whatever the format, the store is the same."""
    here = simulated(name)
    root = f"s3://{name.replace('_', '-')}"
    server.put(root.removeprefix("s3://"), Path(here.root))
    storage = Storage(endpoint=server.address, region="us-east-1")
    there = here.model_copy(update={"root": root, "storage": storage})
    survey = survey_of(here)
    server.reset()
    for shard, same in zip(survey.list_shards(there), survey.list_shards(here), strict=True):
        assert (shard.path, shard.rows) == (same.path, same.rows)
        tasks = (Task(task_id="t", shard=one, start=0, stop=min(one.rows, 20)) for one in (shard, same))
        found, expected = (survey.read(spec, task) for spec, task in zip((there, here), tasks, strict=True))
        for column in expected.column_names:
            assert str(found[column].to_pylist()) == str(expected[column].to_pylist())
    files = sum(len(shard.members) for shard in survey.list_shards(here))
    assert len(server.requests) < 6 * files + 10


def test_a_coadd_with_resolution_moves_about_a_fifth_of_its_bytes(server: Server, tmp_path: Path) -> None:
    simulate_desi(tmp_path / "whole", stars=60, seed=3, stars_per_file=60)
    server.put("whole", tmp_path / "whole")
    spec = spec_of("s3://whole", server)
    [task] = tasks_of(spec)
    server.reset()
    SURVEYS["desi"].read(spec, task)
    assert 0.18 < server.bytes_out / task.shard.size < 0.26
    assert len(server.requests) < 25
