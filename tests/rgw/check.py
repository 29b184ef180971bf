"""Catalogs in Ceph's own S3 server: real signatures, real conditions, and faults on the way to it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from catalogs import open_catalog, parts, query, verify
from catalogs.generations import honours_absence
from catalogs.layout import sweep
from catalogs.lease import driving
from catalogs.remote import Remote
from engine.errors import RunError
from engine.surveys.store import client
from tests.fault_proxy import between
from tests.rgw.cluster import ACCESS, SECRET, gateway, missing
from tests.s3_server import Server, make_bucket
from tests.unit.catalog_rows import layout, publish, staged, tasks
from tests.unit.remotes import OWN, Shelf

TASKS = tasks(3, 150)
NAMES = tuple(TASKS)
BYTES = 120_000


@pytest.fixture(scope="module")
def ceph() -> Iterator[Server]:
    """A running gateway."""
    if lacks := missing():
        pytest.skip(f"no {', '.join(lacks)}: apt-get install ceph-mon ceph-mgr ceph-osd radosgw")
    with gateway() as address:
        yield Server(address)


@pytest.fixture
def here(ceph: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Shelf:
    """An empty bucket there."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.01)
    name = "bucket" + str(abs(hash(request.node.name)))
    make_bucket(ceph.address, name, (ACCESS, SECRET))
    return Shelf(ceph, name, ceph.address, (ACCESS, SECRET))


def in_a_folder(root: Path) -> dict[str, bytes]:
    """The same rows, published on a disk."""
    where = layout(root)
    staged(where, TASKS)
    publish(where, NAMES, target_bytes=BYTES)
    found = {path.relative_to(where.catalog).as_posix(): path for path in where.catalog.rglob("*")}
    return {name: path.read_bytes() for name, path in found.items() if path.is_file() and name not in OWN}


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_the_catalog_is_that_of_a_folder(here: Shelf, tmp_path: Path, rate: float) -> None:
    with between(here.address, rate=rate, seed=7) as proxy:
        where = here.through(proxy.address).layout()
        with driving(where):
            staged(where, TASKS)
            publish(where, NAMES, target_bytes=BYTES)
        assert verify(where.catalog).rows == 450
        assert open_catalog(where.catalog).to_pandas(["teff"]).shape == (450, 1)
        assert query(where.catalog, "SELECT count(*) AS n FROM catalog").to_pylist() == [{"n": 450}]
        assert (proxy.done.total() > 0) == (rate > 0)
    assert here.published() == in_a_folder(tmp_path)


def test_of_many_that_create_an_object_one_wins(here: Shelf) -> None:
    assert honours_absence(here.root)
    with ThreadPoolExecutor(24) as pool:
        won = list(pool.map(lambda n: (here.root / "one").create(str(n).encode()), range(24)))
    assert sum(won) == 1


def test_a_second_driver_is_refused(here: Shelf) -> None:
    where = here.layout()
    with driving(where), pytest.raises(RunError, match="is being driven by process"), driving(where):
        pytest.fail("two drivers")
    assert here.objects() == {}


def test_large_objects_go_in_parts(here: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 5 * 2**20)
    content = bytes(range(256)) * (11 * 2**12)
    with between(here.address, rate=0.3, seed=4) as proxy:
        (here.through(proxy.address).root / "big").write_bytes(content)
        (here.through(proxy.address).root / "big").copy_to(here.root / "copy")
    assert here.objects() == {"big": content, "copy": content}
    here.root._call("create_multipart_upload", Key="deep/root/begun")
    assert sweep(here.root) == 1


def test_a_wrong_secret_is_refused(here: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    place = Remote(str(here.root / "x"), replace(here.root.access, said="[other]"))
    with pytest.raises(PermissionError, match=r"access is refused .*set the credentials.*deep/root/x"):
        place.write_bytes(b"")
