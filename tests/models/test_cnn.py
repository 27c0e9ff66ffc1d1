import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from hepml.inference.metrics import weighted_auc
from hepml.models.cnn import Cnn, count_parameters
from hepml.models.saliency import gradients


@pytest.fixture
def network():
    """Two channels; no bias and no running mean or variance as at the beginning."""
    torch.manual_seed(5)
    return loud(Cnn([0.5, 2.0], width=6, stages=3))


def loud(network):
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "bias" in name or "running" in name:
                value.uniform_(0.2, 0.8)
    return network.eval()


def sparse(shape, seed=7):
    """Images where 5 % of the pixels are lit."""
    generator = torch.Generator().manual_seed(seed)
    lit = torch.rand(shape, generator=generator) < 0.05
    return lit * torch.rand(shape, generator=generator)


@pytest.mark.parametrize("side", [(40, 40), (33, 33), (64, 48), (7, 5), (2, 2)])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_any_size_gives_one_logit_per_image(network, batch, side):
    assert network(torch.zeros(batch, 2, *side)).shape == (batch,)


def test_training_works_with_a_single_image(network):
    network.train()(sparse((1, 2, 16, 16))).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_images_of_a_batch_do_not_see_each_other(network):
    images = sparse((5, 2, 40, 40))
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone)


@pytest.mark.parametrize(
    ("channels", "width", "stages", "blocks"), [(1, 16, 3, 1), (2, 5, 1, 3), (3, 4, 4, 2)]
)
def test_number_of_parameters(channels, width, stages, blocks):
    network = Cnn([1.0] * channels, width=width, stages=stages, blocks=blocks)
    assert sum(p.numel() for p in network.parameters()) == count_parameters(
        channels, width, stages, blocks
    )


def test_number_of_parameters_worked_out_by_hand():
    # 2·3·16 + 3 first, 3·6·9 + 6 to halve, 6 + 1 last; a block has 2·w·w·9 weights and two
    # normalisations of 2·w; one more normalisation ends the stage
    expected = 99 + (162 + 12 + 6) + 168 + (648 + 24 + 12) + 7
    assert count_parameters(channels=2, width=3, stages=2, blocks=1) == expected
    assert count_parameters(channels=1, width=16, stages=3, blocks=1) == 83921  # the defaults


def test_the_scale_is_the_unit_of_the_images(network):
    images = sparse((3, 2, 20, 20))
    other = Cnn([0.5e3, 2.0], width=6, stages=3).eval()
    other.load_state_dict(network.state_dict() | {"scale": other.scale})
    in_mev = images * torch.tensor([1e3, 1.0])[:, None, None]
    torch.testing.assert_close(other(in_mev), network(images))


def test_channels_last_changes_nothing_but_speed(network):
    images = sparse((4, 2, 40, 40)).double()
    network.double()
    fast = network(images)
    assert network.layers[0].weight.is_contiguous(memory_format=torch.channels_last)
    plain = network.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(plain(images), fast, rtol=1e-12, atol=1e-12)


def test_loaded_weights_stay_channels_last(network):
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    other = Cnn([0.5, 2.0], width=6, stages=3)
    other.load_state_dict(state)
    assert other.layers[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_shifts_by_the_total_stride_change_nothing(network):
    network.double()
    jet = sparse((1, 2, 16, 16)).double()
    wide = torch.zeros(3, 2, 240, 240, dtype=torch.float64)
    for image, (row, column) in zip(wide, [(112, 112), (96, 120), (128, 104)], strict=True):
        image[:, row : row + 16, column : column + 16] = jet
    logits = network(wide)
    torch.testing.assert_close(logits[1:], logits[:1].expand(2), rtol=1e-12, atol=1e-12)
    assert not torch.equal(network(torch.roll(wide[:1], 1, dims=2)), logits[:1])  # not of 1 pixel


def test_the_receptive_field_is_as_long_as_documented():
    # first 4 and a stride of 2; blocks add 4·2, 4·4, 4·8; halving adds 2·2, 2·4
    torch.manual_seed(2)
    network = loud(Cnn([1.0], width=4, stages=3)).double()
    for parameter in network.parameters():
        parameter.data.abs_()  # so that no ReLU is shut
    image = torch.rand(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    network.layers(image)[0, :, 10, 10].sum().backward()
    rows = image.grad[0, 0].abs().sum(dim=1).nonzero()
    assert rows.max() - rows.min() + 1 == 4 + 8 + (4 + 16) + (8 + 32)


def test_saliency_is_the_derivative(network):
    network.double()
    images = sparse((7, 2, 6, 6)).double()
    gradient = gradients(network.train(), images)
    assert network.training
    step = torch.zeros(2, 6, 6, dtype=torch.float64)
    step[1, 2, 3] = 1e-6
    network.eval()
    change = (network(images + step) - network(images)) / 1e-6
    torch.testing.assert_close(gradient[:, 1, 2, 3], change.detach(), rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_saliency_of_a_linear_network_is_its_weights():
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(18, 1), torch.nn.Flatten(0))
    with torch.no_grad():  # what calls it may have switched gradients off
        gradient = gradients(linear, torch.rand(4, 2, 3, 3))
    torch.testing.assert_close(
        gradient, linear[1].weight.detach().view(1, 2, 3, 3).expand(4, -1, -1, -1)
    )


def two_prongs_or_a_blob(jets, random, radius=0.35, spread=0.12, pixels=16):
    """Images of about 20 particles: two prongs, ``radius`` apart at any angle, or one round blob.

    Both have the same mean second moment, spread² + radius²/8 along each axis. Returned with the
    label (1 for prongs) and the eccentricity of each.
    """
    prongs = np.arange(jets) % 2
    owner = np.repeat(np.arange(jets), np.maximum(random.poisson(20, jets), 3))
    angle = random.uniform(0, 2 * math.pi, jets)[owner]
    apart = random.choice([-radius / 2, radius / 2], len(owner)) * prongs[owner]
    size = np.where(prongs, spread, math.sqrt(spread**2 + radius**2 / 8))[owner]
    x = apart * np.stack([np.cos(angle), np.sin(angle)])
    x += size * random.normal(size=(2, len(owner)))
    mean = [np.bincount(owner, a) / np.bincount(owner) for a in (*x, *x**2, x[0] * x[1])]
    trace = mean[2] - mean[0] ** 2 + mean[3] - mean[1] ** 2
    axes = np.hypot(
        mean[2] - mean[0] ** 2 - mean[3] + mean[1] ** 2, 2 * (mean[4] - mean[0] * mean[1])
    )
    row, column = np.clip((x + 0.8) / 1.6 * pixels, 0, pixels - 1).astype(int)
    images = np.zeros((jets, 1, pixels, pixels), np.float32)
    np.add.at(images, (owner, 0, row, column), 1)
    return torch.tensor(images), torch.tensor(prongs, dtype=torch.float32), axes / trace


@pytest.mark.slow
def test_the_network_beats_a_cut_on_eccentricity():
    torch.manual_seed(3)
    random = np.random.default_rng(4)
    images, label, _ = two_prongs_or_a_blob(8000, random)
    network = Cnn([1.0], width=12, stages=2)
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=5 * 64 + 1)
    for _ in range(5):
        for chosen in torch.randperm(len(label)).split(125):
            optimiser.zero_grad()
            binary_cross_entropy_with_logits(network(images[chosen]), label[chosen]).backward()
            optimiser.step()
            schedule.step()
    images, label, eccentricity = two_prongs_or_a_blob(4000, random)
    with torch.no_grad():
        scores = network.eval()(images).numpy().astype(np.float64)
    truth, weight = label.numpy() == 1, np.ones(len(label))
    cut, learned = (weighted_auc(s, truth, weight) for s in (eccentricity, scores))
    assert learned.value - cut.value > 3 * math.hypot(learned.error, cut.error)
