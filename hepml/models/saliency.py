"""What a network looks at: the mean gradient of its logit with respect to the image."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

_IMAGES_AT_ONCE = 256


def mean_gradient(
    network: nn.Module,
    images: Float[Tensor, "images channels rows columns"],
    weight: Float[Tensor, " images"],
) -> Float[Tensor, "channels rows columns"]:
    """Weighted mean of ∂ logit/∂ pixel (saliency of arXiv:1312.6034, averaged with its sign).

    Where it is positive, more in this pixel makes a jet of this kind more signal-like. The network
    is evaluated without dropout, and left in the mode it came in.

    Args:
        network: one logit per image, independent of the other images.
        images: as the network takes them, on its device; best those of one class.
        weight: of each image; the sum must not be 0.

    Returns:
        Change of the logit per unit of each pixel.
    """
    training = network.training
    network.eval()
    total = torch.zeros_like(images[0])
    for some, share in zip(
        images.split(_IMAGES_AT_ONCE), (weight / weight.sum()).split(_IMAGES_AT_ONCE), strict=True
    ):
        leaf = some.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(network(leaf) @ share, leaf)
        total += gradient.sum(dim=0)
    network.train(training)
    return total
