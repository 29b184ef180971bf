"""Simulated spectra answer to their labels."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.simulate.labels import LABELS
from engine.simulate.lines import air_to_vacuum, atomic_lines
from engine.simulate.spectrum import REST_STEP, REST_WAVELENGTH, planck, synthesize
from tests.unit.simulated import labels


def width_of(flux_NP: npt.NDArray, labels_NL: npt.NDArray, center: float, half: float) -> npt.NDArray:
    """Equivalent widths (Å) against the black body scaled to the window's own brightest pixels."""
    inside = np.abs(REST_WAVELENGTH - center) < half
    ratio = (flux_NP / planck(labels_NL[:, 0], REST_WAVELENGTH))[:, inside]
    return REST_STEP * (1 - ratio / np.quantile(ratio, 0.97, axis=1, keepdims=True)).sum(axis=1)


# The strongest clean feature of each element: rest vacuum centre and half width (Å).
FEATURES = {
    "mg_h": (5179.5, 8.5),
    "ca_h": (8544.4, 12.0),
    "na_h": (5894.6, 9.0),
    "c_h": (4308.0, 24.0),
    "ti_h": (4983.1, 3.0),
    "cr_h": (5209.9, 4.0),
    "ni_h": (5478.4, 3.0),
    "si_h": (7425.5, 3.0),
    "al_h": (3962.6, 2.5),
}


@pytest.mark.parametrize("name", FEATURES)
@settings(max_examples=8)
@given(teff=st.floats(4600, 6200), logg=st.floats(2.0, 4.6), fe_h=st.floats(-1.0, 0.2))
def test_a_feature_grows_with_its_element(name, teff, logg, fe_h):
    metals = dict.fromkeys(LABELS[2:], fe_h)
    steps = np.array([-0.3, 0.0, 0.3])
    table = labels(3, **(metals | {"teff": teff, "logg": logg, name: fe_h + steps}))
    width = width_of(synthesize(table), table, *FEATURES[name])
    assert (np.diff(width) > 0.002).all()


def test_iron_lines_grow_with_iron():
    table = labels(4, fe_h=np.array([-2.0, -1.0, 0.0, 0.4]))
    flux = synthesize(table)
    lines = atomic_lines()
    iron = [
        w for w, e in zip(lines.wavelength_L, lines.element_L, strict=True) if e == "Fe" and 5200 < w < 5500
    ]
    depth = np.mean([width_of(flux, table, center, 2.5) for center in iron], axis=0)
    assert (np.diff(depth) > 0.02).all()


def test_balmer_lines_are_a_thermometer_and_molecules_are_cold():
    poor = dict.fromkeys(LABELS[2:], -2.0)
    table = labels(5, **poor, teff=np.array([4200.0, 5000.0, 5800.0, 6500.0, 7200.0]))
    flux = synthesize(table)
    for center in (6564.6, 4862.7):
        assert (np.diff(width_of(flux, table, center, 30.0)) > 0.2).all()
    cold = labels(3, teff=np.array([3700.0, 3900.0, 4500.0]), logg=4.7)
    titanium_oxide = width_of(synthesize(cold), cold, 7100.0, 60.0)
    assert titanium_oxide[0] > 1.5 * titanium_oxide[1] > 3 * titanium_oxide[2]


def test_gravity_shows_in_pressure_broadened_and_in_ionised_lines():
    table = labels(2, teff=4800.0, logg=np.array([2.3, 4.6]))
    flux = synthesize(table)
    giant, dwarf = width_of(flux, table, 5174.0, 13.0)
    assert dwarf > 1.2 * giant
    giant, dwarf = width_of(flux, table, 4925.3, 2.5)
    assert giant > 1.2 * dwarf


def test_solar_lines_have_about_their_measured_widths():
    # Air wavelength: equivalent width (Å) in the solar flux spectrum (Moore, Minnaert & Houtgast 1966).
    measured = {5889.95: 0.75, 5269.54: 0.48, 4383.54: 1.0, 6162.17: 0.22, 8542.09: 3.7, 5206.04: 0.20}
    table = labels()
    ratio = [
        width_of(synthesize(table), table, air_to_vacuum(np.array([air]))[0], 4.0 if width < 1 else 9.0)[0]
        / width
        for air, width in measured.items()
    ]
    assert all(0.4 < value < 2.2 for value in ratio)


def test_absorption_lies_at_vacuum_wavelengths():
    assert air_to_vacuum(np.array([5889.950])) == pytest.approx(5891.583, abs=0.003)
    window = np.abs(REST_WAVELENGTH - 6563) < 15
    assert REST_WAVELENGTH[window][np.argmin(synthesize(labels())[0, window])] == pytest.approx(
        6564.6, abs=0.5
    )
