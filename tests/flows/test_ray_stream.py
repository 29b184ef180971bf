"""Training stars as a stream of Ray Data: the plain loop's batches, whoever reads them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from engine.errors import RunError
from engine.train.feed import Held
from engine.train.tensors import BY_STAR
from engine.train.together import Alone
from tests.small_training import lesson

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]
BATCH, STARS, CPU = 25, 101, torch.device("cpu")


@dataclass(frozen=True)
class Rows:
    """What Ray hands to one worker."""

    tables: list[pa.Table]

    def iter_batches(self, **_: Any) -> Iterator[pa.Table]:
        """Its rows, one by one."""
        return iter(self.tables)


def stream_of(place: Path, workers: int, epochs: int = 3) -> Any:
    from engine.runtime.ray_stream import streams

    return streams(lesson(place, STARS, batch=BATCH, epochs=epochs), workers)


def fed_with(tables: list[pa.Table], place: Path) -> Any:
    from engine.runtime.ray_stream import Streamed, without_stars

    given = lesson(place, STARS, batch=BATCH)
    return Streamed(Rows(tables), given.order(0), without_stars(given).train, CPU)  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [1, 50_000, 10**6])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_worker_is_fed_with_its_stars_of_the_plain_loops_batches(
    workers: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though they lie in many pieces, and one star is left for three workers in the last batch.

    A block holds one batch, two, or an epoch.
    """
    from engine.runtime import ray_stream

    monkeypatch.setattr(ray_stream, "PIECE_BYTES", 20_000)
    monkeypatch.setattr(ray_stream, "BLOCK_BYTES", block)
    given = lesson(tmp_path, STARS, batch=BATCH)
    stream = stream_of(tmp_path, workers)
    assert len(stream.pieces.pieces) > 2
    tables = list(ray_stream.shares(stream, range(2, 4)))
    assert {len(table) for table in tables} == {1}
    assert len(tables) == 2 * workers * {1: 5, 50_000: 3, 10**6: 1}[block]
    for rank in range(workers):
        like = ray_stream.without_stars(given).train
        fed = ray_stream.Streamed(Rows(tables[rank::workers]), given.order(0), like, CPU)  # type: ignore[arg-type]
        together = Alone(rank=rank, workers=workers)
        for epoch in (2, 3):
            wanted = list(Held(stars=given.train, order=given.order(0)).epoch(epoch, together))
            found = list(fed.epoch(epoch, together))
            assert [one.part for one in found] == [one.part for one in wanted]
            for one, other in zip(found, wanted, strict=True):
                assert (one.size, one.number, one.of) == (other.size, other.number, other.of)
                for name in BY_STAR:
                    assert torch.equal(getattr(one.stars, name), getattr(other.stars, name))


def test_stars_of_epochs_that_a_checkpoint_has_are_passed_over(tmp_path: Path) -> None:
    """A stream that was made before the last checkpoint of workers that died."""
    from engine.runtime.ray_stream import shares

    tables = list(shares(stream_of(tmp_path, 1), range(1, 4)))
    fed = fed_with(tables, tmp_path)
    assert len(list(fed.epoch(3, Alone()))) == 5


@pytest.mark.parametrize(
    ("epoch", "rank", "says"),
    [
        (1, 1, "worker 1 was handed worker 0's stars of epoch 2 in epoch 1"),
        (2, 1, "worker 1 was handed worker 0's stars of epoch 2 in epoch 2"),
        (4, 0, "ended within epoch 4"),
    ],
)
def test_stars_of_another_worker_or_epoch_are_refused(
    epoch: int, rank: int, says: str, tmp_path: Path
) -> None:
    from engine.runtime.ray_stream import shares

    tables = list(shares(stream_of(tmp_path, 2), range(2, 4)))[::2]
    fed = fed_with(tables, tmp_path)
    with pytest.raises(RunError, match=says):
        list(fed.epoch(epoch, Alone(rank=rank, workers=2)))


@pytest.mark.parametrize(("epochs", "after", "tasks"), [(3, 1, 2), (3, 3, 1), (1000, 0, 250)])
def test_epochs_are_shared_out_to_a_bounded_number_of_read_tasks(
    epochs: int, after: int, tasks: int, tmp_path: Path
) -> None:
    spans = stream_of(tmp_path, 1, epochs).spans(after)
    assert len(spans) == tasks
    assert [epoch for span in spans for epoch in span] == list(range(min(after + 1, epochs), epochs + 1))
