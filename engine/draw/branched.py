"""Networks that read several inputs, each with a branch of its own, and join them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.draw.chain import after_dropout, before_dropout, before_head
from engine.draw.grouped import group
from engine.draw.masks import Masks
from engine.draw.network import Columns, Drawn, Network, Output, Outputs, Thinned
from engine.draw.thin import ThinStack, thin


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
        stacks, tail = self._stacks(masks)

        def draw(columns: Columns) -> Output:
            pairs = zip(columns, stacks, strict=True)
            parts = [column if stack is None else stack(column) for column, stack in pairs]
            return Output(tail(torch.cat(parts)).T)

        return draw

    def grouped(self, masks_K: Sequence[Masks]) -> Drawn:
        """All draws of each layer together."""
        stacks_KB, tail_K = zip(*(self._stacks(masks) for masks in masks_K), strict=True)
        stacks = [None if None in stacks_K else group(stacks_K) for stacks_K in zip(*stacks_KB, strict=True)]
        tail, draws = group(tail_K), len(tail_K)

        def draw(columns: Columns) -> Outputs:
            pairs = zip(columns, stacks, strict=True)
            parts = [
                column.expand(draws, -1, -1) if stack is None else stack(column[None])
                for column, stack in pairs
            ]
            return Outputs(tail(torch.cat(parts, dim=1)).mT)

        return draw

    def _stacks(self, masks: Masks) -> tuple[list[ThinStack | None], ThinStack]:
        """One draw of each branch, None of one without dropout, and of the tail."""
        rests = [after_dropout(branch) for branch in self.branches]  # type: ignore[arg-type]
        if not any(rests) and not after_dropout(self.tail):
            raise ValueError("the network has no dropout to draw from")
        return [thin(rest, masks) if rest else None for rest in rests], thin(list(self.tail), masks)

    def _joined(self, x_NI: Tensor) -> Tensor:
        parts = zip(self.branches, x_NI.split(self.sizes, dim=1), strict=True)
        return torch.cat([branch(part) for branch, part in parts], dim=1)
