r"""Toy jets of two prongs: the exact log-likelihood ratio of a set of particles and of an image.

The number of particles follows Poisson(20) in both classes. Their positions (η, φ), seen from the
axis of the jet, are independent given the jet's angle α, which no one sees:

- S: half of the particles from N(+n R/2, w²), half from N(-n R/2, w²), n = (cos α, sin α) with α
  uniform in [0, π), R = 0.3, w = 0.12;
- B: N(0, v) in both directions, v = w² + R²/8, which gives the same mean of r² = η² + φ².

So r² tells nothing on average, each jet has to be looked at as a whole, and the answer depends
neither on the order of its particles nor on how it is turned. All particles carry the same
transverse momentum, so where they are is all there is to know.

**Set.** Given α, the particles are a Poisson process of density 20 p(x|α); what is common to S
and B (the 20, N!) cancels. With c = R/(2w²), Gaussians divided and ½(eᵗ + e⁻ᵗ) = cosh t,

    p_S(x|α)/p_B(x) = (v/w²) exp(-R²/(8w²) - x²/2 (1/w² - 1/v)) cosh(c n(α)·x),
    LLR = Σᵢ [ln(v/w²) - R²/(8w²) - xᵢ²/2 (1/w² - 1/v)] + ln ⟨Πᵢ cosh(c n(α)·xᵢ)⟩ over α.

**Image.** A Poisson process counted in pixels gives independent Poisson numbers kⱼ given α, of
means 20 ∫ p(x|α) dx over pixel j: differences of normal distribution functions, since all
Gaussians are round. Particles outside of the image are not counted. So

    LLR = ln ⟨Πⱼ (μⱼ(α)/νⱼ)^kⱼ exp(νⱼ - μⱼ(α))⟩ over α, means μ in S and ν in B.

**The mean over α** is a sum over equal steps of a smooth function of period π: the Fourier
coefficients of cosh(b cos α) are modified Bessel functions I₂ₘ(b), which fall faster than
exponentially, and so does the error. 48 steps give 12 digits (``tests/data/test_two_prong.py``).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64
from scipy.special import log_ndtr, logsumexp

PARTICLES = 20.0  # mean number
DISTANCE = 0.3  # R, between the prongs
WIDTH = 0.12  # w, of a prong
PIXELS, HALF_WIDTH = 16, 0.8  # of the image whose exact ratio is written to ntuples
ANGLES = 48

_PRONG = WIDTH**2
_ROUND = WIDTH**2 + DISTANCE**2 / 8  # v
_JETS_AT_ONCE = 500  # their intermediate arrays stay in the cache


@dataclass(frozen=True)
class ToyJets:
    """Jets as positions of their particles.

    Attributes:
        position: η and φ of the particles of all jets, one jet after another, from the jet's axis.
        counts: particles of each jet; 0 happens once in 5·10⁸ jets.
    """

    position: Float32[np.ndarray, "particles 2"]
    counts: Int64[np.ndarray, " jets"]


def draw(signal: bool, jets: int, random: np.random.Generator) -> ToyJets:
    """Independent jets of one class.

    Args:
        signal: which class.
        jets: how many.
        random: where they are drawn from.
    """
    counts = random.poisson(PARTICLES, jets)
    particles = int(counts.sum())
    x = random.standard_normal((particles, 2))
    if not signal:
        return ToyJets((x * np.sqrt(_ROUND)).astype(np.float32), counts)
    axis = np.repeat(_directions(random.uniform(0, np.pi, jets)), counts, axis=0)
    side = random.choice([-1.0, 1.0], particles)
    x = x * WIDTH + side[:, None] * axis * DISTANCE / 2
    return ToyJets(x.astype(np.float32), counts)


def exact_llr(jets: ToyJets, angles: int = ANGLES) -> Float64[np.ndarray, " jets"]:
    """Ln p(S)/p(B) of the set of particles of each jet.

    Args:
        jets: of either class.
        angles: steps of the mean over α.
    """
    axes = _directions(np.pi * np.arange(angles) / angles)
    result = [_set_llr(few, axes) for few in _pieces(jets)]
    return np.concatenate([*result, np.empty(0)])


def exact_image_llr(
    images: Float[np.ndarray, "jets pixels pixels"],
    half_width: float = HALF_WIDTH,
    angles: int = ANGLES,
) -> Float64[np.ndarray, " jets"]:
    """Ln p(S)/p(B) of the numbers of particles in the pixels of each jet.

    Args:
        images: the numbers, η along the first axis of each image and φ along the second.
        half_width: of the image in η and in φ, from the axis of the jet to the border.
        angles: steps of the mean over α.
    """
    edges = np.linspace(-half_width, half_width, images.shape[-1] + 1)
    axes = _directions(np.pi * np.arange(angles) / angles) * DISTANCE / 2
    forward = np.stack([_log_square(edges, axis, WIDTH) for axis in axes])
    backward = np.stack([_log_square(edges, -axis, WIDTH) for axis in axes])
    signal = np.logaddexp(forward, backward) + np.log(PARTICLES / 2)  # ln μ: (angles, pixels²)
    background = _log_square(edges, np.zeros(2), np.sqrt(_ROUND)) + np.log(PARTICLES)
    counts = images.reshape(len(images), -1).astype(np.float64)
    exponent = counts @ (signal - background).T
    exponent += np.exp(background).sum() - np.exp(signal).sum(axis=1)
    return logsumexp(exponent, axis=1) - np.log(angles)


def count_in_pixels(
    jets: ToyJets, pixels: int = PIXELS, half_width: float = HALF_WIDTH
) -> Float64[np.ndarray, "jets pixels pixels"]:
    """Number of particles in each pixel, with the conventions of :mod:`hepml.inputs.images`.

    Args:
        jets: to draw.
        pixels: along each axis.
        half_width: from the axis of the jet to the border.
    """
    place = np.floor((jets.position.astype(np.float64) + half_width) * pixels / (2 * half_width))
    inside = np.all((place >= 0) & (place < pixels), axis=1)
    row, column = place[inside].astype(np.int64).T
    jet = np.repeat(np.arange(len(jets.counts)), jets.counts)[inside]
    number = (jet * pixels + row) * pixels + column
    images = np.bincount(number, minlength=len(jets.counts) * pixels**2)
    return images.reshape(-1, pixels, pixels).astype(np.float64)


def _set_llr(jets: ToyJets, axes: Float64[np.ndarray, "angles 2"]) -> Float64[np.ndarray, " jets"]:
    """LLR as the module says."""
    x = jets.position.astype(np.float64)
    each = np.log(_ROUND / _PRONG) - DISTANCE**2 / (8 * _PRONG)
    each = each - np.sum(x**2, axis=1) * (1 / _PRONG - 1 / _ROUND) / 2
    size = np.abs(x @ axes.T) * DISTANCE / (2 * _PRONG)  # |t|, and cosh t = eᵗ (1 + e⁻²ᵗ)/2
    log_cosh = size + np.log1p(np.exp(-2 * size)) - np.log(2)
    exponent = _sums(each[:, None] + log_cosh, jets.counts)
    return logsumexp(exponent, axis=1) - np.log(len(axes))


def _sums(
    values: Float64[np.ndarray, "particles columns"], counts: Int64[np.ndarray, " jets"]
) -> Float64[np.ndarray, "jets columns"]:
    """Sum of the rows of each jet; 0 for one without."""
    running = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    ends = np.cumsum(counts)
    return running[ends] - running[ends - counts]


def _pieces(jets: ToyJets) -> Iterator[ToyJets]:
    """Some jets at a time."""
    ends = np.concatenate([[0], np.cumsum(jets.counts)])
    for first in range(0, len(jets.counts), _JETS_AT_ONCE):
        last = min(first + _JETS_AT_ONCE, len(jets.counts))
        yield ToyJets(jets.position[ends[first] : ends[last]], jets.counts[first:last])


def _directions(angle: Float64[np.ndarray, " angles"]) -> Float64[np.ndarray, "angles 2"]:
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _log_square(
    edges: Float64[np.ndarray, " edges"], centre: Float64[np.ndarray, "2"], width: float
) -> Float64[np.ndarray, " squares"]:
    """Ln of the probability of N(centre, width²) in each pixel, row by row."""
    eta, phi = (_log_interval((edges - middle) / width) for middle in centre)
    return (eta[:, None] + phi[None, :]).reshape(-1)


def _log_interval(edges: Float64[np.ndarray, " edges"]) -> Float64[np.ndarray, " intervals"]:
    """Ln of the probability of N(0, 1) between edges, without cancellation in either tail."""
    low, high = edges[:-1], edges[1:]
    low, high = np.where(low > 0, -high, low), np.where(low > 0, -low, high)
    upper = log_ndtr(high)
    return upper + np.log(-np.expm1(log_ndtr(low) - upper))
