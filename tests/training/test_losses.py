import numpy as np
import pytest

from hepml.errors import InputError
from hepml.training.losses import balanced_weights


def test_each_class_sums_up_to_half_the_events():
    weight, label = np.array([1.0, 3.0, -1.0, 10.0]), np.array([1, 1, 1, 0])
    # signal sums up to 3 and background to 10; each becomes 4 / 2, signs are kept
    np.testing.assert_allclose(balanced_weights(weight, label, "x"), [2 / 3, 2, -2 / 3, 2], 1e-6)


@pytest.mark.parametrize(("signal", "total"), [([1.0, -1.0], "0"), ([1.0, -3.0], "-2"), ([], "0")])
def test_a_class_with_non_positive_total_weight_is_refused(signal, total):
    weight = np.array([*signal, 5.0])
    label = np.array([1] * len(signal) + [0])
    message = (
        rf"signal in the training folds: {len(signal)} events whose weights sum up to {total}; a "
        "class needs a positive sum"
    )
    with pytest.raises(InputError, match=message):
        balanced_weights(weight, label, "the training folds")
