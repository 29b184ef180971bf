"""How often an object store is asked: moto counts what planning and reading DESI takes."""

import os
from pathlib import Path
from unittest.mock import patch

from engine.simulate import simulate_desi
from engine.spec import SurveySpec
from engine.surveys import survey_of
from engine.surveys.tasks import cut
from tests.s3_server import KEYS, running

# Of Gaia's text every byte is streamed, so that requests follow from the size of its files.
STARS = {"desi": 200}
ROWS = 512


def bench(work: Path) -> dict[str, float]:
    """Requests per file of planning with an empty index, and per task of reading."""
    found: dict[str, float] = {}
    secrets = {
        "AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": KEYS["region_name"],
        "ABUNDANT_CACHE": str(work / "cache"),
    }
    with patch.dict(os.environ, secrets), running() as server:
        for name, stars in STARS.items():
            root = work / name
            simulate_desi(root, stars=stars, seed=1, resolution=False, stars_per_file=40)
            bucket = name
            server.put(bucket, root)
            plain = {
                "name": name,
                "root": f"s3://{bucket}",
                "storage": {"endpoint": server.address},
                "select": {"by": "all"},
            }
            spec = SurveySpec.model_validate(plain)
            survey = survey_of(spec)
            server.reset()
            shards = list(survey.list_shards(spec))
            found[f"{name}_requests_per_file"] = len(server.requests) / len(shards)
            tasks = [task for shard in shards for task in cut(shard, ROWS)]
            server.reset()
            for task in tasks:
                survey.read(spec, task)
            found[f"{name}_requests_per_task"] = len(server.requests) / len(tasks)
    return found
