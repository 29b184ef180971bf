"""A place in an object store, with pathlib's verbs: what a folder's code needs, and nothing else.

There are no folders there, so none is made; there is no rename, so nothing is renamed. An object is written
whole or not at all. Errors are OSErrors that name the object and say what helps; what may pass is tried
again by the reading stores' rule. What talks to servers (server.py) is imported when there is one.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import RawIOBase
from pathlib import Path, PurePosixPath
from stat import S_IFREG
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from catalogs.parts import upload
from engine.errors import PlanError
from engine.spec import Storage

if TYPE_CHECKING:
    from engine.surveys.store.client import Access

SCHEME = re.compile(r"s3:/+(?=[^/])")
# Larger objects are copied in parts.
MOST_COPIED = 5 * 2**30

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Stat:
    """What a server says of an object."""

    st_size: int
    etag: str
    st_mtime: float
    st_mode: int = S_IFREG


@dataclass(frozen=True, slots=True, order=True)
class Remote:
    """An object, or all objects below a prefix: s3://bucket/prefix/name. Any process may use it."""

    address: str
    access: "Access"

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, name: str) -> "Remote":
        return Remote(f"{self.address}/{name}", self.access)

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.address.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> "Remote":
        """The prefix above."""
        return Remote(self.address.rpartition("/")[0], self.access)

    @property
    def parents(self) -> tuple["Remote", ...]:
        """The prefixes above, the bucket last."""
        above = [self.parent] if self._key else []
        return (*above, *above[0].parents) if above else ()

    def with_name(self, name: str) -> "Remote":
        """Another name beside this one."""
        return self.parent / name

    def stat(self) -> Stat:
        """FileNotFoundError unless it is an object."""
        about = self._asked(lambda: self._call("head_object", Key=self._key))
        return Stat(about["ContentLength"], about["ETag"].strip('"'), about["LastModified"].timestamp())

    def is_file(self) -> bool:
        """Is there an object of this very name?"""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def exists(self) -> bool:
        """Is there an object of this name, or below it?"""
        return self.is_file() or next(self._listed(1), None) is not None

    def files(self) -> dict[str, Stat]:
        """All objects below, by their path from here, in order; empty where there are none."""
        start = len(self._key) + 1 if self._key else 0
        return {key[start:]: about for key, about in sorted(self._listed())}

    def glob(self, pattern: str) -> Iterator["Remote"]:
        """The objects right below whose names match."""
        return (self / name for name in self.files() if "/" not in name and fnmatchcase(name, pattern))

    def read_bytes(self) -> bytes:
        """The whole object. FileNotFoundError without it."""
        from catalogs.server import content

        return self._asked(lambda: content(self.access, self.address))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole object as text."""
        return self.read_bytes().decode(encoding)

    def stream(self) -> RawIOBase:
        """The object as an open file, for reading; every read is a request, unless the object is small."""
        from catalogs.server import opened

        about = self.stat()
        return opened(self.access, self.address, about.st_size, about.etag)

    def write_bytes(self, content: bytes) -> None:
        """Put an object in its place, whole, whatever was there."""
        upload(self._call, self._asked, self._key, content)

    def create(self, content: bytes) -> bool:
        """Put an object where there is none; False where there is one of other content.

        Only where the server honours If-None-Match: others overwrite, and say nothing. `content` must be
        like nobody else's, since an answer that was lost is made up for by reading.
        """
        from catalogs.server import is_there

        def attempt() -> bool:
            try:
                self._call("put_object", Key=self._key, Body=content, IfNoneMatch="*")
            except OSError as error:
                if is_there(error):
                    return False
                raise
            return True

        return self._asked(attempt) or self.read_bytes() == content

    def copy_to(self, target: "Remote") -> None:
        """Copy an object inside the server, to another place in the same bucket."""
        from catalogs.server import copy

        if self.stat().st_size > MOST_COPIED:
            self._asked(lambda: copy(self.access, self.address, target.address))
            return
        origin = {"Bucket": self._bucket, "Key": self._key}
        self._asked(lambda: self._call("copy_object", Key=target._key, CopySource=origin))

    def unlink(self) -> None:
        """Remove an object; the server does not tell whether there was one."""
        self._asked(lambda: self._call("delete_object", Key=self._key))

    def abort_uploads(self) -> int:
        """End what killed writers began to upload below here, which is stored unseen; how many there were."""
        pages = self._asked(lambda: self._call("list_multipart_uploads", Prefix=f"{self._key}/"))
        begun = pages.get("Uploads", [])
        for one in begun:
            where = {"Key": one["Key"], "UploadId": one["UploadId"]}
            self._asked(lambda: self._call("abort_multipart_upload", **where))  # noqa: B023
        return len(begun)

    @property
    def _key(self) -> str:
        return self.address.removeprefix("s3://").partition("/")[2]

    @property
    def _bucket(self) -> str:
        return self.address.removeprefix("s3://").partition("/")[0]

    def _call(self, method: str, **named: Any) -> Any:
        from catalogs.server import call

        return call(self.access, method, Bucket=self._bucket, **named)

    def _asked(self, attempt: Callable[[], A]) -> A:
        """The result of an attempt that may take several; an OSError names this object."""
        from catalogs.server import asked

        return asked(self.access, self.address, attempt)

    def _listed(self, most: int = 1000) -> Iterator[tuple[str, Stat]]:
        prefix = {"Prefix": f"{self._key}/"} if self._key else {}
        more: dict[str, str] = {}
        while True:
            page = self._asked(lambda: self._call("list_objects_v2", MaxKeys=most, **prefix, **more))  # noqa: B023
            for one in page.get("Contents", []):
                about = Stat(one["Size"], one["ETag"].strip('"'), one["LastModified"].timestamp())
                yield one["Key"], about
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}


Location: TypeAlias = Path | Remote
"""Where something lies: on a disk or in an object store."""


def location(
    root: "str | Location", storage: Storage | None = None, said: str = "the environment"
) -> Location:
    """The place that an address names; `said` tells people where else they can say how it is reached.

    A Path of an address counts as the address, though it has lost a slash. PlanError for another scheme.
    """
    if isinstance(root, Remote):
        return root
    if not (scheme := SCHEME.match(str(root))):
        if "://" in str(root):
            raise PlanError(f"{root}: a catalog can lie in a folder or at s3://bucket/prefix; choose one")
        return Path(root)
    from catalogs.server import access

    return Remote(f"s3://{str(root)[scheme.end() :].rstrip('/')}", access(storage, said))
