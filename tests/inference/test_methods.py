"""Everything about one method at once, on samples that are not plain."""

import json

import numpy as np
import pytest

from hepml.config import Cut
from hepml.inference.events import Events
from hepml.inference.methods import digest, evaluate
from hepml.inference.results import RESULT


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
