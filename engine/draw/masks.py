"""Dropout masks as a pure function of (seed, draw, layer): Philox, a counter-based generator."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.types import Bools


def keep_mask(seed: int, draw: int, layer: int, units: int, dropout: float) -> Bools:
    """Which units draw k keeps in dropout layer l: Philox4x64 keyed by (seed, k, l), shape (units,)."""
    generator = np.random.Generator(np.random.Philox(key=[seed, (draw << 32) | layer]))
    return generator.random(units) >= dropout


@dataclass(slots=True, kw_only=True)
class Masks:
    """The masks of one draw, handed out layer by layer in the order in which a network asks for them."""

    seed: int
    draw: int
    device: torch.device
    layer: int = 0

    def keep(self, units: int, dropout: float) -> Bools:
        """The mask of the next dropout layer, shape (units,)."""
        mask = keep_mask(self.seed, self.draw, self.layer, units, dropout)
        self.layer += 1
        return mask

    def kept(self, units: int, dropout: float) -> Tensor:
        """The units that the next dropout layer keeps, as ascending indices; all of them where it is 0."""
        if dropout == 0:
            return torch.arange(units, device=self.device)
        return torch.from_numpy(np.flatnonzero(self.keep(units, dropout))).to(self.device)
