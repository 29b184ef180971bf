"""Catalogs in an object store: the bytes of a folder's, whatever happens on the way; and one driver."""

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from unittest.mock import Mock

import pyarrow.compute as pc
import pytest

from catalogs import generations, open_catalog, query, verify
from catalogs import publish as publishing
from catalogs.files import remove
from catalogs.holder import Holder, this_process
from catalogs.layout import Layout
from catalogs.lease import driving
from catalogs.place import all_published, check_place
from catalogs.query import find
from catalogs.remote import Remote
from catalogs.stage import Stage, receipts
from engine.errors import CommitError, InputError, PlanError, RunError, StagingError, VerifyError
from engine.surveys.store import client
from tests.fault_proxy import between
from tests.s3_server import Server
from tests.unit.catalog_commits import Crash, crashing
from tests.unit.catalog_rows import layout, publish, staged, stars, task, tasks
from tests.unit.remotes import Shelf, shelf

TASKS = tasks(3, 150)
NAMES = tuple(TASKS)
BYTES = 120_000


@pytest.fixture
def here(here: Shelf, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr("catalogs.groups.GROUP_FILES", 2)
    monkeypatch.setattr(generations, "CHECK_S", 0.0)
    return here


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The catalog of the same rows in a folder."""
    where = layout(tmp_path_factory.mktemp("local"))
    staged(where, TASKS)
    publish(where, NAMES, target_bytes=BYTES)
    found = {path.relative_to(where.catalog).as_posix(): path for path in where.catalog.rglob("*")}
    own = ("manifest.json", "hats.properties")
    return {name: path.read_bytes() for name, path in found.items() if path.is_file() and name not in own}


@pytest.fixture(scope="module")
def shared(server: Server) -> Iterator[Shelf]:
    """A published catalog; never to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        found = shelf(server)
        staged(found.layout(), TASKS)
        publish(found.layout(), NAMES, target_bytes=BYTES)
        yield found


def nothing_else(where: Shelf) -> bool:
    """Are there only the catalog, and the staging as it was before the commit?"""
    tidy = ("data/", "receipts/", "plan.json")
    start = f"_staging/{where.layout().run}/"
    return all(key.startswith(("stars/v1/", *(start + name for name in tidy))) for key in where.objects())


def test_the_catalog_is_that_of_a_folder(shared: Shelf, here: Shelf, local: dict[str, bytes]) -> None:
    assert shared.published() == local
    assert nothing_else(shared)
    assert verify(shared.layout().catalog).rows == 450
    assert publish(shared.layout(), NAMES).already


def test_all_ways_to_read_it(shared: Shelf, here: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"{shared.root}/stars/v1"
    catalog = open_catalog(address, shared.storage)
    assert catalog.rows == len(catalog.to_pandas(["teff"])) == 450
    assert len(catalog.to_arrow(filters=pc.field("flag_bad"))) == 450 - len(
        catalog.to_arrow(filters=~pc.field("flag_bad"))
    )
    with catalog.duckdb() as connection:
        assert connection.sql("SELECT count(*) FROM catalog").fetchall() == [(450,)]
    monkeypatch.setenv("AWS_ENDPOINT_URL", shared.address)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert query(address, "SELECT count(*) AS n FROM catalog").to_pylist() == [{"n": 450}]
    key = str(TASKS["t001"]["targetid"][0].as_py())
    assert find(Path(address), [key])["task_id"] == "t001"
    with pytest.raises(InputError, match="not a published catalog"):
        open_catalog(f"{shared.root}/stars")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_blob('s3://{bucket}/deep/root/stars/v1/manifest.json')",
        "COPY (SELECT 1) TO 's3://{bucket}/deep/root/x.csv'",
    ],
)
def test_sql_reaches_nothing_else(shared: Shelf, here: Shelf, sql: str) -> None:
    before = shared.objects().keys()
    with pytest.raises(InputError):
        query(open_catalog(shared.layout().catalog).path, sql.format(bucket=shared.bucket))
    assert shared.objects().keys() == before


def test_damage_is_found(shared: Shelf, here: Shelf) -> None:
    damaged = shared.root / "damaged"
    for name in shared.objects("stars/v1/"):
        (shared.layout().catalog / name).copy_to(damaged / name)
    assert verify(damaged).rows == 450
    name = next(name for name in shared.published() if name.endswith(".parquet"))
    (damaged / name).write_bytes(b"PAR1")
    (damaged / "dataset" / "more.parquet").write_bytes(b"PAR1")
    with pytest.raises(VerifyError, match=r"has 4 bytes, (.|\n)*more.parquet: is not in the manifest"):
        verify(damaged)
    with pytest.raises(VerifyError, match=r"is damaged: .*Npix=.* has 4 bytes"):
        query(damaged, "SELECT max(teff) FROM catalog")
    remove(damaged)


def test_a_commit_that_died_and_died_again_is_finished_by_the_same_command(
    here: Shelf, local: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of its partitions; then while it copied; then before it tidied."""
    where = here.layout()
    staged(where, TASKS)
    with pytest.raises(Crash):
        publish(where, NAMES, target_bytes=BYTES, mapper=crashing("reduce", 1))
    assert not where.catalog.exists()
    real, calls = Remote.copy_to, iter(range(100))

    def dies(one: Remote, target: Remote) -> None:
        if next(calls) >= 2:
            raise Crash
        real(one, target)

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(Remote, "copy_to", dies)
        publish(where, NAMES, target_bytes=10**9)
    assert 1 < len(here.objects("stars/v1/")) < len(local)
    with pytest.raises(PlanError, match="half of the catalog of another plan"):
        check_place(here.layout(plan="cd" * 32))
    check_place(where)
    with pytest.raises(InputError, match="not a published catalog"):
        open_catalog(where.catalog)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(publishing, "remove", Mock(side_effect=Crash))
        publish(where, NAMES, target_bytes=BYTES)
    assert all_published(where)
    assert publish(where, NAMES).already
    assert here.published() == local
    assert nothing_else(here)


def test_what_an_older_commit_copied_goes_and_what_is_not_ours_stays(here: Shelf) -> None:
    catalog = here.layout().catalog
    assert isinstance(catalog, Remote)
    (catalog / "manifest.json").write_bytes(b'{"files": {"dataset/old.parquet": {}}}')
    (catalog / "dataset" / "old.parquet").write_bytes(b"")
    built = catalog.files()
    del built["dataset/old.parquet"]
    publishing._remove_older(catalog, catalog.files(), built)
    assert here.objects().keys() == {"stars/v1/manifest.json"}
    (catalog / "thesis.tex").write_bytes(b"")
    with pytest.raises(CommitError, match=r"holds what is not part of the catalog: thesis.tex"):
        publishing._remove_older(catalog, catalog.files(), built)
    assert (catalog / "thesis.tex").exists()


def test_a_task_is_done_when_its_receipt_and_all_of_its_data_are_there(here: Shelf) -> None:
    where = here.layout()
    staged(where, TASKS)
    (where.receipts / "t001.json").unlink()
    (where.data / "t000.parquet").write_bytes(b"half")
    assert [receipt.task_id for receipt in receipts(where)] == ["t002"]


def test_a_sink_works_in_another_process(here: Shelf) -> None:
    """As in an actor of Ray: pickled; and even forked from a process that has talked to the server."""
    where = here.layout()
    sink = pickle.dumps(staged(where, {"t000": TASKS["t000"]}))

    def stages() -> None:
        pickle.loads(sink).stage(task("t001"), TASKS["t001"], failure=None, seconds={})

    child = multiprocessing.get_context("fork").Process(target=stages)
    child.start()
    child.join(60)
    assert [receipt.task_id for receipt in receipts(where)] == ["t000", "t001"]


def test_a_staged_object_that_changed_costs_its_own_task(here: Shelf) -> None:
    where = here.layout()
    staged(where, TASKS)
    content = bytearray((where.data / "t001.parquet").read_bytes())
    content[100] ^= 1
    (where.data / "t001.parquet").write_bytes(bytes(content))
    with pytest.raises(CommitError, match=r"s3://.*/data/t001.parquet changed after it was staged"):
        publish(where, NAMES)
    assert [one.task_id for one in receipts(where)] == ["t000", "t002"]
    assert "t001.json.damaged" in here.objects(f"_staging/{where.run}/receipts/")


def test_a_prefix_that_holds_something_else_is_refused(here: Shelf) -> None:
    (here.layout().catalog / "thesis.tex").write_bytes(b"x")
    with pytest.raises(PlanError, match="is in the way"):
        check_place(here.layout())
    with pytest.raises(PlanError, match=r"no such bucket or object.*choose another \[catalog\] root"):
        check_place(layout(Remote("s3://nowhere/x", here.root.access)))
    assert here.objects().keys() == {"stars/v1/thesis.tex"}


def test_a_root_inside_a_catalog_is_refused_and_a_good_one_keeps_no_trace(here: Shelf) -> None:
    check_place(here.layout())
    assert here.objects() == {}
    (here.root / "hats.properties").write_bytes(b"")
    with pytest.raises(PlanError, match="would lie inside"):
        check_place(here.layout())


def test_duplicate_keys_are_refused(here: Shelf) -> None:
    staged(here.layout(), {"a": stars(30, task_id="a"), "b": stars(30, task_id="b")})
    with pytest.raises(CommitError, match=r"30 keys \(.*\) occur more than once"):
        publish(here.layout(), ["a", "b"])


def test_a_network_at_its_worst_changes_nothing(here: Shelf, local: dict[str, bytes]) -> None:
    with between(here.server.address, rate=0.1, seed=7) as proxy:
        where = here.through(proxy.address).layout()
        staged(where, TASKS)
        with driving(where):
            publish(where, NAMES, target_bytes=BYTES)
        assert verify(where.catalog).rows == 450
        assert set(proxy.done) == {"slow down", "reset", "lost", "cut", "late"}
    assert here.published() == local
    assert nothing_else(here)


def test_a_server_that_stays_away_is_one_message(here: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    where = here.layout()
    staged(where, TASKS)
    with between(here.server.address, rate=1.0, faults=["slow down"]) as proxy:
        gone = here.through(proxy.address).layout()
        with pytest.raises(
            StagingError, match=r"s3://.*/data/t000.parquet: cannot be written: .*Reduce your"
        ):
            Stage(gone).stage(task("t000"), TASKS["t000"], failure=None, seconds={})
        with pytest.raises(StagingError, match=r"cannot be written"), driving(gone):
            pass
        with pytest.raises(PlanError, match=r"cannot be read: .*Service Unavailable, 2 times"):
            check_place(gone)


def held(where: Layout) -> list[str]:
    folder = where.staging
    assert isinstance(folder, Remote)
    return [path.name for path in generations._leases(folder)]


@pytest.mark.parametrize("drop", [(), ("if-none-match",)], ids=["honoured", "ignored"])
def test_one_driver_at_a_time(here: Shelf, monkeypatch: pytest.MonkeyPatch, drop: tuple[str, ...]) -> None:
    monkeypatch.setattr(generations, "SETTLE_S", 0.05)
    with between(here.server.address, drop=drop) as proxy:
        where = here.through(proxy.address).layout()
        with driving(where) as mine:
            before = here.objects()
            with pytest.raises(RunError, match=rf"driven by process {os.getpid()} on"), driving(where):
                pytest.fail("two drivers")
            assert here.objects() == before
            mine.confirm()
    assert here.objects() == {}


@pytest.mark.parametrize("drop", [(), ("if-none-match",)], ids=["honoured", "ignored"])
def test_of_drivers_that_start_at_once_one_wins(
    here: Shelf, monkeypatch: pytest.MonkeyPatch, drop: tuple[str, ...]
) -> None:
    monkeypatch.setattr(generations, "SETTLE_S", 1.0)
    start, end = Barrier(3), Barrier(3)

    def race(where: Layout) -> str:
        start.wait()
        try:
            with driving(where):
                end.wait()
                return "won"
        except RunError as error:
            assert "is being driven by process" in str(error)
            end.wait()
            return "lost"

    with between(here.server.address, drop=drop) as proxy, ThreadPoolExecutor(3) as pool:
        said = sorted(pool.map(race, [here.through(proxy.address).layout()] * 3))
    assert said == ["lost", "lost", "won"]
    assert here.objects() == {}


def lease_of(where: Layout, change: Callable[[Holder], Holder]) -> Remote:
    """A lease that another driver wrote."""
    folder = where.staging
    assert isinstance(folder, Remote)
    lease, holder = generations.take(folder, this_process(generations.now()))
    lease.path.write_bytes(generations._content(change(holder)))
    return lease.path


def test_a_silent_driver_is_replaced_and_finds_out(here: Shelf) -> None:
    where = here.layout()
    folder = where.staging
    assert isinstance(folder, Remote)
    slept, holder = generations.take(folder, this_process(generations.now()))
    with pytest.raises(RunError, match="is being driven"), driving(where):
        pass
    away = generations.replace(holder, beat=generations.now() - 121)
    slept.path.write_bytes(generations._content(away))
    with driving(where) as mine:
        assert held(where) == ["lease-000001.json", "lease-000002.json"]
        with pytest.raises(RunError, match="taken over by another driver"):
            slept.confirm()
        slept.beat(holder)
        slept.release()
        mine.confirm()
        assert generations._read(slept.path) == away
    assert held(where) == []
    slept.beat(holder)
    assert held(where) == []


def test_a_driver_that_died_on_this_machine_is_replaced_at_once(here: Shelf) -> None:
    where = here.layout()
    lease_of(where, lambda one: generations.replace(one, pid=2**22 + 1))
    with driving(where) as mine:
        mine.confirm()
    assert here.objects() == {}
