"""Where the networks of a training are trained, and the trials of a search, by a profile's `runtime`."""

from collections.abc import Callable, Mapping, Sequence

from engine.runtime.device import device_of
from engine.runtime.ray_train import learn_on_ray
from engine.runtime.ray_tune import try_on_ray
from engine.spec import Profile
from engine.train.loop import OnEpoch
from engine.train.members import Learnt, Lesson, learn_here
from engine.train.search import OnTrial, Point, Trial
from engine.train.spec import Search

LearnOn = Callable[[Lesson, OnEpoch, Profile], Sequence[Learnt]]
TryOn = Callable[[Lesson, Search, Mapping[int, Point], OnTrial, Profile], Sequence[Trial]]


def learn_local(lesson: Lesson, on_epoch: OnEpoch, profile: Profile) -> list[Learnt]:
    """In this process; PlanError where the profile asks for a GPU in vain."""
    return learn_here(lesson, on_epoch, device_of(profile))


TRAINERS: dict[str, LearnOn] = {"local": learn_local, "ray_data": learn_on_ray}
SEARCHERS: dict[str, TryOn] = {"ray_data": try_on_ray}
