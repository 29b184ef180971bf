"""The models, one file each. Add one: write the file, add its line to MODELS."""

from engine.models.architecture import Architecture
from engine.models.desi_mlp import DESI_MLP_4, DESI_MLP_5
from engine.models.mlp import MLPS
from engine.models.published import PUBLISHED

MODELS: dict[str, Architecture] = {model.name: model for model in (DESI_MLP_4, DESI_MLP_5, *MLPS, *PUBLISHED)}
