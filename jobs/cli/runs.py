"""Commands that make a catalog: plan, run, commit, verify."""

from typing import Annotated

import typer

from engine.spec import Profile, RunSpec
from engine.toml import load
from jobs.cli.shared import CatalogPath, ProfilePath, SpecPath, group, show_page
from jobs.interrupt import interruptible
from jobs.progress import CONSOLE, say

GOES_ON = "what is done is kept; the same command goes on from here"

commands = group()


@commands.command(epilog="Example: abundant plan demo/run.toml --estimate --price-cpu-hour 0.04")
def plan(
    spec: SpecPath,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Hours, memory and cost instead; works without the files too.")
    ] = False,
    profile: ProfilePath = None,
    price_cpu_hour: Annotated[float | None, typer.Option(min=0, help="Of a core, for --estimate.")] = None,
    price_gpu_hour: Annotated[float | None, typer.Option(min=0, help="Of a card, for --estimate.")] = None,
) -> None:
    """Check everything that can be checked, and show what a run would do. Nothing runs."""
    from engine.forecast import Prices
    from engine.plan import make_plan
    from jobs import forecast, show
    from jobs.run import checked

    asked = load(spec, RunSpec)
    with interruptible("nothing ran"):
        if estimate:
            where = load(profile, Profile) if profile else Profile()
            prices = Prices(cpu_hour=price_cpu_hour, gpu_hour=price_gpu_hour)
            show_page(forecast.estimate(asked, where, prices))
            return
        found = make_plan(asked)
        checked(found)
        show_page(show.plan(found))


@commands.command(epilog="Example: abundant run demo/run.toml --profile cluster/profiles/laptop.toml")
def run(spec: SpecPath, profile: ProfilePath = None) -> None:
    """Plan, label every spectrum, commit and verify. The same command resumes an interrupted run."""
    from engine.plan import make_plan
    from jobs import show
    from jobs.run import run as run_plan

    with interruptible(GOES_ON):
        found = make_plan(load(spec, RunSpec))
        CONSOLE.print(show.plan(found))
        say(show.finished(run_plan(found, load(profile, Profile) if profile else Profile())))


@commands.command(epilog="Example: abundant commit demo/run.toml --profile cluster/profiles/laptop.toml")
def commit(spec: SpecPath, profile: ProfilePath = None) -> None:
    """Publish what a finished run has staged, without running anything. Without a profile in this process."""
    from engine.plan import make_plan
    from jobs import show
    from jobs.run import LOCAL, commit_run

    with interruptible(GOES_ON):
        where = load(profile, Profile) if profile else LOCAL
        say(show.published(commit_run(make_plan(load(spec, RunSpec)), where)))


@commands.command(epilog="Example: abundant verify demo/catalogs/demo/1")
def verify(catalog: CatalogPath) -> None:
    """Check a published catalog from disk alone: rows, keys, order, pixels, NULLs and checksums."""
    from catalogs.remote import location
    from jobs.run import check

    with interruptible("nothing is known of the catalog"):
        report = check(location(catalog))
    say(f"Verified: {report.rows:,} rows of {catalog}")
