"""MC-dropout as the textbook has it: multiply by the mask, divide by 1 - p, one draw after the other."""

import copy

import torch
from torch import Tensor, nn

from engine.draw import Network, Output, keep_mask
from engine.spec import Sampling


class MaskedDropout(nn.Module):
    """A dropout with the masks that draw k of a bank has, in the order in which it is called."""

    def __init__(self, probability: float, state: dict[str, int], sampling: Sampling) -> None:
        super().__init__()
        self.p, self.state, self.seed = probability, state, sampling.seed

    def forward(self, value: Tensor) -> Tensor:
        """The value with the units of this call's mask; of pixels, the filters of each one together."""
        units = value[0].numel()
        keep = torch.from_numpy(keep_mask(self.seed, self.state["draw"], self.state["layer"], units, self.p))
        self.state["layer"] += 1
        if value.ndim == 3:
            keep = keep.reshape(value.shape[2], value.shape[1]).T
        return value * keep / (1 - self.p)


def masked_loop(network: Network, x_NI: Tensor, sampling: Sampling) -> list[Output]:
    """The outputs of all draws; `network` stays as it is."""
    state = {"draw": 0, "layer": 0}
    masked = _with_masks(copy.deepcopy(network), state, sampling)
    outputs = []
    for state["draw"] in range(sampling.draws):
        state["layer"] = 0
        with torch.inference_mode():
            outputs.append(masked(x_NI))
    return outputs


def _with_masks(module: nn.Module, state: dict[str, int], sampling: Sampling) -> nn.Module:
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, MaskedDropout(child.p, state, sampling))
        else:
            _with_masks(child, state, sampling)
    return module
