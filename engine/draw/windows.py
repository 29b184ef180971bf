"""Convolutions of few channels as matrix products over windows: mask, convolve, ReLU, pool.

Such a convolution is bound by memory. Here stars are columns: the pixels that neighbouring outputs see are a
block of rows, the blocks of consecutive windows overlap in memory (no copy), and a draw's dropout mask, the
same for every star, goes into a small matrix of weights for each window.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.types import Bools

# Few enough that products still lie in a processor's cache when they are used; a card takes all at once.
WINDOWS_AT_ONCE, STARS_AT_ONCE = 128, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowedConvolution:
    """A "same" convolution, O filters of C channels, computed for windows of `places` neighbouring outputs.

    `weight_QI`: rows are the places of a window, the filters of each one after another; columns are the
    pixels that the window sees, the channels of each one after another.
    """

    weight_QI: Tensor
    bias_O: Tensor
    kernel: int
    channels: int
    places: int

    def padded(self, columns: Tensor) -> Tensor:
        """Columns (P * C, N) with the zeros that "same" adds: as in Keras, less before than after."""
        before, after = (self.kernel - 1) // 2, self.kernel - 1 - (self.kernel - 1) // 2
        return nn.functional.pad(columns, (0, 0, before * self.channels, after * self.channels))

    def mask(self, keep_PC: Bools, dropout: float) -> Tensor:
        """What dropout multiplies the inputs of each of W windows with, (W, I)."""
        factor = torch.from_numpy(keep_PC.reshape(-1, 1)).to(self.weight_QI) / (1 - dropout)
        return self.padded(factor)[:, 0].unfold(0, self._width, self._step).contiguous()

    def activated(self, padded: Tensor) -> Tensor:
        """ReLU of the convolution as columns, (P * O, N), for P a multiple of `places`."""
        windows = (len(padded) - self._width) // self._step + 1
        everything = self.weight_QI.new_ones((windows, self._width))
        filters, stars = len(self.bias_O), padded.shape[1]
        value = padded.new_empty((windows, self.places, filters, stars))
        for part, some, product in self._products(padded, everything):
            value[part, :, :, some] = product
        return value.add_(self.bias_O[:, None]).relu_().view(-1, stars)

    def pooled(self, padded: Tensor, mask_WI: Tensor) -> Tensor:
        """ReLU of the greatest masked value of each window and filter, (W * O, N), windows slowest."""
        filters, stars = len(self.bias_O), padded.shape[1]
        value = padded.new_empty((len(mask_WI), filters, stars))
        for part, some, product in self._products(padded, mask_WI):
            value[part, :, some] = product.amax(dim=1)
        return value.add_(self.bias_O[:, None]).relu_().view(-1, stars)

    def pooled_together(self, padded: Tensor, mask_KWI: Tensor) -> Tensor:
        """`pooled` of K draws, (K, W * O, N): one product a window, its draws below one another."""
        draws, windows, _ = mask_KWI.shape
        filters, stars = len(self.bias_O), padded.shape[1]
        weight = (self.weight_QI * mask_KWI.transpose(0, 1)[:, :, None]).flatten(1, 2)
        product = torch.bmm(weight, self._windows(padded, slice(0, windows), slice(0, stars)))
        value = product.view(windows, draws, self.places, filters, stars).amax(dim=2)
        value = value.add_(self.bias_O[:, None]).relu_()
        return value.transpose(0, 1).reshape(draws, windows * filters, stars)

    def _products(self, padded: Tensor, mask_WI: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
        """Some windows, some stars, and their products, (windows, places, O, stars)."""
        windows, stars = len(mask_WI), padded.shape[1]
        on_card = padded.device.type != "cpu"
        for part in _parts(windows, windows if on_card else WINDOWS_AT_ONCE):
            weight = self.weight_QI * mask_WI[part, None, :]
            for some in _parts(stars, stars if on_card else STARS_AT_ONCE):
                product = torch.bmm(weight, self._windows(padded, part, some))
                yield part, some, product.view(len(weight), self.places, len(self.bias_O), -1)

    def _windows(self, padded: Tensor, part: slice, some: slice) -> Tensor:
        """What some windows see of some stars, (windows, I, stars): they overlap in memory."""
        row = padded.stride(0)
        start = padded.storage_offset() + part.start * self._step * row + some.start
        shape = (part.stop - part.start, self._width, some.stop - some.start)
        return padded.as_strided(shape, (self._step * row, row, 1), start)

    @property
    def _width(self) -> int:
        """Inputs that one window sees."""
        return (self.places + self.kernel - 1) * self.channels

    @property
    def _step(self) -> int:
        """Inputs from one window to the next."""
        return self.places * self.channels


def _parts(count: int, at_once: int) -> Iterator[slice]:
    return (slice(first, min(first + at_once, count)) for first in range(0, count, at_once))


def windowed(convolution: nn.Conv1d, places: int) -> WindowedConvolution:
    """The same arithmetic as a convolution with "same" padding, for windows of `places` outputs."""
    weight_OCK = convolution.weight
    filters, channels, kernel = weight_OCK.shape
    weight = weight_OCK.new_zeros((places, filters, places + kernel - 1, channels))
    for place in range(places):
        weight[place, :, place : place + kernel] = weight_OCK.transpose(1, 2)
    assert convolution.bias is not None
    return WindowedConvolution(
        weight_QI=weight.reshape(places * filters, -1),
        bias_O=convolution.bias,
        kernel=kernel,
        channels=channels,
        places=places,
    )
