"""What Keras does otherwise than PyTorch, for networks that were published in Keras."""

import torch
from torch import Tensor, nn

# Keras' own default; PyTorch's is 0.01.
SLOPE = 0.3


class ChannelsLast(nn.Module):
    """Flattens (N, filters, pixels) with the filters of a pixel one after another, as Keras does."""

    def forward(self, value_NCP: Tensor) -> Tensor:
        """Shape (N, pixels * filters)."""
        return value_NCP.transpose(1, 2).flatten(1)


def leaky() -> nn.LeakyReLU:
    """The activation of the published CNNs."""
    return nn.LeakyReLU(SLOPE)


def spectrum(pixels: int) -> nn.Unflatten:
    """Pixels as one channel."""
    return nn.Unflatten(1, (1, pixels))


def glorot(network: nn.Module) -> None:
    """Initial weights of Keras: uniform after Glorot & Bengio (2010), biases 0."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
        else:
            torch.nn.init.xavier_uniform_(parameter)
