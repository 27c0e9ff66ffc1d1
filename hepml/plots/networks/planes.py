"""What networks on images are shown, and what they look at, in the plane of η and φ."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter

from hepml.plots.histograms import visible_range
from hepml.plots.means import Mean
from hepml.plots.style import DIVERGING, Caption, Panels, new_panels, styled

_DECADES = 4  # of the logarithmic colour scale
_SEQUENTIAL = "magma_r"


@dataclass(frozen=True)
class JetMaps:
    """Mean over the jets of each class of something that every pixel has.

    Attributes:
        channels: of the images.
        steps: of their preprocessing.
        half_width: of the images in η and φ, from the centre to the border.
        signal: shape (channels, pixels, pixels); pixels along η, then along φ.
        background: likewise.
        jets: how many the means are taken over, signal and background.
    """

    channels: tuple[str, ...]
    steps: tuple[str, ...]
    half_width: float
    signal: Mean
    background: Mean
    jets: tuple[int, int]


@styled()
def images_figure(maps: JetMaps, title: str, caption: Caption) -> Figure:
    """Mean image of signal, of background, and their difference; a row for each channel."""
    panels = new_panels(caption, title, len(maps.channels), (False, True, True))
    for row, channel in enumerate(maps.channels):
        classes = [maps.signal.value[row], maps.background.value[row]]
        low, high = visible_range(np.stack(classes))
        norm = LogNorm(max(low, high * 10.0**-_DECADES), high)
        for column, mean in enumerate(classes):
            image = _draw(panels.axes[row, column], mean, maps.half_width, norm, _SEQUENTIAL)
        _draw_bar(panels, (row, 1), image, _pixel_label(channel, maps.steps))
        difference = classes[0] - classes[1]
        reach = float(np.abs(difference).max()) or 1.0
        signed = SymLogNorm(reach / 100, vmin=-reach, vmax=reach)
        image = _draw(panels.axes[row, 2], difference, maps.half_width, signed, DIVERGING)
        _draw_bar(panels, (row, 2), image, "Difference")
    _label(panels, ("Signal", "Background", "Signal − background"), maps.steps)
    return panels.figure


@styled()
def saliency_figure(gradients: JetMaps, images: JetMaps, title: str, caption: Caption) -> Figure:
    """Mean gradient of the logit for jets of each class, blurred; a row for each channel.

    Lines enclose half and 95 % of what the mean image of the same jets holds.
    """
    panels = new_panels(caption, title, len(gradients.channels), (False, True))
    classes = (gradients.signal, images.signal), (gradients.background, images.background)
    for row, channel in enumerate(gradients.channels):
        unit, step = gradient_unit(channel, gradients.steps)
        slopes = [step * blurred(gradient.value[row]) for gradient, _ in classes]
        reach = float(np.abs(slopes).max()) or 1.0
        norm = Normalize(-reach, reach)
        for axes, slope, (_, image) in zip(panels.axes[row], slopes, classes, strict=True):
            drawn = _draw(axes, slope, gradients.half_width, norm, DIVERGING)
            _draw_contours(axes, image.value[row], gradients.half_width)
        _draw_bar(panels, (row, 1), drawn, f"$\\Delta$ logit per {unit}")
    _label(panels, ("Signal", "Background"), gradients.steps)
    return panels.figure


def blurred(gradient: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """Gradient with respect to a round Gaussian blob at each pixel instead of the pixel alone.

    Its standard deviation is a twentieth of the image. The part of a blob that is outside is left
    out and the rest scaled to the same content. Convolutions with strides weigh neighbouring pixels
    differently, and what they do to a blob is what they do to a jet.
    """
    width = len(gradient) / 20
    total = gaussian_filter(gradient, width, mode="constant")
    return total / gaussian_filter(np.ones_like(gradient), width, mode="constant")


def enclosing_level(image: Float[np.ndarray, "rows columns"], share: float) -> float:
    """Value such that the pixels at or above it hold just this share of the image, or more."""
    falling = np.sort(image, axis=None)[::-1]
    return float(falling[np.searchsorted(np.cumsum(falling), share * falling.sum())])


def gradient_unit(channel: str, steps: tuple[str, ...]) -> tuple[str, float]:
    """What is added to a pixel where gradients are shown, in words and in units of the pixel."""
    if channel == "multiplicity":
        return "particle", 1.0
    return ("0.1 % of jet $p_T$", 1e-3) if "normalise" in steps else ("GeV", 1.0)


def _pixel_label(channel: str, steps: tuple[str, ...]) -> str:
    if channel == "multiplicity":
        return "Particles per pixel"
    share = "share of jet $p_T$" if "normalise" in steps else "$p_T$ [GeV]"
    kind = channel.removesuffix("pt").replace("_", " ")
    label = f"{kind}{share} per pixel"
    return label[0].upper() + label[1:]


def _draw(
    axes: Axes, values: np.ndarray, half_width: float, norm: Normalize, colours: str
) -> AxesImage:
    """Pixels with η to the right and φ upwards; white where a logarithm has nothing to show."""
    return axes.imshow(
        values.T,
        origin="lower",
        extent=(-half_width, half_width, -half_width, half_width),
        interpolation="nearest",
        norm=norm,
        cmap=colormaps[colours].with_extremes(under="white", bad="white"),
    )


def _draw_contours(axes: Axes, image: np.ndarray, half_width: float) -> None:
    """Lines around half and 95 % of what an image holds."""
    smooth = blurred(image)
    levels = sorted({enclosing_level(smooth, share) for share in (0.5, 0.95)})
    if levels[0] <= 0:  # an empty image
        return
    side = np.linspace(-half_width, half_width, 2 * len(image) + 1)[1::2]
    styles = ("dashed", "solid")[-len(levels) :]
    axes.contour(side, side, smooth.T, levels, colors="black", linewidths=0.9, linestyles=styles)


def _draw_bar(panels: Panels, place: tuple[int, int], image: AxesImage, label: str) -> None:
    bar = panels.figure.colorbar(image, cax=panels.bars[place])
    bar.set_label(label, loc="center")


def _label(panels: Panels, names: tuple[str, ...], steps: tuple[str, ...]) -> None:
    """Names of the classes, and of the axes: Δ if centred, primed if rotated."""
    delta = r"\Delta" if "centre" in steps else ""
    prime = "'" if "rotate" in steps else ""
    for axes, name in zip(panels.axes[0], names, strict=True):
        axes.text(0.04, 0.96, name, transform=axes.transAxes, va="top")
    for axes in panels.axes[:, 0]:
        axes.set_ylabel(f"${delta}\\phi{prime}$")
    for axes in panels.axes[-1]:
        axes.set_xlabel(f"${delta}\\eta{prime}$")
    for axis in (panels.axes[0, 0].xaxis, panels.axes[0, 0].yaxis):  # of all panels
        axis.set_major_locator(MaxNLocator(5, prune="both"))
