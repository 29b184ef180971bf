"""Which runs exist, and the command line."""

import os

# Before torch is imported: OpenMP's threads wait for one another asleep, not spinning. On a machine with
# other work, spinning made a training of a minute last for nine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
