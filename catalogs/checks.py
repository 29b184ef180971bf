"""What must hold before anything is published, and what is said when it does not."""

import errno
from collections.abc import Iterable, Sequence

import duckdb

from catalogs.files import clear
from catalogs.groups import Damage
from catalogs.keys import duplicate_keys
from catalogs.layout import Layout, room, set_aside
from catalogs.place import is_published
from catalogs.remote import Location
from catalogs.side import differences
from catalogs.stage import receipt_path
from engine.errors import CommitError, VerifyError
from engine.types import Receipt

LISTED = 20


def complete(found: Iterable[Receipt], expected: Sequence[str], failed_allowed: int) -> tuple[Receipt, ...]:
    """The receipts of the expected tasks, by task id; CommitError when they cannot be published."""
    have = {receipt.task_id: receipt for receipt in found}
    missing = [task for task in expected if task not in have]
    if missing:
        raise CommitError(
            f"{len(missing)} of {len(expected)} tasks have no receipt:\n{_listed(missing)}\n"
            "run the same command again (`abundant run`) to do them"
        )
    wanted = tuple(have[task] for task in sorted(set(expected)))
    failed = [f"{receipt.task_id}: {receipt.reason}" for receipt in wanted if receipt.status == "failed"]
    if len(failed) > failed_allowed:
        raise CommitError(
            f"{len(failed)} tasks failed, {failed_allowed} may:\n{_listed(failed)}\n"
            f"mend the files, or set [tolerance] failed_tasks = {len(failed)} to publish without them"
        )
    return wanted


def refuse_nothing(staged: Sequence[Receipt], kept: int = 0) -> None:
    """CommitError when there is no row, neither staged nor among those `kept` of an older version."""
    if not (kept or sum(receipt.rows for receipt in staged)):
        raise CommitError(f"nothing to publish: the {len(staged)} tasks staged no row")


def refuse_damage(layout: Layout, damages: Iterable[Damage]) -> None:
    """CommitError if there is any; the receipts of its tasks are set aside, so that a run does them anew."""
    if found := _set_aside(layout, damages):
        raise CommitError(
            f"{len(found)} staged files are not what their receipts say; nothing was published:\n"
            f"{_listed(found)}\n"
            "their receipts were set aside and all others are kept: run the same command again "
            "(`abundant run`), which does these tasks anew"
        )


def refuse_faults(layout: Layout, faults: Iterable[Damage]) -> None:
    """CommitError for staged rows that no catalog may hold, as `refuse_damage`; what was built is removed."""
    if found := _set_aside(layout, faults):
        _remove_built(layout)
        raise CommitError(
            f"the catalog that was built was not published, for what is staged is wrong:\n{_listed(found)}\n"
            "the receipts of these tasks were set aside and all others are kept: run the same command again "
            "(`abundant run`), which does these tasks anew; should that end alike, it is no accident but an "
            f"error of the program: report it, and keep {layout.staging}"
        )


def _set_aside(layout: Layout, damages: Iterable[Damage]) -> list[str]:
    """What is wrong, a line each, by task; the tasks' receipts get another name."""
    found = sorted(damages, key=lambda damage: damage.task_id)
    for task_id in sorted({damage.task_id for damage in found}):
        set_aside(receipt_path(layout, task_id))
    return [f"{damage.task_id}: {damage.what}" for damage in found]


def refuse_duplicates(
    layout: Layout, staged: Sequence[Receipt], keys: Sequence[str], kept: Sequence[Location] = ()
) -> None:
    """CommitError that lists keys which occur more than once in the staged files and others, `kept` ones."""
    files = [*(layout.staging / receipt.file for receipt in staged), *kept]
    try:
        found = duplicate_keys(files, keys, layout.scratch / "spill")
    except duckdb.Error as error:
        raise CommitError(
            f"the keys cannot be compared: {str(error).splitlines()[0]}{room(layout.root)}; "
            "the staging is kept: make room, then run the same command again"
        ) from error
    if found.keys:
        raise CommitError(
            f"{found.keys} keys ({'/'.join(keys)}) occur more than once; nothing was published and "
            f"nothing was dropped, the staging is kept in {layout.staging}:\n{found}\n"
            "the survey's files hold these rows twice: select one of them, or add a key that tells them apart"
        )


def refuse_strangers(layout: Layout) -> None:
    """VerifyError for a side catalog whose rows are not the main one's; CommitError if one is published.

    One of them is where a commit was stopped between the two, or where the other was deleted.
    """
    if not layout.has_side:
        return
    published = [part.catalog for part in layout.parts if is_published(part)]
    main, side = (part.catalog if is_published(part) else part.partial for part in layout.parts)
    if not (found := list(differences(main, side))):
        return
    what = f"{side} does not fit {main}:\n{_listed(found)}"
    if not published:
        raise VerifyError(what)
    _remove_built(layout)
    raise CommitError(
        f"{what}\nwhat is staged is not what {published[0]} was published from; nothing more was published "
        f"and the staging is kept: move {published[0]} away, and the same command publishes both"
    )


def stopped(layout: Layout, error: Exception) -> CommitError:
    """The CommitError for what stopped a commit on its way."""
    if isinstance(error, OSError) and error.errno:
        return _unwritable(layout, error)
    return _unsound(layout, error)


def _unwritable(layout: Layout, error: OSError) -> CommitError:
    """An error of the file system, most often a full disk."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    free = room(layout.root) if full else ""
    remedy = "make room" if full else "mend what it names"
    return CommitError(
        f"the commit cannot go on: {error}{free}; the staging is kept: "
        f"{remedy}, then run the same command again"
    )


def _unsound(layout: Layout, error: Exception) -> CommitError:
    """What was built is not what was staged, or scratch cannot be read (pyarrow's errors have no errno)."""
    _remove_built(layout)
    return CommitError(
        f"the catalog that was built is damaged, and was not published: {error}\n"
        "it was removed and the staging is kept: run the same command again to build it anew; "
        f"should that end alike, delete {layout.staging}, and all tasks are done again"
    )


def _remove_built(layout: Layout) -> None:
    for folder in (layout.scratch, *(part.partial for part in layout.parts)):
        clear(folder)


def _listed(lines: Sequence[str]) -> str:
    more = [f"  … and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "\n".join([*(f"  {line}" for line in lines[:LISTED]), *more])
