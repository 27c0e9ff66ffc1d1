"""What a network on images looks at: the gradient of its logit with respect to the image."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def gradients(
    network: nn.Module, images: Float[Tensor, "images channels rows columns"]
) -> Float[Tensor, "images channels rows columns"]:
    """∂ logit/∂ pixel of each image (the saliency of arXiv:1312.6034, with its sign).

    Where it is positive, more in this pixel makes the jet more signal-like, to first order. The
    network is evaluated without dropout, and left in the mode it came in.

    Args:
        network: one logit per image, independent of the other images.
        images: as the network takes them, on its device.
    """
    training = network.training
    network.eval()
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(network(leaf).sum(), leaf)
    network.train(training)
    return gradient
