"""The steps of a Keras model, from the JSON that it was saved with: data, of which nothing is run."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from engine.errors import BundleError
from engine.models.importing.steps import Step, step_of

# No published network has as many layers; a graph that goes in circles has.
LONGEST = 200


class _Layer(BaseModel):
    class_name: str
    config: dict[str, Any]
    inbound_nodes: list[Any] = []

    @property
    def name(self) -> str:
        return str(self.config.get("name"))


class _Graph(BaseModel):
    layers: list[_Layer]
    output_layers: list[Any] = []


class _Model(BaseModel):
    class_name: str
    config: _Graph


def steps_of(where: str, model_config: str) -> list[Step]:
    """The steps from inputs to output, branches one after another before the layer that joins them.

    Flattening is left out: the shapes of the arrays around it tell. BundleError for JSON that is no Keras
    model of one output.
    """
    try:
        model = _Model.model_validate_json(model_config)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BundleError(f"{where}: model_config is no Keras model: {place}: {first['msg']}") from None
    layers = model.config.layers
    if model.class_name == "Sequential":
        found = [step_of(layer.class_name, layer.name, layer.config, 1) for layer in layers]
        return [step for step in found if step is not None]
    outputs = _sources(model.config.output_layers)
    if len(outputs) != 1:
        raise BundleError(f"{where}: model_config has {len(outputs)} outputs, expected one")
    steps: list[Step] = []
    _follow(where, outputs[0], {layer.name: layer for layer in layers}, steps, 0)
    return steps


def _follow(where: str, name: str, layers: Mapping[str, _Layer], steps: list[Step], depth: int) -> None:
    """Append the steps of what feeds a layer, then its own."""
    if name not in layers:
        raise BundleError(f"{where}: model_config joins layer {name!r}, which it does not have")
    if depth > LONGEST or len(steps) > LONGEST:
        raise BundleError(f"{where}: model_config has more than {LONGEST} layers in a row")
    layer = layers[name]
    sources = _sources(layer.inbound_nodes)
    for source in sources:
        _follow(where, source, layers, steps, depth + 1)
    step = step_of(layer.class_name, name, layer.config, len(sources))
    steps += [] if step is None else [step]


def _sources(node: Any) -> list[str]:
    """Names of the layers that a node comes from, as Keras 2 writes them and as Keras 3 does."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            return _sources(node.get("config", {}).get("keras_history"))
        return [name for part in node.values() for name in _sources(part)]
    if not isinstance(node, list) or not node:
        return []
    if isinstance(node[0], str):
        return [node[0]]
    return [name for part in node for name in _sources(part)]
