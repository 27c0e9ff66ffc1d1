"""Everything about one method at once, on samples that are not plain."""

import json

import numpy as np
import pytest

from hepml.config import Cut
from hepml.errors import InputError
from hepml.inference.cautions import of_bins
from hepml.inference.events import Events
from hepml.inference.methods import (
    _failed_and_passed,
    _significances,
    digest,
    evaluate,
)
from hepml.inference.results import RESULT
from hepml.inference.selection import Selection
from hepml.inference.sources import Copy, all_sources
from hepml.inference.uncertainties import uncertain


@pytest.fixture
def awkward(rng):
    """Signed weights, scores with ties, folds of unequal size."""
    signal = np.arange(4000) % 2 == 0
    weight = np.where(rng.random(4000) < 0.1, -1, 1) * np.where(signal, 0.03, 0.3)
    fold = rng.choice(4, 4000, p=[0.1, 0.2, 0.3, 0.4])
    events = Events(np.arange(4000, dtype=np.uint64), fold, signal, weight, 4)
    return events, np.round(rng.normal(1.5 * signal, 1), 1)[None]


@pytest.mark.parametrize("method", ["mlp", "cuts"])
def test_negative_weights_and_ties(awkward, make_job, method):
    events, score = awkward
    cuts = (Cut(variable="x", keep="above"),) if method == "cuts" else ()
    result, _ = evaluate(make_job(method, cuts, bins=3, minimum_background=20), score, events)
    text = json.dumps(RESULT.dump_python(result, mode="json", by_alias=True), allow_nan=False)
    assert RESULT.validate_json(text) == result
    assert result.expected_signal == pytest.approx(48, rel=0.05)
    assert result.working_point.background.raw >= 20
    assert sum(result.histogram.signal) == pytest.approx(result.expected_signal)
    assert any("negative weights" in warning for warning in result.warnings)


def test_digest_sees_identity_label_and_weight(awkward):
    events, _ = awkward
    swapped = np.arange(4000)
    swapped[[0, 1]] = 1, 0
    changed = [
        Events(events.event_id[swapped], events.fold, events.signal, events.weight, 4),
        Events(events.event_id, events.fold, ~events.signal, events.weight, 4),
        Events(events.event_id, events.fold, events.signal, 2 * events.weight, 4),
    ]
    assert len({digest(e) for e in [events, *changed]}) == 4


def separated(passed_signal, failed_signal, failed_background):
    """Events of a yes-or-no variable, with 100 background events that pass."""
    counts = passed_signal, failed_signal, 100, failed_background
    x = np.repeat([1.0, 0.0, 1.0, 0.0], counts)
    signal = np.repeat([True, True, False, False], counts)
    fold = np.arange(len(x)) % 4
    events = Events(np.arange(len(x), dtype=np.uint64), fold, signal, np.ones(len(x)), 4)
    return x[None], events


def test_what_fails_may_hold_no_signal(make_job):
    """As after a cut on b tags that all signal passes: a control bin."""
    job = make_job("cuts", (Cut(variable="x", keep="above"),))
    result, content = evaluate(job, *separated(50, 0, 400))
    assert result.histogram.signal == [0, 50]
    assert result.pyhf.agrees
    assert content["channels"][0]["samples"][0]["data"] == [0, 50]


def test_what_fails_may_hold_no_background(make_job):
    job = make_job("cuts", (Cut(variable="x", keep="above"),))
    result, _ = evaluate(job, *separated(50, 0, 0))
    assert result.histogram.signal == [50]
    x, events = separated(60, 10, 0)
    bounds = np.tile([0.5, np.inf], (4, 1, 1))
    selection = Selection(job.cuts, bounds, x[0] > 0, 10)
    binning = _failed_and_passed(events, selection)
    assert binning.yields.signal.tolist() == [60]
    assert any("only what passes is fitted" in text for text in of_bins(binning))
    sources = all_sources(0.1, None, events)
    nominal = Copy(events, sources.processes.of_event, x)
    made = uncertain(nominal, sources, selection, binning, (10, 1))
    significance, replicas = _significances(made, 1.0, None)
    assert significance.counting.value > 0
    assert np.isfinite(replicas.binned).all()


def test_background_worth_less_than_ten_events_is_an_error(make_job):
    """100 raw events pass, of which one has most of the weight: (100 + 99)²/(100² + 99) = 3.9."""
    job = make_job("cuts", (Cut(variable="x", keep="above"),))
    x, events = separated(50, 10, 9000)
    weight = events.weight.copy()
    weight[60] = 100.0
    uneven = Events(events.event_id, events.fold, events.signal, weight, 4)
    with pytest.raises(InputError, match=r"background of bin 1 of the fit is worth 3\.9 events"):
        evaluate(job, x, uneven)


def test_too_little_simulated_background_is_warned_of(make_job):
    x, events = separated(500, 10, 400)
    few = Events(events.event_id, events.fold, events.signal, 5 * events.weight, 4)
    job = make_job("cuts", (Cut(variable="x", keep="above"),), background_uncertainty=0.01)
    result, _ = evaluate(job, x, few)
    assert any("more simulated background is needed" in text for text in result.warnings)
    assert result.significance.exact is None or result.significance.exact.value > 0


@pytest.mark.parametrize("method", ["mlp", "cuts"])
def test_no_source_of_uncertainty_costs_nothing(method, rng, make_events, make_job):
    events = make_events(2000, 2000, folds=4)
    score = rng.normal(1.5 * events.signal, 1)[None]
    cuts = (Cut(variable="x", keep="above"),) if method == "cuts" else ()
    result, _ = evaluate(make_job(method, cuts, background_uncertainty=0.0), score, events)
    ranking = result.nuisances.binned
    assert ranking.z == ranking.z_without == result.significance.binned.value
    assert not ranking.impacts
    assert result.counting_uncertainty == 0
