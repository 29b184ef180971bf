"""Objects with pathlib's verbs: what is written is read, what fails is named, and retries lose nothing."""

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from catalogs import parts
from catalogs.files import remove, sizes
from catalogs.generations import honours_absence
from catalogs.layout import set_aside, sha256_file, sweep
from catalogs.remote import Remote, location
from engine.errors import PlanError
from tests.fault_proxy import between
from tests.unit.remotes import Shelf


def test_an_address_is_an_object_store_and_a_path_is_a_disk() -> None:
    assert location("/data/x") == Path("/data/x")
    assert str(location("s3://bucket/x/")) == "s3://bucket/x"
    assert str(location(Path("s3://bucket/x"))) == "s3://bucket/x"
    with pytest.raises(PlanError, match=r"gs://x: a catalog can lie in a folder or at s3://"):
        location("gs://x")
    with pytest.raises(PlanError, match=r"s3://: a catalog can lie"):
        location("s3://")


def test_what_pathlib_would_say(here: Shelf) -> None:
    root = here.root
    one = root / "a" / "one.json"
    assert (one.name, one.stem, one.parent, one.parents[-1].address) == (
        "one.json",
        "one",
        root / "a",
        f"s3://{here.bucket}",
    )
    assert not root.exists()
    one.write_bytes(b"12")
    (root / "a" / "b" / ".two.json").write_bytes(b"")
    assert root.exists() and (root / "a").exists() and not (root / "a").is_file() and one.is_file()
    assert not (root / "a" / "on").exists()
    assert (one.read_bytes(), one.stat().st_size) == (b"12", 2)
    assert sizes(root) == {"a/b/.two.json": 0, "a/one.json": 2}
    assert [*(root / "a").glob("[!.]*.json")] == [one]
    assert pickle.loads(pickle.dumps(one)).read_bytes() == b"12"
    set_aside(one)
    assert sizes(root) == {"a/b/.two.json": 0, "a/one.json.damaged": 2}
    remove(root)
    assert here.objects() == {}
    with pytest.raises(FileNotFoundError):
        one.read_bytes()


def test_who_has_no_credentials_is_told_so_soon(here: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    # A client that was made with credentials keeps them.
    nobody = location(here.root.address, here.storage.model_copy(update={"region": "eu-west-1"}))
    for ask in (nobody.exists, nobody.read_bytes, lambda: nobody.write_bytes(b"1")):
        with pytest.raises(PermissionError, match="no credentials are known here; set them"):
            ask()
    assert here.objects() == {}


def test_large_objects_go_in_parts(here: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 5 * 2**20)
    content = bytes(range(256)) * (11 * 2**12)
    big = here.root / "big"
    with between(here.server.address, rate=0.3, seed=4) as proxy:
        (here.through(proxy.address).root / "big").write_bytes(content)
        assert proxy.done.total() > 0
    assert here.objects() == {"big": content}
    assert sha256_file(big) == hashlib.sha256(content).hexdigest()
    assert sweep(here.root) == 0


def test_what_a_killed_writer_began_is_swept(here: Shelf) -> None:
    here.root._call("create_multipart_upload", Key="deep/root/begun")
    assert sweep(here.root) == 1
    assert sweep(here.root) == 0


@pytest.mark.parametrize("drop", [(), ("if-none-match",)], ids=["honoured", "ignored"])
def test_of_many_that_create_an_object_one_wins_where_the_server_lets_it(
    here: Shelf, drop: tuple[str, ...]
) -> None:
    with between(here.server.address, drop=drop) as proxy, ThreadPoolExecutor(12) as pool:
        root = here.through(proxy.address).root
        assert honours_absence(root) == (not drop)
        won = list(pool.map(lambda n: (root / "one").create(str(n).encode()), range(12)))
    assert sum(won) == (12 if drop else 1)
    assert here.objects().keys() == {"one"}


def test_an_answer_that_was_lost_is_made_up_for(here: Shelf) -> None:
    with between(here.server.address, rate=0.5, seed=1, faults=["lost"]) as proxy:
        root = here.through(proxy.address).root
        assert all((root / f"{n}").create(f"mine {n}".encode()) for n in range(10))
        assert not any((root / f"{n}").create(b"another's") for n in range(10))
        assert proxy.done["lost"] > 3
    assert here.objects()["7"] == b"mine 7"


@pytest.mark.parametrize("fault", ["slow down", "reset", "cut"])
def test_faults_that_stay_name_the_object_and_the_remedy(here: Shelf, fault: str) -> None:
    (here.root / "one").write_bytes(b"1" * 1000)
    with (
        between(here.server.address, rate=1.0, faults=[fault]) as proxy,
        pytest.raises(OSError, match=rf"8 times; check .*catalog.storage.*s3://{here.bucket}/deep/root/one"),
    ):
        (here.through(proxy.address).root / "one").read_bytes()


def test_a_bucket_that_is_not_there_and_credentials_that_are_not(
    here: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Remote("s3://no-such-bucket/x", here.root.access)
    with pytest.raises(FileNotFoundError, match="no such bucket or object: 's3://no-such-bucket/x'"):
        elsewhere.write_bytes(b"")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    another = replace(here.root.access, said="[other]")
    with pytest.raises(OSError, match=r"redentials"):
        Remote(str(here.root / "x"), another).write_bytes(b"")
