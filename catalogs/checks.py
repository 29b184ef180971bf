"""What must hold before anything is published, and what is said when it does not."""

from collections.abc import Iterable, Sequence

from catalogs.layout import Layout, bytes_free
from catalogs.sql import duplicates
from engine.errors import CommitError
from engine.types import Receipt

LISTED = 20


def complete(found: Iterable[Receipt], expected: Sequence[str], failed_allowed: int) -> tuple[Receipt, ...]:
    """The receipts of the expected tasks, by task id; CommitError when they cannot be published."""
    have = {receipt.task_id: receipt for receipt in found}
    missing = [task for task in expected if task not in have]
    if missing:
        raise CommitError(
            f"{len(missing)} of {len(expected)} tasks have no receipt:\n{_listed(missing)}\n"
            "run the same command again to do them"
        )
    wanted = tuple(have[task] for task in sorted(set(expected)))
    failed = [f"{receipt.task_id}: {receipt.reason}" for receipt in wanted if receipt.status == "failed"]
    if len(failed) > failed_allowed:
        raise CommitError(
            f"{len(failed)} tasks failed, {failed_allowed} may:\n{_listed(failed)}\n"
            f"mend the files, or set [tolerance] failed_tasks = {len(failed)} to publish without them"
        )
    if not sum(receipt.rows for receipt in wanted):
        raise CommitError(f"nothing to publish: the {len(wanted)} tasks staged no row")
    return wanted


def refuse_miscount(staged: Sequence[Receipt], rows: int) -> None:
    """CommitError unless the receipts speak of as many rows as were found in the staged files."""
    said = sum(receipt.rows for receipt in staged)
    if said != rows:
        raise CommitError(f"the receipts say {said} rows, the staged files hold {rows}: this is a bug")


def refuse_duplicates(layout: Layout, staged: Sequence[Receipt], keys: Sequence[str]) -> None:
    """CommitError that lists keys which occur more than once in the staged files."""
    files = [layout.staging / receipt.file for receipt in staged]
    found = duplicates(files, keys, layout.scratch / "spill")
    if found.keys:
        raise CommitError(
            f"{found.keys} keys ({'/'.join(keys)}) occur more than once; nothing was published and "
            f"nothing was dropped, the staging is kept in {layout.staging}:\n{found}\n"
            "the survey's files hold these rows twice: select one of them, or add a key that tells them apart"
        )


def unwritable(layout: Layout, error: OSError) -> CommitError:
    """The CommitError for an error of the file system, most often a full disk."""
    return CommitError(
        f"the commit cannot go on: {error} ({bytes_free(layout.root):,} bytes free there); "
        "the staging is kept: make room, then run the same command again"
    )


def _listed(lines: Sequence[str]) -> str:
    more = [f"  … and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "\n".join([*(f"  {line}" for line in lines[:LISTED]), *more])
