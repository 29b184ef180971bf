"""moto as an S3 server on loopback, with every request counted, and with faults on demand."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


@dataclass
class Server:
    """A running server. `fault(number of the request)` may name one of the faults below."""

    address: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    bytes_out: int = 0
    fault: Callable[[int], str | None] = lambda _number: None

    def reset(self) -> None:
        """Forget what was counted, and behave."""
        self.requests, self.bytes_out, self.fault = [], 0, lambda _number: None

    def put(self, bucket: str, root: Path) -> None:
        """Every file below a folder as an object of the same name."""
        client = boto3.client("s3", endpoint_url=self.address, **KEYS)
        client.create_bucket(Bucket=bucket, ACL="public-read")
        for path in sorted(root.rglob("*")):
            if path.is_file():
                client.put_object(
                    Bucket=bucket,
                    Key=path.relative_to(root).as_posix(),
                    Body=path.read_bytes(),
                    ACL="public-read",
                )


def _counting(server: Server, app: Any) -> Any:
    def counted(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        number = len(server.requests)
        server.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        fault = server.fault(number) if environ["REQUEST_METHOD"] in ("GET", "HEAD") else None
        if fault == "slow down":
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"]
        body = b"".join(app(environ, start_response))
        server.bytes_out += len(body)
        return [body[: len(body) // 2] if fault == "cut short" else body]

    return counted


@contextmanager
def running() -> Iterator[Server]:
    """A server on a free port of loopback, stopped at the end."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = Server()
    app = _counting(server, DomainDispatcherApplication(create_backend_app))
    http = make_server("127.0.0.1", 0, app, threaded=True)
    server.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()


def objects(
    address: str, bucket: str, prefix: str = "", keys: tuple[str, str] = ("test", "test")
) -> dict[str, bytes]:
    """Every object of a bucket below a prefix, by its key from there."""
    client = _client(address, keys)
    return {
        key.removeprefix(prefix): client.get_object(Bucket=bucket, Key=key)["Body"].read()
        for key in listed(address, bucket, prefix, keys)
    }


def listed(
    address: str, bucket: str, prefix: str = "", keys: tuple[str, str] = ("test", "test")
) -> list[str]:
    """The keys of every object of a bucket below a prefix."""
    pages = _client(address, keys).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [one["Key"] for page in pages for one in page.get("Contents", [])]


def make_bucket(address: str, bucket: str, keys: tuple[str, str] = ("test", "test")) -> None:
    """An empty bucket."""
    _client(address, keys).create_bucket(Bucket=bucket)


def fill(address: str, bucket: str, root: Path, prefix: str = "") -> None:
    """Every file below a folder as an object of the same name, below a prefix."""
    client = _client(address, ("test", "test"))
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        key = f"{prefix}{path.relative_to(root).as_posix()}"
        client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


def _client(address: str, keys: tuple[str, str]) -> Any:
    names = {"aws_access_key_id": keys[0], "aws_secret_access_key": keys[1]}
    return boto3.client("s3", endpoint_url=address, **KEYS | names)
