"""A bundle on disk: model.safetensors and card.toml. Nothing in it is ever executed or unpickled."""

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import tomli_w
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from engine.errors import BundleError
from engine.models.card import Card
from engine.spec import complaints

WEIGHTS, CARD = "model.safetensors", "card.toml"


def save_bundle(folder: Path, card: Card, arrays: dict[str, np.ndarray]) -> Card:
    """Write a new bundle and return its card, completed with the hash of its weights.

    BundleError if the folder already holds something: a bundle is never changed in place.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BundleError(f"{folder} is not empty; choose another [bundle] out, or delete it")
    folder.mkdir(parents=True, exist_ok=True)
    weights = save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    card = card.model_copy(update={"weights_sha256": hashlib.sha256(weights).hexdigest()})
    (folder / WEIGHTS).write_bytes(weights)
    (folder / CARD).write_text(
        tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)), encoding="utf-8"
    )
    return card


def load_card(folder: Path) -> Card:
    """The card of a bundle; BundleError when it is missing or malformed."""
    path = folder / CARD
    try:
        return Card.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BundleError(
            f"{folder} is no bundle: there is no {CARD}. `abundant train` writes bundles."
        ) from None
    except ValidationError as error:
        raise BundleError(f"{path}: not a model card:\n{complaints(error, Card)}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BundleError(f"{path}: not a model card: {error}") from error


def load_weights(folder: Path, card: Card) -> dict[str, np.ndarray]:
    """The arrays of a bundle, after their hash was compared with the card's; BundleError otherwise."""
    path = folder / WEIGHTS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != card.weights_sha256:
        raise BundleError(
            f"{path}: sha256 is {found}, the card says {card.weights_sha256}: "
            "the weights were altered or cut short. Copy the bundle again."
        )
    try:
        return load_arrays(content)
    except SafetensorError as error:
        raise BundleError(f"{path}: not a safetensors file: {error}") from error


def bundle_digest(folder: Path) -> str:
    """sha256 of the card, which holds that of the weights: one hash for the whole bundle."""
    load_card(folder)
    return hashlib.sha256((folder / CARD).read_bytes()).hexdigest()
