"""Exports of catalogs that are not one folder: with a side catalog beside them, or in an object store."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import fitsio
import numpy as np
import pytest
from astropy.io import fits

from catalogs import open_catalog
from catalogs.export.release import export
from catalogs.export.request import Asked, Selection
from tests.s3_server import Server, running
from tests.unit.catalog_rows import publish, staged, tasks
from tests.unit.remotes import Shelf, shelf
from tests.unit.test_catalog_side import made


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = made(tmp_path_factory.mktemp("both"))
    assert isinstance(where.catalog, Path)
    return where.catalog


def test_a_release_holds_the_side_catalog_with_its_lists(both: Path, tmp_path: Path) -> None:
    export(Asked(catalog=both, out=tmp_path / "r", sample=10), "release")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(tmp_path / "r" / "stars-side-v1.fits", checksum=True) as file:
            assert file[1].columns["covariance"].format == "3E"
    rows = open_catalog(both.parent.parent / "stars-side" / "v1").to_arrow()
    cells = fitsio.read(tmp_path / "r" / "stars-side-v1.fits", ext=1)
    wanted = [[np.nan] * 3 if one is None else one for one in rows["covariance"].to_pylist()]
    assert np.array_equal(cells["covariance"], np.array(wanted, np.float32), equal_nan=True)
    assert np.array_equal(cells["targetid"], fitsio.read(tmp_path / "r" / "stars-v1.fits", ext=1)["targetid"])
    page = (tmp_path / "r" / "datamodel.md").read_text()
    assert "## Columns of stars-side-v1.fits" in page and "| `covariance` | list<float> × 3 |" in page


def test_of_chosen_rows_there_is_no_side(both: Path, tmp_path: Path) -> None:
    chosen = Selection(where="good('teff')")
    done = export(Asked(catalog=both, out=tmp_path / "r", selection=chosen, sample=10), "release")
    assert not (tmp_path / "r" / "stars-side-v1.fits").exists()
    assert any("side catalog" in remark for remark in done.remarks)


def test_lists_have_no_place_in_a_sample(both: Path, tmp_path: Path) -> None:
    side = both.parent.parent / "stars-side" / "v1"
    export(Asked(catalog=side, out=tmp_path / "s", sample=10), "mrt")
    assert "covariance" in (tmp_path / "s" / "ReadMe").read_text().split("File Summary")[0]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.fixture
def bucket(server: Server, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return shelf(server)


def test_a_catalog_in_a_bucket_is_released_here(bucket: Shelf, tmp_path: Path) -> None:
    stars = tasks(2, 60)
    staged(bucket.layout(), stars)
    publish(bucket.layout(), list(stars))
    # As the command line hands it over: a path that has lost a slash.
    address = Path(str(bucket.layout().catalog))
    assert export(Asked(catalog=address, out=tmp_path / "r", sample=10), "release").rows == 120
    cells = fitsio.read(tmp_path / "r" / "stars-v1.fits", ext=1)
    assert np.array_equal(cells["targetid"], open_catalog(address).to_arrow()["targetid"].to_numpy())
