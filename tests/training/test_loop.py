import math

import numpy as np
import pytest
import torch
from torch import nn

from hepml.config import Training
from hepml.errors import InputError
from hepml.inputs.features import Standardisation
from hepml.inputs.resident import ResidentTable
from hepml.models.mlp import Mlp
from hepml.training.batches import Batches, _ahead
from hepml.training.loop import DivergedError, fit

IDENTITY = Standardisation(mean=(0.0,), deviation=(1.0,))


def batches(x, label, weight):
    source = ResidentTable(torch.as_tensor(x, dtype=torch.float32)[:, None])
    return Batches(source, np.arange(len(label)), label, weight)


def gaussians(events, seed, separation=1.0):
    """Signal N(separation, 1) and background N(0, 1): the exact LLR is x·s - s²/2."""
    generator = np.random.default_rng(seed)
    label = np.arange(events) % 2
    x = generator.normal(separation * label, 1)
    return batches(x, torch.tensor(label, dtype=torch.float32), torch.ones(events))


def trained(settings, seed=1, events=4000, disturb=False):
    torch.manual_seed(seed)
    network = Mlp(IDENTITY, hidden=[16])
    if disturb:
        torch.rand(17)  # somebody else draws random numbers
    lines = []
    result = fit(network, gaussians(events, 1), gaussians(2000, 2), settings, lines.append)
    return network, result, lines


def test_the_logit_becomes_the_log_likelihood_ratio():
    settings = Training(epochs=10, patience=9, batch_size=100, learning_rate=1e-2)
    network, _, _ = trained(settings, events=20000)
    x = torch.linspace(-1, 2, 13)[:, None]
    with torch.no_grad():
        logit = network(x)
    # 10k events per class give the slope to 1/√(n·Var) ≈ 0.02 and leave room for the shape
    torch.testing.assert_close(logit, x[:, 0] - 0.5, atol=0.12, rtol=0)


def test_weights_count_as_that_many_events():
    """Background with weight 3 beside signal with weight 1 shifts the logit by -ln 3."""
    events = gaussians(20000, 3)
    weight = torch.where(events.label == 0, 1.5, 0.5)
    weighted = Batches(events.source, events.events, events.label, weight)
    torch.manual_seed(1)
    network = Mlp(IDENTITY, hidden=[16])
    settings = Training(epochs=10, patience=9, batch_size=100, learning_rate=1e-2)
    fit(network, weighted, weighted, settings, lambda _: None)
    x = torch.linspace(-1, 2, 7)[:, None]
    with torch.no_grad():
        torch.testing.assert_close(network(x), x[:, 0] - 0.5 - math.log(3), atol=0.12, rtol=0)


def test_same_seed_same_bits_whoever_else_draws():
    settings = Training(epochs=3, patience=2, batch_size=128)
    first, again = trained(settings), trained(settings, disturb=True)
    for one, other in zip(first[0].parameters(), again[0].parameters(), strict=True):
        assert torch.equal(one, other)
    other_seed = trained(settings, seed=2)
    assert not torch.equal(next(first[0].parameters()), next(other_seed[0].parameters()))


def test_every_event_once_per_epoch_in_batches_of_at_most_the_size():
    events = batches(torch.arange(103.0), torch.arange(103.0), torch.ones(103))
    found = list(events.shuffled(10, torch.Generator().manual_seed(1)))
    assert [len(label) for _, label, _ in found] == [10] * 4 + [9] * 7
    seen = torch.cat([label for _, label, _ in found])
    for (inputs,), label, _ in found:
        assert torch.equal(inputs[:, 0], label)
    assert torch.equal(seen.sort().values, torch.arange(103.0))
    assert not torch.equal(seen, torch.arange(103.0))


def test_the_best_epoch_is_kept():
    # so few events and so high a rate that the validation loss rises again
    settings = Training(epochs=30, patience=29, batch_size=8, learning_rate=0.05)
    torch.manual_seed(4)
    network = Mlp(IDENTITY, hidden=[64, 64])
    validation = gaussians(2000, 2)
    result = fit(network, gaussians(40, 1), validation, settings, lambda _: None)
    losses = [epoch.validation_loss for epoch in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses)) < 30
    with torch.no_grad():
        (inputs,) = validation.source.take(validation.events)
        kept = torch.nn.functional.binary_cross_entropy_with_logits(
            network(inputs), validation.label
        )
    assert kept.item() == pytest.approx(min(losses), rel=1e-5)


def test_patience_ends_the_training():
    settings = Training(epochs=50, patience=3, batch_size=8, learning_rate=0.05)
    torch.manual_seed(4)
    network = Mlp(IDENTITY, hidden=[64, 64])
    result = fit(network, gaussians(40, 1), gaussians(500, 2), settings, lambda _: None)
    assert len(result.history) == result.best_epoch + 3


def test_progress_names_loss_and_speed():
    _, _, lines = trained(Training(epochs=2, patience=1, batch_size=128))
    assert len(lines) == 2
    assert "epoch 2/2: loss 0." in lines[1]
    assert "events/s" in lines[1]


def test_a_loss_that_explodes_says_where():
    events = gaussians(64, 1)
    broken = batches(1e38 * torch.randn(64), events.label, events.weight * 1e38)
    settings = Training(epochs=2, patience=1, batch_size=16)
    with pytest.raises(
        DivergedError, match=r"not finite at step 0 of epoch 1 .*gradient norm .*learning rate"
    ) as caught:
        fit(Mlp(IDENTITY, hidden=[4]), broken, broken, settings, lambda _: None)
    assert caught.value.fit is None


class Exploding(nn.Module):
    """A slope that is lost after so many steps in training."""

    def __init__(self, steps):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1))
        self.left = steps

    def forward(self, features):
        logits = (features * self.slope).squeeze(-1)
        if self.training:
            self.left -= 1
            if self.left < 0:
                return logits * torch.inf
        return logits


def test_the_best_network_before_an_explosion_is_left():
    settings = Training(epochs=9, patience=8, batch_size=100, learning_rate=0.05)
    network = Exploding(steps=25)
    message = r"training (loss|gradient) is not finite at step 5 of epoch 3 \(loss nan, gradient"
    with pytest.raises(DivergedError, match=message) as caught:
        fit(network, gaussians(1000, 1), gaussians(500, 2), settings, lambda _: None)
    assert len(caught.value.fit.history) == 2
    assert torch.isfinite(network.slope).all()
    assert network.slope.item() > 0.1


def test_the_averaged_weights_are_those_kept():
    """Three steps; the moving average of the weights after each, the first being its start."""

    def run(average):
        seen = []

        class Recording(nn.Linear):
            def forward(self, x):
                seen.append(self.weight.item())
                return super().forward(x).squeeze(-1)

        torch.manual_seed(5)
        network = Recording(1, 1)
        settings = Training(epochs=2, patience=1, batch_size=100, average=average)
        settings = settings.model_copy(update={"epochs": 1, "patience": 1})
        fit(network, gaussians(300, 1), gaussians(200, 2), settings, lambda _: None)
        return seen, network.weight.item()

    (_, first, second, *_), third = run(0.0)
    _, kept = run(0.5)
    assert kept == pytest.approx(0.25 * first + 0.25 * second + 0.5 * third, rel=1e-6)


def test_memory_that_does_not_suffice_says_what_to_lower():
    class Greedy(nn.Linear):
        def forward(self, _):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore")

    message = r"batch of 77 events \(CUDA out of memory. Tried to allocate 9 GiB.\); lower"
    settings = Training(batch_size=77)
    with pytest.raises(InputError, match=message):
        fit(Greedy(1, 1), gaussians(99, 1), gaussians(99, 2), settings, lambda _: None)


def test_long_epochs_tell_how_far_they_are(monkeypatch):
    monkeypatch.setattr("hepml.training.watch._NEWS", 0.0)
    settings = Training(epochs=2, patience=1, batch_size=100)
    _, _, lines = trained(settings, events=400)
    assert lines[0].startswith("epoch 1: step 1 of 4, loss 0.")
    assert lines[4].startswith("epoch 1/2: loss")


def test_ahead_batches_are_the_same_in_order():
    events = gaussians(103, 1)
    pieces = [(piece, 1.0) for piece in torch.arange(103).split(10)]
    found = list(_ahead(events._batch, pieces))
    assert torch.equal(torch.cat([label for _, label, _ in found]), events.label)
    stopped = _ahead(events._batch, pieces)
    next(stopped)
    stopped.close()  # an error in the loop leaves no thread behind


def test_a_validation_loss_that_is_not_finite_is_told():
    events = gaussians(64, 1)
    broken = batches(torch.full((64,), float("inf")), events.label, events.weight)
    settings = Training(epochs=2, patience=1, batch_size=16)
    with pytest.raises(InputError, match="validation loss is not finite after epoch 1"):
        fit(Mlp(IDENTITY, hidden=[4]), events, broken, settings, lambda _: None)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "flat", "constant"])
def test_schedules(schedule):
    settings = Training(epochs=8, patience=7, batch_size=64, learning_rate=1e-2, schedule=schedule)
    _, result, _ = trained(settings, events=640)
    rates = [epoch.learning_rate for epoch in result.history]
    if schedule == "constant":
        assert rates == pytest.approx([1e-2] * 8)
    elif schedule == "flat":  # 70 % of 8 epochs are 5.6
        expected = [1e-2] * 6 + [1e-2 * 0.01 ** ((k / 8 - 0.7) / 0.3) for k in (6, 7)]
        assert rates == pytest.approx(expected, rel=1e-6)
    elif schedule == "cosine":  # half of 1 + cos(π·k/8) at the start of epoch k
        expected = [1e-2 * (1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)]
        assert rates == pytest.approx(expected, rel=1e-6)
    else:  # starts at 1/25 of the peak, which comes after 30 % of the steps
        assert rates[0] == pytest.approx(1e-2 / 25)
        assert int(np.argmax(rates)) in (2, 3)
