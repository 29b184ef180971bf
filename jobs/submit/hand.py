"""`abundant submit`: a run or a training becomes a job of a cluster."""

import os
import shlex
import sys
import tempfile
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import tomli_w

from catalogs.holder import is_dead, now, refusal, this_process
from catalogs.lease import holder_at
from catalogs.place import all_published
from engine.errors import ClusterError, InputError
from engine.plan import make_plan
from engine.runtime.ray_jobs import Handed, hand_in, state_of
from engine.spec import Frozen, Profile, cluster_address
from engine.train.bundle import check_training
from engine.train.spec import TrainSpec
from jobs import show
from jobs.progress import CONSOLE, say
from jobs.run import checked
from jobs.submit.code import pack
from jobs.submit.named import Run, Spec, is_seen, run_of, unseen
from jobs.submit.record import VARIABLE, Job, job_of, keep_job

SPEC, PROFILE = "spec.toml", "profile.toml"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# A cluster's Python is not this one, unless both see the same disk: the first that has Ray is taken.
ENTRY = """for python in {own} python python3; do
  "$python" -c "import importlib.util as u, sys; sys.exit(not u.find_spec('ray'))" 2>/dev/null &&
    exec "$python" -m jobs {words}
done
echo "There is no Python with Ray on this node." >&2; exit 1"""


def submit(spec: Spec, profile: Profile, given: str | None) -> Job | None:
    """The job that does a run from now on, or does it already; None where there is nothing left to do.

    A plan is checked here as far as the data can be seen from here, else by the job. InputError, with the
    remedy, before anything is sent; RunError where the run is driven by no job.
    """
    address = address_of(given, profile)
    absent = unseen(spec)
    if absent:
        say(f"Not seen from this machine: {', '.join(map(str, absent))}. The cluster will check the plan.")
    elif _is_done(spec):
        return None
    run, seen = _run(spec), is_seen(spec)
    if run is not None and seen and (going := _under_way(run)) is not None:
        say(
            f"This run is under way already, as job {going.job_id} at {going.address}: nothing was handed in."
        )
        return going
    job = Job(job_id=f"{_title(spec)}-{uuid.uuid4().hex[:8]}", address=address)
    _hand_in(spec, profile, job)
    say(f"Job {job.job_id} is with the cluster at {address}.")
    if run is not None:
        say(f"Its run: {run.place}")
        if seen:
            keep_job(run.place, job)
    return job


def address_of(given: str | None, profile: Profile) -> str:
    """The Jobs API: as given, or of the profile, or of the environment; ClusterError without one."""
    named = (os.environ.get(name) for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"))
    said = given or profile.address or next(filter(None, named), None)
    if not said:
        raise ClusterError(
            "which cluster? Give --address http://127.0.0.1:8265 (of a tunnel or port-forward to its head "
            "node), or `address` in the profile, or set RAY_API_SERVER_ADDRESS"
        )
    try:
        address = cluster_address(said)
    except ValueError as error:
        raise ClusterError(f"{said}: no address of a cluster's Jobs API: {error}") from None
    if address.startswith("http:") and urlsplit(address).hostname not in LOOPBACK:
        say(
            f"[yellow]Warning:[/yellow] the token travels readably to {address}; a tunnel to the head node "
            "(ssh -L, kubectl port-forward) or https would hide it."
        )
    return address


def _is_done(spec: Spec) -> bool:
    """Is there nothing left to do? PlanError or BundleError for what cannot be done."""
    if isinstance(spec, TrainSpec):
        check_training(spec)
        return False
    plan = make_plan(spec)
    CONSOLE.print(show.plan(plan))
    layout, _ = checked(plan)
    if done := all_published(layout):
        say(f"Was already published: {layout.catalog}. Nothing was handed in.")
    return done


def _run(spec: Spec) -> Run | None:
    """The run of a spec; None where what names it is on the cluster alone."""
    try:
        return run_of(spec)
    except InputError:
        return None


def _under_way(run: Run) -> Job | None:
    """The job that does a run at this moment; RunError where something else does."""
    job = job_of(run.place)
    if job is not None and _is_going(job):
        return job
    if not run.is_training:
        at, holder = now(), holder_at(run.place)
        if holder is not None and not is_dead(holder, holder.beat, this_process(at), at):
            raise refusal(run.place, holder, holder.beat, at)
    return None


def _is_going(job: Job) -> bool:
    """Will the job still do something? A cluster that is gone, or knows it no more, does nothing."""
    try:
        return not state_of(job.address, job.job_id).is_over
    except ClusterError:
        return False


def _title(spec: Spec) -> str:
    """What people know a run by."""
    if isinstance(spec, TrainSpec):
        return f"train-{spec.bundle.name}"
    return f"{spec.catalog.name}-{spec.catalog.version}"


def _hand_in(spec: Spec, profile: Profile, job: Job) -> None:
    verb = "train" if isinstance(spec, TrainSpec) else "run"
    own, words = shlex.quote(sys.executable), shlex.join([verb, SPEC, "--profile", PROFILE])
    with tempfile.TemporaryDirectory(prefix="abundant-") as folder:
        code = Path(folder) / "code.zip"
        pack(code, {SPEC: _toml(spec), PROFILE: _toml(profile)})
        handed = Handed(
            job_id=job.job_id,
            command=ENTRY.format(own=own, words=words),
            code=code,
            about={"run": _title(spec)},
            environment={VARIABLE: job.to_json()},
        )
        hand_in(job.address, handed)


def _toml(record: Frozen) -> str:
    """A spec or profile as it was said, with whole paths: the job stands in another folder."""
    return tomli_w.dumps(record.model_dump(mode="json", by_alias=True, exclude_unset=True))
