"""Coverage and pulls of 68 % and 95 % intervals of µ: the table of docs/statistics.md.

    python benchmarks/run_coverage.py --toys 2000

S = 50 N(1.5, 1) on B = 500 N(0, 1): ten bins with 3 % statistical error of the simulated
background, and the unbinned fit in 400 narrow cells, with the background normalisation known to
10 % (or exactly) and profiled.
"""

import argparse

import numpy as np
from scipy.stats import norm

from hepml.inference.toys.coverage import Coverage, binned_coverage, unbinned_coverage
from hepml.inference.toys.fits import ToyModel

SIGNAL, BACKGROUND, SHIFT = 50.0, 500.0, 1.5


def gaussians(bins: int, error: float, uncertainty: float) -> ToyModel:
    """Both Gaussians in bins between -3 and 4.5, with open ends."""
    edges = np.linspace(-3, 4.5, bins + 1)
    edges[[0, -1]] = -np.inf, np.inf
    s, b = SIGNAL * np.diff(norm.cdf(edges - SHIFT)), BACKGROUND * np.diff(norm.cdf(edges))
    return ToyModel(s, b, np.full(bins, error), uncertainty)


def measured(toys: int) -> dict[str, Coverage]:
    """Every row of the table."""
    found = {}
    for uncertainty in (0.0, 0.1):
        for mu in (0.5, 1.0, 2.0):
            name = f"{uncertainty:.0%} | {mu:g}"
            bins, cells = gaussians(10, 0.03, uncertainty), gaussians(400, 0.0, uncertainty)
            found[f"binned | {name}"] = binned_coverage(bins, mu, toys, 1)
            ratio = cells.signal / cells.background
            found[f"unbinned | {name}"] = unbinned_coverage(ratio, cells, mu, toys, 2)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toys", type=int, default=2000)
    toys = parser.parse_args().toys
    print("| fit | normalisation | µ | 68.3 % | 95 % | mean pull | width of pulls |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
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
