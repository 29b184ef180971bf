"""Which pixels AstroNN fits its continuum to, and which its elements see: the published lists."""

import tomllib
from functools import cache
from importlib.resources import files

import numpy as np

from engine.types import Bools

PIXELS = 7514
FILE = "astronn_pixels.toml"


@cache
def continuum_pixels() -> Bools:
    """Where APOGEE spectra have no lines (astroNN's dr17_contmask: 532 pixels), shape (7514,)."""
    return _mask(_lists()["continuum_dr17"])


@cache
def element_pixels() -> dict[str, Bools]:
    """Where each element has lines (aspcap_l31c_masks), shape (7514,) each, in the order of the heads."""
    return {name: _mask(runs) for name, runs in _lists()["elements"].items()}


@cache
def _lists() -> dict:
    return tomllib.loads(files("engine.models").joinpath(FILE).read_text(encoding="ascii"))


def _mask(runs: str) -> Bools:
    mask = np.zeros(PIXELS, bool)
    for run in runs.split():
        first, _, last = run.partition("-")
        mask[int(first) : int(last or first) + 1] = True
    return mask
