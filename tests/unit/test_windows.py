"""Convolutions over windows are convolutions, with any mask, wherever windows and pieces of the work end."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from engine.draw.windows import STARS_AT_ONCE, WINDOWS_AT_ONCE, WindowedConvolution, windowed

DROPOUT = 0.3


def convolution(channels: int, filters: int, kernel: int) -> nn.Conv1d:
    torch.manual_seed(kernel)
    return nn.Conv1d(channels, filters, kernel).requires_grad_(False)


def spectra(stars: int, channels: int, pixels: int) -> Tensor:
    generator = torch.Generator().manual_seed(pixels)
    return torch.randn(stars, channels, pixels, generator=generator)


def columns(value_NCP: Tensor) -> Tensor:
    """Stars as columns; the channels of a pixel follow one another, shape (P * C, N)."""
    return value_NCP.permute(2, 1, 0).flatten(0, 1).contiguous()


def keep(pixels: int, channels: int) -> np.ndarray:
    return np.random.default_rng(pixels).random((pixels, channels)) >= DROPOUT


def same(conv: nn.Conv1d, value_NCP: Tensor) -> Tensor:
    """ReLU of what Keras calls "same": of the zeros that are added, fewer before than after."""
    (kernel,) = conv.kernel_size
    padded = functional.pad(value_NCP, ((kernel - 1) // 2, kernel // 2))
    return functional.relu(functional.conv1d(padded, conv.weight, conv.bias))


def check_activated(conv: nn.Conv1d, places: int, value_NCP: Tensor) -> None:
    ours = windowed(conv, places)
    found = ours.activated(ours.padded(columns(value_NCP)))
    torch.testing.assert_close(found, columns(same(conv, value_NCP)), rtol=1e-5, atol=1e-5)


def check_pooled(conv: nn.Conv1d, places: int, value_NCP: Tensor) -> None:
    """With a mask on the inputs; pixels beyond the last whole window are left out, as pooling does."""
    keep_PC = keep(value_NCP.shape[2], value_NCP.shape[1])
    masked = value_NCP * torch.from_numpy(keep_PC.T) / (1 - DROPOUT)
    ours = windowed(conv, places)
    found = ours.pooled(ours.padded(columns(value_NCP)), ours.mask(keep_PC, DROPOUT))
    expected = functional.max_pool1d(same(conv, masked), places)
    torch.testing.assert_close(found, columns(expected), rtol=1e-5, atol=1e-5)


@given(
    channels=st.integers(1, 3),
    filters=st.integers(1, 4),
    kernel=st.integers(1, 9),
    places=st.integers(1, 5),
    windows=st.integers(1, 40),
    left_over=st.integers(0, 4),
    stars=st.integers(1, 5),
)
@settings(max_examples=60)
def test_any_convolution(
    channels: int, filters: int, kernel: int, places: int, windows: int, left_over: int, stars: int
) -> None:
    conv = convolution(channels, filters, kernel)
    check_activated(conv, places, spectra(stars, channels, places * windows))
    check_pooled(conv, places, spectra(stars, channels, places * windows + left_over % places))


@pytest.mark.parametrize("windows", [WINDOWS_AT_ONCE - 1, WINDOWS_AT_ONCE, 2 * WINDOWS_AT_ONCE + 3])
@pytest.mark.parametrize("stars", [1, STARS_AT_ONCE - 1, STARS_AT_ONCE, 2 * STARS_AT_ONCE + 1])
def test_pieces_of_the_work_meet_without_a_seam(windows: int, stars: int) -> None:
    conv, value_NCP = convolution(2, 4, 8), spectra(stars, 2, 4 * windows)
    check_activated(conv, 4, value_NCP)
    check_pooled(conv, 4, value_NCP)


@pytest.mark.parametrize("pixels", [7514, 7513])
def test_the_two_convolutions_of_astronn(pixels: int) -> None:
    first, second, value = convolution(1, 2, 8), convolution(2, 4, 8), spectra(3, 1, pixels)
    check_activated(first, 2 - pixels % 2, value)
    check_pooled(second, 4, same(first, value))


def test_where_zeros_are_added() -> None:
    ours = windowed(convolution(2, 4, 8), 4)
    padded = ours.padded(torch.ones(10 * 2, 1))
    assert padded[:, 0].tolist() == [0.0] * 3 * 2 + [1.0] * 20 + [0.0] * 4 * 2


def test_a_draws_mask_scales_what_it_keeps() -> None:
    ours = windowed(convolution(1, 1, 3), 2)
    mask_WI = ours.mask(np.array([[True], [False], [True], [True]]), 0.5)
    assert mask_WI.tolist() == [[0, 2, 0, 2], [0, 2, 2, 0]]


def test_a_stars_numbers_do_not_depend_on_the_others() -> None:
    conv, value_NCP = convolution(2, 4, 8), spectra(160, 2, 64)
    found = activated_and_pooled(windowed(conv, 4), value_NCP)
    order = torch.randperm(160)
    mixed = activated_and_pooled(windowed(conv, 4), value_NCP[order])
    for one, other in zip(found, mixed, strict=True):
        assert torch.equal(one[:, order], other)


def activated_and_pooled(ours: WindowedConvolution, value_NCP: Tensor) -> tuple[Tensor, Tensor]:
    padded = ours.padded(columns(value_NCP))
    return ours.activated(padded), ours.pooled(padded, ours.mask(keep(64, 2), DROPOUT))
