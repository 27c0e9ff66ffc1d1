"""Coverage and pulls of 68 % and 95 % intervals of µ: the table of docs/statistics.md.

    python benchmarks/run_coverage.py --toys 2000

S = 50 N(1.5, 1) on B = 500 N(0, 1): ten bins with 3 % statistical error of the simulated
background, and the unbinned fit in 400 narrow cells. Known exactly, or profiled: the normalisation
of the background, known to 10 %, and its mean too, known to 0.1.
"""

import argparse

import numpy as np
from scipy.stats import norm

from hepml.inference.model import Model
from hepml.inference.toys.coverage import Coverage, binned_coverage, unbinned_coverage

SIGNAL, BACKGROUND, SHIFT = 50.0, 500.0, 1.5


PROFILED = {"nothing": [], "normalisation": [0], "normalisation, mean": [0, 1]}


def gaussians(bins: int, error: float, sources: list[int]) -> Model:
    """Both Gaussians in bins between -3 and 4.5, with open ends.

    Args:
        bins: how many.
        error: relative, of the simulated background.
        sources: 0 for the normalisation of the background, 1 for its mean.
    """
    edges = np.linspace(-3, 4.5, bins + 1)
    edges[[0, -1]] = -np.inf, np.inf
    s, b = SIGNAL * np.diff(norm.cdf(edges - SHIFT)), BACKGROUND * np.diff(norm.cdf(edges))
    factors, shifts = np.ones((2, 1, 2, 2)), np.zeros((2, 1, 2, 2, bins))
    factors[:, 0, 1, 0] = 0.9, 1.1
    for side, mean in enumerate((-0.1, 0.1)):
        shifts[side, 0, 1, 1] = BACKGROUND * np.diff(norm.cdf(edges - mean)) - b
    return Model(
        np.stack([s, b])[None],
        np.array([True, False]),
        np.full((1, bins), error),
        factors[..., sources],
        shifts[..., sources, :],
    )


def measured(toys: int) -> dict[str, Coverage]:
    """Every row of the table."""
    found = {}
    for title, sources in PROFILED.items():
        for mu in (0.5, 1.0, 2.0):
            name = f"{title} | {mu:g}"
            bins, cells = gaussians(10, 0.03, sources), gaussians(400, 0.0, sources)
            found[f"binned | {name}"] = binned_coverage(bins, mu, toys, 1)
            ratio = cells.nominal[0, 0] / cells.nominal[0, 1]
            found[f"unbinned | {name}"] = unbinned_coverage(ratio, cells, mu, toys, 2)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toys", type=int, default=2000)
    toys = parser.parse_args().toys
    print("| fit | profiled | µ | 68.3 % | 95 % | mean pull | width of pulls |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name, found in measured(toys).items():
        shares = [
            f"{100 * share:.1f} ± {100 * error:.1f}"
            for share, error in zip(found.covered, found.errors, strict=True)
        ]
        print(
            f"| {name} | {' | '.join(shares)} | {found.pull_mean:+.3f} | {found.pull_width:.3f} |"
        )


if __name__ == "__main__":
    main()
