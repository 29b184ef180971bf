"""`python -m tests.drills.s3 SEED`: moto behind the fault proxy, until stdin ends; says where they are."""

import json
import sys

from tests.fault_proxy import between
from tests.s3_server import make_bucket, running

RATE = 0.1
BUCKET = "catalogs"


def main(seed: str) -> None:
    """Serve both addresses; one request in ten meets a fault."""
    with running() as server, between(server.address, rate=RATE, seed=int(seed)) as proxy:
        make_bucket(server.address, BUCKET)
        sys.stdout.write(json.dumps({"server": server.address, "proxy": proxy.address}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
