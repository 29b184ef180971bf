"""What the authors of networks published of them, by the specs of jobs/train/: sizes, and [training]."""

from typing import Any

# Trainable numbers of the published networks, as their authors print them or as their weights have them.
PARAMETERS = {
    "astronn": 3_499_122,
    "astronn-dr17": 3_992_530,
    "astronn-dr19": 3_505_554,
    "astronn-dist": 1_455_064,
    "lithium-cnn": 448_134,
    "rave-cnn-2019": 44_226,
    "rave-cnn-2020": 58_549,
}

KERAS = {"optimiser": "adam", "eps": 1e-7, "noise": 0.0}
PLATEAU = {"factor": 0.5, "min_delta": 5e-5, "min_learning_rate": 1e-8}
ASTRONN = KERAS | {"loss": "robust", "learning_rate": 5e-4, "schedule": "reduce_on_plateau"}
GUIGLION = KERAS | {
    "loss": "mse",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "batch": 16,
    "epochs": 1000,
    "early_stopping": {"patience": 40, "min_delta": 0.0},
    "keep": "last",
    "keep_share": 0.8,
}
PUBLISHED: dict[str, dict[str, Any]] = {
    # Leung & Bovy 2019a, and astroNN_0617_run001, astroNN_0512_run002; astroNN_dist.
    "astronn": ASTRONN | {"batch": 64, "epochs": 60, "plateau": PLATEAU | {"patience": 2}},
    "astronn-dr17": ASTRONN | {"batch": 256, "epochs": 60, "plateau": PLATEAU | {"patience": 5}},
    "astronn-dist": ASTRONN | {"batch": 256, "epochs": 30},
    # Lee et al., first poster.
    "desi-mlp": {"loss": "chi2", "epochs": 200},
    # The notebook of Nepal et al. 2023.
    "lithium-cnn": KERAS
    | {
        "loss": "mse",
        "learning_rate": 1e-4,
        "schedule": "constant",
        "batch": 64,
        "epochs": 500,
        "early_stopping": {"patience": 25, "min_delta": 1e-4},
        "keep": "best",
        "members": 30,
        "keep_share": 0.8,
    },
    # The notebook of Guiglion et al. 2020; of 2019 nothing else is known.
    "rave-cnn-2019": GUIGLION,
    "rave-cnn-2020": GUIGLION,
}
