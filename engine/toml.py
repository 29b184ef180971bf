"""TOML files -> the records of spec.py and train/spec.py, and what is said when one is wrong."""

import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from engine.errors import SpecError
from engine.spec import Frozen

S = TypeVar("S", bound=Frozen)


def strictly(plain: object, kind: type[S]) -> S:
    """A record from plain values, where no text becomes a number: TOML has both. ValidationError if wrong.

    As JSON, lists become tuples and text becomes paths. TypeError for a date, which no key takes.
    """
    return kind.model_validate_json(json.dumps(plain, default=_refuse_date), strict=True)


def sections(path: Path) -> frozenset[str]:
    """The names at the top of a TOML file, which tell a training from a run; SpecError as `load`."""
    return frozenset(_toml(path))


def load(path: Path, kind: type[S]) -> S:
    """The spec or profile in a TOML file; relative paths in it are taken from the current folder.

    SpecError names the file, every offending key, and what was expected.
    """
    plain = _toml(path)
    try:
        return strictly(plain, kind)
    except ValidationError as error:
        raise SpecError(f"{path}:\n{complaints(error, kind)}") from None
    except TypeError as error:
        raise SpecError(f"{path}: {error}") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        # Editors on Windows begin a file with a byte order mark, which is no TOML.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SpecError(f"{path}: there is no such file; `abundant demo` writes an example spec") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError(f"{path}: not a readable TOML file: {error}") from error


def _refuse_date(value: object) -> None:
    raise TypeError(f'{value} is a date or time, which no key takes; write "{value}" if it is text')


def complaints(error: ValidationError, kind: type[Frozen]) -> str:
    """One line for each thing that is wrong: the key, what was expected, and what was given."""
    return "\n".join(_complaint(item, kind) for item in error.errors())


def _complaint(item: Any, kind: type[Frozen]) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"  {where}: unknown key; {_known(item['loc'][:-1], kind)}"
    if item["type"] == "missing":
        return f"  {where}: missing"
    if item["type"] == "value_error":
        return f"  {where}: {item['ctx']['error']}"
    message = item["msg"]
    return f"  {where}: {message[0].lower()}{message[1:]} (got {item['input']!r})"


def _known(section: tuple[Any, ...], kind: type[Frozen]) -> str:
    record: Any = kind
    for part in section:
        # The members of a list of records (the labels of a card) have a number instead of a name.
        record = _record(record.model_fields[part].annotation) if isinstance(part, str) else record
    names = sorted(f.alias or name for name, f in record.model_fields.items())
    return f"known here: {', '.join(names)}"


def _record(annotation: Any) -> Any:
    """The record in `Record`, `Record | None` or `tuple[Record, ...]`."""
    return get_args(annotation)[0] if get_args(annotation) else annotation
