"""Published weights -> bundles: Keras HDF5 and PyTorch state dicts, read as data, never run.

Facts of the two formats were read in the public files of Guiglion et al. (2020), and in SDSS Astra
(pipelines/astronn/network.py, pipelines/astronn_dist/network.py).
"""

from engine.models.importing.astra import ASTRA, read_astra
from engine.models.importing.bundle import About, write_imported
from engine.models.importing.keras import KERAS, read_keras
from engine.models.importing.limits import TrainingLimits, read_limits
from engine.models.importing.weights import Weights, sha256_of

__all__ = [
    "ASTRA",
    "KERAS",
    "About",
    "TrainingLimits",
    "Weights",
    "read_astra",
    "read_keras",
    "read_limits",
    "sha256_of",
    "write_imported",
]
