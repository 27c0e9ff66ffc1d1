"""Call of the kernel that draws jet images, on NumPy arrays."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from hepml.kernels.pointers import COUNT, bounds, loaded, of_arrays, threads


@dataclass(frozen=True)
class Drawing:
    """What is drawn, see :class:`hepml.inputs.images.ImageSettings`.

    Attributes:
        columns: of px, py, pz and, if a channel needs it, the charge.
        channels: numbers of the channels in the order of :data:`hepml.inputs.images.CHANNELS`.
        pixels: along each axis.
        half_width: of the image.
        steps: whether to centre, rotate, flip and normalise.
        largest: what values must stay below in size.
        smallest_pt: in the denominator of the pseudorapidity [GeV].
    """

    columns: Sequence[int]
    channels: Sequence[int]
    pixels: int
    half_width: float
    steps: Sequence[bool]
    largest: float
    smallest_pt: float


class _Drawing(ctypes.Structure):
    _fields_ = [
        ("column", ctypes.c_void_p),
        ("fields", COUNT),
        ("channel", ctypes.c_void_p),
        *((name, COUNT) for name in ("channels", "pixels")),
        ("half_width", ctypes.c_float),
        *((name, COUNT) for name in ("centre", "rotate", "flip", "normalise")),
        *((name, ctypes.c_float) for name in ("largest", "smallest_pt")),
        ("threads", COUNT),
    ]


def jet_images(
    values: Float32[np.ndarray, "particles fields"],
    counts: Int[np.ndarray, " jets"],
    drawing: Drawing,
) -> tuple[Float32[np.ndarray, "jets channels pixels pixels"], Float32[np.ndarray, " jets"], int]:
    """Images, pT outside each, and the first jet whose values are not finite or too large, or -1.

    Args:
        values: particles of all jets, one jet after another.
        counts: particles of each jet; they sum up to the particles.
        drawing: what to draw.
    """
    values = np.ascontiguousarray(values, np.float32)
    shape = (len(counts), len(drawing.channels), drawing.pixels, drawing.pixels)
    images, outside = np.zeros(shape, np.float32), np.empty(len(counts), np.float32)
    first = bounds(counts)
    columns = np.array([*drawing.columns, -1][:4], np.int64)
    channels = np.array(drawing.channels, np.int64)
    settings = _Drawing(
        columns.ctypes.data, values.shape[1], channels.ctypes.data, len(channels), drawing.pixels,
        drawing.half_width, *drawing.steps, drawing.largest, drawing.smallest_pt, threads().value,
    )  # fmt: skip
    draw = loaded().jet_images
    draw.restype = COUNT
    bad = draw(ctypes.byref(settings), *of_arrays(values, first), COUNT(len(counts)),
               *of_arrays(images, outside))  # fmt: skip
    return images, outside, bad
