"""One file's worth of simulated sky: which rows there are, their true light, and what the arms record.

Legend: N rows, Q pixels of GRID, P pixels of an arm, L labels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.simulate.galaxies import galaxy_spectra
from engine.simulate.instrument import (
    ARMS,
    GRID,
    ArmGrid,
    add_noise,
    add_telluric,
    inverse_variance,
    spoil_pixels,
)
from engine.simulate.labels import LabelArray
from engine.simulate.photometry import scale_to_magnitude
from engine.simulate.plan import FilePlan
from engine.simulate.spectrum import LIGHT_SPEED, redden, shift_to, synthesize
from engine.simulate.targets import Targets, draw_others, draw_targets, join

FloatArray = npt.NDArray[np.float64]
SpectrumArray = npt.NDArray[np.float32]
LabelSource = Callable[[FilePlan], LabelArray]

KINDS: Final = ("star", "galaxy", "sky", "stuck")
TILE: Final = 20001

# Streams of random numbers of one file; each is seeded by (seed, file, stream) and by nothing else.
LABELS_STREAM, _STARS, _OTHERS, _LIGHT, _NOISE, TABLES_STREAM = range(6)
# Object numbers of a pixel: a million for each program, in it half for stars, a quarter for galaxies.
_PROGRAM_OBJECTS = {"bright": 0, "dark": 1 << 20, "backup": 2 << 20}
_GALAXY_OBJECTS, _SKY_OBJECTS = 1 << 19, 3 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The rows of one file and their noise-free light (1e-17 erg/s/cm2/Å) [N, Q]; dead and stuck rows have
    none in the files. `depth` is the exposure over the nominal one."""

    targets: Targets
    kind_N: npt.NDArray[np.str_]
    dead_N: npt.NDArray[np.bool_]
    redshift_N: FloatArray
    depth_N: FloatArray
    flux_NQ: SpectrumArray

    @property
    def dark_N(self) -> npt.NDArray[np.bool_]:
        """Rows whose fibre recorded nothing."""
        return self.dead_N | (self.kind_N == "stuck")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSpectra:
    """What one arm recorded [N, P], and the true flux over its error."""

    arm: ArmGrid
    flux_NP: SpectrumArray
    ivar_NP: SpectrumArray
    mask_NP: npt.NDArray[np.int32]
    signal_NP: SpectrumArray


def generator(seed: int, plan: FilePlan, stream: int) -> np.random.Generator:
    """The random numbers of one stream of one file, independent of every other file."""
    return np.random.default_rng((seed, plan.index, stream))


def build_scene(seed: int, plan: FilePlan, labels_of: LabelSource) -> Scene:
    """The rows of a file, kinds mixed at random, stars in the order of their labels."""
    rng = generator(seed, plan, _OTHERS)
    stars = _stars(seed, plan, labels_of)
    first = _PROGRAM_OBJECTS[plan.program]
    galaxies = draw_others(rng, plan.healpix, first + _GALAXY_OBJECTS, plan.galaxies)
    skies = draw_others(rng, plan.healpix, first + _SKY_OBJECTS, plan.skies, sky=True)
    parts = (stars, galaxies, skies, _stuck(rng, plan))
    kind_N, order_N = _mix(rng, [len(part) for part in parts])
    targets = join(parts).take(order_N)
    dead_N = np.zeros(plan.rows, dtype=bool)
    dead_N[rng.permutation(np.flatnonzero(kind_N == "star"))[: plan.dead]] = True
    redshift_N = np.where(kind_N == "star", targets.velocity_N / LIGHT_SPEED, 0.0)
    redshift_N[kind_N == "galaxy"] = rng.uniform(0.03, 0.55, size=plan.galaxies)
    light = generator(seed, plan, _LIGHT)
    return Scene(
        targets=targets,
        kind_N=kind_N,
        dead_N=dead_N,
        redshift_N=redshift_N,
        depth_N=np.exp(0.15 * rng.standard_normal(plan.rows)),
        flux_NQ=_true_light(light, targets, kind_N, redshift_N),
    )


def observe(seed: int, plan: FilePlan, scene: Scene) -> Iterator[ArmSpectra]:
    """The scene as each arm records it: noise, damage, and rows of zeros where the fibre is dead or stuck."""
    rng = generator(seed, plan, _NOISE)
    sky_NQ = add_telluric(rng, scene.flux_NQ)
    for arm in ARMS:
        true_NP = sky_NQ[:, arm.start : arm.stop]
        ivar_NP = inverse_variance(true_NP, arm, scene.depth_N)
        flux_NP = add_noise(rng, true_NP, ivar_NP)
        mask_NP = spoil_pixels(rng, flux_NP, ivar_NP)
        for array in (flux_NP, ivar_NP, mask_NP):
            array[scene.dark_N] = 0
        yield ArmSpectra(
            arm=arm,
            flux_NP=flux_NP,
            ivar_NP=ivar_NP,
            mask_NP=mask_NP,
            signal_NP=true_NP * np.sqrt(ivar_NP),
        )


def _stars(seed: int, plan: FilePlan, labels_of: LabelSource) -> Targets:
    """The stars of a file: those it shares with its twin, then its own."""
    own = draw_targets(
        generator(seed, plan, _STARS),
        labels_of(plan),
        program=plan.program,
        healpix=plan.healpix,
        first_object=_PROGRAM_OBJECTS[plan.program],
    )
    if plan.twin is None:
        return own
    return join((_stars(seed, plan.twin, labels_of).take(slice(0, plan.shared)), own))


def _stuck(rng: np.random.Generator, plan: FilePlan) -> Targets:
    """Fibres that point at nothing: a negative TARGETID made of tile and location, as DESI makes it."""
    rows = draw_others(rng, plan.healpix, 0, plan.stuck)
    location_N = rng.permutation(5240)[: plan.stuck] // 524 * 1000 + rng.permutation(524)[: plan.stuck]
    rows.targetid_N[:] = -(TILE * 10_000 + location_N)
    rows.g_mag_N[:] = 0
    return rows


def _mix(rng: np.random.Generator, counts: list[int]) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    """Kinds in random order, and the row of the joined parts that each place holds."""
    kind_N = rng.permutation(np.repeat(KINDS, counts))
    order_N = np.empty(len(kind_N), dtype=np.int64)
    first = 0
    for kind, count in zip(KINDS, counts, strict=True):
        order_N[kind_N == kind] = np.arange(first, first + count)
        first += count
    return kind_N, order_N


def _true_light(
    rng: np.random.Generator, targets: Targets, kind_N: npt.NDArray[np.str_], redshift_N: FloatArray
) -> SpectrumArray:
    """Noise-free spectra [N, Q]: zero for sky and stuck fibres."""
    flux_NQ = np.zeros((len(targets), len(GRID)), dtype=np.float32)
    for kind in ("star", "galaxy"):
        rows = np.flatnonzero(kind_N == kind)
        chosen = targets.take(rows)
        if kind == "star":
            shape_NQ = shift_to(synthesize(chosen.labels_NL), chosen.velocity_N, GRID)
        else:
            shape_NQ = galaxy_spectra(redshift_N[rows], rng.uniform(0, 2, size=len(rows)))
        flux_NQ[rows] = scale_to_magnitude(redden(shape_NQ, chosen.ebv_N, GRID), chosen.g_mag_N)
    return flux_NQ
