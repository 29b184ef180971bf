"""A bundle as one file for other programs: its networks without dropout, scalers folded in.

Legend: N stars, I inputs (pixels, then extras), M members, L labels.
"""

import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.draw import Network
from engine.errors import BundleError, InputError
from engine.models.architecture import Architecture
from engine.models.card import Card
from engine.prepare.scale import Affine

INPUT, OUTPUTS = "inputs", ("labels", "noise")
# Of a label's scale: what another program's arithmetic may differ by.
TOLERANCE = 1e-5
ONNX_NEEDS = ("onnx", "onnxscript")


class Exported(nn.Module):
    """The members of an ensemble on inputs as they are prepared: labels, shape (M, N, L), in their units.

    Inputs are normalised fluxes, then extras, before any scaling. A pixel that is NaN counts as missing; an
    extra that is NaN makes all labels NaN. Networks with a variance of their own give its root as well.
    """

    def __init__(
        self, networks: Sequence[Network], architecture: Architecture, inputs: Affine, labels: Affine
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(networks)
        self.noise = _predicts_noise(networks[0], architecture.inputs)
        inverse_I = np.where(np.isfinite(inputs.scale), 1 / inputs.scale, 0)
        missing_I = inputs.centre if architecture.input.missing == "centre" else np.ones_like(inputs.centre)
        missing_I = np.where(np.arange(architecture.inputs) < architecture.input.pixels, missing_I, np.nan)
        self.centre_I, self.inverse_I, self.missing_I = map(_buffer, (inputs.centre, inverse_I, missing_I))
        self.label_centre_L, self.label_scale_L = _buffer(labels.centre), _buffer(labels.scale)

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Labels, and their noise where the networks predict it."""
        given = torch.where(torch.isnan(inputs), self.missing_I, inputs)
        found = [member((given - self.centre_I) * self.inverse_I) for member in self.members]
        labels = torch.stack([output.value_NL for output in found]) * self.label_scale_L + self.label_centre_L
        if not self.noise:
            return labels
        sigma = torch.stack([torch.exp(0.5 * output.log_variance_NL) for output in found])
        return labels, sigma * self.label_scale_L


def _buffer(array: np.ndarray) -> nn.Buffer:
    return nn.Buffer(torch.from_numpy(np.asarray(array, np.float32)))


def _predicts_noise(network: Network, inputs: int) -> bool:
    with torch.inference_mode():
        return network(torch.zeros((1, inputs))).log_variance_NL is not None


def sample_inputs(module: Exported, stars: int) -> Tensor:
    """Inputs to try an export with: training-set centres, noise around them, and a missing pixel."""
    generator = torch.Generator().manual_seed(1)
    noise_NI = torch.randn((stars, len(module.centre_I)), generator=generator)
    scale_I = torch.where(module.inverse_I > 0, 1 / module.inverse_I, 0.0)
    x_NI = module.centre_I + noise_NI * scale_I
    x_NI[:, 0] = torch.nan if torch.isfinite(module.missing_I[0]) else x_NI[:, 0]
    return x_NI


def export_torchscript(module: Exported, about: Mapping[str, str], path: Path) -> bool:
    """Write TorchScript, with `about` as extra files; True: what was written was read and agrees."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, (sample_inputs(module, 3),), check_trace=False)
        torch.jit.save(traced, str(path), _extra_files=dict(about))
        read = torch.jit.load(str(path))
        _compare(module, lambda x_NI: read(x_NI))
    return True


def export_onnx(module: Exported, about: Mapping[str, str], path: Path) -> bool:
    """Write ONNX, with `about` as metadata; True: onnxruntime is there, ran it, and agrees.

    InputError where the packages that write it are not installed.
    """
    if absent := [name for name in ONNX_NEEDS if importlib.util.find_spec(name) is None]:
        raise InputError(f"--to onnx needs {' and '.join(absent)}: pip install {' '.join(absent)}")
    program = _onnx(module)
    program.model.metadata_props.update(about)
    program.save(str(path), external_data=False)
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    onnxruntime: Any = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    _compare(module, lambda x_NI: [torch.from_numpy(y) for y in session.run(None, {INPUT: x_NI.numpy()})])
    return True


def _onnx(module: Exported) -> Any:
    """The exporter's own talk on stdout and in its log is not for the user."""
    names = OUTPUTS if module.noise else OUTPUTS[:1]
    sizes = {INPUT: {0: torch.export.Dim("stars")}}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            module,
            (sample_inputs(module, 3),),
            input_names=[INPUT],
            output_names=list(names),
            dynamic_shapes=sizes,
            dynamo=True,
        )


def _compare(module: Exported, other: Callable[[Tensor], Any]) -> None:
    """BundleError unless another program gives our labels, for more stars than it was made with."""
    with torch.inference_mode():
        x_NI = sample_inputs(module, 5)
        ours, theirs = module(x_NI), other(x_NI)
        ours = ours if isinstance(ours, tuple) else (ours,)
        theirs = theirs if isinstance(theirs, tuple | list) else (theirs,)
        pairs = zip(ours, theirs, strict=True)
        far = max(float(((a - b) / module.label_scale_L).abs().max()) for a, b in pairs)
    if not far <= TOLERANCE:
        raise BundleError(
            f"the export differs from the networks by {far:.1e} of a label's scale: not written"
        )


EXPORTS: Mapping[str, Callable[[Exported, Mapping[str, str], Path], bool]] = {
    "onnx": export_onnx,
    "torchscript": export_torchscript,
}


def export(kind: str, module: Exported, about: Mapping[str, str], path: Path) -> bool:
    """Write a new file of a kind in EXPORTS; whether it was run and agrees with us within TOLERANCE.

    InputError for a file that exists, and for networks that the kind cannot say; nothing is then left of it.
    """
    if path.exists():
        raise InputError(f"{path} exists; choose another FILE, or delete it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        checked = EXPORTS[kind](module.eval(), about, beside)
        beside.rename(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error}") from error
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        [reason, *_] = str(error).splitlines() or [type(error).__name__]
        raise InputError(f"this network cannot be written as {kind}: {reason}") from error
    finally:
        beside.unlink(missing_ok=True)
    return checked


def about_card(card: Card, architecture: Architecture, digest: str) -> dict[str, str]:
    """What an exported file says of itself."""
    outputs = card.labels[: card.outputs]
    extras = [f"{extra.name} ({extra.size})" for extra in architecture.extras]
    pixels = f"{architecture.input.pixels} normalised pixels, {architecture.input.frame} frame"
    return {
        "name": card.name,
        "architecture": card.architecture,
        "licence": card.licence,
        "bundle_sha256": digest,
        "weights_sha256": card.weights_sha256,
        "inputs": ", ".join((pixels, architecture.input.medium, *extras)),
        "labels": ", ".join(label.name for label in outputs),
        "units": ", ".join(label.unit for label in outputs),
        "errors": "none: an export is its networks without dropout; calibrated errors need abundant itself",
    }
