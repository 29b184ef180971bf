"""The same plan, somewhere. The only package that imports ray."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from engine.plan import Plan
from engine.runtime.local import execute_local
from engine.runtime.ray_data import execute_ray_data
from engine.runtime.ray_map import map_on_ray
from engine.runtime.site import Site, here, on_ray
from engine.spec import Profile
from engine.types import Receipt, Sink

Execute = Callable[[Plan, Sink, Profile], Iterator[Receipt]]
Map = Callable[[Profile, Callable[[Any], Any], Sequence[Any]], Iterable[Any]]

RUNTIMES: dict[str, Execute] = {"local": execute_local, "ray_data": execute_ray_data}
# A picklable function on every item of a sequence, in any order: the steps of a commit.
MAPS: dict[str, Map] = {"local": lambda _, function, items: map(function, items), "ray_data": map_on_ray}
# On what a plan runs there.
SITES: dict[str, Callable[[Plan, Profile], Site]] = {"local": here, "ray_data": on_ray}
