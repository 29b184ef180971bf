"""`python -m tests.cluster.nodes.driver ADDRESS run …`: the command on the node with that address.

Ray looks for the node that a driver stands on among all processes of the machine, and takes the head's if it
sees that. Nodes in network namespaces share their processes: the driver would offer itself under the head's
address, which is not its own, and wait for ever.
"""

import sys
from functools import partial

import ray

from jobs.__main__ import main

if __name__ == "__main__":
    _, address, *words = sys.argv
    ray.init = partial(ray.init, _node_ip_address=address)
    sys.argv = ["abundant", *words]
    main()
