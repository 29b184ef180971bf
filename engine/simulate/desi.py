"""Simulates a DESI survey on disk: coadds and redrock files in the layout of DR1, and their truth."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.errors import InputError
from engine.simulate.files import write_coadd, write_redrock
from engine.simulate.labels import LabelArray, draw_labels
from engine.simulate.plan import FilePlan, plan_files
from engine.simulate.root import claim, given_labels
from engine.simulate.scene import LABELS_STREAM, TABLES_STREAM, LabelSource, build_scene, generator, observe
from engine.simulate.tables import exposure_map, fibermap, redshifts, scores, tsnr2
from engine.simulate.truth import truth_of, truth_writer

# Raised whenever the same settings give other spectra, so that two kinds never mix under one root.
_VERSION = 1


def _say_nothing(path: Path, stars: int) -> None:
    """The default of `on_file`."""
    del path, stars


def simulate_desi(
    root: Path,
    *,
    stars: int,
    seed: int,
    labels: pa.Table | None = None,
    resolution: bool = True,
    stars_per_file: int = 350,
    on_file: Callable[[Path, int], None] = _say_nothing,
) -> Path:
    """Write a simulated DESI healpix tree under root; return its truth table (root/truth.parquet).

    `stars` counts rows that are stars by target bits, dead fibres included. `labels` gives their labels in
    order (teff, logg, fe_h, and any other [X/H], which is else [Fe/H]); without it they are drawn. `on_file`
    is told of each coadd written and how many stars it holds. The same arguments give the same bytes, file
    by file, whatever was written before; memory does not grow with `stars`.

    InputError for a root that is a file or holds another survey, real or simulated, for counts that are not
    positive, a negative seed, and a labels table that is too short, lacks a column or goes beyond what can be
    simulated; nothing is written then.
    """
    if seed < 0:
        raise InputError(f"seed = {seed}: give 0 or a positive number")
    plans = plan_files(stars, stars_per_file)
    given_NL = given_labels(labels, stars)
    settings = {"stars": stars, "seed": seed, "resolution": resolution, "stars_per_file": stars_per_file}
    claim(root, settings | {"version": _VERSION, "labels": _digest(given_NL)})
    labels_of = _label_source(seed, given_NL)
    truth_path = root / "truth.parquet"
    with truth_writer(truth_path) as append:
        for plan in plans:
            path, truth = _write_file(root, seed, plan, labels_of, resolution=resolution)
            append(truth)
            on_file(path, plan.stars)
    return truth_path


def _write_file(
    root: Path, seed: int, plan: FilePlan, labels_of: LabelSource, *, resolution: bool
) -> tuple[Path, pa.Table]:
    """Write one coadd and its redrock file; returns the coadd's path and the truth rows."""
    scene = build_scene(seed, plan, labels_of)
    arms = tuple(observe(seed, plan, scene))
    snr_N = np.median(np.concatenate([spectra.signal_NP for spectra in arms], axis=1), axis=1).astype(
        np.float64
    )
    rng = generator(seed, plan, TABLES_STREAM)
    fibers = fibermap(rng, plan, scene)
    score_rows = scores(scene, arms)
    tables = {
        "FIBERMAP": fibers,
        "EXP_FIBERMAP": exposure_map(rng, plan, fibers),
        "SCORES": score_rows,
        "TSNR2": tsnr2(score_rows),
        "REDSHIFTS": redshifts(rng, scene, snr_N),
    }
    folder = root / plan.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_redrock(folder, plan, tables)
    path = write_coadd(folder, plan, scene, arms, tables, resolution=resolution)
    return path, truth_of(plan, scene, snr_N)


def _digest(given_NL: LabelArray | None) -> str | None:
    """What tells one table of labels from another; None when labels are drawn."""
    return None if given_NL is None else hashlib.sha256(given_NL.tobytes()).hexdigest()


def _label_source(seed: int, given_NL: LabelArray | None) -> LabelSource:
    """A function from a file's plan to the labels of its own (not shared) stars."""

    def labels_of(plan: FilePlan) -> LabelArray:
        count = plan.stars - plan.shared
        if given_NL is None:
            return draw_labels(generator(seed, plan, LABELS_STREAM), count)
        return given_NL[plan.first_own : plan.first_own + count]

    return labels_of
