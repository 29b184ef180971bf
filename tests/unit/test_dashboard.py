"""The dashboard asks for metrics that there are, and shows all of them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.runtime.metrics import METRICS

DASHBOARD = Path(__file__).parents[2] / "cluster" / "grafana" / "abundant.json"
NAME = re.compile(r"\b(?:ray_)?abundant_\w+")


def texts(found: Any, keys: tuple[str, ...]) -> Iterator[str]:
    """Every text under one of these keys, wherever it is."""
    if isinstance(found, dict):
        yield from (value for key, value in found.items() if key in keys and isinstance(value, str))
        for value in found.values():
            yield from texts(value, keys)
    elif isinstance(found, list):
        for value in found:
            yield from texts(value, keys)


def test_queries_name_metrics_that_exist_with_labels_that_they_have() -> None:
    board = json.loads(DASHBOARD.read_text())
    queries = list(texts(board, ("expr", "query")))
    named = {name for query in queries for name in NAME.findall(query)}
    exported = {name: metric for metric in METRICS for name in metric.exported}
    assert named and named <= set(exported)
    assert {exported[name] for name in named} == set(METRICS)
    for panel in board["panels"]:
        for target in panel["targets"]:
            known = {tag for name in NAME.findall(target["expr"]) for tag in exported[name].tags}
            listed = re.findall(r"by \(([\w, ]+)\)", target["expr"])
            split = {tag for tags in listed for tag in tags.split(", ")}
            assert split <= known | {"le"}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= split


def test_panels_do_not_hide_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    cells = [(p["x"] + x, p["y"] + y) for p in places for x in range(p["w"]) for y in range(p["h"])]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
