import math

import torch
from torch import nn

from hepml.models.ensemble import Ensemble, members_of, together


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x, momenta):
        return self.value + 0 * x.sum(1) + 0 * momenta.sum(1)


def test_the_ratio_of_an_ensemble_is_the_mean_of_the_members_ratios():
    ensemble = Ensemble([Constant(math.log(r)) for r in (1.0, 2.0, 6.0)])
    ratio = ensemble(torch.ones(4, 2), torch.ones(4, 3)).exp()
    torch.testing.assert_close(ratio, torch.full((4,), 3.0))


def test_large_logits_do_not_overflow():
    logit = Ensemble([Constant(500.0), Constant(-500.0)])(torch.ones(1, 1), torch.ones(1, 1))
    torch.testing.assert_close(logit, torch.tensor([500 - math.log(2)]))


def test_gradients_reach_all_members():
    ensemble = Ensemble([Constant(0.0), Constant(math.log(3))])
    ensemble(torch.ones(1, 1), torch.ones(1, 1)).sum().backward()
    # d ln(mean r)/d ln r_i = r_i/Σr
    slopes = [member.value.grad.item() for member in members_of(ensemble)]
    torch.testing.assert_close(torch.tensor(slopes), torch.tensor([0.25, 0.75]))


def test_one_network_stays_as_it_is():
    network = Constant(1.0)
    assert together([network]) is network
    assert members_of(network) == (network,)
