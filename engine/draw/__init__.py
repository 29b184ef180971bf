"""Draws: K networks, the same for every star, so that a label depends on its spectrum alone."""

from engine.draw.bank import Bank, bank_of, draw
from engine.draw.branched import Branched
from engine.draw.card import Card
from engine.draw.chain import Chain
from engine.draw.drawer import Drawer, Host, drawer_of
from engine.draw.masks import Masks, keep_mask
from engine.draw.network import Columns, Drawn, Network, Output, Outputs, Thinned

__all__ = [
    "Bank",
    "Branched",
    "Card",
    "Chain",
    "Columns",
    "Drawer",
    "Drawn",
    "Host",
    "Masks",
    "Network",
    "Output",
    "Outputs",
    "Thinned",
    "bank_of",
    "draw",
    "drawer_of",
    "keep_mask",
]
