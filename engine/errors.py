"""The exceptions of Abundant, all of them.

AbundantError
├── InputError            what was asked for is wrong: and the message says how to mend it (exit code 2)
│   ├── SpecError             the TOML file: unknown key, wrong type, missing value
│   ├── BundleError           the model on disk: missing, altered, not readable
│   ├── PlanError             the parts do not fit: survey and model, catalog folder, tolerance
│   └── ClusterError          a cluster cannot be reached, or does not let us in: its address, its token
├── ShardError            one task cannot be read: becomes a receipt `failed`, the run goes on
│   ├── ShardCorrupt          the file is wrong and will stay so: never retried
│   └── ShardUnavailable      the file cannot be reached now: retried, then failed
└── RunError              the run or a check failed (exit code 1)
    ├── UnexpectedNaN         a number that must exist does not: a bug or a broken model
    ├── TaskMismatch          a runtime handed over something that is not exactly one task
    ├── StagingError          labels could not be written; what was staged before is kept
    ├── CommitError           staged labels cannot be published; the staging is kept
    └── VerifyError           a published catalog is not what its manifest says
"""


class AbundantError(Exception):
    """Every error this program raises on purpose."""


class InputError(AbundantError):
    """What was asked for is wrong; the message names it and the remedy."""


class SpecError(InputError):
    """A spec or profile does not say what it must, or says something unknown."""


class BundleError(InputError):
    """A bundle is missing, altered or unreadable."""


class PlanError(InputError):
    """Survey, model and catalog cannot work together as asked."""


class ClusterError(InputError):
    """A cluster does not answer, does not know a job, or does not let us in."""


class ShardError(AbundantError):
    """One task cannot be read. The only error that becomes a receipt."""


class ShardCorrupt(ShardError):
    """The file's content is wrong and will stay so."""


class ShardUnavailable(ShardError):
    """The file cannot be reached now; trying again may help."""


class RunError(AbundantError):
    """The run, or a check of its result, failed."""


class UnexpectedNaN(RunError):
    """A number that must exist after prepare does not."""


class TaskMismatch(RunError):
    """A runtime handed over something that is not exactly one task."""


class StagingError(RunError):
    """Labels could not be written durably; earlier tasks are kept."""


class CommitError(RunError):
    """Staged labels cannot be published; the staging is kept."""


class VerifyError(RunError):
    """A published catalog is not what its manifest says."""
