"""A small residual convolutional network on jet images."""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + f(x), where f is twice: normalise, ReLU, convolve 3×3 (arXiv:1603.05027).

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(
        self, x: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Add what two convolutions find."""
        return x + self.layers(x)


class Cnn(nn.Module):
    """Stages of residual blocks, each at half the resolution of the one before; one logit.

    Pixels become log(1 + pixel/scale), so an empty pixel stays 0 and looks like the zero padding.
    Stage k = 1, 2, ... halves the image (a convolution of stride 2: 4×4, later 3×3) to k·width
    channels, then come its blocks. The mean over all positions goes to one linear layer.

    Shapes: a side of p pixels becomes ceil(p/2) per stage (p//2 in the first), so 40 → 20 → 10 → 5
    with three stages; any side of at least 2 pixels will do, also one that differs from training.

    Receptive field of a position of the last stage: it begins with 4 pixels at a stride of 2, each
    block adds 4 strides, each later halving 2 strides before it doubles the stride. The default
    sees 4 + 8 + (4 + 16) + (8 + 32) = 72 pixels, more than a whole image of 40.

    Translation: shifting an image by a multiple of 2**stages pixels leaves the logit unchanged up
    to rounding, as long as the receptive field of no lit pixel reaches the border; shifts by less
    change it slightly.

    Batch normalisation makes training, not evaluation, depend on the batch; it needs two values per
    channel, so a batch of one image trains only if its last stage has more than one position.

    Parameters: see :func:`count_parameters`.

    Weights are stored ``channels_last``, and convolutions follow the weights: 1.2 times as fast
    on a CPU, with the same result up to rounding.

    Args:
        scale: one typical pixel per channel, in the units of the images; 0.001 suits images of
            unit sum.
        width: channels of the first stage.
        stages: number of resolutions.
        blocks: residual blocks of each stage.
        dropout: probability to drop a pooled feature in training.
    """

    scale: Tensor

    def __init__(
        self,
        scale: Sequence[float],
        width: int = 16,
        stages: int = 3,
        blocks: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale)[:, None, None])
        layers: list[nn.Module] = [nn.Conv2d(len(scale), width, 4, stride=2, padding=1)]
        for stage in range(1, stages + 1):
            if stage > 1:
                layers += [nn.Conv2d((stage - 1) * width, stage * width, 3, stride=2, padding=1)]
            layers += [ResidualBlock(stage * width) for _ in range(blocks)]
            layers += [nn.BatchNorm2d(stage * width), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.drop = nn.Dropout(dropout)
        self.last = nn.Linear(stages * width, 1)
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)

    def forward(
        self, images: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, " batch"]:
        """Logit of each image: ln p(x|S)/p(x|B) once trained on balanced classes."""
        features = self.layers(torch.log1p(images / self.scale))
        return self.last(self.drop(features.mean(dim=(2, 3)))).squeeze(-1)


def count_parameters(channels: int, width: int, stages: int, blocks: int) -> int:
    """Parameters of a :class:`Cnn`: 83 921 for one channel and the defaults.

    Args:
        channels: of the images.
        width: channels of the first stage.
        stages: number of resolutions.
        blocks: residual blocks of each stage.
    """
    first = 16 * channels * width + width
    widths = [stage * width for stage in range(1, stages + 1)]
    halvings = sum(9 * before * after + after for before, after in itertools.pairwise(widths))
    inside = sum(blocks * (18 * w * w + 4 * w) + 2 * w for w in widths)
    return first + halvings + inside + widths[-1] + 1
