"""Which runs exist, and the command line."""

import os

# Before torch is imported: OpenMP's threads wait for one another asleep, not spinning, which
# takes the processor from other work on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
