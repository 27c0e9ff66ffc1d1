"""Bootstrap errors have the statistics of variations in them, paired with those of the events."""

import numpy as np
import pytest

from hepml.inference.events import Events
from hepml.inference.likelihood import discovery_significance
from hepml.inference.repeated import repeat
from hepml.inference.shapes import shape_of_score
from hepml.inference.sources import Copies, Copy, Source, Systematics, processes_of
from hepml.inference.templates import model_of, templates

EDGES = np.array([0.0, 1.0])
SHIFT = 1.5
TAIL = 1.0  # where counting begins


def place(events):
    return np.searchsorted(EDGES, events.variables[0], side="right")


def tail(events):
    return 1 - (events.variables[0] > TAIL).astype(int)


def sample(rng, number, *, again):
    """N(1.5, 1) on N(0, 1), S = 50, B = 500; the background's x is smeared, and moved by ±0.3.

    Args:
        rng: random numbers.
        number: of events of either class on average.
        again: whether the variations are of the same events, or of others.
    """
    signal, background = drawn(rng, number, SHIFT), drawn(rng, number, 0)
    (ids, x), (of_background, z) = signal, background
    events = made(np.concatenate([ids, of_background]), 50 / number, len(ids), 500 / number)
    processes = processes_of(("top", "qcd"), (~events.signal).astype(int), events.signal)
    copies = []
    for shift in (0.3, -0.3):
        identity, other = background if again else drawn(rng, number, 0)
        moved = other + shift + rng.normal(0, 0.1, len(other))
        of_copy = made(identity, 0, 0, 500 / number)
        copies.append(Copy(of_copy, np.ones(len(other), int), moved[None]))
    systematics = Systematics(processes, (Source("scale", "Scale", (1,), Copies(*copies)),))
    return Copy(events, processes.of_event, np.concatenate([x, z])[None]), systematics


def drawn(rng, number, mean):
    """Identities and x of a Poisson number of events."""
    count = rng.poisson(number)
    return rng.integers(0, 2**63, count).astype(np.uint64), rng.normal(mean, 1, count)


def made(identity, signal_weight, signal_events, background_weight):
    signal = np.arange(len(identity)) < signal_events
    weight = np.where(signal, signal_weight, background_weight)
    return Events(identity, np.arange(len(identity)) % 4, signal, weight, 4)


def numbers(nominal, systematics, replicas):
    """Z of three bins, and the relative change of the background in the tail, in all replicas."""
    fitted = repeat(3, nominal, place, systematics, (replicas, 7))
    counted = repeat(1, nominal, tail, systematics, (replicas, 7))
    of_bins = templates(fitted.sample, systematics)
    return discovery_significance(fitted.model(of_bins)), counted.changes("scale")[:, 0]


@pytest.mark.parametrize("again", [True, False])
def test_errors_are_the_spread_of_independent_samples(rng, again):
    truth = np.std([numbers(*sample(rng, 400, again=again), 0) for _ in range(120)], axis=0)[:, 0]
    found = [numbers(*sample(rng, 400, again=again), 40) for _ in range(12)]
    errors = np.mean([[np.std(values[1:], ddof=1) for values in each] for each in found], axis=0)
    # the spread of 120 is known to 6 %, the mean of 12 errors, which scatter by a fifth, too
    assert errors == pytest.approx(truth, rel=0.25)


def test_other_events_are_worse_than_the_same(rng):
    """The relative change by moved events is known better than that by independent ones."""
    same, other = (
        np.std(numbers(*sample(rng, 2000, again=again), 200)[1][1:]) for again in (True, False)
    )
    assert same < 0.8 * other


def test_row_0_is_the_sample(rng):
    nominal, systematics = sample(rng, 500, again=True)
    drawn = repeat(3, nominal, place, systematics, (2, 1))
    of_bins = templates(drawn.sample, systematics)
    of_sample, of_replicas = model_of(of_bins), drawn.model(of_bins)
    for name in ("nominal", "relative_error"):
        assert getattr(of_replicas, name)[0] == pytest.approx(getattr(of_sample, name)[0])
    for name in ("factors", "shifts"):
        assert getattr(of_replicas, name)[:, 0] == pytest.approx(getattr(of_sample, name)[:, 0])
    assert not np.allclose(of_replicas.shifts[:, 1], of_sample.shifts[:, 0])


def test_templates_are_sums_by_hand(rng):
    nominal, systematics = sample(rng, 500, again=True)
    made = templates(repeat(3, nominal, place, systematics, (2, 1)).sample, systematics)

    def by_hand(copy, process, power=1):
        chosen = copy.process == process
        edges = [-np.inf, *EDGES, np.inf]
        weight = copy.events.weight[chosen] ** power
        return np.histogram(copy.variables[0, chosen], edges, weights=weight)[0]

    for i, template in enumerate(made.processes):
        assert template.nominal == pytest.approx(by_hand(nominal, i))
        assert template.error**2 == pytest.approx(by_hand(nominal, i, 2))
    signal, background = made.processes
    assert not signal.effects
    effect, change = background.effects["scale"], systematics.sources[0].change
    for side, copy in enumerate((change.down, change.up)):
        varied = effect.factors[side] * (background.nominal + effect.shifts[side])
        assert varied == pytest.approx(by_hand(copy, 1))


def test_bins_without_background_are_as_in_the_sample(rng):
    """20 events in three bins: some replicas leave one empty, as it is or varied."""
    drawn = repeat(3, *_few(rng), (400, 3))
    background = drawn.contents[:, 1]
    varied = drawn.varied["scale"][:, :, 1]
    assert (background > 0).all()
    assert (varied > 0).all()


def _few(rng):
    nominal, systematics = sample(rng, 20, again=True)
    return nominal, place, systematics


def test_so_are_those_of_the_unbinned_fit(rng, make_job):
    def fitted(replicas):
        nominal, systematics = sample(rng, 1500, again=False)
        llr = SHIFT * nominal.variables - SHIFT**2 / 2
        change = systematics.sources[0].change
        moved = [
            Copy(c.events, c.process, SHIFT * c.variables - SHIFT**2 / 2)
            for c in (change.up, change.down)
        ]
        source = Source("scale", "Scale", (1,), Copies(*moved))
        given = Systematics(systematics.processes, (source,))
        job = make_job("mlp", background_uncertainty=0.0, replicas=replicas)
        return shape_of_score(Copy(nominal.events, nominal.process, llr), given, job).significance

    truth = np.std([fitted(10).value for _ in range(30)], ddof=1)
    error = np.mean([fitted(30).error for _ in range(4)])
    # 30 samples know their spread to 13 %; heavy tails of r make single bootstraps miss some of it
    assert error == pytest.approx(truth, rel=0.35)
