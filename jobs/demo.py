"""`abundant demo`: the whole road on a simulated survey, in minutes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tomli_w
from rich.table import Table

from catalogs import open_catalog
from catalogs.plots import abundance_plane, kiel
from engine.errors import InputError
from engine.plan import make_plan
from engine.spec import Profile, RunSpec
from engine.toml import load
from engine.train.spec import TrainSpec
from jobs import show
from jobs.catalog_report import write_report
from jobs.progress import CONSOLE, say
from jobs.run import run
from jobs.simulate import run_simulation
from jobs.training import run_training

STARS, TRAINING_STARS, EPOCHS, SEED = 9000, 6500, 40, 1
ABUNDANCES = ("fe_h", "mg_h", "ca_h", "si_h", "ti_h", "ni_h")
# The floors weigh the labels against each other. With 50 K and 0.05 dex the loss is all temperature, and the
# network learns [Mg/H] from [Fe/H] alone: its [Mg/Fe] then says nothing that [Fe/H] does not.
FLOORS = {"teff": 100.0, "logg": 0.2} | dict.fromkeys(ABUNDANCES, 0.03)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the demo puts things."""

    root: Path

    @property
    def survey(self) -> Path:
        """The simulated DESI tree."""
        return self.root / "survey"

    @property
    def bundle(self) -> Path:
        """The trained model."""
        return self.root / "bundle"

    @property
    def catalogs(self) -> Path:
        """Where catalogs are published."""
        return self.root / "catalogs"


def run_demo(folder: Path) -> None:
    """Simulate, train, run, verify, query, plot, report; InputError if the folder is already used."""
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; delete it, or choose another folder with --dir")
    at = Folders(root=folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--dir {folder}: cannot be made: {error}") from error
    say(f"[bold]1/5 Simulate[/bold] a DESI survey of {STARS:,} stars, with all that real files contain")
    truth = run_simulation("desi", at.survey, stars=STARS, seed=SEED, labels=None, resolution=False)
    split_ids(truth, at.root)
    say("[bold]2/5 Train[/bold] a small network on a part of it, and calibrate its errors")
    run_training(load(write_train_spec(at, truth), TrainSpec))
    say("[bold]3/5 Run[/bold] the rest through Ray Data: plan, label with 100 dropout draws, commit, verify")
    plan = make_plan(load(write_run_spec(at), RunSpec))
    CONSOLE.print(show.plan(plan))
    report = run(plan, Profile())
    say(show.finished(report))
    say("[bold]4/5 Ask[/bold] the catalog, and compare it with what was simulated")
    catalog = Path(str(report.catalog))
    summarise(catalog, truth)
    say("[bold]5/5 Draw[/bold]")
    kiel(catalog, folder / "kiel.png")
    abundance_plane(catalog, folder / "mg_fe.png")
    say(f"Plots: {folder / 'kiel.png'}, {folder / 'mg_fe.png'}")
    page = write_report(catalog)
    say(next_steps(at, catalog))
    say(f"[bold]Look at[/bold] the report: {page}")


def split_ids(truth: Path, folder: Path) -> None:
    """Write train_ids.parquet, some of the healthy stars, and rest_ids.parquet, everything else.

    Whole targets go to one side: a star observed in two programs is never on both.
    """
    table = pq.read_table(truth)
    healthy = table.filter((pc.field("kind") == "star") & ~pc.field("dead"))
    targets = np.sort(healthy["targetid"].unique().to_numpy())
    chosen = np.random.default_rng(SEED).permutation(targets)[:TRAINING_STARS]
    everything = table["targetid"].unique().to_numpy()
    for name, ids in (("train_ids", chosen), ("rest_ids", np.setdiff1d(everything, chosen))):
        pq.write_table(pa.table({"targetid": np.sort(ids)}), folder / f"{name}.parquet")


def write_train_spec(at: Folders, truth: Path) -> Path:
    """A training spec that a person can read, change and run again."""
    return _write(
        at.root / "train.toml",
        {
            "survey": _survey(at, "train_ids"),
            "labels": {
                "path": str(truth),
                "key": ["survey", "program", "healpix", "targetid"],
                "names": ["teff", "logg", *ABUNDANCES],
                "error_floor": FLOORS,
            },
            "model": {
                "name": "desi_mlp_4",
                "hyper": {"hidden": [256, 128, 64, 32], "dropout": 0.05, "activation": "gelu"},
            },
            "training": {
                "epochs": EPOCHS,
                "batch": 64,
                "learning_rate": 1e-3,
                "weight_decay": 0.3,
                "noise": 0.7,
            },
            "split": {"validation": 0.08, "calibration": 0.1, "test": 0.08},
            "bundle": {"out": str(at.bundle), "name": "demo", "licence": "CC0-1.0"},
        },
    )


def write_run_spec(at: Folders) -> Path:
    """An inference spec for every row that training did not use."""
    return _write(
        at.root / "run.toml",
        {
            "survey": _survey(at, "rest_ids"),
            "model": {"bundle": str(at.bundle)},
            "sampling": {"draws": 100, "seed": 1},
            "tasks": {"rows": 256},
            "catalog": {"name": "demo", "version": "1", "root": str(at.catalogs)},
        },
    )


def _survey(at: Folders, ids: str) -> dict[str, object]:
    select = {"by": "ids", "path": str(at.root / f"{ids}.parquet")}
    return {"name": "desi", "root": str(at.survey), "select": select, "rv": {"from": "redrock"}}


def _write(path: Path, spec: dict[str, object]) -> Path:
    path.write_text(tomli_w.dumps(spec), encoding="utf-8")
    return path


def summarise(catalog: Path, truth: Path) -> None:
    """Rows, flags and scatter against the truth, asked in SQL."""
    connection = open_catalog(catalog).duckdb()
    rows, good, warned, bad = connection.execute(
        "SELECT count(*), count(*) FILTER (NOT flag_warn AND NOT flag_bad), count(*) FILTER (flag_warn), "
        "count(*) FILTER (flag_bad) FROM catalog"
    ).fetchall()[0]
    say(f"{rows:,} rows: {good:,} without a warning, {warned:,} flag_warn, {bad:,} flag_bad")
    table = Table("label", "stars", "bias", "robust scatter", "median error", "within 1 sigma")
    for label in ("teff", "logg", *ABUNDANCES):
        found = connection.execute(
            f"""SELECT count(*), median(d), 1.4826 * median(abs(d)), median(e), avg((abs(d) <= e)::INT)
            FROM (SELECT c.{label} - t.{label} AS d, c.e_{label} AS e FROM catalog c
                  JOIN read_parquet(?) t USING (survey, program, healpix, targetid)
                  WHERE NOT c.flag_warn AND NOT c.flag_bad)""",
            [str(truth)],
        ).fetchall()[0]
        table.add_row(label, f"{found[0]:,}", *(f"{value:.3g}" for value in found[1:]))
    CONSOLE.print(table)


def next_steps(at: Folders, catalog: Path) -> str:
    """The commands to try next."""
    sql = "SELECT targetid, teff, e_teff, fe_h, e_fe_h, mg_fe FROM catalog WHERE NOT flag_bad LIMIT 5"
    connection = open_catalog(catalog).duckdb()
    key = connection.execute(
        "SELECT targetid FROM catalog WHERE flag_bad ORDER BY targetid DESC LIMIT 1"
    ).fetchall()[0][0]
    return (
        "[bold]Try next:[/bold]\n"
        f'  abundant query {catalog} "{sql}"\n'
        f"  abundant explain {catalog} {key}\n"
        f"  abundant plan {at.root / 'run.toml'}"
    )
