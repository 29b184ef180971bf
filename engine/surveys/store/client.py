"""How a server that speaks S3 is asked, by whoever asks it: one client, and one way of trying again."""

import errno
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import aiohttp
import fsspec
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from engine.spec import Storage

ATTEMPTS = 8
# A platform may be slow to say who we are; a laptop never will.
ANONYMOUS_ATTEMPTS = 3
FIRST_PAUSE_S = 0.1
MOST_PAUSE_S = 10.0

# What may pass: throttling, resets, time-outs, and bodies that end too early.
PASSING = (OSError, BotoCoreError, ClientError, aiohttp.ClientError)
# Where botocore itself looks for the address of another server than Amazon's.
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")

A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a server is reached: see spec.Storage. `said` is where a spec says so, for people."""

    anonymous: bool
    endpoint: str | None
    region: str | None
    said: str = "[survey.storage]"

    @classmethod
    def of(cls, storage: Storage, said: str) -> "Access":
        """What a spec says; the address of a server that it does not name is the environment's."""
        named = (os.environ[name] for name in ENDPOINTS if os.environ.get(name))
        endpoint = storage.endpoint or next(named, None)
        return cls(anonymous=storage.anonymous, endpoint=endpoint, region=storage.region, said=said)


def client(access: Access) -> Any:
    """One client per process and kind of access; signed with what the environment holds unless anonymous."""
    return _client(access, os.getpid())


@cache
def _client(access: Access, _process: int) -> Any:
    """A client does not outlive a fork, so each process has its own."""
    if access.endpoint is not None:
        # Checksums that only Amazon knows make other servers refuse.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    files = fsspec.filesystem(
        "s3",
        anon=access.anonymous,
        endpoint_url=access.endpoint,
        client_kwargs={"region_name": access.region} if access.region else {},
        config_kwargs={"retries": {"total_max_attempts": 1, "mode": "standard"}, "connect_timeout": 10},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    # s3fs too would try again by itself, with pauses of its own inside ours.
    files.retries = 1
    return files


def again(attempt: Callable[[], A], access: Access) -> A:
    """The result of an attempt, tried again with growing pauses while trying again may help.

    FileNotFoundError where there is no such bucket or object, PermissionError where access is refused or
    nobody says who we are, and OSError (EIO) with what to do about it when all attempts failed.
    """
    failure: Exception | None = None
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "there is no such bucket or object") from error
        except PermissionError as error:
            words = f"access is refused ({error}); set the credentials, or {access.said} anonymous = true"
            raise PermissionError(errno.EACCES, words) from error
        except PASSING as error:
            failure = error
            if isinstance(error, NoCredentialsError) and number + 1 == ANONYMOUS_ATTEMPTS:
                words = f"no credentials are known here; set them, or {access.said} anonymous = true"
                raise PermissionError(errno.EACCES, words) from error
        if number + 1 < ATTEMPTS:
            time.sleep(min(MOST_PAUSE_S, FIRST_PAUSE_S * 2**number) * random.uniform(0.5, 1.5))
    words = f"{failure}, {ATTEMPTS} times; check the network and {access.said}"
    raise OSError(errno.EIO, words) from failure
