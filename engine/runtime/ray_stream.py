"""The batches of a training as a stream of Ray Data, split over the workers of a Ray Train group.

The stars stay in the object store, in pieces that Ray may spill. Read tasks of some epochs each gather the
batches of the plain loop in the plain loop's order, and put each worker's share of some into a block of one
row, which Ray can neither cut nor join. The split hands out the rows in turn, so that a worker gets its own.
All epochs are one stream: the first batches of an epoch are gathered while the last one's are learnt from.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from ray.data import DataContext, DataIterator, Dataset
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from engine.errors import RunError
from engine.train.checkpoint import Checkpoints
from engine.train.feed import Order, Share
from engine.train.members import Lesson
from engine.train.tensors import BY_STAR, Tensors, of_arrays
from engine.train.together import Alone, Together, share

PIECE_BYTES, BLOCK_BYTES = 64 * 2**20, 16 * 2**20
# Blocks that wait at each worker.
AHEAD = 2
# Ray stores each read task before the first one starts.
MOST_TASKS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """The training stars in the object store: piece i holds the rows starts[i] … starts[i + 1] - 1."""

    pieces: tuple[ray.ObjectRef, ...]
    starts: tuple[int, ...]
    row_bytes: int

    def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Some of the stars, in the order asked for."""
        piece_N = np.searchsorted(self.starts, rows, side="right") - 1
        found: dict[str, np.ndarray] = {}
        for number in np.unique(piece_N):
            piece: Any = ray.get(self.pieces[number])
            places = piece_N == number
            for name, array in piece.items():
                out = found.setdefault(name, np.empty((len(rows), array.shape[1]), array.dtype))
                out[places] = array[rows[places] - self.starts[number]]
        return found


def put_pieces(stars: Tensors) -> Pieces:
    """All stars, put into the object store."""
    arrays = {name: array for name, array in stars.arrays().items() if name in BY_STAR}
    row_bytes = sum(array[:1].nbytes for array in arrays.values())
    step = max(1, PIECE_BYTES // row_bytes)
    starts = (*range(0, len(stars), step), len(stars))
    pieces = [
        ray.put({name: array[start:stop] for name, array in arrays.items()})
        for start, stop in pairwise(starts)
    ]
    return Pieces(pieces=tuple(pieces), starts=starts, row_bytes=row_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What is streamed to so many workers."""

    pieces: Pieces
    order: Order
    epochs: int
    workers: int
    checkpoints: Checkpoints

    @property
    def at_once(self) -> int:
        """Batches in a block: each block costs Ray tens of milliseconds, whatever is in it."""
        return max(1, BLOCK_BYTES // (self.order.batch * self.pieces.row_bytes))

    def __call__(self) -> Dataset:
        """The epochs after the newest checkpoint; Ray asks anew for every group of workers that it starts."""
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        # A block is one row, of whatever size.
        context.target_max_block_size = 1
        spans = self.spans(after=len(self.checkpoints.history()))
        # Gathering takes little: it must not wait for CPUs that the workers hold.
        return ray.data.read_datasource(
            Epochs(self, spans), num_cpus=0, concurrency=1, override_num_blocks=len(spans)
        )

    def spans(self, after: int) -> list[range]:
        """The epochs of each read task; a training that is over reads nothing of the last one."""
        left = range(min(after + 1, self.epochs), self.epochs + 1)
        step = -(-len(left) // MOST_TASKS)
        return [left[start : start + step] for start in range(0, len(left), step)]


class Epochs(Datasource):
    """One read task for each span of epochs."""

    def __init__(self, stream: Stream, spans: Sequence[range]) -> None:
        super().__init__()
        self._stream, self._spans = stream, spans

    def estimate_inmemory_data_size(self) -> None:
        """Unknown: nobody holds it all."""

    def get_read_tasks(
        self,
        parallelism: int,  # noqa: ARG002
        per_task_row_limit: int | None = None,  # noqa: ARG002
        data_context: DataContext | None = None,  # noqa: ARG002
    ) -> list[ReadTask]:
        """A read task per span, whatever parallelism Ray would like."""
        about = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(partial(shares, self._stream, span), about) for span in self._spans]


def shares(stream: Stream, epochs: range) -> Iterator[pa.Table]:
    """The batches of some epochs, some at a time and worker by worker, a row each."""
    for epoch in epochs:
        batches = stream.order.batches(epoch)
        for first in range(0, len(batches), stream.at_once):
            some = batches[first : first + stream.at_once]
            for rank in range(stream.workers):
                alone = Alone(rank=rank, workers=stream.workers)
                rows = torch.cat([share(batch, alone)[0] for batch in some])
                yield _pack({"epoch": epoch, "rank": rank}, stream.pieces.gather(rows.numpy()))


def _pack(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> pa.Table:
    """One row, without copying the arrays."""
    columns = {name: pa.array([value]) for name, value in about.items()}
    for name, array in arrays.items():
        columns[name] = pa.LargeListArray.from_arrays(pa.array([0, array.size], pa.int64()), array.ravel())
    return pa.table(columns)


class Streamed:
    """A feed of one worker's shares, as they come; `like` is the training set without its stars."""

    def __init__(self, rows: DataIterator, order: Order, like: Tensors, device: torch.device) -> None:
        self._rows = iter(rows.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=AHEAD))
        self._order, self._like, self._device = order, like, device

    def epoch(self, number: int, together: Together) -> Iterator[Share]:
        """This worker's share of each batch; RunError where the stream ends, or is another's."""
        batches, held, at = self._order.batches(number), self._like, 0
        for count, batch in enumerate(batches, start=1):
            rows, part = share(batch, together)
            if at == len(held):
                held, at = self._next(number, together.rank), 0
            stars, at = held.take(slice(at, at + len(rows))), at + len(rows)
            yield Share(stars=stars, part=part, size=len(batch), number=count, of=len(batches))

    def _next(self, epoch: int, rank: int) -> Tensors:
        for row in map(pa.table, self._rows):
            found = row["epoch"][0].as_py(), row["rank"][0].as_py()
            if found[0] < epoch:
                # The checkpoint was not there yet when the stream was made.
                continue
            if found != (epoch, rank):
                raise RunError(
                    f"worker {rank} was handed worker {found[1]}'s stars of epoch {found[0]} "
                    f"in epoch {epoch}: this is a bug"
                )
            return self._stars(row)
        raise RunError(f"the stream of training stars ended within epoch {epoch}: this is a bug")

    def _stars(self, row: pa.Table) -> Tensors:
        arrays = {}
        for name in BY_STAR:
            flat = row[name].chunk(0).flatten().to_numpy()
            arrays[name] = flat.reshape(-1, getattr(self._like, name).shape[1])
        taken = of_arrays(self._like.arrays() | arrays)
        return taken if self._device.type == "cpu" else taken.to(self._device)


def without_stars(lesson: Lesson) -> Lesson:
    """The lesson for workers whose training stars are streamed."""
    return replace(lesson, train=lesson.train.take(torch.arange(0)))


def streams(lesson: Lesson, workers: int) -> Callable[[], Dataset]:
    """The training stars of a lesson; PlanError where its checkpoints are of another training."""
    checkpoints = lesson.checkpoints(0)
    checkpoints.history()
    return Stream(
        pieces=put_pieces(lesson.train),
        order=lesson.order(0),
        epochs=lesson.settings.epochs,
        workers=workers,
        checkpoints=checkpoints,
    )
