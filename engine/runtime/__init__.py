"""The same plan, somewhere. The only package that imports ray."""

from collections.abc import Callable, Iterator

from engine.plan import Plan
from engine.runtime.local import execute_local
from engine.runtime.ray_data import execute_ray_data
from engine.spec import Profile
from engine.types import Receipt, Sink

Execute = Callable[[Plan, Sink, Profile], Iterator[Receipt]]

RUNTIMES: dict[str, Execute] = {"local": execute_local, "ray_data": execute_ray_data}
