"""Networks that read several inputs, each with a branch of its own, and join them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.draw.chain import ThinStack, after_dropout, before_dropout, before_head, thin
from engine.draw.masks import Masks
from engine.draw.network import Columns, Network, Output, Thinned


class Branched(Network):
    """Branches side by side on slices of the inputs, their outputs one after another, and a tail on top.

    `sizes` are the widths of the slices, in the order of the branches. Dropouts may stand anywhere but right
    before the join.
    """

    def __init__(self, branches: Sequence[nn.Sequential], sizes: Sequence[int], tail: nn.Sequential) -> None:
        super().__init__()
        self.branches, self.sizes, self.tail = nn.ModuleList(branches), list(sizes), tail

    def forward(self, x_NI: Tensor) -> Output:
        """All branches, then the tail."""
        return Output(self.tail(self._joined(x_NI)))

    def hidden(self, x_NI: Tensor) -> Tensor:
        """What enters the last linear layer, shape (N, H)."""
        return nn.Sequential(*before_head(self.tail))(self._joined(x_NI))

    def once(self, x_NI: Tensor) -> Columns:
        """Each branch up to its first dropout, as columns."""
        parts = zip(self.branches, x_NI.split(self.sizes, dim=1), strict=True)
        return tuple(before_dropout(branch)(part).T.contiguous() for branch, part in parts)  # type: ignore[arg-type]

    def thinned(self, masks: Masks) -> Thinned:
        """One draw; ValueError for layers that cannot be thinned, and for a network without dropout."""
        rests = [after_dropout(branch) for branch in self.branches]  # type: ignore[arg-type]
        if not any(rests) and not after_dropout(self.tail):
            raise ValueError("the network has no dropout to draw from")
        stacks = [thin(rest, masks) if rest else None for rest in rests]
        tail = thin(list(self.tail), masks)
        return lambda columns: _run(columns, stacks, tail)

    def _joined(self, x_NI: Tensor) -> Tensor:
        parts = zip(self.branches, x_NI.split(self.sizes, dim=1), strict=True)
        return torch.cat([branch(part) for branch, part in parts], dim=1)


def _run(columns: Columns, stacks: Sequence[ThinStack | None], tail: ThinStack) -> Output:
    parts = [
        column if stack is None else stack(column) for column, stack in zip(columns, stacks, strict=True)
    ]
    return Output(tail(torch.cat(parts)).T)
