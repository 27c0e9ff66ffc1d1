"""What a user's network must do is found out on a few jets, in both directions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hepml.errors import InputError
from hepml.models.own import Factory
from hepml.training.batches import Batches
from hepml.training.probe import make_probe, require_logits

FACTORY = Factory("my_model.py:build", Path(__file__), "0" * 64, nn.Linear)
FEATURES = 3


class Table:
    """A source of rows of numbers."""

    def __init__(self, x):
        self.x = x

    def take(self, events):
        return (self.x[torch.from_numpy(events)],)


def events(x):
    label = torch.arange(len(x)) % 2
    return Batches(Table(x), np.arange(len(x)), label.float(), torch.ones(len(x)))


@pytest.fixture
def probe():
    x = torch.randn(300, FEATURES, generator=torch.Generator().manual_seed(3))
    return make_probe(events(x), None)


def network(*end, width=8, seed=1):
    """Two linear layers and what a user may put at the end."""
    torch.manual_seed(seed)
    layers = [nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, 1), nn.Flatten(0)]
    return nn.Sequential(*layers, *end)


def refused(net, probe):
    with pytest.raises(InputError) as caught:
        require_logits(net, probe, FACTORY)
    message = str(caught.value)
    assert message.startswith("my_model.py:build: ")
    return message


class Function(nn.Module):
    """Something after a network, as a module."""

    def __init__(self, function, net=None):
        super().__init__()
        self.net = network() if net is None else net
        self.function = function

    def forward(self, x):
        return self.function(self.net(x))


def shifted_into_the_unit_interval(net, probe):
    """Scale and shift the last layer so that all outputs lie between 0.4 and 0.6."""
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        out = net.eval()(*probe.together)
        scale = 0.2 / (out.max() - out.min()).clamp(min=1e-6)
        last.weight.mul_(scale)
        last.bias.copy_((last.bias - out.min()) * scale + 0.4)
        out = net(*probe.together)
    assert 0.39 < out.min() < out.max() < 0.61
    return net


@pytest.mark.parametrize("seed", range(20))
def test_logits_that_happen_to_look_like_probabilities_are_accepted(probe, seed):
    net = shifted_into_the_unit_interval(network(seed=seed), probe)
    require_logits(net, probe, FACTORY)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, -1e-3, 30.0])
def test_constant_outputs_of_an_untrained_last_layer_are_accepted(probe, value):
    net = network()
    nn.init.zeros_(net[2].weight)
    nn.init.constant_(net[2].bias, value)
    require_logits(net, probe, FACTORY)


PLAIN = {
    "linear": lambda: nn.Sequential(nn.Linear(FEATURES, 1), nn.Flatten(0)),
    "no bias": lambda: nn.Sequential(nn.Linear(FEATURES, 1, bias=False), nn.Flatten(0)),
    "no bias on squares": lambda: nn.Sequential(
        Function(torch.square, nn.Identity()), nn.Linear(FEATURES, 1, bias=False), nn.Flatten(0)
    ),
    "tiny outputs": lambda: Function(lambda x: 0.5 + 1e-4 * x),
    "bounded on both sides": lambda: Function(lambda x: 8 * torch.tanh(x)),
    "sigmoid, scaled": lambda: Function(lambda x: 20 * torch.sigmoid(x) - 10),
    "sigmoids inside": lambda: nn.Sequential(
        nn.Linear(FEATURES, 9), nn.Sigmoid(), nn.Linear(9, 1), nn.Flatten(0)
    ),
    "batch normalisation": lambda: nn.Sequential(
        nn.BatchNorm1d(FEATURES), nn.Linear(FEATURES, 9), nn.ReLU(), nn.BatchNorm1d(9),
        nn.Linear(9, 1), nn.Flatten(0),
    ),
    "dropout": lambda: nn.Sequential(
        nn.Linear(FEATURES, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 1), nn.Flatten(0)
    ),
    "lazy": lambda: nn.Sequential(nn.LazyLinear(9), nn.ReLU(), nn.LazyLinear(1), nn.Flatten(0)),
    "deep": lambda: nn.Sequential(
        *[nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.SiLU()) for _ in range(30)],
        nn.Linear(FEATURES, 1), nn.Flatten(0),
    ),
    "frozen beginning": lambda: nn.Sequential(
        nn.Linear(FEATURES, 5).requires_grad_(False), nn.Linear(5, 1), nn.Flatten(0)
    ),
    "double precision": lambda: Function(lambda x: x.double()),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("seed", range(3))
def test_plain_networks_are_accepted(probe, name, seed):
    torch.manual_seed(seed)
    require_logits(PLAIN[name](), probe, FACTORY)


SIGMOID = "between 0 and 1: leave out the sigmoid or softmax at its end"


def two_classes(x):
    return torch.softmax(torch.stack([x, 0 * x], dim=1), dim=1)[:, 0]


WRONG_RANGE = {
    "sigmoid": (torch.sigmoid, SIGMOID),
    "softmax": (two_classes, SIGMOID),
    "by hand": (lambda x: 1 / (1 + torch.exp(-x)), SIGMOID),
    "shifted tanh": (lambda x: (torch.tanh(x) + 1) / 2, SIGMOID),
    "normal distribution": (lambda x: torch.special.ndtr(x), SIGMOID),
    "clamp": (lambda x: x.clamp(0, 1), SIGMOID),
    "hard sigmoid": (nn.functional.hardsigmoid, SIGMOID),
    "log-probability": (nn.functional.logsigmoid, "at most 0: leave out what makes a log-prob"),
    "ReLU": (torch.relu, "at least 0: leave out the ReLU"),
    "softplus": (nn.functional.softplus, "at least 0: leave out the ReLU, softplus or exp"),
    "likelihood ratio": (
        lambda x: torch.exp(x.clamp(max=80)),
        "at least 0: leave out the ReLU, softplus or exponential",
    ),
}


@pytest.mark.parametrize("name", WRONG_RANGE)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_no_logit_is_refused_before_and_after_training(probe, name, seed):
    function, message = WRONG_RANGE[name]
    for scale in (1.0, 20.0):  # as drawn; far from there, as after a training
        net = Function(function, network(seed=seed))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(scale)
        said = refused(net, probe)
        assert f"whatever its parameters, the network gives numbers {message}" in said
        assert "ln p(x|signal)/p(x|background)" in said


def test_a_sigmoid_in_evaluation_mode_only_is_found(probe):
    class Usual(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return self.net(x) if self.training else torch.sigmoid(self.net(x))

    assert SIGMOID in refused(Usual(), probe)


EXPECTED = "for 128 jets (inputs of shape (128, 3)), expected logits of shape (128,), one per jet"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x[:, None], f"float32 of shape (128, 1) {EXPECTED}; end with .squeeze(-1)"),
        (lambda x: torch.stack([x, x], 1), f"of shape (128, 2) {EXPECTED}; of two classes return"),
        (lambda x: x.mean(), f"torch.float32 of shape () {EXPECTED}"),
        (lambda x: x[:5], f"torch.float32 of shape (5,) {EXPECTED}"),
        (lambda x: (x > 0).long(), f"torch.int64 of shape (128,) {EXPECTED}"),
        (lambda x: (x, x), "gives a tuple, expected a tensor of logits of shape (128,)"),
        (lambda x: [].extend(x), "gives a NoneType, expected a tensor of logits"),
    ],
)
def test_outputs_of_a_wrong_form(probe, function, message):
    assert message in refused(Function(function), probe)


def test_another_form_while_it_trains(probe):
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return (self.net(x), 0) if self.training else self.net(x)

    assert "gives a tuple, expected a tensor" in refused(Auxiliary(), probe)


def test_a_network_that_raises_says_in_which_line_of_the_file(probe):
    def wrong(x):
        return x @ torch.ones(3, 4)

    message = refused(Function(wrong), probe)
    assert "the network raised on 128 jets, inputs of shape (128, 3): RuntimeError" in message
    assert f"({Path(__file__)}, line " in message


def test_nothing_to_train(probe):
    frozen = network().requires_grad_(False)
    assert "has no parameters to train" in refused(frozen, probe)
    assert "has no parameters to train" in refused(
        Function(lambda x: x.sum(1), nn.Identity()), probe
    )


def test_a_lost_gradient(probe):
    assert "do not depend on any parameter" in refused(Function(torch.detach), probe)

    def overwritten(x):
        y = torch.exp(x)
        z = y * y
        y += 1
        return z - y

    assert "has no gradient" in refused(Function(overwritten), probe)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(probe, value):
    def broken(x):
        return torch.where(torch.arange(len(x)) == 7, value, x)

    assert f"gives {value} for 1 of 128 jets" in refused(Function(broken), probe)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - x.mean(),
        lambda x: torch.log_softmax(x, 0) + 5,
        lambda x: x + x.flip(0),
        lambda x: (x - x.mean()) / x.std(unbiased=False).clamp(min=1e-3),
        lambda x: x + torch.linspace(0, 3, len(x)),
    ],
    ids=["mean", "softmax over the batch", "neighbour", "batch statistics", "position"],
)
def test_a_jet_that_depends_on_others_is_refused(probe, function):
    assert "for the same jet alone; in evaluation mode no jet may" in refused(
        Function(function), probe
    )


def test_dropout_that_is_never_off_is_refused(probe):
    def noisy(x):
        return nn.functional.dropout(x, 0.5)

    assert "other logits for the same jets when asked again" in refused(Function(noisy), probe)


def test_a_network_is_left_as_it_was(probe):
    torch.manual_seed(5)
    net = PLAIN["batch normalisation"]()
    shifted_into_the_unit_interval(net, probe)  # so that its parameters are drawn anew
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    require_logits(net, probe, FACTORY)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in net.parameters())


def test_jets_with_the_fewest_and_the_most_particles_are_tried():
    particles = np.full(1000, 20)
    particles[[137, 733]] = [1, 99]
    images = torch.arange(1.0, 1001.0).reshape(1000, 1, 1, 1).expand(-1, 2, 5, 5)
    chosen = make_probe(events(images), particles)
    assert chosen.jets == 131
    first = chosen.together[0][:, 0, 0, 0].tolist()
    assert first[:2] == [138, 734]
    assert first[-1] == 0  # an empty image at the end
    assert [chosen.alone[k][0][0, 0, 0, 0].item() for k in range(2)] == [138, 734]
    assert chosen.particles[[0, 1, -1]].tolist() == [1, 99, 0]


class Sets:
    """A source of three particles per jet."""

    def take(self, events):
        jets = len(events)
        return torch.randn(3 * jets, 7), torch.randn(3 * jets, 4), torch.full((jets,), 3)


class MeanOfParticles(nn.Module):
    """With a minimum for the number that is divided by."""

    def __init__(self, minimum):
        super().__init__()
        self.net, self.minimum = nn.Linear(7, 1), minimum

    def forward(self, features, momenta, counts):  # noqa: ARG002
        jet = torch.repeat_interleave(counts)
        total = torch.zeros(len(counts)).index_add(0, jet, self.net(features)[:, 0])
        return total / counts.clamp(min=self.minimum)


def test_a_jet_without_particles_is_tried_also_if_there_is_none():
    label = torch.arange(200) % 2
    jets = Batches(Sets(), np.arange(200), label.float(), torch.ones(200))
    chosen = make_probe(jets, np.full(200, 3))
    features, momenta, counts = chosen.together
    assert len(features) == len(momenta) == 3 * (chosen.jets - 1) == counts.sum()
    assert counts[-1] == 0
    message = refused(MeanOfParticles(0), chosen)
    assert f"gives nan for 1 of {chosen.jets} jets, the first of them with 0 particles" in message


def test_a_network_that_takes_jets_without_particles_is_accepted():
    class Steady(Sets):
        def take(self, events):
            generator = torch.Generator().manual_seed(4)
            features = torch.randn(200, 3, 7, generator=generator)[torch.from_numpy(events)]
            return features.flatten(0, 1), features[..., :4].flatten(0, 1), super().take(events)[2]

    label = torch.arange(200) % 2
    jets = Batches(Steady(), np.arange(200), label.float(), torch.ones(200))
    require_logits(MeanOfParticles(1), make_probe(jets, np.full(200, 3)), FACTORY)
