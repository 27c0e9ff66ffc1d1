import numpy as np
import pytest
import torch
from torch import nn

from hepml.models.importance import COPIES, removal_effects
from hepml.models.particle_transformer import SMALL, ParticleTransformer


class Sums(nn.Module):
    """Logit made of sums over the particles of each jet."""

    def __init__(self, squared=False):
        super().__init__()
        self.squared = squared
        self.weight = nn.Parameter(torch.tensor([2.0, -1.0]))
        self.jets_at_once = []

    def forward(self, features, momenta, counts):
        self.jets_at_once.append(len(counts))
        term = features @ self.weight + momenta[:, 3]
        owner = torch.repeat_interleave(torch.arange(len(counts)), counts)
        total = torch.zeros(len(counts)).index_add(0, owner, term)
        return 0.5 + (total**2 if self.squared else total)


def jets(counts, seed=1):
    random = np.random.default_rng(seed)
    particles = int(sum(counts))
    features = torch.from_numpy(random.normal(size=(particles, 2)).astype(np.float32))
    momenta = torch.from_numpy(random.exponential(size=(particles, 4)).astype(np.float32))
    return features, momenta, torch.tensor(counts, dtype=torch.int64)


COUNTS = [3, 0, 1, 5, 0, 2]


def test_effects_in_a_network_that_adds_up_terms_are_the_terms():
    network, (features, momenta, counts) = Sums(), jets(COUNTS)
    effects = removal_effects(network, features, momenta, counts)
    terms = features @ network.weight + momenta[:, 3]
    np.testing.assert_allclose(effects, terms.detach().numpy(), atol=1e-5)


def test_effects_in_the_square_of_a_sum_have_the_cross_terms():
    network, (features, momenta, counts) = Sums(squared=True), jets(COUNTS)
    effects = removal_effects(network, features, momenta, counts)
    terms = (features @ network.weight + momenta[:, 3]).detach().numpy().astype(np.float64)
    owner = np.repeat(np.arange(len(COUNTS)), COUNTS)
    total = np.bincount(owner, terms, len(COUNTS))[owner]
    # T² - (T - t)² = t (2T - t)
    np.testing.assert_allclose(effects, terms * (2 * total - terms), rtol=1e-4, atol=1e-4)


def test_many_jets_are_taken_some_at_a_time():
    counts = np.random.default_rng(3).integers(0, 30, 200)
    network, (features, momenta, counts) = Sums(), jets(counts.tolist())
    effects = removal_effects(network, features, momenta, counts)
    terms = (features @ network.weight + momenta[:, 3]).detach().numpy()
    np.testing.assert_allclose(effects, terms, atol=1e-4)
    assert sum(network.jets_at_once) == len(effects) + 200  # each jet once, and once per particle
    assert max(network.jets_at_once) <= COPIES + 30


@pytest.mark.parametrize("counts", [[], [0], [0, 0]])
def test_jets_without_particles_have_no_effects(counts):
    assert removal_effects(Sums(), *jets(counts)).shape == (0,)


def test_effects_in_a_transformer_are_those_of_taking_particles_out_by_hand():
    torch.manual_seed(2)
    network = ParticleTransformer(2, SMALL)
    features, momenta, counts = jets([4, 7])
    momenta[:, 3] = momenta[:, :3].square().sum(1).add(0.1).sqrt()
    effects = removal_effects(network.train(), features, momenta, counts)
    assert network.training
    network.eval()
    first, second = features.split([4, 7])[1], momenta.split([4, 7])[1]
    with torch.no_grad():
        whole = network(first, second, torch.tensor([7])).item()
        for k in range(7):
            left = [i for i in range(7) if i != k]
            without = network(first[left], second[left], torch.tensor([6])).item()
            assert effects[4 + k] == pytest.approx(whole - without, abs=1e-5)
