"""Where an export goes: a name that is free, filled under another one, and renamed when all is there."""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from catalogs.layout import PROPERTIES, room, sync
from engine.errors import InputError, RunError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG)


@contextmanager
def new_place(out: Path) -> Iterator[Path]:
    """A temporary name beside `out`, for a file or folder that takes its place when the block ends.

    InputError when something is there already or it could not be written; RunError for a full disk. Whatever
    goes wrong, nothing is left behind.
    """
    _refuse(out)
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for path in (*temporary.rglob("*"), temporary):
            sync(path)
        _refuse(out)
        temporary.rename(out)
        sync(out.parent)
    except OSError as error:
        raise _explained(out, error) from error
    finally:
        _clear(temporary)


def need(out: Path, size: int) -> None:
    """RunError when the disk of `out` has less than `size` bytes free."""
    here = out.absolute()
    while not here.exists():
        here = here.parent
    if (free := shutil.disk_usage(here).free) < size:
        raise RunError(f"{out} needs {size:,} bytes, and only {free:,} are free there; nothing was written")


def _refuse(out: Path) -> None:
    if re.match(r"\w+:/", str(out)):
        raise InputError(f"{out}: an export goes to a folder of this machine; copy it from there")
    if os.path.lexists(out):
        raise InputError(f"{out} exists already; choose another name, or remove it")
    for folder in out.absolute().parents:
        if (folder / PROPERTIES).is_file():
            raise InputError(f"{out} would lie inside the published catalog {folder}; choose a place outside")


def _explained(out: Path, error: OSError) -> Exception:
    if error.errno in FULL:
        return RunError(f"{out}: the disk is full{room(out.absolute())}; what was written is removed again")
    if error.errno in REFUSED:
        return InputError(f"{out} cannot be written: {error.strerror}: {error.filename or out}")
    return error


def _clear(temporary: Path) -> None:
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        with suppress(OSError):
            temporary.unlink()
