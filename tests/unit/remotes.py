"""A bucket of its own for a test, and commits into it."""

from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from catalogs.layout import Layout
from catalogs.remote import Remote, location
from engine.spec import Storage
from tests.s3_server import Server, make_bucket, objects
from tests.unit.catalog_rows import layout

NUMBERS = count(1)
OWN = ("manifest.json", "hats.properties")


@dataclass(frozen=True)
class Shelf:
    """An empty bucket, as a client reaches it: at the server's own address or through a proxy."""

    server: Server
    bucket: str
    address: str
    keys: tuple[str, str] = ("test", "test")

    @property
    def storage(self) -> Storage:
        """What a spec says of it."""
        return Storage(endpoint=self.address, region="us-east-1")

    @property
    def root(self) -> Remote:
        """A prefix in it."""
        found = location(f"s3://{self.bucket}/deep/root", self.storage, "[catalog.storage]")
        assert isinstance(found, Remote)
        return found

    def layout(self, **named: Any) -> Layout:
        """The places of a run there."""
        return layout(self.root, **named)

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """What lies below the root."""
        return objects(self.server.address, self.bucket, f"deep/root/{prefix}", self.keys)

    def published(self, title: str = "stars/v1/") -> dict[str, bytes]:
        """All of a catalog that must not depend on how it was made."""
        return {name: data for name, data in self.objects(title).items() if name not in OWN}

    def through(self, address: str) -> "Shelf":
        """The same bucket by another way."""
        return replace(self, address=address)


def shelf(server: Server) -> Shelf:
    """An empty bucket."""
    name = f"bucket-{next(NUMBERS)}"
    make_bucket(server.address, name)
    return Shelf(server, name, server.address)
