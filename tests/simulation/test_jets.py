import itertools

import numpy as np
import pytest

pytest.importorskip("fastjet", reason="needs the extra `simulate`: fastjet is not installed")
pytest.importorskip("vector", reason="needs the extra `simulate`: vector is not installed")

from hepml.config import Simulation
from hepml.simulation.jets import (
    Jets,
    contains_top,
    decluster,
    find_jets,
    nearest_parton,
    nsubjettiness,
    relative_to_axis,
    soft_drop_mass,
    summed_momentum,
)
from hepml.simulation.particles import Kind, Particles, Partons, transverse_momentum


def massless(pt, eta, phi):
    pt, eta, phi = (np.asarray(x, float) for x in (pt, eta, phi))
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], -1)


def particles(momentum, owner):
    rows = len(momentum)
    return Particles(
        owner=np.asarray(owner),
        momentum=momentum,
        kind=np.full(rows, Kind.PHOTON, np.int8),
        charge=np.zeros(rows, np.int8),
        impact=np.zeros((rows, 2)),
        impact_error=np.zeros((rows, 2)),
    )


def one_jet(momentum):
    return Jets(np.array([0]), momentum.sum(axis=0)[None], particles(momentum, [0] * len(momentum)))


def mass(momentum):
    total = momentum.sum(axis=0)
    return np.sqrt(total[3] ** 2 - np.sum(total[:3] ** 2))


@pytest.fixture(name="events")
def _events():
    """Three events: two hard clusters each, back to back, and soft particles everywhere."""
    random = np.random.default_rng(2)
    momenta, owners = [], []
    for event, (pt, eta) in enumerate([(600, 0.5), (300, 1.0), (570, -2.5)]):
        for phi in (1.0, 1.0 - np.pi):
            share = random.dirichlet(np.ones(12)) * pt
            momenta.append(
                massless(share, eta + random.normal(0, 0.1, 12), phi + random.normal(0, 0.1, 12))
            )
        momenta.append(
            massless(
                random.exponential(1, 50), random.uniform(-4, 4, 50), random.uniform(-3, 3, 50)
            )
        )
        owners += [event] * 74
    return particles(np.concatenate(momenta), owners)


def test_window_is_respected(events):
    jets = find_jets(events, 3, Simulation(jet_pt=(550, 650), jet_eta=2.0))
    np.testing.assert_array_equal(jets.event, [0, 0])  # the others are too soft or too forward
    wide = find_jets(events, 3, Simulation(jet_pt=(250, 700), jet_eta=4.0))
    np.testing.assert_array_equal(np.sort(wide.event), [0, 0, 1, 1, 2, 2])


def test_an_event_without_particles_is_no_jet(events):
    shifted = particles(events.momentum, events.owner + 1)  # event 0 is empty
    jets = find_jets(shifted, 5, Simulation())
    np.testing.assert_array_equal(jets.event, [1, 1])


def test_jet_is_the_sum_of_its_constituents_and_its_hardest_are_first(events):
    jets = find_jets(events, 3, Simulation(jet_pt=(250, 700), jet_eta=4.0))
    total = summed_momentum(jets.constituents, len(jets))
    np.testing.assert_allclose(total, jets.momentum, rtol=1e-12)
    for jet in range(len(jets)):
        pt = jets.constituents[jets.constituents.owner == jet].pt
        assert (np.diff(pt) <= 0).all()
        assert len(pt) >= 12


def test_jets_are_those_of_a_brute_force_anti_kt(events):
    first = events[events.owner == 0]
    jets = find_jets(first, 1, Simulation(jet_pt=(550, 650)))
    expected = [x for x in anti_kt(list(first.momentum), 0.8) if 550 < np.hypot(*x[:2]) < 650]
    found = jets.momentum[np.argsort(jets.momentum[:, 0])]
    np.testing.assert_allclose(found, sorted(expected, key=lambda x: x[0]), rtol=1e-9)


def anti_kt(momenta, radius):
    """Anti-kT from its definition (arXiv:0802.1189, Eqs. 1-2), with rapidities."""
    jets = []
    while momenta:
        beam = [1 / (p[0] ** 2 + p[1] ** 2) for p in momenta]
        best, pair = min((d, (i,)) for i, d in enumerate(beam))
        for i, j in itertools.combinations(range(len(momenta)), 2):
            distance = min(beam[i], beam[j]) * delta_r(momenta[i], momenta[j]) ** 2 / radius**2
            if distance < best:
                best, pair = distance, (i, j)
        merged = sum(momenta[i] for i in pair)
        momenta = [p for i, p in enumerate(momenta) if i not in pair]
        (jets if len(pair) == 1 else momenta).append(merged)
    return jets


def delta_r(one, other):
    rapidity = [0.5 * np.log((p[3] + p[2]) / (p[3] - p[2])) for p in (one, other)]
    dphi = np.angle(complex(*one[:2]) * complex(*other[:2]).conjugate())
    return np.hypot(rapidity[0] - rapidity[1], dphi)


@pytest.mark.parametrize("phi", [0.3, 3.1])  # also across φ = π
def test_soft_drop_keeps_two_hard_prongs_and_drops_soft_wide_radiation(phi):
    prongs = massless([350, 250], [0.0, 0.3], [phi, phi + 0.2])
    soft = massless([3.0], [-0.6], [phi - 0.1])  # z = 0.5 % < 10 %
    dressed = one_jet(np.concatenate([prongs, soft]))
    assert soft_drop_mass(decluster(dressed), 0.8) == pytest.approx(mass(prongs), rel=1e-6)
    assert mass(prongs) < mass(dressed.constituents.momentum) - 5


def test_soft_drop_stops_at_the_first_hard_splitting():
    # z = 12 % passes z_cut, so nothing is dropped, not even inside the prongs
    momentum = massless([528, 72, 1.0], [0.0, 0.5, 0.52], [0.0, 0.1, 0.1])
    assert soft_drop_mass(decluster(one_jet(momentum)), 0.8) == pytest.approx(
        mass(momentum), rel=1e-6
    )


def test_soft_drop_of_a_single_particle_is_massless():
    assert soft_drop_mass(decluster(one_jet(massless([600], [0.1], [0.2]))), 0.8) == pytest.approx(
        0, abs=1e-3
    )


def test_n_prongs_have_vanishing_tau_n():
    momentum = massless([300, 200, 100], [0.0, 0.3, -0.2], [0.0, 0.2, 0.4])
    tau = nsubjettiness(decluster(one_jet(momentum)), 0.8)[0]
    np.testing.assert_allclose(tau[2:], 0, atol=1e-9)
    assert tau[0] > tau[1] > 0.01


def test_tau_by_hand():
    # One winner-take-all axis lies along the hardest: τ1 = (200·0.3 + 100·0.4)/(600·0.8).
    # Two: kT first merges the pair with the smallest min(pT)·ΔR, which is 100·0.4 against 200·0.3
    # and 100·0.5: the third to the hardest, so τ2 = 100·0.4/(600·0.8).
    momentum = massless([300, 200, 100], [0.0, 0.3, 0.0], [0.0, 0.0, 0.4])
    tau = nsubjettiness(decluster(one_jet(momentum)), 0.8)[0]
    assert tau[0] == pytest.approx(100 / 480, rel=1e-6)
    assert tau[1] == pytest.approx(40 / 480, rel=1e-6)


def test_substructure_is_boost_and_rotation_invariant():
    pt, eta, phi = [300, 200, 100, 30, 9], [0.0, 0.3, 0.1, -0.4, 0.5], [0.0, 0.1, 0.4, -0.2, 0.3]
    here, there = (
        decluster(one_jet(massless(pt, np.add(eta, a), np.add(phi, b))))
        for a, b in [(0, 0), (1.3, 3)]
    )
    np.testing.assert_allclose(nsubjettiness(here, 0.8), nsubjettiness(there, 0.8), rtol=1e-6)
    np.testing.assert_allclose(soft_drop_mass(here, 0.8), soft_drop_mass(there, 0.8), rtol=1e-5)


@pytest.fixture(name="tops")
def _tops():
    """A contained top at φ = 0, one with a quark 0.9 away at φ = 3; jets along both."""
    contained = massless([200, 200, 200], [0.0, 0.3, -0.3], [0.0, 0.2, -0.2])
    spread = massless([200, 350, 50], [0.0, 0.0, 0.9], [3.0, 3.0, 3.0])
    decay = np.stack([contained, spread])[None]
    jets = Jets(
        np.array([0, 0]),
        massless([600, 600], [0.0, 0.0], [0.0, 3.0]),
        particles(massless([600, 600], [0.0, 0.0], [0.0, 3.0]), [0, 1]),
    )
    return jets, Partons(decay.sum(axis=2), np.array([[6, -6]]), decay)


def test_only_a_jet_with_all_three_quarks_contains_a_top(tops):
    jets, partons = tops
    np.testing.assert_array_equal(contains_top(jets, partons, 0.8), [True, False])
    np.testing.assert_array_equal(contains_top(jets, partons, 1.0), [True, True])


def test_nearest_parton(tops):
    np.testing.assert_array_equal(nearest_parton(*tops), [0, 1])


def test_keeping_jets_renumbers_their_constituents(events):
    jets = find_jets(events, 3, Simulation(jet_pt=(250, 700), jet_eta=4.0))
    chosen = np.array([False, True, False, True, True, False])
    kept = jets.keep(chosen)
    np.testing.assert_array_equal(np.unique(kept.constituents.owner), [0, 1, 2])
    np.testing.assert_allclose(
        summed_momentum(kept.constituents, 3), jets.momentum[chosen], rtol=1e-12
    )


def test_relative_coordinates_have_the_sign_of_jetclass():
    # η of the jet is negative, so a particle further from the centre has positive deta
    momentum = massless([400, 100], [-1.0, -1.2], [3.1, -3.1])
    relative = relative_to_axis(one_jet(momentum))
    assert relative.deta[1] > 0.1
    assert np.abs(relative.dphi).max() < 0.1  # across φ = π


def test_pt_of_a_vector():
    np.testing.assert_allclose(transverse_momentum(np.array([[3.0, -4.0, 7.0, 9.0]])), [5])
