import math

import pytest
import torch

from hepml.config import Mlp as MlpSettings
from hepml.inputs.features import Standardisation
from hepml.models import build
from hepml.models.mlp import Mlp

SCALING = Standardisation(mean=(1.0, -2.0, 0.5), deviation=(2.0, 4.0, 0.1))


def test_forward_is_what_pencil_and_paper_give():
    network = Mlp(SCALING, hidden=[2])
    first, last = network.layers[0], network.layers[2]
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 2.0, 1.0]]))
        first.bias.copy_(torch.tensor([0.0, 0.5]))
        last.weight.copy_(torch.tensor([[3.0, -1.0]]))
        last.bias.copy_(torch.tensor([0.25]))
    x = torch.tensor([[5.0, 2.0, 0.6]])  # standardised: 2, 1, 1 → hidden 2, 2·1 + 1 + 0.5
    silu = [h / (1 + math.exp(-h)) for h in (2.0, 3.5)]
    assert network(x).item() == pytest.approx(3 * silu[0] - silu[1] + 0.25, rel=1e-6)


def test_logits_are_not_squashed():
    network = Mlp(SCALING, hidden=[7])
    with torch.no_grad():
        network.layers[-1].bias.fill_(40.0)
    assert (network(torch.zeros(5, 3)) > 17).all()  # where a float32 sigmoid would be exactly 1


def test_dropout_acts_in_training_only():
    network = Mlp(SCALING, hidden=[64], dropout=0.5)
    x = torch.full((1, 3), 3.0)
    assert network.train()(x) != network(x)
    assert torch.equal(network.eval()(x), network(x))


def test_build_follows_the_settings():
    settings = MlpSettings(architecture="mlp", features=("a", "b", "c"), hidden=(11, 5))
    # 3·11 + 11, 11·5 + 5 and 5 + 1 weights and biases
    assert sum(p.numel() for p in build(settings, SCALING).parameters()) == 44 + 60 + 6
