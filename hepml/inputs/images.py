"""Jet images: the constituents of a jet as pixels in the plane of η and φ (arXiv:1511.05190).

Conventions:

- ``images[jet, channel, i, j]``: i counts pixels along η, j along φ, both upwards.
- Pixel i covers [-w + i·d, -w + (i + 1)·d) with half width w and d = 2w / pixels: the lower edge
  belongs to it, the upper one to its neighbour. A particle at exactly +w is outside
  (``np.histogram2d`` would count it in). Positions are float32, so a particle within about 1e-6
  of an edge may go to either side.
- What is outside enters no pixel; its pT is reported jet by jet, so that the pt channel and
  ``outside`` sum up to the pT of the jet.
- A particle without transverse momentum has no place in the plane and enters no channel.
- A jet without constituents is an empty image.
- An even number of pixels has an edge, not a pixel, at the axis: a particle exactly on it goes
  where rounding puts it. An odd number has a central pixel.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float32, Int
from torch import Tensor

from hepml import kernels
from hepml.errors import InputError, nearest
from hepml.inputs.segments import ArraySegments, Column, Segments, TensorSegments

A = TypeVar("A", np.ndarray, Tensor)
Namespace = Any  # numpy or torch

CHANNELS = ("pt", "multiplicity", "charged_pt", "neutral_pt")
STEPS = ("centre", "rotate", "flip", "normalise")
_MOMENTUM = ("px", "py", "pz")
_JETS_AT_ONCE = 1024  # their intermediate arrays stay in the cache
_SMALLEST_PT = 1e-12  # GeV; keeps the pseudorapidity finite
_MOST_PIXELS = 4096  # float32 counts pixels up to their square
LARGEST = 1e8  # GeV


@dataclass(frozen=True)
class ImageSettings:
    """What a jet image shows.

    Attributes:
        pixels: along each of the two axes.
        half_width: of the image in η and in φ, from the centre to the border.
        channels: among

            - ``pt``: sum of transverse momenta [GeV, or 1 after ``normalise``],
            - ``multiplicity``: number of particles,
            - ``charged_pt``, ``neutral_pt``: as ``pt``, of particles with and without charge.
        steps: of the preprocessing, any of these in this order:

            - ``centre``: the origin is the pT-weighted mean of η and φ. φ is taken relative to
              the summed transverse momentum first, so that no jet is cut at ±π,
            - ``rotate``: turn about the origin until the larger principal axis of the pT-weighted
              second moments lies along η,
            - ``flip``: mirror each axis where more pT lies on its negative side,
            - ``normalise``: divide pT by that of the whole jet, inside and outside.

    Raises:
        InputError: if there is no such image.
    """

    pixels: int = 40
    half_width: float = 0.8
    channels: tuple[str, ...] = ("pt",)
    steps: tuple[str, ...] = STEPS

    def __post_init__(self) -> None:
        if not 1 <= self.pixels <= _MOST_PIXELS or not 0 < self.half_width < math.inf:
            raise InputError(
                f"images: {self.pixels} pixels over a half width of {self.half_width}; both must "
                f"be positive, and pixels at most {_MOST_PIXELS}"
            )
        named = (("channels", self.channels, CHANNELS), ("steps", self.steps, STEPS))
        for what, given, known in named:
            for name in set(given) - set(known):
                raise InputError(f"images.{what}: no {name!r} ({nearest(name, known)})")
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise InputError(f"images.channels: {self.channels} must be one or more, each once")
        ordered = tuple(step for step in STEPS if step in self.steps)
        if self.steps != ordered:
            raise InputError(f"images.steps: {self.steps} must be in the order {ordered}")


@dataclass(frozen=True)
class JetImages(Generic[A]):
    """Images of jets.

    Attributes:
        images: axes as the module says.
        outside: pT of each jet that fell outside its image, in the units of the pt channel.
    """

    images: Float32[A, "jets channels pixels pixels"]
    outside: Float32[A, " jets"]


def jet_images(
    values: Float32[A, "particles fields"],
    counts: Int[A, " jets"],
    fields: Sequence[str],
    settings: ImageSettings,
) -> JetImages[A]:
    """Draw jets.

    Arrays and tensors give the same images up to float32 rounding. Tensors stay on their device,
    which is waited for twice, to see that counts fit and momenta are finite.

    Args:
        values: particles of all jets, one jet after another.
        counts: particles of each jet; 0 is allowed.
        fields: names of the columns of ``values``: px, py, pz [GeV], and charge where a channel
            needs it.
        settings: of the images.

    Raises:
        InputError: if a field is missing, the counts do not sum up to the particles, or a momentum
            is not finite; the message names the jet.
    """
    columns = _columns(fields, settings)
    if int(counts.sum()) != len(values):
        raise InputError(
            f"images: counts sum up to {int(counts.sum())}, but there are {len(values)} particles"
        )
    shape = (len(counts), len(settings.channels), settings.pixels, settings.pixels)
    if isinstance(values, Tensor):
        drawn = values.new_zeros(shape)
        momenta = [values[:, column] for column in columns]
        segments = TensorSegments(counts, len(values))
        _check(momenta, segments, first=0)
        return JetImages(drawn, draw(drawn, momenta, segments, settings))
    if kernels.fit_for():
        images, outside, bad = kernels.jet_images(values, counts, _drawing(columns, settings))
        if bad >= 0:
            raise _not_finite(bad)
        return JetImages(images, outside)
    images = np.zeros(shape, np.float32)
    outside = np.zeros(len(counts), np.float32)
    for jets, particles in _pieces(counts):
        momenta = [np.ascontiguousarray(values[particles, column]) for column in columns]
        pieces = ArraySegments(counts[jets])
        _check(momenta, pieces, first=jets.start)
        outside[jets] = draw(images[jets], momenta, pieces, settings)
    return JetImages(images, outside)


def _drawing(columns: Sequence[int], settings: ImageSettings) -> kernels.Drawing:
    return kernels.Drawing(
        columns=columns,
        channels=[CHANNELS.index(channel) for channel in settings.channels],
        pixels=settings.pixels,
        half_width=settings.half_width,
        steps=[step in settings.steps for step in STEPS],
        largest=LARGEST,
        smallest_pt=_SMALLEST_PT,
    )


def positions(
    momenta: Float32[np.ndarray, "particles components"], counts: Int[np.ndarray, " jets"]
) -> Float32[np.ndarray, "particles 2"]:
    """η and φ of each particle in the plane of the jet images: centred, rotated and flipped.

    Args:
        momenta: of all jets, one jet after another; px, py and pz [GeV] come first.
        counts: particles of each jet.
    """
    columns = [np.ascontiguousarray(momenta[:, number]) for number in range(len(_MOMENTUM))]
    _, eta, phi = _preprocess(columns, ArraySegments(counts), STEPS)
    return np.stack([eta, phi], axis=1)


def _pieces(counts: Int[np.ndarray, " jets"]) -> Iterator[tuple[slice, slice]]:
    """Jets a few at a time, and their particles."""
    offsets = np.concatenate([[0], np.cumsum(counts)])
    for first in range(0, len(counts), _JETS_AT_ONCE):
        last = min(first + _JETS_AT_ONCE, len(counts))
        yield slice(first, last), slice(int(offsets[first]), int(offsets[last]))


def needed_fields(settings: ImageSettings) -> tuple[str, ...]:
    """Fields of a particle: px, py, pz and, if a channel needs it, the charge."""
    charge = {"charged_pt", "neutral_pt"} & set(settings.channels)
    return (*_MOMENTUM, "charge") if charge else _MOMENTUM


def _columns(fields: Sequence[str], settings: ImageSettings) -> list[int]:
    needed = needed_fields(settings)
    absent = [name for name in needed if name not in fields]
    if absent:
        raise InputError(f"images: particles have no {absent} ({nearest(absent[0], fields)})")
    return [list(fields).index(name) for name in needed]


def _check(columns: Sequence[Column], segments: Segments, first: int) -> None:
    """Find the first jet with a value that float32 cannot square (NaN compares false)."""
    sane = segments.xp.abs(columns[0]) < LARGEST
    for column in columns[1:]:
        sane = sane & (segments.xp.abs(column) < LARGEST)
    if not bool(sane.all()):
        jet = int(segments.first_places(1)[~sane][0])
        raise _not_finite(first + jet)


def _not_finite(jet: int) -> InputError:
    return InputError(
        f"images: jet {jet} (counted from 0) has a particle whose momentum or charge "
        f"is not finite or beyond {LARGEST:g}; select such jets away"
    )


def draw(
    drawn: Column, columns: Sequence[Column], segments: Segments, settings: ImageSettings
) -> Column:
    """Fill empty images, unchecked; return the pT outside of each.

    What is outside is added with weight 0 to the first pixel of its jet: faster than to leave it
    out.
    """
    pt, eta, phi = _preprocess(columns, segments, settings.steps)
    scale = settings.pixels / (2 * settings.half_width)
    row, column = (eta + settings.half_width) * scale, (phi + settings.half_width) * scale
    inside = (row >= 0) & (row < settings.pixels) & (column >= 0) & (column < settings.pixels)
    floor = segments.xp.floor
    pixel = segments.integers((floor(row) * settings.pixels + floor(column)) * inside)
    pixel += segments.first_places(len(settings.channels) * settings.pixels**2)
    for number, channel in enumerate(settings.channels):
        target = drawn.reshape(-1)[number * settings.pixels**2 :]
        segments.add(target, pixel, _quantity(channel, pt, columns) * inside)
    return segments.total(pt * ~inside)


def _quantity(channel: str, pt: Column, columns: Sequence[Column]) -> Column:
    """What each particle adds to a channel."""
    if channel == "pt":
        return pt
    if channel == "multiplicity":
        return 0 * pt + (pt > 0)
    charged = columns[len(_MOMENTUM)] != 0
    return pt * charged if channel == "charged_pt" else pt * ~charged


def _preprocess(
    columns: Sequence[Column], segments: Segments, steps: Sequence[str]
) -> tuple[Column, Column, Column]:
    """Transverse momentum, η and φ of each particle after the steps."""
    xp, total, spread = segments.xp, segments.total, segments.spread
    px, py, pz = columns[:3]
    pt = xp.sqrt(px * px + py * py)
    eta = _pseudorapidity(pt, pz, xp)
    jet_pt = total(pt)
    jet_pt = spread(xp.where(jet_pt > 0, jet_pt, 1))
    if "centre" in steps:
        x, y = (spread(component) for component in _direction(total(px), total(py), xp))
        phi = _azimuth(pt, px * x + py * y, py * x - px * y, xp)
        share = pt / jet_pt
        eta = eta - spread(total(share * eta))
        phi = phi - spread(total(share * phi))
    else:
        phi = _azimuth(pt, px, py, xp)
    if "rotate" in steps:
        eta, phi = _rotate(pt, eta, phi, segments)
    if "flip" in steps:
        eta, phi = _flip(pt, eta, segments), _flip(pt, phi, segments)
    return pt / jet_pt if "normalise" in steps else pt, eta, phi


def _pseudorapidity(pt: Column, pz: Column, xp: Namespace) -> Column:
    """Asinh(pz/pt), through the logarithm, which NumPy has vectorised."""
    across = xp.clip(pt, _SMALLEST_PT, None)
    size = xp.log((xp.abs(pz) + xp.sqrt(across * across + pz * pz)) / across)
    return xp.copysign(size, pz)


def _direction(x: Column, y: Column, xp: Namespace) -> tuple[Column, Column]:
    """Unit vectors; the x axis where there is no length."""
    length = xp.sqrt(x * x + y * y)
    none = length == 0
    length = xp.where(none, 1, length)
    return xp.where(none, 1, x / length), y / length


def _azimuth(pt: Column, along: Column, across: Column, xp: Namespace) -> Column:
    """Angle of (along, across), of length pT, in [-π, π].

    tan(φ/2) = sin φ/(1 + cos φ), on the nearer side of ±π/2: three times faster than arctan2.
    """
    half = xp.arctan(across / xp.clip(pt + xp.abs(along), _SMALLEST_PT, None))
    behind = xp.copysign(xp.full_like(half, math.pi), across) - 2 * half
    return xp.where(along < 0, behind, 2 * half)


def _rotate(pt: Column, eta: Column, phi: Column, segments: Segments) -> tuple[Column, Column]:
    """Turn the larger principal axis to the η axis: tan 2θ = 2⟨ηφ⟩/(⟨η²⟩ - ⟨φ²⟩)."""
    xp, total, spread = segments.xp, segments.total, segments.spread
    along, across = pt * eta, pt * phi
    difference = total(along * eta - across * phi)
    angle = xp.arctan2(2 * total(along * phi), difference) / 2
    cosine, sine = spread(xp.cos(angle)), spread(xp.sin(angle))
    return cosine * eta + sine * phi, cosine * phi - sine * eta


def _flip(pt: Column, x: Column, segments: Segments) -> Column:
    """Mirror x in the jets with more pT at x < 0 than at x > 0."""
    balance = segments.total(pt * segments.xp.sign(x))
    one = segments.xp.ones_like(balance)
    return x * segments.spread(segments.xp.where(balance < 0, -one, one))
