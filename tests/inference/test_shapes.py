"""The unbinned fit of scores whose likelihood ratio is known."""

import numpy as np
import pytest

from hepml.inference.cautions import of_shape
from hepml.inference.events import Events
from hepml.inference.shapes import shape_of_score
from hepml.inference.sources import Copy, all_sources

SHIFT = 1.5
OPTIMUM = 5.1539195447  # of S = 50, B = 500, by quadrature


def shape(llr, events, job):
    systematics = all_sources(job.inference.background_uncertainty, None, events)
    return shape_of_score(Copy(events, systematics.processes.of_event, llr[None]), systematics, job)


def drawn(rng, number):
    signal = np.arange(2 * number) < number
    x = rng.normal(SHIFT * signal, 1)
    weight = np.where(signal, 50 / number, 500 / number)
    ids = np.arange(2 * number, dtype=np.uint64)
    events = Events(ids, np.arange(2 * number) % 4, signal, weight, 4)
    return SHIFT * x - SHIFT**2 / 2, events


@pytest.fixture
def sample(rng):
    """Gaussians N(1.5, 1) and N(0, 1) with S = 50 and B = 500; exact logarithm of the ratio."""
    return drawn(rng, 20_000)


def test_the_exact_ratio_reaches_the_optimum(sample, make_job):
    llr, events = sample
    found = shape(llr, events, make_job("mlp", background_uncertainty=0.0, replicas=40))
    assert found.significance.value == pytest.approx(OPTIMUM, abs=4 * found.significance.error)
    assert found.mean_ratio.value == pytest.approx(1, abs=4 * found.mean_ratio.error)
    # the variance of r over the background is that of a log-normal variable of unit mean
    assert found.mean_ratio.error == pytest.approx((np.expm1(SHIFT**2) / 20_000) ** 0.5, rel=0.2)
    assert of_shape(found) == []


def test_the_error_is_the_spread_of_independent_samples(rng, make_job):
    job = make_job("mlp", background_uncertainty=0.0, replicas=30)
    shapes = [shape(*drawn(rng, 2000), job).significance for _ in range(40)]
    true = np.std([found.value for found in shapes], ddof=1)
    # the spread of 40 is known to 11 %; heavy tails of r make single bootstraps miss some of it
    assert np.mean([found.error for found in shapes]) == pytest.approx(true, rel=0.35)


def test_slices_serve_the_errors_as_events_do(sample, make_job):
    """Row 0 of the replicas, in slices, is the fit of all events."""
    llr, events = sample
    job = make_job("mlp", background_uncertainty=0.1, replicas=10)
    fine = shape(llr, events, job)
    rounded = shape(np.round(llr, 2), events, job)
    assert fine.significance.value == pytest.approx(rounded.significance.value, rel=1e-4)
    assert np.allclose(fine.replicas, rounded.replicas, rtol=2e-3)


def test_any_offset_of_the_score_is_normalised_away(sample, make_job):
    llr, events = sample
    job = make_job("mlp", replicas=10)
    one, other = (shape(llr + c, events, job) for c in (0.0, 600.0))
    assert one.significance.value == pytest.approx(other.significance.value, rel=1e-9)


def test_a_distorted_ratio_is_less_significant_and_said_to_be_biased(sample, make_job):
    llr, events = sample
    job = make_job("mlp", background_uncertainty=0.0, replicas=10)
    exact, steep = (shape(f * llr, events, job) for f in (1.0, 1.7))
    assert steep.significance.value < exact.significance.value
    assert any("not a likelihood ratio" in text for text in of_shape(steep))


def test_entries_of_one_event_fluctuate_together(sample, make_job):
    llr, events = sample
    pairs = Events(events.event_id // np.uint64(2), events.fold, events.signal, events.weight, 4)
    twice = np.repeat(llr[::2], 2)  # both entries of an event have the same score
    alone = shape(twice, events, make_job("mlp", replicas=10)).mean_ratio
    together = shape(twice, pairs, make_job("mlp", replicas=10)).mean_ratio
    assert together.value == alone.value
    assert together.error == pytest.approx(2**0.5 * alone.error, rel=1e-6)
