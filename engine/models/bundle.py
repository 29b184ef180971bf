"""A bundle on disk: model.safetensors and card.toml. Nothing in it is ever executed or unpickled.

Each file vouches for the other: the card holds the sha256 of the weights, and the weights' header the digest
of the card without that line.
"""

import hashlib
import os
import secrets
import tomllib
from pathlib import Path

import numpy as np
import tomli_w
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_arrays

from engine.errors import BundleError
from engine.models.card import Card
from engine.toml import complaints, strictly

WEIGHTS, CARD = "model.safetensors", "card.toml"
_CARD_KEY = "card_sha256"
_REMEDY = "Copy the bundle again or train anew; a bundle is never changed in place."


def check_place(folder: Path) -> None:
    """BundleError unless a new bundle can be written to `folder`, which is tried out beside it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(f"{folder} is not empty; choose another [bundle] out, or delete it")
    trial = _beside(folder)
    try:
        trial.mkdir(parents=True)
        trial.rmdir()
    except OSError as error:
        raise BundleError(
            f"{folder} cannot be written: {error.strerror}; choose another [bundle] out"
        ) from error


def save_bundle(folder: Path, card: Card, arrays: dict[str, np.ndarray]) -> Card:
    """Write a new bundle and return its card, completed with the hash of its weights.

    Both files are written to a folder beside it, which then takes its name: half a bundle never bears it.
    BundleError if the folder already holds something, or cannot be written: a finished bundle is then kept
    where the message says.
    """
    check_place(folder)
    weights = save_arrays(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, {_CARD_KEY: card.digest()}
    )
    card = card.model_copy(update={"weights_sha256": hashlib.sha256(weights).hexdigest()})
    text = tomli_w.dumps(card.model_dump(mode="json", exclude_none=True))
    beside = _beside(folder)
    try:
        beside.mkdir()
        _write(beside / WEIGHTS, weights)
        _write(beside / CARD, text.encode())
        _sync(beside)
        # Takes the place of an empty folder, and fails on any other.
        beside.rename(folder.resolve())
        _sync(folder.resolve().parent)
    except OSError as error:
        raise BundleError(f"{folder} cannot be written: {error}; what there is of it is {beside}") from error
    return card


def _beside(folder: Path) -> Path:
    """A new name in the folder's own parent, so that a rename stays within one file system."""
    real = folder.resolve()
    return real.with_name(f".{real.name}.{secrets.token_hex(4)}")


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_card(folder: Path) -> Card:
    """The card of a bundle; BundleError when it is missing or malformed."""
    path = folder / CARD
    try:
        return strictly(tomllib.loads(path.read_text(encoding="utf-8")), Card)
    except FileNotFoundError:
        raise BundleError(
            f"{folder} is no bundle: there is no {CARD}. `abundant train` writes bundles."
        ) from None
    except ValidationError as error:
        raise BundleError(f"{path}: not a model card:\n{complaints(error, Card)}\n{_REMEDY}") from None
    except (OSError, UnicodeDecodeError, TypeError, tomllib.TOMLDecodeError) as error:
        raise BundleError(f"{path}: not a model card: {error}. {_REMEDY}") from error


def load_weights(folder: Path, card: Card) -> dict[str, np.ndarray]:
    """The arrays of a bundle, all float32; BundleError when weights or card are not as they were written."""
    path = folder / WEIGHTS
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != card.weights_sha256:
            raise BundleError(
                f"{path}: sha256 is {found}, the card says {card.weights_sha256}: the weights were altered, "
                f"cut short or belong to another card. {_REMEDY}"
            )
        return _arrays(folder, card)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
    except SafetensorError as error:
        raise BundleError(f"{path}: not a safetensors file: {error}. {_REMEDY}") from error


def _arrays(folder: Path, card: Card) -> dict[str, np.ndarray]:
    """The arrays of weights that are those the card names, if the card is the one they name."""
    with safe_open(folder / WEIGHTS, framework="numpy") as file:
        named = (file.metadata() or {}).get(_CARD_KEY)
        if named != card.digest():
            raise BundleError(
                f"{folder / CARD}: its digest is {card.digest()}, {WEIGHTS} says {named}: the card was "
                f"altered, or the weights are of another program. {_REMEDY}"
            )
        kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        if other := [f"{name} ({kind})" for name, kind in kinds.items() if kind != "F32"]:
            raise BundleError(f"{folder / WEIGHTS}: not float32 (F32): {', '.join(other)}. {_REMEDY}")
        return {name: file.get_tensor(name) for name in kinds}


def bundle_digest(folder: Path) -> str:
    """sha256 of the card, which holds that of the weights: one hash for the whole bundle."""
    load_card(folder)
    return hashlib.sha256((folder / CARD).read_bytes()).hexdigest()
