"""Which spectra a bundle flags as unlike its training set, by kind of spectrum and by S/N."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.table import Table

from engine.draw import Host, bank_of
from engine.flags import BY_NAME
from engine.models.bundle import load_card
from engine.models.model import load_model
from engine.route import infer
from engine.spec import SurveySpec
from engine.surveys import survey_of
from engine.types import Batch, Shard, Task

BITS = (
    "OUTSIDE_TRAINING",
    "UNLIKE_TRAINING",
    "LABELS_UNLIKE_TRAINING",
    "LABELS_ISOLATED",
    "HIDDEN_UNLIKE_TRAINING",
    "INSTRUMENT_WIGGLES",
    "LARGE_GAP",
)
SNR = {"S/N 10-20": (10.0, 20.0), "20-50": (20.0, 50.0), "> 50": (50.0, np.inf)}
Label = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """Shares of flagged spectra: of all, by range of S/N (NaN where there are none), and by bit."""

    rows: int
    any: float
    by_snr: Mapping[str, float]
    by_bit: Mapping[str, float]


def labeller(bundle: Path, spec: SurveySpec) -> Label:
    """A function from rows of a survey to rows of its catalog."""
    survey, card = survey_of(spec), load_card(bundle)
    assert card.sampling is not None
    sampling = card.sampling
    model, networks = load_model(
        bundle, keys=survey.keys, spectrograph=survey.spectrograph, sampling=sampling
    )
    banks = [bank_of(network, sampling, torch.device("cpu")) for network in networks]
    shard = Shard(path="strange", size=0, rows=0, shard_id="strange")

    def label(rows: pa.Table) -> pa.Table:
        task = Task(task_id="strange", shard=shard, start=0, stop=len(rows))
        return infer(Batch(task=task, spectra=rows), model, Host(banks))

    return label


def alarms(rows: pa.Table, *, least_snr: float = 10.0) -> Alarms:
    """The alarms of a catalog's rows that are bright enough to be used."""
    snr_N = rows["snr"].fill_null(0).to_numpy()
    used_N = snr_N >= least_snr
    flags_N = rows["flags"].to_numpy()[used_N]
    snr_N = snr_N[used_N]
    bits = {name: (flags_N & BY_NAME[name].value) != 0 for name in BITS}
    any_N = np.logical_or.reduce(list(bits.values()))
    return Alarms(
        rows=len(flags_N),
        any=_share(any_N),
        by_snr={name: _share(any_N[(snr_N >= low) & (snr_N < high)]) for name, (low, high) in SNR.items()},
        by_bit={name: _share(bit_N) for name, bit_N in bits.items()},
    )


def _share(chosen_N: np.ndarray) -> float:
    return float(chosen_N.mean()) if len(chosen_N) else float("nan")


def shown(found: Mapping[str, Alarms]) -> Table:
    """Kinds of spectra beside the shares of them that are flagged, in per cent."""
    table = Table("spectra", "rows", "any", *SNR, *(name.lower() for name in BITS))
    for kind, alarm in found.items():
        shares = (alarm.any, *alarm.by_snr.values(), *alarm.by_bit.values())
        table.add_row(kind, str(alarm.rows), *(f"{100 * share:.1f}" for share in shares))
    return table
