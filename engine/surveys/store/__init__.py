"""Where files are: one folder on a disk, or one prefix in an object store. The same calls for both."""

from pathlib import Path

from engine.errors import PlanError
from engine.spec import Storage
from engine.surveys.store.bucket import Bucket, RemoteFile
from engine.surveys.store.client import Access
from engine.surveys.store.file import Entry, File, Store, raw, stream
from engine.surveys.store.folder import Folder

__all__ = ["Bucket", "Entry", "File", "Folder", "RemoteFile", "Store", "raw", "store_of", "stream"]


def store_of(root: str, storage: Storage) -> Store:
    """The store that a root names: a folder, or s3://bucket/prefix. PlanError for another scheme."""
    scheme, colon, _ = root.partition("://")
    if not colon:
        return Folder(Path(root))
    if scheme != "s3":
        raise PlanError(
            f"survey.root: {root}: files can be read from a folder or from s3://, not {scheme}://"
        )
    return Bucket(root.rstrip("/"), Access.of(storage, "[survey.storage]"))
