"""Network namespaces joined by a bridge: machines with addresses of their own. As root, with iproute2."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.nodes.raylets import Place


def why_not() -> str:
    """Why there can be no namespaces here; empty where there can."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    return "" if shutil.which("ip") else "no command `ip`: apt-get install iproute2"


@contextmanager
def namespaces(count: int) -> Iterator[list[Place]]:
    """So many places with addresses of their own, which reach each other and are reached from here."""
    tag, net = secrets.token_hex(3), f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}"
    names = [f"ab{tag}{number}" for number in range(count)]
    try:
        _ip(f"link add br{tag} type bridge", f"addr add {net}.1/24 dev br{tag}", f"link set br{tag} up")
        for number, name in enumerate(names):
            _ip(
                f"netns add {name}",
                f"link add v{name} type veth peer name e{name}",
                f"link set v{name} master br{tag} up",
                f"link set e{name} netns {name}",
                f"-n {name} addr add {net}.{number + 2}/24 dev e{name}",
                f"-n {name} link set e{name} up",
                f"-n {name} link set lo up",
                f"-n {name} route add default via {net}.1",
            )
        yield [
            Place(address=f"{net}.{number + 2}", words=("ip", "netns", "exec", name))
            for number, name in enumerate(names)
        ]
    finally:
        for words in (*(f"netns del {name}" for name in names), f"link del br{tag}"):
            subprocess.run(["ip", *words.split()], check=False, capture_output=True)


def _ip(*lines: str) -> None:
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True)
