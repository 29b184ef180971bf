"""Between a client and an S3 server on loopback: what networks do, at a given rate, from a seed.

slow down   the server is said to be busy: 503 SlowDown, nothing is passed on
reset       the connection breaks before the request is passed on
lost        the request is passed on and done; the connection breaks instead of an answer
cut         half of the answer's body comes, then the connection ends
late        the answer takes its time
"""

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("slow down", "reset", "lost", "cut", "late")
LATE_S = 0.2
BUSY = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
# They concern one connection, not what is said over it.
OWN = ("connection", "expect", "transfer-encoding", "keep-alive")


@dataclass
class Proxy:
    """A running proxy. What befalls request number n follows from the seed; `done` counts what did."""

    upstream: str
    address: str = ""
    rate: float = 0.0
    seed: int = 0
    faults: Sequence[str] = FAULTS
    drop: Sequence[str] = ()
    requests: int = 0
    done: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self) -> str | None:
        """What befalls the next request."""
        with self.lock:
            dice = random.Random(f"{self.seed} {self.requests}")
            self.requests += 1
            fault = dice.choice(self.faults) if dice.random() < self.rate else None
            if fault is not None:
                self.done[fault] += 1
        return fault


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nobody reads it."""

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.next_fault()
        if fault == "slow down":
            return self.answer(503, [("Content-Type", "application/xml")], BUSY)
        if fault == "reset":
            return self.reset()
        if fault == "late":
            time.sleep(LATE_S)
        answer, content = self.ask(body)
        if fault == "lost":
            return self.reset()
        headers = [(k, v) for k, v in answer.getheaders() if k.lower() not in OWN]
        return self.answer(answer.status, headers, content, half=fault == "cut")

    def ask(self, body: bytes) -> tuple[HTTPResponse, bytes]:
        kept = {k: v for k, v in self.headers.items() if k.lower() not in (*OWN, *self.proxy.drop)}
        connection = HTTPConnection(urlsplit(self.proxy.upstream).netloc, timeout=60)
        try:
            connection.request(self.command, self.path, body or None, kept)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def answer(self, status: int, headers: list[tuple[str, str]], content: bytes, half: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if half else content)
        self.close_connection = half

    def reset(self) -> None:
        """Close at once: with SO_LINGER 0 the other side sees a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on


@contextmanager
def between(upstream: str, **options: object) -> Iterator[Proxy]:
    """A proxy to the server at an address, on a free port of loopback; stopped at the end."""
    proxy = Proxy(upstream, **options)
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    http.daemon_threads = True
    proxy.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
