"""How much luminosity the baseline would need."""

import numpy as np
import pytest

from hepml.inference.comparison import luminosity_factor
from hepml.inference.counting import asimov_significance
from hepml.inference.results import Bins
from hepml.inference.table import with_error


def bins(signal, background, relative_error):
    errors = [relative_error * b for b in background]
    none = [0.0] * len(signal)
    raw = [100] * len(signal)
    return Bins(None, signal, none, background, errors, raw, raw)


def test_without_uncertainties_z_grows_as_the_root_of_luminosity():
    z = float(asimov_significance(np.array(20.0), np.array(100.0)))
    assert luminosity_factor(bins([20.0], [100.0], 0.0), 0.0, 1.7 * z) == pytest.approx(1.7**2)
    assert luminosity_factor(bins([20.0], [100.0], 0.0), 0.0, 0.5 * z) == pytest.approx(0.25)


def test_systematics_level_off():
    """s/b = 0.2 with b known to 10 %: never much more than two standard deviations."""
    baseline = bins([20.0], [100.0], 0.0)
    assert luminosity_factor(baseline, 0.1, 1.8) > 2
    assert luminosity_factor(baseline, 0.1, 2.5) is None


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.85557, 0.00116, "0.8556 ± 0.0012"),
        (45.17, 1.34, "45.2 ± 1.3"),
        (1234.0, 56.0, "1234 ± 56"),
        (0.5, 0.0, "0.5 ± 0"),
        (None, None, "—"),
    ],
)
def test_two_digits_of_the_error(value, error, text):
    assert with_error(value, error) == text
