"""Simulated surveys: files like the real ones, with a truth table beside them."""

from engine.simulate.desi import simulate_desi

__all__ = ["simulate_desi"]
