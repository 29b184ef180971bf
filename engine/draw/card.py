"""Draws on a card: batches of one shape, pinned buffers, and a stream that copies while another computes.

A card rounds products by the shape of their matrices, so every batch is filled up to the same number of
stars: a label depends on its spectrum alone. Two batches are under way at a time, each in a lane of its own,
for two threads that call: while one waits for the card, the other prepares, estimates or writes.

Any device of torch will do; on a processor, streams and events do nothing.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

from engine.draw.bank import Bank, Computed, as_draws, compute
from engine.types import Draws, Inputs

LANES = 2
Compute = Callable[[], Computed]


@dataclass(slots=True, kw_only=True)
class Lane:
    """Where one batch is: `given_NI` on the host, `x_NI` on the card, `found` on the host again."""

    given_NI: Tensor
    x_NI: Tensor
    copied: Any
    done: Any
    compute: Compute
    found: Computed | None = None


class Card:
    """Banks on a device, for batches of at most `rows` stars with `inputs` numbers each.

    `capture` makes something of a computation that can be done again at less cost: a CUDA graph.
    """

    def __init__(
        self,
        banks: Sequence[Bank],
        *,
        rows: int,
        inputs: int,
        graphs: bool = False,
        capture: "Callable[[Compute, Any], Compute] | None" = None,
    ) -> None:
        self.away = banks[0].device
        self._banks, self._rows = tuple(banks), rows
        self._api = torch.get_device_module(self.away)
        self._copies, self._computes = self._api.Stream(), self._api.Stream()
        self._capture = capture or (cuda_graph if graphs else None)
        # Kernels of two threads must not mix while a graph is captured.
        self._launching = threading.Lock()
        self._lanes: SimpleQueue[Lane] = SimpleQueue()
        for _ in range(LANES):
            self._lanes.put(self._lane(inputs))
        # Weights and buffers were made on the stream of whoever calls.
        for stream in (self._copies, self._computes):
            stream.wait_stream(self._api.current_stream())
        self._try()

    def __call__(self, inputs: Inputs) -> Draws:
        """The draws; UnexpectedNaN as of `draw`."""
        with self._lane_free() as lane:
            self._bring(lane, torch.as_tensor(inputs.x_NI))
            self._launch(lane)
            lane.done.synchronize()
            assert lane.found is not None
            return as_draws(lane.found, inputs)

    def _try(self) -> None:
        """Each lane once: memory is taken, and graphs are captured, while no other thread works."""
        for _ in range(LANES):
            with self._lane_free() as lane:
                lane.copied.record(self._copies)
                self._launch(lane)
                lane.done.synchronize()

    @contextmanager
    def _lane_free(self) -> Iterator[Lane]:
        """A lane, for as long as the block takes."""
        lane = self._lanes.get()
        try:
            with torch.inference_mode():
                yield lane
        finally:
            self._lanes.put(lane)

    def _lane(self, inputs: int) -> Lane:
        event = self._api.Event
        blocking = {"blocking": True} if self.away.type == "cuda" else {}
        x_NI = torch.zeros((self._rows, inputs), device=self.away)
        return Lane(
            given_NI=self._pinned(x_NI.shape),
            x_NI=x_NI,
            copied=event(),
            done=event(**blocking),
            compute=partial(compute, self._banks, x_NI),
        )

    def _buffers(self, found: Computed) -> Computed:
        variance_KNL = found.log_variance_KNL
        return Computed(
            value_KNL=self._pinned(found.value_KNL.shape),
            log_variance_KNL=None if variance_KNL is None else self._pinned(variance_KNL.shape),
            hidden_NH=self._pinned(found.hidden_NH.shape),
        )

    def _pinned(self, shape: Sequence[int]) -> Tensor:
        return torch.zeros(tuple(shape), pin_memory=self.away.type == "cuda")

    def _bring(self, lane: Lane, x_NI: Tensor) -> None:
        """The batch onto the card, if it was not prepared there, and zeros below it."""
        rows = len(x_NI)
        assert rows <= self._rows, "the plan's largest task says how large a batch can be"
        if x_NI.device.type != "cpu":
            self._copies.wait_stream(self._api.current_stream())
            source_NI = x_NI
        else:
            lane.given_NI[:rows] = x_NI
            source_NI = lane.given_NI[:rows]
        with self._api.stream(self._copies):
            lane.x_NI[:rows].copy_(source_NI, non_blocking=True)
            lane.x_NI[rows:].zero_()
            lane.copied.record(self._copies)

    def _launch(self, lane: Lane) -> None:
        """All draws of a batch, and the way back, one behind the other on the stream that computes."""
        with self._launching, self._api.stream(self._computes):
            lane.copied.wait(self._computes)
            if self._capture is not None and lane.found is None:
                lane.compute = self._capture(lane.compute, self._computes)
            found = lane.compute()
            lane.found = lane.found or self._buffers(found)
            for host, part in zip(lane.found, found, strict=True):
                if host is not None and part is not None:
                    host.copy_(part, non_blocking=True)
            lane.done.record(self._computes)


def cuda_graph(work: Compute, stream: Any) -> Compute:
    """The computation as a CUDA graph, which launches as one; its inputs and outputs stay where they are."""
    work()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    # Another thread may prepare its batch meanwhile.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        found = work()

    def replay() -> Computed:
        graph.replay()
        return found

    return replay
