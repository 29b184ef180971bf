"""Estimates: rates are those of the bench, sizes those of the plan or of a release, prices the caller's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import PlanError
from engine.forecast import Prices, Size, forecast, published, published_size, rates, size_of
from engine.models import MODELS
from engine.plan import make_plan
from engine.spec import Profile, RunSpec
from engine.surveys import SURVEYS
from engine.toml import load
from tests.bench.rates import RATES, text

ROOT = Path(__file__).parents[2]
NO_PRICES = Prices(cpu_hour=None, gpu_hour=None)
PRICES = Prices(cpu_hour=0.05, gpu_hour=2.0)


def size(**otherwise: object) -> Size:
    """A million stars of DESI."""
    plain: dict[str, object] = {
        "survey": "desi",
        "pixels": 7958,
        "rows": 1_000_000,
        "files": 10_000,
        "tasks": 10_000,
        "network": "desi_mlp_5",
        "members": 1,
        "draws": 100,
        "said": (),
    }
    return Size(**plain | otherwise)  # pyright: ignore[reportArgumentType]


def test_the_shipped_rates_are_those_that_the_bench_keeps() -> None:
    assert RATES.read_text() == text()


def test_every_rate_is_of_something_registered() -> None:
    measured = rates()
    assert {*measured.read} == {*measured.megabytes_read} <= {*SURVEYS}
    assert {*measured.network, *measured.members, *measured.gpu} <= {*MODELS}
    assert {*published()} <= {*measured.read}
    assert {one.network for one in published().values()} <= {*measured.network}


def test_hours_follow_from_rates() -> None:
    measured = rates()
    found = forecast(size(), Profile(), NO_PRICES, measured)
    assert found.network_hours == pytest.approx(1e6 / measured.network["desi_mlp_5"] / 3600)
    assert found.read_hours == pytest.approx(1e6 / measured.read["desi"] / 3600)
    whole = found.read_hours + found.prepare_hours + found.network_hours
    assert found.core_hours == pytest.approx(whole / measured.ray_over_processes + found.commit_hours)
    # The whole job was measured too, with a network nearly as large.
    assert whole == pytest.approx(1e6 / measured.job / 3600, rel=0.1)


@pytest.mark.parametrize(("key", "times"), [("rows", 3), ("members", 5), ("draws", 2)])
def test_what_is_more_costs_more(key: str, times: int) -> None:
    once = size()
    more = size(**{key: getattr(once, key) * times})
    first, second = (forecast(one, Profile(), PRICES, rates()) for one in (once, more))
    assert second.network_hours == pytest.approx(first.network_hours * times)
    assert first.cost is not None
    assert second.cost is not None
    assert second.cost > first.cost


def test_members_without_dropout_have_a_rate_of_their_own() -> None:
    measured = rates()
    found = forecast(size(network="rave_cnn_2020", members=10, draws=0), Profile(), NO_PRICES, measured)
    assert found.network_hours == pytest.approx(10e6 / measured.members["rave_cnn_2020"] / 3600)


def test_a_card_takes_the_network_and_its_price() -> None:
    measured = rates().model_copy(update={"gpu": {"desi_mlp_5": 10_000.0}})
    cores = forecast(size(), Profile(actors=4), PRICES, measured)
    card = forecast(size(), Profile(actors=4, gpus=0.5), PRICES, measured)
    assert card.gpu_hours == pytest.approx(100 / 3600)
    assert card.core_hours < cores.core_hours
    assert card.cost == pytest.approx(card.core_hours * 0.05 + card.gpu_hours * 2.0)
    assert card.wall_hours == pytest.approx(card.gpu_hours / 2 + card.commit_hours)
    fed = (card.core_hours - card.commit_hours) / (card.gpu_hours / 2)
    assert card.feeding_cores == pytest.approx(fed)
    assert cores.feeding_cores is None
    assert forecast(size(), Profile(gpus=1), Prices(cpu_hour=1, gpu_hour=None), measured).cost is None


def test_nothing_is_made_up() -> None:
    measured = rates()
    assert forecast(size(), Profile(), NO_PRICES, measured).cost is None
    assert forecast(size(), Profile(), NO_PRICES, measured).wall_hours is None
    unknown = measured.model_copy(update={"gpu": {}})
    found = forecast(size(), Profile(gpus=1), PRICES, unknown)
    assert (found.gpu_hours, found.cost) == (None, None)
    with pytest.raises(PlanError, match="the network of nothing was not measured; measured are astronn"):
        forecast(size(network="nothing"), Profile(), NO_PRICES, measured)
    with pytest.raises(PlanError, match=r"nor is the size of a release of galah known; .* desi, gaia_rvs"):
        published_size(load(ROOT / "jobs" / "infer" / "galah-dr3.toml", RunSpec))


@pytest.mark.parametrize(
    ("name", "stars"),
    [("desi-dr1-main", 4_000_000), ("gaia-dr3-rvs", 1_000_000), ("gaia-dr3-xp", 220_000_000)],
)
def test_the_mission_can_be_estimated_without_its_files(name: str, stars: int) -> None:
    found = published_size(load(ROOT / "jobs" / "infer" / f"{name}.toml", RunSpec))
    assert found.rows == stars
    assert found.tasks >= found.files
    assert forecast(found, Profile(), PRICES, rates()).cost


def test_a_plan_says_its_own_size(run_spec: Callable[..., RunSpec]) -> None:
    plan = make_plan(run_spec())
    found = size_of(plan)
    assert (found.rows, found.tasks, found.network) == (plan.rows, len(plan.tasks), "desi_mlp_4")
    assert found.draws == 6
    assert forecast(found, Profile(), PRICES, rates()).read_bytes > 0.5 * plan.bytes
