import numpy as np
import pytest

pytest.importorskip("pythia8mc", reason="needs the extra `simulate`: pythia8mc is not installed")

from hepml.config import Simulation, SimulationJob
from hepml.simulation.generate import Collisions, impact_parameters, kinds
from hepml.simulation.particles import Kind


def collisions(process, pt_hat=(550, 700), **settings):
    simulation = Simulation(pt_hat=pt_hat, **settings)
    return Collisions(SimulationJob(process=process, events=1, seed=8, simulation=simulation))


def test_impact_parameters_by_hand():
    # made at (1, 0, 5) mm and flying along +y with slope pz/pT = 2: it passes the beam line at
    # x = 1, where d0 = x py/pT = 1; at (0, 3, 5) it points back to the origin: d0 = 0, dz = 5 - 3·2
    momentum = np.array([[0.0, 4.0, 8.0, 9.0], [0.0, 4.0, 8.0, 9.0]])
    vertex = np.array([[1.0, 0.0, 5.0], [0.0, 3.0, 5.0]])
    np.testing.assert_allclose(impact_parameters(momentum, vertex), [[1, 5], [0, -1]])


def test_kinds_of_particles():
    pid = np.array([211, -2212, 130, 22, -11, 13, 2112])
    charge = np.array([1, -1, 0, 0, 1, -1, 0])
    expected = [Kind.CHARGED_HADRON] * 2 + [Kind.NEUTRAL_HADRON, Kind.PHOTON]
    expected += [Kind.ELECTRON, Kind.MUON, Kind.NEUTRAL_HADRON]
    np.testing.assert_array_equal(kinds(pid, charge), expected)


def test_tops_decay_to_three_quarks_each():
    partons = collisions("top").batch(30).partons
    total = partons.momentum
    mass = np.sqrt(total[..., 3] ** 2 - np.sum(total[..., :3] ** 2, axis=-1))
    np.testing.assert_allclose(np.median(mass), 171, atol=1.5)  # Pythia's default top mass
    assert partons.decay.shape == (30, 2, 3, 4)
    w = np.array([[partons.decay[e, t, [i, j]].sum(axis=0) for i, j in ((0, 1), (0, 2), (1, 2))]
                  for e in range(30) for t in range(2)])  # fmt: skip
    pairs = np.sqrt(w[..., 3] ** 2 - np.sum(w[..., :3] ** 2, axis=-1))
    assert np.abs(pairs - 80.4).min(axis=1).max() < 30  # in each top, one pair is a W


def test_visible_momentum_balances_the_beams():
    # nothing is lost but neutrinos: √s and zero momentum per event, up to what those carry
    events = collisions("qcd").batch(20)
    total = np.stack([
        np.bincount(events.particles.owner, x) for x in events.particles.momentum.T
    ], axis=1)  # fmt: skip
    assert np.median(np.abs(total[:, 3] - 14000)) < 50
    assert np.median(np.abs(total[:, :2])) < 20
    assert (total[:, 3] < 14000 + 1e-3).all()


# Pythia 8.317's own statistics for these ranges; leading order, default parton densities
@pytest.mark.parametrize(("process", "picobarn"), [("top", 0.40), ("qcd", 356)])
def test_cross_section(process, picobarn):
    stream = collisions(process)
    stream.batch(150)
    total = stream.normalisation()
    assert total.generated_events >= 150
    assert total.sum_of_weights == total.generated_events
    tolerance = 4 * total.cross_section_error + 0.02 * picobarn
    assert total.cross_section == pytest.approx(picobarn, abs=tolerance)
    assert 0 < total.cross_section_error < 0.1 * picobarn
