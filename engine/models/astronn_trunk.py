"""What AstroNN's networks begin with: two convolutions, pooling, two dense layers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.draw import Masks
from engine.draw.grouped import group
from engine.draw.thin import ThinStack, thin
from engine.draw.windows import WindowedConvolution, windowed

KERNEL, POOL, FILTERS = 8, 4, (2, 4)
# A draw of the second convolution takes 60 MB for 512 stars until it is pooled.
DRAWS_TOGETHER = 10


class Trunk(nn.Module):
    """Pixels -> outputs, in the shapes of the public code (astroNN models/apogee_models.py)."""

    def __init__(self, pixels: int, hidden: tuple[int, int], outputs: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, FILTERS[0], KERNEL)
        self.conv2 = nn.Conv1d(FILTERS[0], FILTERS[1], KERNEL)
        self.dense1 = nn.Linear(pixels // POOL * FILTERS[1], hidden[0])
        self.dense2 = nn.Linear(hidden[0], hidden[1])
        self.head = nn.Linear(hidden[1], outputs)
        self.drop = nn.Dropout(dropout)
        self.pixels = pixels
        as_published(self)

    def forward(self, x_NI: Tensor) -> Tensor:
        """Outputs of N stars; in training mode with random dropout."""
        return self.head(self.hidden(x_NI))

    def hidden(self, x_NI: Tensor) -> Tensor:
        """What enters the head, shape (N, H). Filters follow each other within a pixel, as Keras flattens."""
        value = functional.relu(self.conv2(_padded(self.drop(self._first(x_NI)))))
        flat = functional.max_pool1d(value, POOL).transpose(1, 2).flatten(1)
        return functional.relu(self.dense2(self.drop(functional.relu(self.dense1(self.drop(flat))))))

    def once(self, x_NI: Tensor) -> Tensor:
        """The first convolution as columns with the zeros of the second around them, for all draws."""
        # Windows of two outputs where they fill the spectrum, else of one.
        first = windowed(self.conv1, 2 - self.pixels % 2)
        return windowed(self.conv2, POOL).padded(first.activated(first.padded(x_NI.T)))

    def thinned(self, masks: Masks) -> Callable[[Tensor], Tensor]:
        """One draw: what `once` gave -> outputs as columns, (O, N)."""
        second = windowed(self.conv2, POOL)
        mask_WI, stack = self._drawn(second, masks)
        return lambda columns: stack(second.pooled(columns, mask_WI))

    def grouped(self, masks_K: Sequence[Masks]) -> Callable[[Tensor], Tensor]:
        """All draws: what `once` gave -> outputs as columns, (K, O, N)."""
        second = windowed(self.conv2, POOL)
        parts = [masks_K[i : i + DRAWS_TOGETHER] for i in range(0, len(masks_K), DRAWS_TOGETHER)]
        drawn = [[self._drawn(second, masks) for masks in part] for part in parts]
        pairs = [
            (torch.stack([mask_WI for mask_WI, _ in part]), group([stack for _, stack in part]))
            for part in drawn
        ]
        return lambda columns: torch.cat(
            [stacks(second.pooled_together(columns, mask_KWI)) for mask_KWI, stacks in pairs]
        )

    def _drawn(self, second: WindowedConvolution, masks: Masks) -> tuple[Tensor, ThinStack]:
        """One draw of the second convolution's inputs, and of what comes after it."""
        keep = masks.keep(self.pixels * FILTERS[0], self.drop.p).reshape(self.pixels, FILTERS[0])
        layers = [self.drop, self.dense1, nn.ReLU(), self.drop, self.dense2, nn.ReLU(), self.head]
        return second.mask(keep, self.drop.p), thin(layers, masks)

    def _first(self, x_NI: Tensor) -> Tensor:
        return functional.relu(self.conv1(_padded(x_NI[:, None])))


def _padded(value: Tensor) -> Tensor:
    """Zeros as Keras adds them for "same": less before than after."""
    return functional.pad(value, ((KERNEL - 1) // 2, KERNEL - 1 - (KERNEL - 1) // 2))


def as_published(network: nn.Module) -> None:
    """Initial weights of astroNN: normal with a sigma of 0.05; biases 0."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=0.05)
