"""The transformer on padded tables is the packed one: same parameters, same logits."""

from dataclasses import replace

import pytest
import torch

from hepml.models.packing import padded
from hepml.models.padded import PaddedParticleTransformer
from hepml.models.particle_transformer import PUBLISHED, SMALL, ParticleTransformer

COUNTS = torch.tensor([0, 1, 2, 30, 7, 0, 16, 8])
FORMS = {
    "small": SMALL,
    "plain": replace(SMALL, pairs=False, layers=3, class_layers=2),
    "published": replace(PUBLISHED, layers=2),
}


def jets():
    generator = torch.Generator().manual_seed(2)
    size = int(COUNTS.sum())
    pt = 0.5 + 30 * torch.rand(size, generator=generator)
    eta, phi = (
        1 + 0.3 * torch.randn(size, generator=generator),
        torch.randn(size, generator=generator),
    )
    momenta = [pt * phi.cos(), pt * phi.sin(), pt * eta.sinh(), pt * eta.cosh()]
    return torch.randn(size, 7, generator=generator), torch.stack(momenta, 1)


@pytest.fixture(params=FORMS)
def network(request):
    torch.manual_seed(3)
    network = ParticleTransformer(7, FORMS[request.param]).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network


@torch.no_grad()
def test_padded_and_packed_give_the_same_logits(network):
    features, momenta = jets()
    expected = network(features, momenta, COUNTS)
    (table, real), (momenta, _) = padded(features, COUNTS), padded(momenta, COUNTS)
    got = PaddedParticleTransformer(network)(table, momenta, real)
    assert expected.std() > 0.1
    # float32, other orders of sums: a few units of the last place of logits of order 1
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_what_stands_in_empty_places_and_their_number_change_nothing(network):
    features, momenta = jets()
    (table, real), (momenta, _) = padded(features, COUNTS), padded(momenta, COUNTS)
    form = PaddedParticleTransformer(network)
    expected = form(table, momenta, real)
    more = torch.zeros(len(COUNTS), 5, dtype=torch.bool)
    real = torch.cat([more, real], 1)
    table = torch.cat([torch.zeros(len(COUNTS), 5, 7), table], 1)
    momenta = torch.cat([torch.zeros(len(COUNTS), 5, 4), momenta], 1)
    table[~real], momenta[~real] = 100.0, 7.0
    torch.testing.assert_close(form(table, momenta, real), expected, rtol=1e-5, atol=1e-5)


def test_parameters_are_shared(network):
    form = PaddedParticleTransformer(network)
    assert {p.data_ptr() for p in form.parameters()} == {p.data_ptr() for p in network.parameters()}
    assert form.network.state_dict().keys() == network.state_dict().keys()
