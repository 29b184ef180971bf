"""Simulated surveys: files like the real ones, with a truth table beside them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from engine.simulate.desi import simulate_desi
from engine.simulate.surveys.apogee import APOGEE
from engine.simulate.surveys.apogee_visit import APOGEE_VISIT
from engine.simulate.surveys.driver import Recipe, simulate_files
from engine.simulate.surveys.gaia_rvs import GAIA_RVS
from engine.simulate.surveys.gaia_xp import GAIA_XP, GAIA_XP_SAMPLED
from engine.simulate.surveys.galah import GALAH
from engine.simulate.surveys.giraffe import GIRAFFE
from engine.simulate.surveys.rave import RAVE
from engine.simulate.surveys.table import TABLE

__all__ = ["SIMULATORS", "Simulator", "simulate_desi"]


class Simulator(Protocol):
    """Writes a simulated survey into a folder and gives the path of its truth table."""

    def __call__(
        self,
        root: Path,
        *,
        stars: int,
        seed: int,
        labels: pa.Table | None = ...,
        on_file: Callable[[Path, int], None] = ...,
    ) -> Path: ...


_RECIPES: tuple[Recipe, ...] = (
    GAIA_RVS,
    GAIA_XP,
    GAIA_XP_SAMPLED,
    APOGEE,
    APOGEE_VISIT,
    RAVE,
    GIRAFFE,
    GALAH,
    TABLE,
)

SIMULATORS: dict[str, Simulator] = {
    "desi": simulate_desi,
    **{recipe.name: partial(simulate_files, recipe) for recipe in _RECIPES},
}
"""The surveys that can be simulated, by the names that SURVEYS has for them."""
