"""A tunnel to a server that can break: what a laptop has between itself and a cluster."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Relay:
    """Passes bytes on to a port of this machine, until it is told to `cut` what is open."""

    target: int
    listening: socket.socket
    open: list[socket.socket] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where the relay listens."""
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    def cut(self) -> int:
        """Break all connections; how many there were."""
        found, self.open[:] = list(self.open), []
        for one in found:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        return len(found)

    def serve(self) -> None:
        """Accept connections until the listening socket is closed."""
        with suppress(OSError):
            while True:
                near, _ = self.listening.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self.open += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65_536):
            target.sendall(content)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(target: int) -> Iterator[Relay]:
    """A relay to a port, for as long as the block takes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = Relay(target, listening)
        threading.Thread(target=found.serve, daemon=True).start()
        yield found
        found.cut()
        listening.shutdown(socket.SHUT_RDWR)
