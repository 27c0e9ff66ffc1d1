import numpy as np
import pytest

from hepml.simulation.detector import (
    ELECTROMAGNETIC,
    HADRONIC,
    detect,
    impact_resolution,
    measure_cells,
    measure_tracks,
)
from hepml.simulation.particles import Kind, Particles, pseudorapidity

COUNT = 20_000


def particles(pt, eta, phi, kind, charge=0, owner=None, mass=0.0):
    """Particles from scalars or arrays of equal length."""
    pt, eta, phi, mass = np.broadcast_arrays(
        *(np.atleast_1d(x).astype(float) for x in (pt, eta, phi, mass))
    )
    three = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
    energy = np.sqrt(np.sum(three**2, axis=1) + mass**2)
    rows = len(pt)
    return Particles(
        owner=np.arange(rows) if owner is None else np.asarray(owner),
        momentum=np.column_stack([three, energy]),
        kind=np.full(rows, kind, np.int8),
        charge=np.full(rows, charge, np.int8),
        impact=np.zeros((rows, 2)),
        impact_error=np.zeros((rows, 2)),
    )


@pytest.fixture(name="random")
def _random():
    return np.random.default_rng(5)


@pytest.fixture(name="phi")
def _phi(random):
    return random.uniform(-np.pi, np.pi, COUNT)


@pytest.mark.parametrize(("eta", "efficiency"), [(0.3, 0.95), (-2.1, 0.92)])
def test_tracking_efficiency(random, phi, eta, efficiency):
    seen = detect(particles(20, eta, phi, Kind.CHARGED_HADRON, charge=-1), random)
    tracks = np.count_nonzero(seen.charge)
    error = np.sqrt(COUNT * efficiency * (1 - efficiency))
    assert tracks == pytest.approx(COUNT * efficiency, abs=4 * error)
    assert len(seen) == COUNT  # the others are seen as neutral hadrons
    assert set(seen.kind[seen.charge == 0]) == {Kind.NEUTRAL_HADRON}


@pytest.mark.parametrize(("pt", "eta"), [(0.4, 0.0), (20, 2.6)])
def test_no_tracks_outside_the_tracker(random, phi, pt, eta):
    assert not detect(particles(pt, eta, phi, Kind.CHARGED_HADRON, charge=1), random).charge.any()


@pytest.mark.parametrize(("kind", "charge"), [(Kind.PHOTON, 0), (Kind.MUON, 1)])
def test_nothing_beyond_the_calorimeter(random, phi, kind, charge):
    assert len(detect(particles(20, 5.2, phi, kind, charge), random)) == 0


def test_muons_without_a_track_are_lost(random, phi):
    seen = detect(particles(20, 0.1, phi, Kind.MUON, charge=1), random)
    assert set(seen.kind) == {Kind.MUON}
    assert len(seen) < COUNT


@pytest.mark.parametrize(("pt", "resolution"), [(1.0, 0.010001), (100.0, 0.0180278)])
def test_track_momentum_resolution(random, phi, pt, resolution):
    # by hand: 1 % ⊕ 1.5e-4 pT is 1.0001 % at 1 GeV and √(1² + 1.5²) % = 1.80278 % at 100 GeV
    seen = measure_tracks(particles(pt, 0.7, phi, Kind.CHARGED_HADRON, 1, mass=0.14), random)
    pull = (seen.pt / pt - 1) / resolution
    assert pull.std() == pytest.approx(1, abs=4 / np.sqrt(2 * COUNT))
    assert pull.mean() == pytest.approx(0, abs=4 / np.sqrt(COUNT))


def test_tracks_keep_direction_and_mass(random, phi):
    truth = particles(3.0, -1.2, phi, Kind.CHARGED_HADRON, 1, mass=0.938)
    seen = measure_tracks(truth, random)
    np.testing.assert_allclose(seen.eta, truth.eta, rtol=1e-12)
    np.testing.assert_allclose(seen.phi, truth.phi, rtol=1e-12)
    mass_squared = seen.momentum[:, 3] ** 2 - np.sum(seen.momentum[:, :3] ** 2, axis=1)
    np.testing.assert_allclose(mass_squared, 0.938**2, rtol=1e-9)


def test_impact_parameters_scatter_by_their_error(random, phi):
    seen = measure_tracks(particles(2.0, 0.5, phi, Kind.ELECTRON, 1), random)
    # by hand: 0.02 mm ⊕ 0.1/2 mm
    np.testing.assert_allclose(seen.impact_error, 0.0538516, rtol=1e-6)
    pull = (seen.impact / seen.impact_error).std(axis=0)
    np.testing.assert_allclose(pull, 1, atol=4 / np.sqrt(2 * COUNT))
    assert impact_resolution(np.array([1e6])) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("calorimeter", "kind", "energy", "resolution"),
    [
        (ELECTROMAGNETIC, Kind.PHOTON, 25.0, 0.0211896),  # 10 %/5 ⊕ 0.7 %
        (HADRONIC, Kind.NEUTRAL_HADRON, 100.0, 0.0626498),  # 55 %/10 ⊕ 3 %
        (HADRONIC, Kind.NEUTRAL_HADRON, 0.25, 1.1004090),  # 55 %/0.5 ⊕ 3 %: cannot be Gaussian
    ],
)
def test_calorimeter_keeps_the_mean_and_smears(random, phi, calorimeter, kind, energy, resolution):
    seen = measure_cells(particles(energy, 0, phi, kind), calorimeter, random)
    ratio = seen.momentum[:, 3] / energy
    assert len(seen) == COUNT
    assert (ratio > 0).all()
    assert ratio.mean() == pytest.approx(1, abs=4 * resolution / np.sqrt(COUNT))
    tails = np.sqrt(np.mean((ratio - 1) ** 4) / resolution**4 - 1)  # a log-normal's are long
    assert ratio.var() / resolution**2 == pytest.approx(1, abs=4 * tails / np.sqrt(COUNT))


def test_cells_sum_what_falls_into_them(random):
    # 0.51 and 0.59 share the hadronic cell [0.5, 0.6), 0.61 does not; nor does another event
    truth = particles(
        [10, 10, 10, 10], [0.51, 0.59, 0.61, 0.51], 0.01, Kind.NEUTRAL_HADRON, owner=[0, 0, 0, 2]
    )
    seen = measure_cells(truth, HADRONIC, random)
    np.testing.assert_array_equal(seen.owner, [0, 0, 2])
    np.testing.assert_allclose(seen.eta, [0.55, 0.65, 0.55], rtol=1e-9)


def test_cells_are_massless_and_near_what_hit_them(random):
    truth = particles(
        50, random.uniform(-4.9, 4.9, 500), random.uniform(-np.pi, np.pi, 500), Kind.PHOTON
    )
    seen = measure_cells(truth, ELECTROMAGNETIC, random)
    order = np.argsort(seen.owner)
    assert np.abs(seen.eta[order] - truth.eta).max() <= 0.0125 + 1e-9
    assert np.abs(np.exp(1j * seen.phi[order]) - np.exp(1j * truth.phi)).max() < 0.0127
    energy = np.linalg.norm(seen.momentum[:, :3], axis=1)
    np.testing.assert_allclose(energy, seen.momentum[:, 3], rtol=1e-9)


def test_neutral_energy_is_conserved_on_average(random):
    eta, phi = random.uniform(-4.5, 4.5, COUNT), random.uniform(-np.pi, np.pi, COUNT)
    truth = particles(
        random.exponential(3, COUNT), eta, phi, Kind.PHOTON, owner=np.arange(COUNT) // 50
    )
    seen = detect(truth, random)
    energy = truth.momentum[:, 3]
    error = np.sqrt(np.sum(0.1**2 * energy + (0.007 * energy) ** 2))
    assert seen.momentum[:, 3].sum() == pytest.approx(energy.sum(), abs=4 * error)


def test_same_generator_same_detector():
    truth = particles(np.linspace(1, 50, 37), 0.4, 1.0, Kind.CHARGED_HADRON, 1)
    one, other = (detect(truth, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(one.momentum, other.momentum)


def test_particles_come_back_ordered_by_event(random):
    truth = Particles.join([
        particles(5, 0.2, np.linspace(0, 3, 40), Kind.CHARGED_HADRON, 1),
        particles(5, 0.2, np.linspace(0, 3, 40), Kind.PHOTON),
    ])  # fmt: skip
    seen = detect(truth.hardest_first(), random)
    assert (np.diff(seen.owner) >= 0).all()
    assert np.abs(pseudorapidity(seen.momentum)).max() < 0.3
