"""What a submitted run keeps in its own folder, so that it is found again: its job, and where. No token."""

import json
import os
import time
from dataclasses import asdict, dataclass, field

from pydantic import TypeAdapter

from catalogs.layout import write_atomic
from catalogs.remote import Location
from engine.errors import StagingError

FILE, VARIABLE = "job.json", "ABUNDANT_JOB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job: its id on the cluster, the address of the cluster's Jobs API, and when it was handed in."""

    job_id: str
    address: str
    submitted: float = field(default_factory=time.time)

    def to_json(self) -> str:
        """As it is kept, and handed to the job itself."""
        return json.dumps(asdict(self))


JOB = TypeAdapter(Job)


def keep_job(place: Location, job: Job) -> None:
    """Write down, in a run's folder, which job does it; StagingError."""
    try:
        write_atomic(place / FILE, job.to_json().encode())
    except OSError as error:
        raise StagingError(f"{place / FILE}: cannot be written: {error.strerror or error}") from error


def job_of(place: Location) -> Job | None:
    """The job that does, or did, a run; None where it was never submitted. StagingError."""
    try:
        return JOB.validate_json((place / FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StagingError(f"{place / FILE}: cannot be read: {error}") from error


def keep_own_job(place: Location) -> None:
    """Where this process is a job, write that down: who handed it in may not see the place."""
    if (said := os.environ.get(VARIABLE)) and job_of(place) != (job := JOB.validate_json(said)):
        keep_job(place, job)
