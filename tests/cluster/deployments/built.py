"""The image, built by buildah on a stand-in for Docker Hub's Python: Debian's, by debootstrap. As root.

Without a daemon and without Docker Hub, so that all but the bytes of the base is what a cluster gets.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.deployments.findings import CLUSTER
from tests.cluster.deployments.image import IGNORED, ROOT, instructions

DOCKERFILE = CLUSTER / "image" / "Dockerfile"
DEBIAN, RELEASE = "http://deb.debian.org/debian", "bookworm"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def why_not() -> str:
    """Why no image can be built here; empty where one can."""
    if os.geteuid() != 0:
        return "only root can build the image here"
    lacking = " ".join(name for name in ("buildah", "debootstrap") if not shutil.which(name))
    return f"apt-get install {lacking}" if lacking else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of the image; it sees the network of this machine, and of its disk what is shared."""

    name: str
    store: Path
    shared: Path

    def words(self, *handed: str) -> list[str]:
        """What comes before a program's words to start it there; `handed` are names in the environment."""
        before = [*_buildah(self.store), "run", "--isolation=chroot", f"--volume={self.shared}:{self.shared}"]
        # Nothing of the environment goes in by itself.
        named = " ".join(f'--env="{name}=${name}"' for name in handed)
        return ["sh", "-c", f'exec {shlex.join(before)} {named} {self.name} -- "$@"', "sh"]

    def says(self, *words: str) -> str:
        """What a program in it prints; AssertionError where it fails."""
        return _done([*self.words(), *words])


@contextmanager
def container(folder: Path, shared: Path) -> Iterator[Container]:
    """Build the image, and make a container of it."""
    store = folder / "store"
    base = next(what.partition("=")[2] for name, what in _lines() if name == "ARG" and "PYTHON=" in what)
    try:
        _stand_in(folder, f"docker.io/library/python:{base}")
        wheels = os.environ.get("PIP_FIND_LINKS")
        seen = [f"--volume={wheels}:{wheels}:ro"] if wheels else []
        files = [f"--ignorefile={IGNORED}", f"--file={DOCKERFILE}", "--tag=abundant", str(ROOT)]
        _done([*_buildah(store), "build", "--isolation=chroot", "--pull-never", *seen, *files])
        name = _done([*_buildah(store), "from", "--pull-never", "abundant"]).strip()
        yield Container(name=name, store=store, shared=shared)
    finally:
        shutil.rmtree(folder)


def _lines() -> list[tuple[str, str]]:
    return instructions(DOCKERFILE.read_text())


def _stand_in(folder: Path, tag: str) -> None:
    """An image with Debian's Python, and with the way to packages that this machine takes."""
    root = folder / "root"
    _done(["debootstrap", "--variant=minbase", "--include=python3,python3-venv", RELEASE, str(root), DEBIAN])
    (root / "usr/bin/python").symlink_to("python3")
    found = {name: os.environ.get(f"PIP_{name.upper()}") for name in ("INDEX_URL", "FIND_LINKS", "CERT")}
    settings = [f"{name.lower().replace('_', '-')} = {value}" for name, value in found.items() if value]
    (root / "etc/pip.conf").write_text("\n".join(["[global]", *settings, ""]))
    if CERTIFICATES.exists():
        target = root / CERTIFICATES.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CERTIFICATES, target)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
    _done(
        [*_buildah(folder / "store"), "build", f"--file={folder / 'Dockerfile'}", f"--tag={tag}", str(folder)]
    )


def _buildah(store: Path) -> list[str]:
    return ["buildah", f"--root={store}", f"--runroot={store}-now", "--storage-driver=vfs"]


def _done(words: list[str]) -> str:
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(words)}\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
    return ended.stdout
