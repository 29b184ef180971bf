"""A catalog in a bucket through the command line: asked, explained, compared, exported, verified."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from astropy.table import Table

from catalogs import query
from catalogs.compare import Asked, compare
from catalogs.query import find, stream
from engine.surveys.store import client
from tests.flows.command import Abundant
from tests.s3_server import running
from tests.unit.catalog_rows import FIRST_ID, publish, staged, tasks
from tests.unit.remotes import Shelf, shelf

TASKS = tasks(2, 60)


@pytest.fixture(scope="module")
def there() -> Iterator[Shelf]:
    """A published catalog, as the environment of no command tells it."""
    with running() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setattr(client, "FIRST_PAUSE_S", 0.001)
        found = shelf(server)
        staged(found.layout(), TASKS)
        publish(found.layout(), list(TASKS))
        yield found


@pytest.fixture
def address(there: Shelf, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its address, where the environment says how the server is reached."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", there.address)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return f"{there.root}/stars/v1"


def other(out: Path) -> Path:
    """The same stars, 20 K warmer."""
    rows = {"TARGETID": [], "TEFF": []}
    for made in TASKS.values():
        good = made.filter(made["teff"].is_valid())
        rows["TARGETID"] += good["targetid"].to_pylist()
        rows["TEFF"] += [value + 20.0 for value in good["teff"].to_pylist()]
    Table(rows).write(out)
    return out


def test_every_command_takes_an_address(abundant: Abundant, address: str, tmp_path: Path) -> None:
    table, out = other(tmp_path / "b.fits"), tmp_path / "stars.fits"
    commands: list[tuple[tuple[object, ...], str]] = [
        (("query", address, "SELECT count(*) AS n FROM catalog", "--format", "csv"), '"n"\n120'),
        (("explain", address + "/", FIRST_ID), str(FIRST_ID)),
        (("compare", address, table, "--on", "targetid"), "stars v1 minus b.fits, by targetid"),
        (("compare", address, address), "stars v1 minus stars v1"),
        (("export", address, out, "--columns", "targetid,teff"), "120 rows, 2 columns"),
        (("verify", address), f"Verified: 120 rows of {address}"),
    ]
    for words, said in commands:
        done = abundant(*words)
        assert done.code == 0, done.err
        assert said in done.out + " ".join(done.err.split())
    assert len(Table.read(out)) == 120


def test_messages_name_it_as_it_was_written(abundant: Abundant, address: str, tmp_path: Path) -> None:
    gone = address.replace("v1", "v2")
    wrong: list[tuple[tuple[object, ...], str]] = [
        (("query", gone, "SELECT 1"), f"{gone} is not a published catalog"),
        (("explain", address, 5), f"no row with targetid = 5 in {address}"),
        (("compare", address, other(tmp_path / "b.fits"), "--on", "nope"), f"{address} has no column nope"),
        (("compare", address, gone), f"{gone} is not a published catalog"),
        (("export", address, tmp_path / "x", "--columns", "nope"), f"{address} has no column 'nope'"),
        (("export", gone, tmp_path / "x"), f"{gone} is not a published catalog"),
        (("export", address, f"{address}.fits"), "an export goes to a folder of this machine"),
        (("verify", gone), f"{gone} is no catalog"),
        (("query", "gs://bucket/stars/v1", "SELECT 1"), "s3://bucket/prefix"),
    ]
    for words, said in wrong:
        refused = abundant(*words)
        text = "".join(refused.err.split())
        assert refused.code == 2 and said.replace(" ", "") in text, refused.err
        assert words[0:2] == ("export", address) or not re.search(r"(s3|gs):/[^/]", text), refused.err


def test_what_reads_a_catalog_takes_a_place_or_an_address_with_its_storage(there: Shelf) -> None:
    """Nothing in the environment says how the server is reached."""
    address, place = f"{there.root}/stars/v1", there.layout().catalog
    for path, storage in ((address, there.storage), (place, None)):
        assert query(path, "SELECT count(*) AS n FROM catalog", storage).to_pylist() == [{"n": 120}]
        with stream(path, "SELECT targetid FROM catalog", storage) as rows:
            assert sum(len(batch) for batch in rows) == 120
        assert find(path, [str(FIRST_ID)], storage)["targetid"] == FIRST_ID
        with compare(Asked(first=path, second=path, storage=storage)) as (report, _):
            assert report.matched == report.rows_first > 100
