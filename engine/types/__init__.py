"""The nouns, frozen: no torch, no ray, no I/O.

Array names end in their axes: N rows, P pixels, L labels (derived ones included), K draws.
"""

from engine.types.arrays import Bits, Bools, Doubles, Floats, Ints
from engine.types.instrument import Arm, Axis, Basis, Column, Extra, Grid, Input, Spectrograph, Waves
from engine.types.labels import Calibration, Derived, Draws, Estimates, Flags, Label, Limits, Support
from engine.types.spectra import Batch, Extras, Inputs, Normalised
from engine.types.work import Extent, Member, Receipt, Shard, Sink, Task

__all__ = [
    "Arm",
    "Axis",
    "Basis",
    "Batch",
    "Bits",
    "Bools",
    "Calibration",
    "Column",
    "Derived",
    "Doubles",
    "Draws",
    "Estimates",
    "Extent",
    "Extra",
    "Extras",
    "Flags",
    "Floats",
    "Grid",
    "Input",
    "Inputs",
    "Ints",
    "Label",
    "Limits",
    "Member",
    "Normalised",
    "Receipt",
    "Shard",
    "Sink",
    "Spectrograph",
    "Support",
    "Task",
    "Waves",
]
