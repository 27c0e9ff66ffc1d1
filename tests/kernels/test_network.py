"""A whole network with kernels is the network without."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from hepml import kernels
from hepml.models.dropout import Dropout
from hepml.models.particle_transformer import SMALL, Architecture, ParticleTransformer

COUNTS = torch.tensor([5, 1, 0, 9, 2, 17, 3, 30])
NETWORKS = {
    "small": SMALL,
    "with dropout": Architecture(
        embedding=(24, 32), pair_embedding=(16, 24), heads=4, layers=3, dropout=0.3
    ),
    "heads of five": Architecture(embedding=(20,), pair_embedding=(16,), heads=4, layers=1),
    "without pairs": Architecture(embedding=(32,), heads=4, layers=2, pairs=False),
}


def jets():
    """Features and momenta of pions."""
    random = np.random.default_rng(3)
    particles = int(COUNTS.sum())
    pt = random.exponential(10, particles) + 0.5
    eta, phi = random.normal(0.5, 0.3, (2, particles))
    p = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    momenta = np.stack([*p, np.sqrt(sum(x**2 for x in p) + 0.14**2)], axis=1)
    features = random.normal(size=(particles, 7))
    return torch.from_numpy(features).float(), torch.from_numpy(momenta).float(), COUNTS


def trained(network, with_kernels):
    """Logits, gradients and running moments of one step of training, then logits without."""
    network = copy.deepcopy(network).train()
    torch.manual_seed(7)  # of the dropout
    with nullcontext() if with_kernels else kernels.without_kernels():
        logits = network(*jets())
        (logits * torch.linspace(-1, 1, len(logits))).sum().backward()
        with torch.no_grad():
            scores = network.eval()(*jets())
    gradients = [p.grad for p in network.parameters()]
    return [logits.detach(), scores, *gradients, *map(torch.clone, network.buffers())]


@pytest.mark.parametrize("name", NETWORKS)
def test_training_and_inference(name):
    torch.manual_seed(1)
    network = ParticleTransformer(7, NETWORKS[name], together=20)
    got, expected = trained(network, with_kernels=True), trained(network, with_kernels=False)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-5)
    if network.dropout.active:
        assert any(isinstance(module, Dropout) for module in network.modules())


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
def test_other_precisions_take_the_operations_of_torch(precision):
    torch.manual_seed(1)
    network = ParticleTransformer(7, SMALL).eval()
    features, momenta, counts = jets()
    if precision == torch.float64:
        logits = network.double()(features.double(), momenta.double(), counts)
    else:
        with torch.autocast("cpu", precision):
            logits = network(features, momenta, counts)
    assert logits.dtype == precision
    with torch.no_grad():
        expected = network.float()(features, momenta, counts)
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=0.05)
