"""One layer in words, for a Keras layer and for ours: equal words mean equal arithmetic."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import nn

from engine.draw import Branched, Chain, Network
from engine.models.keras import ChannelsLast

# What a layer does where nothing is said of it, and other ways to write the same.
PLAIN: Mapping[str, tuple[object, ...]] = {
    "activation": ("linear", None),
    "padding": ("valid",),
    "data_format": ("channels_last", None),
    "dilation_rate": (1,),
    "groups": (1,),
    "use_bias": (True,),
    "axis": (-1,),
}
# Keras flattens so that the filters of a pixel follow each other; `ChannelsLast` does the same.
SHAPING = (nn.Unflatten, ChannelsLast)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One layer of a file: its name there, what it computes in words, and its rate if it is a dropout."""

    layer: str
    text: str
    rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """One layer of our network in the same words, and the module, where it has weights."""

    text: str
    module: nn.Conv1d | nn.Linear | None = None


def _input(config: Mapping[str, Any]) -> str:
    shape = config.get("batch_input_shape") or config.get("batch_shape") or [None]
    return f"Input({prod(length for length in shape[1:] if isinstance(length, int))})"


def _leaky(slope: Any) -> str:
    return f"LeakyReLU({float(slope):.4g})" if isinstance(slope, int | float) else "LeakyReLU"


WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "InputLayer": _input,
    "Conv1D": lambda config: f"Conv1D({config.get('filters')}, {_one(config.get('kernel_size'))})",
    "MaxPooling1D": lambda config: f"MaxPooling1D({_one(config.get('pool_size'))})",
    "Dense": lambda config: f"Dense({config.get('units')})",
    # Keras 3 has another word for it.
    "LeakyReLU": lambda config: _leaky(config.get("alpha", config.get("negative_slope"))),
}


def step_of(kind: str, name: str, config: Mapping[str, Any], inputs: int) -> Step | None:
    """A Keras layer that is fed by so many others; None for one that only flattens."""
    words = [
        f"{key} {config[key]}" for key in PLAIN if _one(config.get(key, PLAIN[key][0])) not in PLAIN[key]
    ]
    if _one(config.get("strides")) not in (None, _one(config.get("pool_size", 1))):
        words.append(f"strides {config['strides']}")
    if inputs > 1 and kind != "Concatenate":
        words.append(f"{inputs} inputs")
    if kind == "Flatten" and not words:
        return None
    text = f"Concatenate({inputs})" if kind == "Concatenate" else WORDS.get(kind, lambda _: kind)(config)
    text = f"{text} with {', '.join(words)}" if words else text
    rate = config.get("rate")
    return Step(layer=name, text=text, rate=rate if isinstance(rate, int | float) else None)


def steps_of_ours(network: Network, inputs: int) -> list[Ours]:
    """The steps of our network, from inputs to output, branches one after another before they are joined."""
    if isinstance(network, Chain):
        return [Ours(text=f"Input({inputs})"), *_layers(network.layers)]
    assert isinstance(network, Branched)
    found = []
    for size, branch in zip(network.sizes, network.branches, strict=True):
        found += [Ours(text=f"Input({size})"), *_layers(branch)]
    return [*found, Ours(text=f"Concatenate({len(network.sizes)})"), *_layers(network.tail)]


def _layers(layers: nn.Module) -> list[Ours]:
    return [_layer(layer) for layer in layers.children() if not isinstance(layer, SHAPING)]


def _layer(layer: nn.Module) -> Ours:
    match layer:
        case nn.Conv1d():
            return Ours(text=f"Conv1D({layer.out_channels}, {layer.kernel_size[0]})", module=layer)
        case nn.Linear():
            return Ours(text=f"Dense({layer.out_features})", module=layer)
        case nn.MaxPool1d():
            return Ours(text=f"MaxPooling1D({layer.kernel_size})")
        case nn.LeakyReLU():
            return Ours(text=_leaky(layer.negative_slope))
    assert isinstance(layer, nn.Dropout), layer
    return Ours(text="Dropout")


def _one(value: Any) -> Any:
    """A list of one number as that number."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
