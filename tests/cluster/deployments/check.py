"""`make test-cluster`: the image is built, and a run that a head in it does is that of this machine.

Takes five minutes; skipped with the reason where no image can be built.
"""

import subprocess
from collections.abc import Iterator

import pytest

from engine.plan import make_plan
from engine.spec import Profile
from jobs.run import run
from tests.cluster.deployments.built import Container, container, why_not
from tests.cluster.nodes.raylets import MARK, Place, raylets
from tests.drills.local import prints
from tests.drills.scene import make_scene

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "never")
# Of the image's user.
UID = 1000


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    shared = tmp_path_factory.mktemp("shared")
    with container(tmp_path_factory.mktemp("image"), shared) as found:
        yield found


def test_its_user_is_not_root_and_may_not_change_the_program(image: Container) -> None:
    assert image.says("id", "-u").strip() == str(UID)
    assert image.says("sh", "-c", "test -w /opt/abundant || echo read-only").strip() == "read-only"
    assert "gaia_rvs" in image.says("abundant", "surveys")
    assert image.says("sh", "-c", "echo $RAY_AUTH_MODE").strip() == "token"


def test_rays_launcher_finds_in_it_what_it_calls(image: Container) -> None:
    """Its commands run in login shells; a head starts machines of AWS and sets them up by ssh and rsync."""
    for words in (
        "ray --version",
        "abundant surveys",
        "ssh -V",
        "rsync --version",
        "python -c 'import boto3'",
    ):
        image.says("bash", "--login", "-c", words)


def test_a_run_submitted_to_a_head_in_it_is_that_of_this_machine(image: Container) -> None:
    scene, local = make_scene(image.shared / "scene", stars=240), image.shared / "local"
    run(make_plan(scene.spec(local)), Profile(runtime="local"))
    folder, head = image.shared / "submitted", image.shared / "head"
    spec, profile = scene.write(folder / "catalogs", folder, "ray_data")
    head.mkdir()
    inside = Place(words=tuple(image.words("RAY_AUTH_TOKEN_PATH", MARK)), ray="ray")
    subprocess.run(["chown", "--recursive", str(UID), image.shared], check=True)
    with raylets(head, cpus=2, place=inside) as cluster:
        profile.write_text(f'actors = 2\naddress = "{cluster.dashboard}"\n')
        call = [*inside.words, "abundant", "submit", str(spec), "--profile", str(profile)]
        done = subprocess.run(
            call, env=dict(cluster.environment) | {MARK: ""}, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0 and "Published and verified" in done.stdout, done.stdout + done.stderr
    assert (folder / "catalogs" / "drill" / "1").stat().st_uid == UID
    assert prints(scene, folder / "catalogs") == prints(scene, local)
