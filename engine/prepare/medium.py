"""Wavelengths in vacuum and in air."""

from typing import Literal

from engine.prepare.array import Array

Medium = Literal["vacuum", "air"]


def refraction(vacuum: Array) -> Array:
    """n of standard dry air at wavelengths in vacuum, Angstrom (2000 to 25,000 A).

    Morton (2000, ApJS 130, 403) eq. 8, after Birch & Downs (1994): the IAU standard.
    """
    s2 = (1e4 / vacuum) ** 2
    return 1 + 8.34254e-5 + 2.406147e-2 / (130 - s2) + 1.5998e-4 / (38.9 - s2)


def convert(wave: Array, come: Medium, go: Medium) -> Array:
    """Wavelengths in Angstrom from one medium into another; exact to 1e-6 A, since n hardly changes."""
    if come == go:
        return wave
    if go == "air":
        return wave / refraction(wave)
    return wave * refraction(wave * refraction(wave))
