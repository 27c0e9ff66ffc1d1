"""Ends of intervals of µ on a profile likelihood ratio."""

from collections.abc import Callable


def beyond(t: Callable[[float], float], best: float, far: float, lowest: float) -> float:
    """A µ at which t(µ) ≥ 1, on the side of the best fit where ``far`` is.

    Args:
        t: -2Δln L of µ, or its root.
        best: best fit.
        far: where to begin; the distance to the best fit is doubled until it suffices.
        lowest: µ that may be reached; returned if t is less than 1 there, too.
    """
    far = max(far, lowest)
    while far != lowest and t(far) < 1:
        far = max(best + 2 * (far - best), lowest)
    return far
