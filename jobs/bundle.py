"""The `bundle` commands: show, verify, export, gradients."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.markup import escape

from engine.draw import Network, bank_of
from engine.errors import BundleError, InputError, RunError
from engine.models.bundle import CARD, WEIGHTS, bundle_digest, load_card
from engine.models.card import Card
from engine.models.export import EXPORTS, TOLERANCE, Exported, about_card, export
from engine.models.model import Model, architecture_of, load_model
from engine.spec import Sampling
from engine.train.report import gradients_of
from engine.types import Spectrograph
from jobs.card_page import card_page
from jobs.progress import say

STARS = 3
FORMATS = {"onnx": "ONNX", "torchscript": "TorchScript"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A bundle that was read in full."""

    card: Card
    model: Model
    networks: tuple[Network, ...]


def show_bundle(folder: Path) -> str:
    """The card of a bundle as Markdown; BundleError when it has none."""
    return card_page(load_card(folder), bundle_digest(folder))


def verify_bundle(folder: Path) -> str:
    """One sentence on a sound bundle; BundleError where there is none, RunError for one that is not sound."""
    if not any((folder / name).exists() for name in (CARD, WEIGHTS)):
        raise BundleError(f"{folder} is no bundle: there is neither {CARD} nor {WEIGHTS}")
    try:
        loaded = _load(folder)
    except BundleError as error:
        raise RunError(str(error)) from error
    _try(loaded)
    card = loaded.card
    networks = f"{card.members} networks" if card.members > 1 else "one network"
    errors = "calibrated errors" if card.sampling else "uncalibrated errors"
    return (
        f"OK: {card.name}, {networks} of {card.architecture}, {len(card.labels)} labels, {errors}; "
        f"card and weights are as they were written (sha256 {bundle_digest(folder)})"
    )


def _load(folder: Path) -> Loaded:
    """Card, hashes, names, shapes and values of all arrays, and networks that can hold them."""
    card = load_card(folder)
    architecture = architecture_of(card)
    wanted = architecture.input
    nowhere = Spectrograph(arms=(), frame=wanted.frame, medium=wanted.medium)
    sampling = card.sampling or architecture.sampling
    model, networks = load_model(folder, keys=(), spectrograph=nowhere, sampling=sampling)
    return Loaded(card=card, model=model, networks=networks)


def _try(loaded: Loaded) -> None:
    """RunError unless every network answers zeros and noise with numbers, and so does a draw of it."""
    generator = torch.Generator().manual_seed(1)
    noise_NI = torch.randn((STARS, loaded.model.architecture.inputs), generator=generator)
    sampling = loaded.card.sampling or loaded.model.architecture.sampling
    one = Sampling(draws=min(1, sampling.draws), seed=sampling.seed, noise=sampling.noise)
    for number, network in enumerate(loaded.networks, start=1):
        for what, x_NI in (("zeros", torch.zeros_like(noise_NI)), ("noise", noise_NI)):
            if not _finite(network, one, x_NI):
                raise RunError(f"network {number} of {loaded.card.name} answers {what} with NaN: train anew")


def _finite(network: Network, sampling: Sampling, x_NI: torch.Tensor) -> bool:
    with torch.inference_mode():
        bank = bank_of(network, sampling, torch.device("cpu"))
        outputs = (network(x_NI), bank.draws(bank.once(x_NI)))
        parts = [part for output in outputs for part in output if part is not None]
    return all(bool(np.isfinite(part.numpy()).all()) for part in parts)


def draw_bundle(folder: Path, file: Path | None, within: tuple[float, float] | None) -> None:
    """Draw the gradients of a bundle's labels, and say where: in a new file, else in the training's report.

    InputError where there is nothing to draw, or no place for it.
    """
    # Matplotlib is slow to import, and the other commands need none.
    from jobs.training_report import add_gradients, draw_gradients, report_place

    if file is None and within is not None:
        raise InputError("--within draws a part of the spectrum, into a file of its own: give --out FILE.png")
    if file is not None and file.exists():
        raise InputError(f"{file} exists; choose another name, or delete it")
    loaded = _load(folder)
    found, card = gradients_of(loaded.model, loaded.networks), loaded.card
    if file is None:
        place = add_gradients(report_place(folder), card, found)
    else:
        labels, place = card.labels[: card.outputs], file
        names, units = ([getattr(label, part) for label in labels] for part in ("name", "unit"))
        draw_gradients(found, names, units, file, within)
    say(escape(f"Gradients of {card.outputs} labels of {card.name} at its mean training spectrum: {place}"))


def export_bundle(folder: Path, kind: str, file: Path) -> None:
    """Write the networks of a bundle to a new file for other programs, and say how it was checked."""
    if kind not in EXPORTS:
        raise InputError(f"--to {kind!r} is unknown; known: {', '.join(EXPORTS)}")
    loaded = _load(folder)
    model, card = loaded.model, loaded.card
    module = Exported(loaded.networks, model.architecture, model.input_scale, model.labelling.scale)
    about = about_card(card, model.architecture, bundle_digest(folder))
    checked = export(kind, module, about, file)
    what = f"{about['inputs']} -> {about['labels']}, of {card.members} network(s)"
    remark = "without dropout or calibrated errors"
    say(escape(f"{FORMATS[kind]} in {file}: {what}, {remark}. {_checked(kind, checked)}"))


def _checked(kind: str, checked: bool) -> str:
    if checked:
        return f"It was read back and agrees within {TOLERANCE:g} of each label's scale"
    return f"It was not run: install onnxruntime to have an export to {FORMATS[kind]} checked"
