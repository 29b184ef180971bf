"""Objects of a catalog as a file system for DuckDB and pyarrow: these objects alone, to be read alone."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fsspec.spec import AbstractFileSystem
from upath import UPath

from catalogs.remote import Remote

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Objects(AbstractFileSystem):
    """Some objects by their address; there are no others, and nothing can be written."""

    protocol = "s3"
    cachable = False

    def __init__(self, objects: Mapping[str, Remote]) -> None:
        super().__init__()
        self.objects = {self._strip_protocol(address): one for address, one in objects.items()}
        self.known: dict[str, int] = {}

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """What an object is like; FileNotFoundError for all that is not of the catalog."""
        name, place = self._found(path)
        if name not in self.known:
            self.known[name] = place.stat().st_size
        return {"name": name, "size": self.known[name], "type": "file"}

    def modified(self, path: str) -> datetime:
        """A published file does not change."""
        self._found(path)
        return LONG_AGO

    def _open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> Any:
        if mode != "rb":
            raise PermissionError(f"{path} can only be read")
        return self._found(path)[1].stream()

    def _found(self, path: str) -> tuple[str, Remote]:
        name = self._strip_protocol(path)
        if not isinstance(name, str) or name not in self.objects:
            raise FileNotFoundError(path)
        return name, self.objects[name]


def upath(place: Remote) -> UPath:
    """A place as hats and LSDB take it."""
    access = place.access
    region = {"region_name": access.region} if access.region else {}
    return UPath(str(place), anon=access.anonymous, endpoint_url=access.endpoint, client_kwargs=region)
