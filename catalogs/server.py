"""Requests to a server that speaks S3, as the reading stores make them (engine/surveys/store/client.py).

Nobody imports this before there is such a server: the import takes seconds.
"""

import errno
from collections.abc import Callable
from io import RawIOBase
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from engine.errors import ShardUnavailable
from engine.spec import Storage
from engine.surveys.store import RemoteFile, raw
from engine.surveys.store.client import Access, again, client

EXISTS = ("PreconditionFailed", "412")

A = TypeVar("A")


def access(storage: Storage | None, said: str) -> Access:
    """How a server is reached: as a spec says, else as the environment does."""
    return Access.of(storage or Storage(), said)


def call(by: Access, method: str, **named: Any) -> Any:
    """Ask once, by boto3's name of what is asked."""
    return client(by).call_s3(method, **named)


def asked(by: Access, address: str, attempt: Callable[[], A]) -> A:
    """As `again`; the error names the object."""
    try:
        return again(attempt, by)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, address) from error


def content(by: Access, address: str) -> bytes:
    """A whole object, asked for once."""
    return client(by).cat_file(address, max_concurrency=1)


def copy(by: Access, source: str, target: str) -> None:
    """Copy an object of any size inside the server, asked for once."""
    client(by).copy(source, target)


def is_there(error: OSError) -> bool:
    """Did a server refuse to write because there is something?"""
    cause = error.__cause__
    code = cause.response.get("Error", {}).get("Code") if isinstance(cause, ClientError) else None
    return isinstance(error, FileExistsError) or code in EXISTS


def opened(by: Access, address: str, size: int, etag: str) -> RawIOBase:
    """An object to read from; every read is a request, unless the object is small."""
    return raw(_Ranges(address, by, size, etag))


class _Ranges(RemoteFile):
    """An open object. OSError when it cannot be read, as of a file."""

    def fetch(self, offset: int, count: int) -> bytes:
        try:
            return super().fetch(offset, count)
        except ShardUnavailable as error:
            raise OSError(errno.EIO, str(error), self.address) from error
