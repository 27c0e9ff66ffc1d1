import numpy as np
import pytest

from hepml.errors import InputError
from hepml.inputs.features import fit_standardisation

# worked out by hand: weights 1, 1, 2 on 0, 4, 8 give mean 5, variance (25 + 1 + 2·9)/4 = 11
FEATURES = np.array([[0.0, 1.0], [4.0, 2.0], [8.0, 3.0]])


def test_weighted_mean_and_deviation():
    scaling = fit_standardisation(FEATURES, np.array([1.0, 1.0, 2.0]), ["a", "b"])
    assert scaling.mean == pytest.approx((5, 2.25))
    assert scaling.deviation == pytest.approx((11**0.5, 0.6875**0.5))


def test_signs_of_weights_do_not_matter():
    signed = fit_standardisation(FEATURES, np.array([1.0, -1.0, 2.0]), ["a", "b"])
    assert signed == fit_standardisation(FEATURES, np.array([1.0, 1.0, 2.0]), ["a", "b"])


def test_large_offsets_keep_their_precision():
    features = 1e5 + FEATURES
    scaling = fit_standardisation(features.astype(np.float32), np.ones(3), ["a", "b"])
    assert scaling.deviation == pytest.approx(FEATURES.std(axis=0), rel=1e-3)


def test_a_constant_feature_is_named():
    features = np.stack([FEATURES[:, 0], np.full(3, 1e5)], axis=1)
    with pytest.raises(InputError, match=r"features \['b'\] do not vary"):
        fit_standardisation(features, np.ones(3), ["a", "b"])
