"""Padded jets are drawn as packed ones are, and places without a particle weigh nothing."""

import numpy as np
import pytest
import torch

from hepml.inputs.images import STEPS, ImageSettings, draw, jet_images, needed_fields
from hepml.inputs.segments import PaddedSegments

JETS, PLACES = 200, 37
CHANNELS = ("pt", "multiplicity", "charged_pt", "neutral_pt")


@pytest.fixture(scope="module")
def table():
    """Padded jets of 0 to 30 particles (px, py, pz, charge), particles at any of the places."""
    random = np.random.default_rng(4)
    real = random.random((JETS, PLACES)) < random.uniform(0, 0.8, (JETS, 1))
    real[:3] = False
    pt = random.exponential(10, real.shape)
    eta = random.uniform(-2, 2, (JETS, 1)) + random.normal(0, 0.3, real.shape)
    phi = random.uniform(-np.pi, np.pi, (JETS, 1)) + random.normal(0, 0.3, real.shape)
    charge = random.integers(-1, 2, real.shape)
    fields = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), charge]
    return (np.stack(fields, axis=2) * real[..., None]).astype(np.float32), real


def padded(values, settings):
    shape = (len(values), len(settings.channels), settings.pixels, settings.pixels)
    drawn = torch.zeros(shape)
    columns = torch.from_numpy(values).unbind(-1)[: len(needed_fields(settings))]
    outside = draw(drawn, columns, PaddedSegments(len(values)), settings)
    return drawn.numpy(), outside.numpy()


@pytest.mark.parametrize("steps", [(), ("centre",), ("rotate", "flip"), STEPS])
@pytest.mark.parametrize("channels", [("pt",), CHANNELS])
def test_padded_jets_are_drawn_as_packed_ones_are(table, steps, channels):
    values, real = table
    settings = ImageSettings(9, 0.7, channels, steps)
    fields = ("px", "py", "pz", "charge")
    expected = jet_images(values[real], real.sum(1), fields, settings)
    images, outside = padded(values, settings)
    assert (real.sum(1) > 25).any()
    assert images.shape == expected.images.shape
    # a particle within rounding (1e-6) of an edge may go to either side: a few in 100 000
    same = np.isclose(images, expected.images, rtol=1e-4, atol=1e-5).all((1, 2, 3))
    assert same.mean() > 0.99
    np.testing.assert_allclose(outside[same], expected.outside[same], rtol=1e-4, atol=1e-4)


def test_more_places_change_nothing(table):
    values, _ = table
    settings = ImageSettings(9, 0.7, CHANNELS)
    longer = np.concatenate([values, np.zeros_like(values)], axis=1)
    for got, expected in zip(padded(longer, settings), padded(values, settings), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_needed_fields_are_those_that_are_read():
    assert needed_fields(ImageSettings()) == ("px", "py", "pz")
    assert needed_fields(ImageSettings(channels=("neutral_pt",))) == ("px", "py", "pz", "charge")
