"""Commands for runs on a cluster: submit, status, logs, stop."""

from pathlib import Path
from typing import Annotated

import typer

from engine.spec import Profile
from engine.toml import load
from jobs.cli.shared import ProfilePath, group, show_page, show_text
from jobs.interrupt import interruptible
from jobs.progress import say

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A spec, root/_staging/NAME-VERSION-HASH, or OUT-training.")
]

Address = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The Jobs API, if not where it was handed in: your own tunnel."),
]

commands = group()


@commands.command(
    epilog="Example: abundant submit jobs/infer/desi-dr1-s3.toml --profile cluster/profiles/laptop.toml "
    "--address http://127.0.0.1:8265"
)
def submit(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The spec of a run or a training in TOML.")],
    profile: ProfilePath = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The cluster's Jobs API; else the profile's, else $RAY_ADDRESS."),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Print the job's log until it is over.")] = True,
) -> None:
    """Hand a run or a training to a Ray cluster as a job: this program's code and the spec, never data.

    The job goes on when this machine does not. The cluster's token comes from RAY_AUTH_TOKEN_PATH or
    RAY_AUTH_TOKEN. The same command goes on with what was interrupted, and follows what is under way.
    """
    from jobs.submit.hand import submit as hand_in
    from jobs.submit.look import follow as follow_job
    from jobs.submit.named import load_spec

    with interruptible("nothing was handed in"):
        job = hand_in(load_spec(spec), load(profile, Profile) if profile else Profile(), address)
    if job is None:
        return
    if follow:
        with interruptible(going_on(str(spec))):
            show_text(follow_job(job))
    else:
        say(f"Follow it: abundant logs {spec} --follow")


@commands.command(epilog="Example: abundant status demo/run.toml")
def status(run: RunName) -> None:
    """How a run or training stands: tasks, rows, rate, failures, who drives it. Asks no cluster."""
    from jobs.status import status as found
    from jobs.submit.named import run_named

    show_page(found(run_named(run)))


@commands.command(epilog="Example: abundant logs demo/run.toml --follow")
def logs(
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", help="Go on printing until the job is over.")] = False,
    address: Address = None,
) -> None:
    """The log of a submitted run's job, from the cluster."""
    from jobs.submit.look import follow as follow_job
    from jobs.submit.look import log, submitted
    from jobs.submit.named import run_named

    job = submitted(run_named(run), address)
    if follow:
        with interruptible(going_on(run)):
            show_text(follow_job(job))
    else:
        text, stands = log(job)
        show_text([text])
        say(stands)


@commands.command(epilog="Example: abundant stop demo/run.toml")
def stop(run: RunName, address: Address = None) -> None:
    """End the job of a submitted run. What is done is kept; the same submit goes on from there."""
    from jobs.submit.look import stop as stop_job
    from jobs.submit.look import submitted
    from jobs.submit.named import run_named

    say(stop_job(submitted(run_named(run), address)))


def going_on(run: str) -> str:
    """What is said when following ends before the job does."""
    return f"the job goes on; follow it: abundant logs {run} --follow; end it: abundant stop {run}"
