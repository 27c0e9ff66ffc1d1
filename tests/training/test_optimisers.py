import math

import numpy as np
import pytest
import torch
from torch import nn

from hepml.config import Training
from hepml.training.optimisers import (
    Lookahead,
    flat_then_falling,
    make_average,
    make_optimiser,
)


def test_lookahead_keeps_half_of_every_six_steps():
    """Plain descent of -x by 1 each step: 6 forward, back to 3, 9 forward, back to 6, ..."""
    x = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([x], lr=1)
    Lookahead(optimiser)
    path = []
    for _ in range(14):
        x.grad = -torch.ones(1)
        optimiser.step()
        path.append(x.item())
    assert path == [1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 6, 7, 8]


def radam(gradients, rate, decay, beta1=0.95, beta2=0.999, eps=1e-5):
    """Algorithm 2 of arXiv:1908.03265 with a decoupled decay, and Lookahead, in float64."""
    x = slow = 1.0
    m = v = 0.0
    long = 2 / (1 - beta2) - 1
    for t, gradient in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        length = long - 2 * t * beta2**t / (1 - beta2**t)
        x *= 1 - rate * decay
        step = m / (1 - beta1**t)
        if length > 5:
            r = math.sqrt((length - 4) * (length - 2) * long / ((long - 4) * (long - 2) * length))
            step *= r * math.sqrt(1 - beta2**t) / (math.sqrt(v) + eps)
        x -= rate * step
        if t % 6 == 0:
            x = slow = slow + (x - slow) / 2
    return x


def test_ranger_is_radam_with_lookahead():
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    settings = Training(optimiser="ranger", learning_rate=1e-2, weight_decay=0.1)
    optimiser = make_optimiser(layer, settings)
    gradients = np.random.default_rng(1).normal(0.5, 1, 25)
    for gradient in gradients:
        layer.weight.grad = torch.full((1, 1), float(gradient))
        optimiser.step()
    # 25 steps in float32
    assert layer.weight.item() == pytest.approx(radam(gradients, 1e-2, 0.1), rel=1e-5)


def test_the_flat_schedule_falls_to_a_hundredth():
    assert [flat_then_falling(x) for x in (0.0, 0.5, 0.7)] == [1, 1, 1]
    assert flat_then_falling(0.85) == pytest.approx(0.1)  # half of the way in logarithm
    assert flat_then_falling(1.0) == pytest.approx(0.01)


def test_the_average_of_weights_is_the_exponential_one():
    layer = nn.Linear(1, 1, bias=False)
    average = make_average(layer, 0.9)
    expected = None
    for value in (1.0, 2.0, 4.0, 8.0):
        layer.weight.data.fill_(value)
        average.update_parameters(layer)
        expected = value if expected is None else 0.9 * expected + 0.1 * value
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)


def test_the_average_follows_running_moments_too():
    network = nn.Sequential(nn.BatchNorm1d(2))
    average = make_average(network, 0.5)
    moments = []
    for number in range(3):
        network(torch.randn(50, 2) + number)
        moments.append(network[0].running_mean.clone())
        average.update_parameters(network)
    expected = (moments[0] + moments[1]) / 4 + moments[2] / 2
    torch.testing.assert_close(average.module[0].running_mean, expected)


def test_without_a_decay_there_is_no_average():
    assert make_average(nn.Linear(1, 1), 0.0) is None
