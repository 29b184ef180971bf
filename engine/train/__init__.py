"""Spectra and labels in, a calibrated bundle out: read, fit, calibrate, write."""

from engine.train.bundle import TrainReport, train
from engine.train.state import Epoch

__all__ = ["Epoch", "TrainReport", "train"]
