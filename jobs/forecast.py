"""What a run would take, for people: `abundant plan --estimate`."""

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from engine.forecast import Forecast, Prices, Rates, Size, forecast, published_size, rates, size_of
from engine.plan import make_plan
from engine.spec import Profile, RunSpec


def estimate(spec: RunSpec, profile: Profile, prices: Prices) -> Table:
    """Files, requests, hours, memory and cost of a run; PlanError where nothing is known of its size."""
    measured = rates()
    return page(forecast(_size(spec), profile, prices, measured), measured)


def _size(spec: RunSpec) -> Size:
    """From the files where they are; else from the size of the survey's release."""
    root = spec.survey.root
    if ("://" in root or Path(root).is_dir()) and spec.model.bundle.is_dir():
        return size_of(make_plan(spec))
    return published_size(spec)


def page(found: Forecast, measured: Rates) -> Table:
    """The estimate, and what it rests on."""
    size = found.size
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(
        "survey", f"{size.survey}: {size.rows:,} rows in {size.files:,} files, {size.tasks:,} tasks"
    )
    table.add_row("network", f"{size.network}, {_draws(size)}")
    table.add_row("to read", _bytes(found.read_bytes))
    table.add_row("requests", f"{found.requests:,.0f}, where the files are in an object store")
    table.add_row("catalog", _bytes(found.catalog_bytes))
    table.add_row("core-hours", f"{_number(found.core_hours)}: {_parts(found)}")
    table.add_row("GPU-hours", _gpu(found))
    table.add_row("memory", f"{found.workers_mib:,.0f} MiB per worker, {found.driver_mib:,.0f} MiB for tasks")
    table.add_row("wall hours", _wall(found))
    table.add_row("cost", _cost(found))
    for line in size.said:
        table.add_row("[yellow]from[/yellow]", escape(line))
    table.add_row(
        "[yellow]from[/yellow]", f"rates: measured on {measured.machine}, since {measured.date}, one core"
    )
    return table


def _draws(size: Size) -> str:
    networks = f"{size.members} networks" if size.members > 1 else "one network"
    return f"{networks}, {size.draws} draws" if size.draws else f"{networks}, without dropout"


def _parts(found: Forecast) -> str:
    shares = {
        "read": found.read_hours,
        "prepare, flag, stage": found.prepare_hours,
        "network": 0.0 if found.gpu_hours != 0.0 else found.network_hours,
        "commit": found.commit_hours,
    }
    return ", ".join(f"{name} {_number(hours)}" for name, hours in shares.items() if hours)


def _gpu(found: Forecast) -> str:
    if found.gpu_hours is None:
        return "not known: this network was measured on no card (make bench-gpu)"
    return _number(found.gpu_hours) if found.gpu_hours else "none: the profile asks for no GPU"


def _wall(found: Forecast) -> str:
    if found.wall_hours is None:
        return "not known: name `actors` in a profile"
    fed = "" if found.feeding_cores is None else f", which takes {_number(found.feeding_cores)} cores to feed"
    return f"{_number(found.wall_hours)} with the profile's actors, none of them idle{fed}"


def _cost(found: Forecast) -> str:
    if found.cost is None:
        return "not known: --price-cpu-hour, and --price-gpu-hour where GPUs are used"
    return f"{found.cost:,.2f}, in the currency of the prices; storage, requests and transfer come on top"


def _bytes(number: float) -> str:
    return f"{number / 2**40:,.2f} TiB" if number >= 2**40 else f"{number / 2**30:,.2f} GiB"


def _number(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:,.2g}"
