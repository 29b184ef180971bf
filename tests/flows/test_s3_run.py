"""A whole run into an object store, over a bad network, by a driver that dies: the bytes of a local one."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import catalogs.stage
from catalogs.events import read_events
from catalogs.remote import Location
from engine.plan import make_plan
from engine.spec import Profile, RunSpec
from engine.surveys.store import client
from jobs.run import layout_of, run
from tests.fault_proxy import between
from tests.flows.bytes import fingerprint
from tests.flows.command import Abundant
from tests.s3_server import make_bucket, objects, running

LOCAL = Profile(runtime="local")
OWN = ("manifest.json", "hats.properties")
CATALOG = {"name": "test", "version": "1", "side": ["covariance"]}
ROOT = "s3://catalogs/some/where"


class Crash(Exception):
    """A killed driver."""


def into(address: str) -> dict[str, Any]:
    storage = {"endpoint": address, "region": "us-east-1"}
    return CATALOG | {"root": ROOT, "storage": storage}


def test_a_run_into_a_bucket_over_a_bad_network_is_a_local_run(
    run_spec: Callable[..., RunSpec],
    abundant: Abundant,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_home = run_spec(catalog=CATALOG | {"root": tmp_path / "catalogs"})
    run(make_plan(at_home), LOCAL)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.001)
    with running() as server, between(server.address, rate=0.1, seed=5) as proxy:
        make_bucket(server.address, "catalogs")
        spec = run_spec(catalog=into(proxy.address))
        plan = make_plan(spec)
        assert plan.digest == make_plan(at_home).digest
        written = tmp_path / "run.toml"
        written.write_text(tomli_w.dumps(spec.model_dump(mode="json", by_alias=True, exclude_unset=True)))
        dying_between_data_and_receipt(monkeypatch, 4)
        with pytest.raises(Crash):
            run(plan, LOCAL)
        monkeypatch.setattr(catalogs.stage, "_write", catalogs.stage._write.real)
        said = " ".join(abundant("status", written).out.split())
        assert f"tasks 3 of {len(plan.tasks)} done" in said and "not published" in said
        capsys.readouterr()
        done = run(plan, LOCAL)
        assert f"3 of {len(plan.tasks)} tasks are already done" in " ".join(capsys.readouterr().err.split())
        assert proxy.done.total() > 10
        for title in ("test", "test-side"):
            there = objects(server.address, "catalogs", f"some/where/{title}/1/")
            hashes = {k: hashlib.sha256(data).hexdigest() for k, data in there.items() if k not in OWN}
            assert hashes == fingerprint(tmp_path / "catalogs" / title / "1")
        staging = f"_staging/{layout_of(plan).run}"
        ours = ["test/1/", "test-side/1/", f"{staging}/data/", f"{staging}/receipts/", f"{staging}/plan.json"]
        ours += [f"{staging}/events-"]
        for key in objects(server.address, "catalogs", "some/where/"):
            assert key.startswith(tuple(ours))
        kinds = [event["event"] for event in read_events(layout_of(plan))]
        assert [kind for kind in kinds if kind != "commit"] == [
            "started",
            "stopped",
            "started",
            "labelled",
            "published",
        ]
        # A folder's name does not say how its server is reached.
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        for name in (str(written), str(layout_of(plan).staging)):
            said = " ".join(abundant("status", name).out.split())
            assert f"{len(plan.tasks)} of {len(plan.tasks)} done" in said and "not published" not in said
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        again = abundant("commit", written).err
        assert f"Was already published: {ROOT}/test/1 and {ROOT}/test-side/1" in again
        asked(abundant, monkeypatch, proxy.address, done.catalog)


def asked(abundant: Abundant, monkeypatch: pytest.MonkeyPatch, address: str, catalog: Location) -> None:
    """The commands that read a catalog, told by the environment where its server is."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert "Verified" in abundant("verify", catalog).err
    found = abundant("query", catalog, "SELECT min(targetid) AS k FROM catalog", "--format", "csv")
    key = found.out.splitlines()[1]
    assert key in abundant("explain", catalog, key).out


def dying_between_data_and_receipt(monkeypatch: pytest.MonkeyPatch, task: int) -> None:
    """The driver of a run dies in this task, counted from 1."""
    real, written = catalogs.stage._write, iter(range(1, 1000))

    def dies(path: Location, content: bytes) -> None:
        if next(written) == 2 * task:
            raise Crash
        real(path, content)

    dies.real = real
    monkeypatch.setattr(catalogs.stage, "_write", dies)
