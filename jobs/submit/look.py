"""`abundant logs` and `abundant stop`, and how a job is followed."""

from collections.abc import Iterator
from dataclasses import replace

from engine.errors import InputError, RunError
from engine.runtime.ray_jobs import JobState, end, followed, log_of, state_of
from engine.spec import Profile
from jobs.submit.hand import address_of
from jobs.submit.named import Run
from jobs.submit.record import Job, job_of


def follow(job: Job) -> Iterator[str]:
    """What a job writes, until it is over; RunError if it did not end well."""
    yield from followed(job.address, job.job_id)
    state = state_of(job.address, job.job_id)
    if state.status != "SUCCEEDED":
        raise RunError(f"{_ended(job, state)}; what is done is kept: the same submit goes on")


def log(job: Job) -> tuple[str, str]:
    """What a job has written so far, and a sentence on how it stands."""
    return log_of(job.address, job.job_id), _ended(job, state_of(job.address, job.job_id))


def stop(job: Job) -> str:
    """End a job, and say how it ended; one that was over stays as it is."""
    before = state_of(job.address, job.job_id)
    if before.is_over:
        return f"{_ended(job, before)}; there was nothing to stop"
    return f"{_ended(job, end(job.address, job.job_id))}; what is done is kept: the same submit goes on"


def submitted(run: Run, address: str | None = None) -> Job:
    """The job of a run, at another address than it was handed in at if one is given; InputError without one.

    ClusterError for what is no address.
    """
    if (job := job_of(run.place)) is None:
        raise InputError(
            f"{run.place}: no job is known of this run; it was not submitted, or its job has not begun yet. "
            "`abundant status` tells how it stands"
        )
    return job if address is None else replace(job, address=address_of(address, Profile()))


def _ended(job: Job, state: JobState) -> str:
    """How a job stands, in a sentence."""
    words = {"PENDING": "waits", "RUNNING": "is running", "SUCCEEDED": "is done", "STOPPED": "was stopped"}
    why = f"failed: {state.message.splitlines()[0] if state.message else 'no reason is known'}"
    return f"Job {job.job_id} at {job.address} {words.get(state.status, why)}"
