import math

import numpy as np
import pytest
import torch

from hepml.errors import InputError
from hepml.inputs.packed_sets import particle_sets
from hepml.inputs.sets import FEATURES, SetRecipe, feature_columns

pytestmark = pytest.mark.usefixtures("made_by")
FIELDS = (
    *("px", "py", "pz", "energy", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr"),
    *("charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"),
)
FULL = SetRecipe("full")


def table(*rows):
    """Particles of which only some fields are given."""
    values = np.zeros((len(rows), len(FIELDS)), np.float32)
    for row, given in zip(values, rows, strict=True):
        for name, value in given.items():
            row[FIELDS.index(name)] = value
    return values


def counts(*numbers):
    return np.array(numbers, np.int64)


def test_features_are_those_of_the_public_configuration_worked_out_by_hand():
    # pT 5 and 15 along one direction: the jet has pT 20; energies 13 and 39 add up to 52
    soft = {"px": 3, "py": 4, "pz": 12, "energy": 13, "deta": 0.3, "dphi": -0.4, "charge": -1}
    track = {"d0val": 0.5, "d0err": 1.7, "dzval": -2.0, "dzerr": 0.25, "isElectron": 1}
    hard = {"px": 9, "py": 12, "pz": 36, "energy": 39, "isPhoton": 1}
    sets = particle_sets(table(soft | track, hard), counts(2), FIELDS, FULL)
    expected = {
        "part_pt_log": 0.7 * (math.log(5) - 1.7),
        "part_e_log": 0.7 * (math.log(13) - 2),
        "part_logptrel": 0.7 * (math.log(5 / 20) + 4.7),
        "part_logerel": 0.7 * (math.log(13 / 52) + 4.7),
        "part_deltaR": 4 * (0.5 - 0.2),
        "part_charge": -1,
        "part_isChargedHadron": 0,
        "part_isNeutralHadron": 0,
        "part_isPhoton": 0,
        "part_isElectron": 1,
        "part_isMuon": 0,
        "part_d0": math.tanh(0.5),
        "part_d0err": 1.0,  # cut off
        "part_dz": -math.tanh(2.0),
        "part_dzerr": 0.25,
        "part_deta": 0.3,
        "part_dphi": -0.4,
    }
    assert FULL.names == tuple(expected)
    np.testing.assert_allclose(sets.features[1], list(expected.values()), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(sets.momenta, [[9, 12, 36, 39], [3, 4, 12, 13]])


def test_kinematic_features_are_the_same_without_identity_and_tracks():
    values = table({"px": 3, "energy": 5, "deta": 0.1}, {"px": 2, "energy": 2, "dphi": 0.2})
    kin = particle_sets(values, counts(2), FIELDS, SetRecipe("kin"))
    full = particle_sets(values, counts(2), FIELDS, FULL)
    columns = [FULL.names.index(name) for name in FEATURES["kin"]]
    np.testing.assert_array_equal(kin.features, full.features[:, columns])
    assert kin.features.shape == (2, 7)


def test_hardest_particles_come_first_and_the_softest_are_cut():
    pt = [1, 4, 2, 3, 9, 5, 6, 8, 7]  # jets of 4, 0, 1 and 4 particles
    values = table(*({"px": -p, "energy": p} for p in pt))
    sets = particle_sets(values, counts(4, 0, 1, 4), FIELDS, SetRecipe("kin", maximum=3))
    np.testing.assert_array_equal(sets.momenta[:, 3], [4, 3, 2, 9, 8, 7, 6])
    np.testing.assert_array_equal(sets.counts, [3, 0, 1, 3])
    assert (sets.jets_cut, sets.particles_cut) == (2, 2)
    # relative momenta still refer to all: the last jet has pT 5 + 6 + 8 + 7
    relative = sets.features[4, SetRecipe("kin").names.index("part_logptrel")]
    assert relative == pytest.approx(0.7 * (math.log(8 / 26) + 4.7), rel=1e-5)


def test_equal_momenta_keep_their_order():
    values = table(*({"px": 2, "energy": 2, "deta": i / 10} for i in range(5)))
    sets = particle_sets(values, counts(5), FIELDS, SetRecipe("kin"))
    np.testing.assert_array_equal(sets.features[:, 5], values[:, FIELDS.index("deta")])


def test_no_jet_and_empty_jets_are_sets_too():
    for n in (0, 3):
        sets = particle_sets(table(), np.zeros(n, np.int64), FIELDS, FULL)
        assert sets.features.shape == (0, 17)
        assert len(sets.counts) == n


def test_particle_without_momentum_has_logarithms_at_their_limit():
    for energy in (0.0, 3.0):  # nothing at all; a particle along the beam
        values = table({"pz": energy, "energy": energy})
        features = particle_sets(values, counts(1), FIELDS, SetRecipe("kin")).features
        assert features[0, 0] == features[0, 2] == -5
        assert np.isfinite(features).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [("px", np.nan), ("d0err", np.inf), ("energy", -1.0), ("energy", -np.inf)],
)
def test_unphysical_particles_are_refused_by_jet(field, value):
    values = table(*({"px": 2, "energy": 2} for _ in range(6)))
    values[4, FIELDS.index(field)] = value
    with pytest.raises(InputError, match=rf"jet 3: a particle has {field} = {value}"):
        particle_sets(values, counts(2, 0, 2, 1, 1), FIELDS, FULL)


def random_jets(generator, jets=400):
    """Jets of 0 to 150 particles in any order, some without momentum, some of equal momentum."""
    numbers = generator.integers(0, 150, jets)
    particles = int(numbers.sum())
    values = generator.normal(0, 1, (particles, len(FIELDS))).astype(np.float32)
    momenta = generator.normal(0, 1, (particles, 3)) * generator.lognormal(0, 3, (particles, 1))
    mass = generator.choice([0, 0.14, 0.94], particles)
    values[:, 0:3] = momenta
    values[:, 3] = np.sqrt(np.square(momenta).sum(axis=1) + mass**2)
    values[generator.integers(0, particles, 50), :4] = 0
    same = generator.integers(0, particles - 1, 500)
    values[same + 1, :4] = values[same, :4]
    values[:, 6:10] *= 3  # tanh far from zero, errors beyond their limits
    return values, numbers.astype(np.int64)


@pytest.mark.parametrize("maximum", [20, 200])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("features", ["kin", "full"])
def test_features_are_those_in_double_precision(features, ordered, maximum):
    values, numbers = random_jets(np.random.default_rng(1))
    event = np.repeat(np.arange(len(numbers)), numbers)
    pt = np.sqrt(values[:, 0] * values[:, 0] + values[:, 1] * values[:, 1])
    order = np.lexsort([-pt, event])  # stable
    if ordered:
        values, order = values[order], np.arange(len(order))
    recipe = SetRecipe(features, maximum)
    sets = particle_sets(values, numbers, FIELDS, recipe)
    rank = np.arange(len(event)) - (np.cumsum(numbers) - numbers)[event]
    kept = order[rank < maximum]
    np.testing.assert_array_equal(sets.momenta, values[kept, :4])
    wide = dict(zip(FIELDS, values.astype(np.float64).T, strict=True))
    of_jet = {n: np.bincount(event, wide[n], len(numbers))[event[kept]] for n in wide}
    particles = {name: column[kept] for name, column in wide.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.stack(list(feature_columns(particles, of_jet, recipe, np)), axis=1)
    # a logarithm is rounded to 1e-6 where it is 10, pT and tanh to 1e-7
    np.testing.assert_allclose(sets.features, expected, rtol=1e-6, atol=1e-6)
    assert sets.particles_cut == len(values) - len(kept)


def test_threads_share_the_jets(monkeypatch):
    monkeypatch.setattr("hepml.kernels.sets._JETS_PER_THREAD", 1)
    values, numbers = random_jets(np.random.default_rng(2), jets=50)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(particle_sets(values, numbers, FIELDS, FULL).features)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(*found)
    for jet in (0, 49):  # in the first and in the last thread
        broken = values.copy()
        broken[numbers[:jet].sum(), 3] = np.nan
        with pytest.raises(InputError, match=f"jet {jet}: .*energy = nan"):
            particle_sets(broken, numbers, FIELDS, FULL)


def test_values_too_large_to_square_are_left_to_numpy():
    values = table({"px": 2e18, "energy": 2e18}, {"px": 1e18, "energy": 1e18})
    sets = particle_sets(values, counts(2), FIELDS, SetRecipe("kin"))
    share = SetRecipe("kin").names.index("part_logptrel")
    assert sets.features[1, share] == pytest.approx(0.7 * (math.log(1 / 3) + 4.7), rel=1e-6)


def test_missing_field_is_named_with_its_neighbours():
    fields = tuple("d0_err" if f == "d0err" else f for f in FIELDS)
    with pytest.raises(InputError, match=r"need the particle field 'd0err'.*nearest: d0_err"):
        particle_sets(table(), counts(), fields, FULL)
