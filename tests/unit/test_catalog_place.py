"""Where a catalog cannot go is said before any work, and nothing is left behind."""

import errno
import os
from pathlib import Path

import pytest

from catalogs.place import check_place
from engine.errors import PlanError
from tests.unit.catalog_rows import layout, publish, staged, tasks


def test_a_good_place_keeps_no_trace(tmp_path: Path) -> None:
    check_place(layout(tmp_path / "not" / "yet"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("inner", [".", "dataset", "deep/er"])
def test_a_root_inside_a_catalog_is_refused(tmp_path: Path, inner: str) -> None:
    (tmp_path / "hats.properties").touch()
    with pytest.raises(PlanError, match=r"would lie inside .* published catalog; choose a \[catalog\] root"):
        check_place(layout(tmp_path / inner))
    (tmp_path.parent / f"{tmp_path.name}-link").symlink_to(tmp_path)
    with pytest.raises(PlanError, match="would lie inside"):
        check_place(layout(tmp_path.parent / f"{tmp_path.name}-link" / inner))


def test_a_name_that_is_a_catalog_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stars").mkdir()
    (tmp_path / "stars" / "hats.properties").touch()
    with pytest.raises(PlanError, match="would lie inside"):
        check_place(layout(tmp_path))


@pytest.mark.parametrize("root", ["/dev/null", "/dev/null/x", "/proc", "/proc/x/y"])
def test_an_unusable_root_is_refused(root: str) -> None:
    with pytest.raises(
        PlanError, match=rf"catalog\.root = {root}: nothing can be written in .*choose another"
    ):
        check_place(layout(Path(root)))


@pytest.mark.parametrize("taken", ["stars", "_staging"])
def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("thesis")
    with pytest.raises(PlanError, match=f"nothing can be written in .*{taken}: Not a directory"):
        check_place(layout(tmp_path))
    assert (tmp_path / taken).read_text() == "thesis"


def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, who may write anywhere: the system's answer is played."""

    def refuse(path: object, mode: int = 0o777) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(PlanError, match="Read-only file system"):
        check_place(layout(tmp_path))


def test_a_published_catalog_may_lie_on_a_read_only_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = layout(tmp_path)
    staged(where, tasks(1, 20))
    publish(where, ["t000"])
    monkeypatch.setattr("catalogs.place._refuse_unwritable", pytest.fail)
    check_place(where)
