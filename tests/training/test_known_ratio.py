"""Calibration and ensembles against the exact ratio of the toy ``shift``."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.special import expit

from hepml.config import Mlp, Training, TrainingJob
from hepml.data.oracle import NAMES, draw, exact_llr
from hepml.data.store import ColumnWriter, open_columns
from hepml.inference.unbinned import Data, asimov, background_normalisation, discovery_significance
from hepml.inputs import open_source
from hepml.models.ensemble import members_of
from hepml.scores.predict import combine, logits
from hepml.training.checkpoint import Trained, load
from hepml.training.ratio import HeldOut, calibrate
from hepml.training.stage import train

pytestmark = pytest.mark.slow
TESTED, STOPPING, TRAINING = 0, 1, 2  # folds
TESTS = 30_000  # events of each class
S, B = 50.0, 500.0  # expected


@dataclass(frozen=True)
class Toy:
    """A trained ensemble, and what it and the exact ratio say of events it never saw."""

    trained: Trained
    each: np.ndarray  # logits of the members
    exact: np.ndarray
    signal: np.ndarray

    @property
    def raw(self):
        return combine(self.each).mean

    @property
    def llr(self):
        return self.trained.llr(self.raw)

    def line(self, llr):
        """Its own calibration, with errors; 1 and 0 if it is a log-likelihood ratio."""
        return calibrate(HeldOut(llr, self.signal, np.ones(len(llr)), np.arange(len(llr))), "platt")


def make_toy(folder, training, ensemble):
    """Columns of both classes, so many of each to train on and half as many, or 3,000, to stop."""
    rng = np.random.default_rng(training)
    counts = {TESTED: TESTS, STOPPING: max(3000, training // 2), TRAINING: training}
    fold = np.repeat(list(counts), list(counts.values()))
    exact = []
    for label in (1, 0):
        (folder / str(label)).mkdir()
        x = draw("shift", bool(label), len(fold), rng)
        exact.append(exact_llr("shift", x)[fold == TESTED])
        columns = {
            "event_id": np.arange(len(fold), dtype=np.uint64),
            "fold": fold.astype(np.int8),
            "label": np.full(len(fold), label, np.int8),
            "weight": np.ones(len(fold)),
        }
        with ColumnWriter(folder / str(label), NAMES) as writer:
            writer.append(columns | dict(zip(NAMES, x.T, strict=True)))
            writer.finish({})
    data = [folder / "1", folder / "0"]
    settings = Training(epochs=20, patience=12)
    model = Mlp(architecture="mlp", features=NAMES, ensemble=ensemble, training=settings)
    job = TrainingJob(model=model, folds=3, seed=4)
    train(job, data, TESTED, folder / "model", torch.device("cpu"), lambda _: None)
    trained = load(folder / "model")
    samples = list(map(open_columns, data))
    source = open_source(samples, model)
    tested = np.flatnonzero(np.concatenate([s["fold"] for s in samples]) == TESTED)
    each = np.stack([logits(network, source, tested) for network in members_of(trained.network)])
    return Toy(trained, each, np.concatenate(exact), np.arange(2 * TESTS) < TESTS)


@pytest.fixture(scope="module", name="toy")
def _toy(tmp_path_factory):
    return make_toy(tmp_path_factory.mktemp("toy"), 4000, ensemble=5)


@pytest.fixture(scope="module", name="few")
def _few(tmp_path_factory):
    return make_toy(tmp_path_factory.mktemp("few"), 300, ensemble=1)


def rmse(llr, toy):
    return np.sqrt(np.mean((llr - toy.exact) ** 2))


def test_the_slope_of_an_over_trained_network_is_mended(few):
    before, after = few.line(few.raw), few.line(few.llr)
    assert abs(before.line.slope - 1) > 5 * before.slope_error
    # the line is known from 3,000 events per class, and judged by 30,000 others
    error = before.slope_error / before.line.slope
    error = np.hypot(error * (TESTS / 3000) ** 0.5, after.slope_error)
    assert abs(after.line.slope - 1) < 3 * error
    offset_error = after.offset_error * (1 + TESTS / 3000) ** 0.5
    assert abs(after.line.offset) < 3 * offset_error
    assert rmse(few.llr, few) < rmse(few.raw, few)


def test_no_event_overtakes_another(few):
    """So that the AUC stays, too."""
    assert np.array_equal(np.argsort(few.raw, kind="stable"), np.argsort(few.llr, kind="stable"))


def test_an_ensemble_is_closer_to_the_exact_ratio_than_its_members(toy):
    """Prototypes: 0.152 for five networks of 20,000 events, 0.20 for each."""
    members = np.mean([rmse(each, toy) for each in toy.each])
    assert rmse(toy.raw, toy) < 0.9 * members
    # calibration adds its own error: 0.02 of the slope with 3,000 events per class, times the LLR
    assert rmse(toy.llr, toy) < min(members, 0.25)


def test_the_spread_of_the_members_is_part_of_the_distance(toy):
    """What the members have in common, as the events they were trained on, it cannot tell."""
    spread = np.sqrt(np.mean(combine(toy.each).error ** 2))
    assert 0.2 * rmse(toy.raw, toy) < spread < rmse(toy.raw, toy)


def test_the_ratio_is_normalised_on_events_of_the_tested_fold(toy):
    background = np.exp(toy.llr[~toy.signal])
    # that of the 30,000 events themselves, and of the 3,000 that the offset is known from
    own = background.std() / TESTS**0.5
    fitted = calibrate(HeldOut(*held_out(toy.llr, toy.signal, 3000)), "platt").offset_error
    assert abs(background.mean() - 1) < 3 * np.hypot(own, fitted)
    half = 2 * expit(toy.llr)
    mean = (half[toy.signal].mean() + half[~toy.signal].mean()) / 2
    own = np.hypot(half[toy.signal].std(), half[~toy.signal].std()) / 2 / TESTS**0.5
    assert abs(mean - 1) < 3 * np.hypot(own, fitted / 2)


def held_out(llr, signal, number):
    """So many of each class."""
    chosen = np.concatenate([np.flatnonzero(signal)[:number], np.flatnonzero(~signal)[:number]])
    return llr[chosen], signal[chosen], np.ones(2 * number), chosen


def significances(toy, ratios, rng, normalise=True):
    """Unbinned, of each ratio, in bootstrap replicas of the same events; the first has all once."""
    replicas = np.vstack([np.ones(2 * TESTS), rng.poisson(1, (40, 2 * TESTS))])
    signal, background = replicas * toy.signal, replicas * ~toy.signal
    signal = S * signal / signal.sum(axis=1, keepdims=True)
    background = B * background / background.sum(axis=1, keepdims=True)
    found = []
    for ratio in ratios:
        data = asimov(ratio[None], signal, background)
        if not normalise:
            data = Data(
                np.broadcast_to(ratio, signal.shape), data.number, data.signal, data.background
            )
        known = background_normalisation(0.0, data.ratio.shape[1])
        found.append(discovery_significance(data, known))
    return found


def test_a_learned_ratio_claims_no_more_than_the_exact_one(toy, few):
    """Neyman-Pearson, and Kullback-Leibler for a ratio that is normalised."""
    rng = np.random.default_rng(1)
    for each in (toy, few):
        exact, learned = significances(each, (np.exp(each.exact), np.exp(each.llr)), rng)
        assert exact[0] == pytest.approx(5.1539, abs=3 * exact[1:].std())
        gain = learned - exact
        assert gain[0] < 2 * gain[1:].std()
        assert gain[0] > -1.5


def test_a_ratio_that_is_not_normalised_claims_more_than_the_exact_one(toy):
    rng = np.random.default_rng(2)
    exact, learned = significances(
        toy, (np.exp(toy.exact), 1.3 * np.exp(toy.exact)), rng, normalise=False
    )
    gain = learned - exact
    assert gain[0] > 3 * gain[1:].std()
