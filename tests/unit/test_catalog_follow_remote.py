"""A version that follows another in an object store: what did not change is copied inside the server."""

from dataclasses import replace
from pathlib import Path

import pytest

from catalogs import verify
from catalogs.files import remove
from catalogs.remote import Remote
from tests.unit.catalog_commits import Crash
from tests.unit.followed import CHANGES, PRODUCT, first, follow, second
from tests.unit.remotes import Shelf

CHANGE = CHANGES["replace"]
FEW = replace(PRODUCT, target_bytes=20_000)


def test_it_is_that_of_a_folder_and_untouched_partitions_never_leave_the_server(
    here: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = second(first(tmp_path, product=FEW))
    follow(local, CHANGE, product=FEW)
    wanted = {
        path.relative_to(local.catalog).as_posix(): path.read_bytes()
        for path in local.catalog.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", "hats.properties")
    }
    where = second(first(here.root, product=FEW))
    before = here.objects("stars/v1/")
    written, copies, real_write, real_copy = list[str](), list[str](), Remote.write_bytes, Remote.copy_to

    def write(one: Remote, content: bytes) -> None:
        written.append(str(one))
        real_write(one, content)

    def copy(one: Remote, target: Remote) -> None:
        if "/v1/" in str(one):
            copies.append(str(one).partition("/v1/")[2])
            if len(copies) == 2:
                raise Crash
        real_copy(one, target)

    monkeypatch.setattr(Remote, "write_bytes", write)
    monkeypatch.setattr(Remote, "copy_to", copy)
    with pytest.raises(Crash):
        follow(where, CHANGE, product=FEW)
    report = follow(where, CHANGE, product=FEW)
    assert here.published("stars/v2/") == wanted
    old = {name for name, data in before.items() if wanted.get(name) == data and name.endswith(".parquet")}
    assert set(copies) == old
    assert len(old) > 3
    assert not [name for name in written if name.partition(".partial/")[2] in old]
    assert here.objects("stars/v1/") == before
    remove(replace(where, version="v1").catalog)
    assert verify(where.catalog).rows == report.rows
