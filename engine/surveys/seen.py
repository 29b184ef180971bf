"""When files were written: whether a task that is done was done with the files that are there now.

The date of a file names nothing that is published. It only tells that a file was touched, and so that what
was made of it must be made again: an edit of a few bytes can keep a file's fingerprint.
"""

import hashlib
from collections.abc import Sequence

from engine.spec import SurveySpec
from engine.surveys.store import store_of
from engine.types import Shard


def seen(spec: SurveySpec, shard: Shard) -> str:
    """A digest of the sizes and dates that the files of a shard have now.

    "" where one of them is gone, and where a store's fingerprints follow every byte.
    """
    store = store_of(spec.root, spec.storage)
    if store.exact:
        return ""
    touched = {name: store.touched(name) for name in _names(shard)}
    if not all(touched.values()):
        return ""
    return hashlib.sha256(str(touched).encode()).hexdigest()[:16]


def _names(shard: Shard) -> Sequence[str]:
    if shard.members:
        return [member.path for member in shard.members]
    return [name for name in (shard.path, shard.path_beside) if name]
