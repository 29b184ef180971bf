"""The rates that estimates are made of, taken from results/: what was measured, and nothing else.

`engine/rates.toml` is what the program is shipped with. Every bench writes it anew; a test compares the two.
"""

import json
from pathlib import Path
from typing import Any

import tomli_w

RESULTS = Path(__file__).parent / "results"
RATES = Path(__file__).parents[2] / "engine" / "rates.toml"
HEAD = "# Measured, and written by `python -m tests.bench`; not to be edited. See engine/forecast.py.\n"
# The network and the survey of the bench "job", and its workers.
JOB_NETWORK, JOB_SURVEY, WORKERS = "desi_mlp_4", "desi", 2
FIGURE, MEMBER = "_stars_per_s", "_stars_per_s_of_"


def write() -> None:
    """Write the shipped rates from what is kept."""
    RATES.write_text(text())


def text() -> str:
    """What the shipped file must say."""
    return HEAD + tomli_w.dumps(_rates())


def _rates() -> dict[str, Any]:
    kept = {name: bench for path in sorted(RESULTS.glob("*.json")) for name, bench in _read(path).items()}
    surveys, networks, job = kept["surveys"], kept["networks"], kept["job"]
    used = ("surveys", "networks", "job", "memory", "commit", "queries", "scale", "requests")
    return {
        "machine": networks["machine"],
        "date": min(kept[name]["date"] for name in used if name in kept),
        "job": job["processes_spectra_per_s"] / WORKERS,
        "job_network": networks[JOB_NETWORK + FIGURE],
        "job_survey": JOB_SURVEY,
        "ray_over_processes": job["ray_over_processes"],
        "commit": kept["commit"]["local_5m_rows_per_s"],
        "bytes_per_row": kept["queries"]["bytes_per_row"],
        "process_mib": kept["memory"]["local_all_peak_mib"],
        "driver_bytes_per_task": kept["scale"]["driver_bytes_per_task"],
        "read": _ending(surveys, "_spectra_per_s"),
        "megabytes_read": _ending(surveys, "_mb_per_s"),
        "network": _ending(networks, FIGURE),
        "members": _members(networks),
        "gpu": _ending(kept.get("gpu", {}), FIGURE),
        "requests_per_file": _ending(kept["requests"], "_requests_per_file"),
        "requests_per_task": _ending(kept["requests"], "_requests_per_task"),
    }


def _read(path: Path) -> dict[str, dict[str, Any]]:
    return json.loads(path.read_text())


def _ending(bench: dict[str, Any], end: str) -> dict[str, float]:
    return {name.removesuffix(end): value for name, value in bench.items() if name.endswith(end)}


def _members(networks: dict[str, Any]) -> dict[str, float]:
    """Of an ensemble's figure, which is of all its members, what one of them does."""
    found = {}
    for name, value in networks.items():
        network, mark, number = name.partition(MEMBER)
        if mark:
            found[network] = value * int(number.removesuffix("_members"))
    return found
