"""What a bundle's arrays must be: one table of names, shapes and values, made from its card."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from engine.draw import Network
from engine.errors import BundleError
from engine.models.architecture import Architecture
from engine.models.card import Card
from engine.support import PIXEL_SCORES
from engine.types import Bools, Floats

Rule: TypeAlias = tuple[str, Callable[[Floats], Bools]]

FINITE: Rule = ("finite", np.isfinite)
SCALE: Rule = ("finite and above 0", lambda x: np.isfinite(x) & (x > 0))
# An input that the model does not use has an infinite scale; a model that uses none is no model.
INPUT_SCALE: Rule = ("above 0, and finite for the inputs in use", lambda x: (x > 0) & np.isfinite(x).any())
SCATTER: Rule = ("finite and not below 0", lambda x: np.isfinite(x) & (x >= 0))

ANY = -1
"""A length that the file itself decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The shape of one array, and what all its values are."""

    shape: tuple[int, ...]
    rule: Rule = FINITE


def expected_arrays(card: Card, network: nn.Module, architecture: Architecture) -> dict[str, Expected]:
    """Every array that belongs to a card; of `network`, one of its members, only the shapes count."""
    table = {
        f"network.{member}.{name}": Expected(shape=tuple(value.shape))
        for member in range(card.members)
        for name, value in network.state_dict().items()
    }
    table |= {
        "input.centre": Expected(shape=(architecture.inputs,)),
        "input.scale": Expected(shape=(architecture.inputs,), rule=INPUT_SCALE),
        "label.centre": Expected(shape=(card.outputs,)),
        "label.scale": Expected(shape=(card.outputs,), rule=SCALE),
    }
    return table | _expected_support(card, network, architecture)


def _expected_support(card: Card, network: nn.Module, architecture: Architecture) -> dict[str, Expected]:
    """What each score that the card has a threshold of needs."""
    table: dict[str, Expected] = {}
    if not PIXEL_SCORES.isdisjoint(card.thresholds):
        pixels = architecture.input.pixels
        table |= {
            "support.mean": Expected(shape=(pixels,)),
            "support.components": Expected(shape=(ANY, pixels)),
            "support.scatter": Expected(shape=(pixels,), rule=SCATTER),
        }
    if "support_mahalanobis" in card.thresholds:
        table["support.label_centre"] = Expected(shape=(card.outputs,))
        table["support.label_whitener"] = Expected(shape=(card.outputs, card.outputs))
    if "support_neighbours" in card.thresholds:
        table["support.label_points"] = Expected(shape=(ANY, card.outputs))
    if "support_hidden" in card.thresholds:
        units = _hidden_units(network, architecture)
        table["support.hidden_centre"] = Expected(shape=(units,))
        table["support.hidden_whitener"] = Expected(shape=(units, units))
    return table


def _hidden_units(network: nn.Module, architecture: Architecture) -> int:
    """The width of the last hidden layer, found without computing anything."""
    assert isinstance(network, Network)
    return network.hidden(torch.empty((1, architecture.inputs), device="meta")).shape[1]


def check_arrays(where: str, arrays: Mapping[str, np.ndarray], table: Mapping[str, Expected]) -> None:
    """BundleError that lists every array that is missing, unknown, of another shape or of wrong values."""
    problems = [f"{name} is unknown" for name in arrays if name not in table]
    for name, expected in table.items():
        if name not in arrays:
            problems.append(f"{name} is missing, expected shape {_written(expected.shape)}")
        elif problem := _problem(arrays[name], expected):
            problems.append(f"{name} {problem}")
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise BundleError(
            f"{where}: weights and card do not fit together:\n{listed}\nTrain anew, or copy the bundle again."
        )


def _problem(array: np.ndarray, expected: Expected) -> str | None:
    fits = array.ndim == len(expected.shape) and all(
        found > 0 if want == ANY else found == want
        for found, want in zip(array.shape, expected.shape, strict=True)
    )
    if not fits:
        return f"has shape {_written(array.shape)}, expected {_written(expected.shape)}"
    what, holds = expected.rule
    bad = int(array.size - np.count_nonzero(holds(array)))
    return f"has {bad} of {array.size} values that are not {what}" if bad else None


def _written(shape: tuple[int, ...]) -> str:
    return f"({', '.join('any' if length == ANY else str(length) for length in shape)})"
