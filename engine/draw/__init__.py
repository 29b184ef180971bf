"""Draws: K networks, the same for every star, so that a label depends on its spectrum alone."""

from engine.draw.bank import Bank, bank_of, draw
from engine.draw.branched import Branched
from engine.draw.chain import Chain
from engine.draw.masks import Masks, keep_mask
from engine.draw.network import Columns, Network, Output, Thinned

__all__ = [
    "Bank",
    "Branched",
    "Chain",
    "Columns",
    "Masks",
    "Network",
    "Output",
    "Thinned",
    "bank_of",
    "draw",
    "keep_mask",
]
