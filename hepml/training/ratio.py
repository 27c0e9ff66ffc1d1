"""From the logit of a network to the likelihood ratio, on events it was not trained on.

The offset of the line is the normalisation of the ratio. At the lowest cross-entropy the mean of
2r/(1 + r) over the mixture of both classes is 1, which is Bennett's acceptance ratio (J. Comput.
Phys. 22 (1976) 245): for an exact ratio, of all ways to find the constant from events of both
classes the one with the least variance. To demand E_B[r] = 1 of the same events would let the few
of them with the largest ratios decide: Var_B[r] may be infinite.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import nn

from hepml.config import Map
from hepml.data.entries import root_sum_square
from hepml.training.batches import Batches
from hepml.training.calibration import (
    IDENTITY,
    WIDTH,
    Line,
    balanced,
    derivatives,
    fit_line,
    gradients,
)

_AT_ONCE = 4096  # events, which bounds memory
_KEPT = "the logit is kept as it is, uncalibrated"


@dataclass(frozen=True)
class HeldOut:
    """Events of both classes that a network was not trained on.

    Attributes:
        x: logits less the logarithm of the prior odds.
        signal: True for signal.
        weight: of any sign, with a positive sum in each class.
        event_id: entries that share it fluctuate together.
    """

    x: Float[np.ndarray, " events"]
    signal: Bool[np.ndarray, " events"]
    weight: Float[np.ndarray, " events"]
    event_id: Integer[np.ndarray, " events"]


@dataclass(frozen=True)
class Calibration:
    """A line and how well it is known; errors are None where nothing was fitted.

    Attributes:
        map: what was fitted.
        line: from x to the log-likelihood ratio.
        slope_error: standard error.
        offset_error: standard error.
        mean_ratio: E_B[r] on the events of the fit, r being the calibrated ratio; 1 for an exact
            one. None if it is beyond all numbers.
        mean_ratio_error: standard error, itself uncertain if few events have large ratios.
        events: how many entries were used.
        warning: why the line is not the fitted one, if so.
    """

    map: Map
    line: Line
    slope_error: float | None
    offset_error: float | None
    mean_ratio: float | None
    mean_ratio_error: float | None
    events: int
    warning: str | None = None

    def record(self) -> dict[str, object]:
        """The same as plain numbers."""
        content = asdict(self)
        return {"map": content.pop("map")} | content.pop("line") | content

    def told(self) -> str:
        """One line for the log."""
        if self.warning:
            return f"calibration: {self.warning}"
        if self.slope_error is None:
            return "calibration: none"
        mean = "" if self.mean_ratio is None else f", E_B[r] {self.mean_ratio:.3f}"
        mean += "" if self.mean_ratio is None else f" ± {self.mean_ratio_error:.3f}"
        return (
            f"calibration: slope {self.line.slope:.3f} ± {self.slope_error:.3f}, offset "
            f"{self.line.offset:.3f} ± {self.offset_error:.3f}{mean} on {self.events} events"
        )


UNCALIBRATED = Calibration("none", IDENTITY, None, None, None, None, events=0)


@torch.no_grad()
def logits(network: nn.Module, events: Batches) -> Float[np.ndarray, " events"]:
    """Of a network in evaluation mode, float64."""
    network.eval()
    batches = events.ordered(_AT_ONCE)
    return np.concatenate([network(*inputs).double().cpu().numpy() for inputs, _, _ in batches])


def calibrate(held_out: HeldOut, map_: Map) -> Calibration:
    """Find the line from x to the log-likelihood ratio.

    Args:
        held_out: events that the network was not trained on.
        map_: ``platt`` fits slope and offset together; ``temperature`` the slope alone, and then
            the offset, which normalises the ratio; ``none`` nothing.

    Returns:
        The fitted line. If its slope is not positive the network puts these events in the wrong
        order, which no monotone map mends: then the identity, and a warning.

    Raises:
        ValueError: if a value of x is not finite.
    """
    broken = np.count_nonzero(~np.isfinite(held_out.x))
    if broken:
        raise ValueError(f"{broken} of {len(held_out.x)} logits are NaN or infinite")
    if map_ == "none":
        return _described(held_out, map_, IDENTITY)
    try:
        line, errors = _fitted(held_out, map_)
    except ValueError as error:
        return _described(held_out, "none", IDENTITY, warning=f"{error}; {_KEPT}")
    if line.slope <= 0:
        warning = (
            f"the slope of the calibration is {line.slope:.3g} ± {errors[0]:.2g}: the network puts "
            f"the events of its validation fold in the wrong order; {_KEPT}"
        )
        return _described(held_out, "none", IDENTITY, warning=warning)
    return _described(held_out, map_, line, errors)


def _fitted(held_out: HeldOut, map_: Map) -> tuple[Line, Float[np.ndarray, "2"]]:
    """Line and standard errors of slope and offset.

    Errors from the influence of each event, M⁻¹g, with g the gradients that the fit makes vanish
    and M their derivatives.
    """
    x, signal = held_out.x, held_out.signal
    share = balanced(held_out.weight, signal)
    design = np.stack([x, np.ones_like(x)])

    def at(line: Line) -> tuple[np.ndarray, np.ndarray]:
        parameters = np.array([line.slope, line.offset])
        _, hessian = derivatives(design, parameters, share, signal)
        hessian = hessian + np.square(share).sum() / WIDTH**2 * np.eye(2)
        return gradients(design, parameters, share, signal), hessian

    together = map_ == "platt"
    first = fit_line(x, signal, held_out.weight, WIDTH, "both" if together else "slope")
    line = first if together else fit_line(x, signal, held_out.weight, WIDTH, "offset", first)
    of_each, matrix = at(line)
    if not together:  # the slope comes from its own fit, without an offset
        of_slope, hessian = at(first)
        of_each[0], matrix[0] = of_slope[0], [hessian[0, 0], 0.0]
    influences = np.linalg.solve(matrix, of_each)
    return line, np.array([root_sum_square(each, held_out.event_id) for each in influences])


def _described(
    held_out: HeldOut,
    map_: Map,
    line: Line,
    errors: Float[np.ndarray, "2"] | None = None,
    warning: str | None = None,
) -> Calibration:
    background = ~held_out.signal
    weight = held_out.weight[background]
    share = weight / weight.sum()
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.exp(line(held_out.x[background]))
        mean = float(share @ ratio)
        error = root_sum_square(share * (ratio - mean), held_out.event_id[background])
    known = np.isfinite(mean) and np.isfinite(error)
    return Calibration(
        map=map_,
        line=line,
        slope_error=None if errors is None else float(errors[0]),
        offset_error=None if errors is None else float(errors[1]),
        mean_ratio=mean if known else None,
        mean_ratio_error=error if known else None,
        events=len(held_out.x),
        warning=warning,
    )
