import numpy as np
import pytest

from hepml.errors import InputError
from hepml.inputs.features import fit_standardisation

# worked out by hand: weights 1, 1, 2 on 0, 4, 8 give mean 5, variance (25 + 1 + 2·9)/4 = 11
FEATURES = np.array([[0.0, 1.0], [4.0, 2.0], [8.0, 3.0]])


def fitted(features, weight):
    """In two pieces, as a long list of events is read."""
    weight = np.array(weight, float)
    return fit_standardisation(
        lambda: [(features[:2], weight[:2]), (features[2:], weight[2:])], ["a", "b"]
    )


def test_weighted_mean_and_deviation():
    scaling = fitted(FEATURES, [1.0, 1.0, 2.0])
    assert scaling.mean == pytest.approx((5, 2.25))
    assert scaling.deviation == pytest.approx((11**0.5, 0.6875**0.5))


def test_signs_of_weights_do_not_matter():
    signed = fitted(FEATURES, [1.0, -1.0, 2.0])
    assert signed == fitted(FEATURES, [1.0, 1.0, 2.0])


def test_large_offsets_keep_their_precision():
    features = 1e5 + FEATURES
    scaling = fitted(features.astype(np.float32), [1, 1, 1])
    assert scaling.deviation == pytest.approx(FEATURES.std(axis=0), rel=1e-3)


def test_a_constant_feature_is_named():
    features = np.stack([FEATURES[:, 0], np.full(3, 1e5)], axis=1)
    with pytest.raises(InputError, match=r"features \['b'\] do not vary"):
        fitted(features, [1, 1, 1])
