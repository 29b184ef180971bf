"""Jobs on a cluster through Ray's Jobs API: hand one in, look after it, end it.

The cluster's token comes from RAY_AUTH_TOKEN, or from the file that RAY_AUTH_TOKEN_PATH names (else
~/.ray/auth_token), and goes into the header of requests, nowhere else. Without one nothing is sent. Ray's own
client would look for it only where RAY_AUTH_MODE was set before Ray was imported.
"""

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from engine.errors import ClusterError

# How long a log is waited for when the cluster stops answering, and how often it is asked.
PATIENCE_S, PAUSE_S = 60.0, 2.0
NOBODY = (ConnectionError, requests.RequestException, aiohttp.ClientError, TimeoutError)
UNKNOWN, TOO_SOON = "status code 404", "No available agent"
for name in ("job.sdk", "dashboard_sdk"):
    logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """How a job stands, in Ray's words: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED; and why."""

    status: str
    message: str

    @property
    def is_over(self) -> bool:
        """Will nothing more happen?"""
        return JobStatus(self.status).is_terminal()


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """A job to hand in: a shell command, run in a folder that the zip file `code` becomes.

    `about` and `environment` can be read by everybody whom the cluster lets in.
    """

    job_id: str
    command: str
    code: Path
    about: Mapping[str, str]
    environment: Mapping[str, str]


def hand_in(address: str, job: Handed) -> None:
    """Start a job; ClusterError, with the remedy, where the cluster cannot be had.

    A cluster that has just started answers before it takes jobs: it is asked for PATIENCE_S.
    """
    until = time.monotonic() + PATIENCE_S
    with _cluster(address) as cluster:
        while True:
            try:
                cluster.submit_job(
                    entrypoint=job.command,
                    submission_id=job.job_id,
                    runtime_env={"working_dir": str(job.code), "env_vars": dict(job.environment)},
                    metadata=dict(job.about),
                )
            except RuntimeError as error:
                if TOO_SOON not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(PAUSE_S)
            else:
                return


def state_of(address: str, job_id: str) -> JobState:
    """How a job stands; ClusterError also where the cluster does not know it."""
    with _cluster(address, job_id) as cluster:
        found = cluster.get_job_info(job_id)
    return JobState(status=str(found.status.value), message=found.message or "")


def log_of(address: str, job_id: str) -> str:
    """All that a job has written so far."""
    with _cluster(address, job_id) as cluster:
        return cluster.get_job_logs(job_id)


def end(address: str, job_id: str) -> JobState:
    """Ask a job to end, and wait until it has."""
    with _cluster(address, job_id) as cluster:
        cluster.stop_job(job_id)
    while not (state := state_of(address, job_id)).is_over:
        time.sleep(PAUSE_S / 4)
    return state


def followed(address: str, job_id: str) -> Iterator[str]:
    """What a job has written, and then what it writes, until it is over.

    A connection that breaks is made again; ClusterError when that fails for PATIENCE_S. Ending the iteration
    does nothing to the job.
    """
    told, over = 0, state_of(address, job_id).is_over
    while not over:
        at, heard = 0, time.monotonic()
        try:
            for text in _tail(address, job_id):
                heard, at = time.monotonic(), at + len(text)
                # Every connection begins with all that there is.
                if at > told:
                    yield text[told - at :]
                    told = at
            over = state_of(address, job_id).is_over
        except (*NOBODY, RuntimeError):
            over = _wait_for(address, job_id, until=heard + PATIENCE_S).is_over
    # Ray ends what it sends without the last lines of a job that has just ended.
    if rest := log_of(address, job_id)[told:]:
        yield rest


def _wait_for(address: str, job_id: str, until: float) -> JobState:
    """How a job stands once the cluster answers again; its ClusterError when it is too late."""
    while True:
        time.sleep(PAUSE_S)
        try:
            return state_of(address, job_id)
        except ClusterError:
            if time.monotonic() > until:
                raise


def _tail(address: str, job_id: str) -> Iterator[str]:
    """A job's log until its end, piece by piece: Ray gives it to coroutines only."""
    with asyncio.Runner() as loop:
        pieces = aiter(_client(address).tail_job_logs(job_id))
        while (text := loop.run(_next(pieces))) is not None:
            yield text


async def _next(pieces: Any) -> str | None:
    return await anext(pieces, None)


@contextmanager
def _cluster(address: str, job_id: str = "") -> Iterator[JobSubmissionClient]:
    """A connection; ClusterError where nobody answers, we are not let in, or there is no such job."""
    try:
        yield _client(address)
    except AuthenticationError as error:
        raise _locked(address, "does not accept this token") from error
    except NOBODY as error:
        raise ClusterError(
            f"no cluster answers at {address} ({type(error).__name__}); check the address, and that the "
            "tunnel or port-forward to its head node is open (Ray's dashboard, usually port 8265)"
        ) from error
    except RuntimeError as error:
        if UNKNOWN in str(error) and job_id:
            raise ClusterError(
                f"the cluster at {address} knows no job {job_id}: it was started anew since; "
                "`abundant status` tells how the run stands, and the same submit goes on"
            ) from error
        raise ClusterError(f"the cluster at {address} refuses: {str(error).splitlines()[0]}") from error


def _client(address: str) -> JobSubmissionClient:
    # Where RAY_ADDRESS is set, Ray's client would take that and not the address it was given.
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    return JobSubmissionClient(address, headers={"Authorization": f"Bearer {_token(address)}"})


def _token(address: str) -> str:
    """The cluster's token, where Ray looks for it; ClusterError without one."""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token:
        raise _locked(address, f"lets nobody in without its token, and there is none in {path}")
    return token


def _locked(address: str, what: str) -> ClusterError:
    return ClusterError(
        f"the cluster at {address} {what}; put the cluster's token into a file and name it in "
        "RAY_AUTH_TOKEN_PATH, or set RAY_AUTH_TOKEN (never in a spec or profile)"
    )
