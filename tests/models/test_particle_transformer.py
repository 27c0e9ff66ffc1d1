import copy
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hepml import kernels
from hepml.models.dropout import Dropout
from hepml.models.packing import pack
from hepml.models.pairs import find_pairs, pair_features
from hepml.models.particle_transformer import (
    PUBLISHED,
    SMALL,
    Architecture,
    ParticleTransformer,
    from_weaver,
)

COUNTS = torch.tensor([5, 1, 0, 9, 2, 7, 3])
TINY = Architecture(embedding=(24, 16), pair_embedding=(12, 6), heads=4, layers=3, class_layers=2)


def jets(counts=COUNTS, inputs=7, seed=3):
    """Features and momenta of pions near an axis."""
    random = np.random.default_rng(seed)
    particles = int(counts.sum())
    pt = random.exponential(10, particles) + 0.5
    eta, phi = random.normal(0.5, 0.3, particles), random.normal(3.0, 0.3, particles)  # over π
    p = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    momenta = np.stack([*p, np.sqrt(sum(x**2 for x in p) + 0.14**2)], axis=1)
    features = random.normal(size=(particles, inputs))
    return torch.from_numpy(features).float(), torch.from_numpy(momenta).float(), counts


def network(architecture=TINY, inputs=7, outputs=3, together=9, seed=0):
    """A network in which every parameter and every running mean matters."""
    torch.manual_seed(seed)
    made = ParticleTransformer(inputs, architecture, outputs, together)
    with torch.no_grad():
        for tensor in (*made.parameters(), *made.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.2 * torch.rand_like(tensor))
    return made.eval()


def split(tensor, counts):
    return tensor.split(counts.tolist())


# --- an independent reference: one jet at a time, no packing, no groups, no pairs i ≥ j only


def reference_bias(pairs, p):
    """Bias of one jet from all pairs, (heads, n, n), with math done in float64 by NumPy."""
    p = p.double().numpy()
    px, py, pz, energy = p.T
    pt, phi, y = np.hypot(px, py), np.arctan2(py, px), 0.5 * np.log((energy + pz) / (energy - pz))
    dphi = np.angle(np.exp(1j * (phi[:, None] - phi)))
    delta = np.hypot(y[:, None] - y, dphi)
    softer = np.minimum(pt[:, None], pt)
    total = p[:, None] + p
    m2 = total[..., 3] ** 2 - (total[..., :3] ** 2).sum(-1)
    x = np.stack([softer * delta, softer / (pt[:, None] + pt), delta, m2], axis=-1)
    x = torch.from_numpy(np.log(np.maximum(x, 1e-8))).float()

    def norm(layer, x):
        spread = (layer.running_var + layer.eps).sqrt()
        return (x - layer.running_mean) / spread * layer.weight + layer.bias

    x = norm(pairs.input_norm, x)
    for linear, layer in zip(pairs.linears, pairs.norms, strict=True):
        x = norm(layer, x @ linear.weight.T + linear.bias)
        x = 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    return x.permute(2, 0, 1)


def reference_block(block, query, normed_query, keys, bias):
    """One block for one jet: queries (m, width) look at keys (n, width)."""
    width, heads = query.shape[1], block.heads
    wq, wk, wv = block.qkv.weight.split(width)
    bq, bk, bv = block.qkv.bias.split(width)
    q, k, v = normed_query @ wq.T + bq, keys @ wk.T + bk, keys @ wv.T + bv
    mixed = []
    for h, part in enumerate(torch.arange(width).chunk(heads)):
        scores = q[:, part] @ k[:, part].T / math.sqrt(width / heads)
        mixed.append((scores + bias[h]).softmax(-1) @ v[:, part])
    mixed = block.out(torch.cat(mixed, 1)).unflatten(1, (heads, -1)) * block.head_scale[:, None]
    x = query + block.post_attention_norm(mixed.flatten(1))
    hidden = functional.gelu(block.widen(block.pre_network_norm(x)))
    return block.narrow(block.post_activation_norm(hidden)) + block.residual_scale * x


def reference(net, features, momenta):
    """Logits of one jet that has particles."""
    x = net.embedding(features)
    zero = torch.zeros(net.blocks[0].heads, 1, 1)
    bias = zero if net.pairs is None else reference_bias(net.pairs, momenta)
    for block in net.blocks:
        normed = block.pre_attention_norm(x)
        x = reference_block(block, x, normed, normed, bias)
    token = net.class_token[None]
    for block in net.class_blocks:
        keys = block.pre_attention_norm(torch.cat([token, x]))
        token = reference_block(block, token, token, keys, zero)
    return net.head(net.norm(token))[0]


@pytest.mark.parametrize("pairs", [True, False])
def test_logits_are_those_of_the_plain_formulae_jet_by_jet(pairs):
    net = network(Architecture(**{**TINY.__dict__, "pairs": pairs}))
    features, momenta, counts = jets()
    logits = net(features, momenta, counts)
    each = zip(logits, split(features, counts), split(momenta, counts), strict=True)
    for got, x, p in each:
        if len(x):
            # ln m² of a particle with itself has no digits in float32: a fifth of one per mille
            torch.testing.assert_close(got, reference(net, x, p), rtol=1e-4, atol=2e-4)


def test_published_architecture_has_the_published_size():
    size = sum(p.numel() for p in ParticleTransformer(17, PUBLISHED, outputs=10).parameters())
    assert size == 2_143_486  # weaver-core 0.5.3 with JetClass_full; "2.14 M" in arXiv:2202.03772


def test_features_of_two_particles_are_what_pencil_and_paper_give():
    # massless, at y = 0.6 and 0, φ = π/2 and 0, pT = 3 and 1
    first = [0.0, 3.0, 3 * math.sinh(0.6), 3 * math.cosh(0.6)]
    momenta = torch.tensor([first, [1.0, 0, 0, 1]])
    delta = math.hypot(0.6, math.pi / 2)
    m2 = 2 * 3 * 1 * math.cosh(0.6)  # 2 pT pT' (cosh Δy - cos Δφ)
    expected = torch.tensor([[1 * delta, 1 / 4, delta, m2]]).log()
    for form in ("published", "massless"):
        for i, j in ((0, 1), (1, 0)):
            got = pair_features(momenta, torch.tensor([i]), torch.tensor([j]), form)
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_mass_of_close_particles_keeps_its_digits_only_in_the_massless_form():
    # energies 500 cosh(2), 1e-4 apart in y: m² = 2·500²·(cosh 1e-4 - 1) = 2.5e-3 against E² = 1.4e7
    y = torch.tensor([2.0, 2.0001], dtype=torch.float64)
    rows = [500 * torch.ones(2), torch.zeros(2), 500 * y.sinh(), 500 * y.cosh()]
    momenta = torch.stack(rows, dim=1).float()
    one, other = torch.tensor([0]), torch.tensor([1])
    expected = math.log(2 * 500**2 * (math.cosh(1e-4) - 1))
    massless = pair_features(momenta, one, other, "massless")[0, 3]
    published = pair_features(momenta, one, other, "published")[0, 3]
    assert massless == pytest.approx(expected, abs=0.01)  # y itself is rounded to 2e-7
    assert abs(published - expected) > 1


def test_every_pair_of_a_jet_is_found_once():
    packing = pack(torch.tensor([3, 0, 2]), 100, torch.device("cpu"))
    pairs = find_pairs(packing.groups[1])  # sorted: the jet of 2 is tokens 0, 1, then 2, 3, 4
    got = set(zip(pairs.i.tolist(), pairs.j.tolist(), strict=True))
    assert got == {(1, 0), (3, 2), (4, 2), (4, 3)} | {(i, i) for i in range(5)}
    assert len(pairs.i) == len(got)


def test_permuting_particles_changes_nothing():
    net = network()
    features, momenta, counts = jets()
    ends = counts.cumsum(0)
    order = torch.cat(
        [torch.randperm(int(n)) + end - n for n, end in zip(counts, ends, strict=True)]
    )
    assert not torch.equal(order, torch.arange(len(order)))
    got = net(features[order], momenta[order], counts)
    torch.testing.assert_close(got, net(features, momenta, counts), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("together", [1, 12, 20, 1000])
def test_grouping_changes_nothing(together):
    batch = jets()
    expected = network(together=9)(*batch)
    torch.testing.assert_close(network(together=together)(*batch), expected, rtol=1e-5, atol=1e-5)


def test_other_jets_of_the_batch_change_nothing():
    net = network()
    features, momenta, counts = jets()
    together = net(features, momenta, counts)
    parts = zip(split(features, counts), split(momenta, counts), counts, strict=True)
    alone = torch.cat([net(x, p, n[None]) for x, p, n in parts])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)


def test_jets_without_particles_share_a_learned_output():
    net = network()
    features, momenta, _ = jets(torch.tensor([4]))
    mixed = net(features, momenta, torch.tensor([0, 4, 0]))
    none = net(features[:0], momenta[:0], torch.tensor([0, 0]))
    torch.testing.assert_close(mixed[[0, 2]], none)
    torch.testing.assert_close(none[0], none[1])
    none.sum().backward()
    assert net.class_token.grad.abs().sum() > 0


def test_one_output_is_one_logit_per_jet():
    assert network(SMALL, outputs=1)(*jets()).shape == (7,)
    assert network(SMALL, outputs=4)(*jets()).shape == (7, 4)


def degenerate():
    """Jets with everything twice, everything along one line, along the beam, nothing, alone."""
    p = torch.tensor([3.0, 4.0, 12.0, 13.0])
    along = [torch.tensor([0.0, 0, z, abs(z)]) for z in (5.0, -5.0)]
    rows = [p, p, p, 2 * p, 0.1 * p, p, along[0], along[1], 0 * p, p]
    momenta = torch.stack(rows)
    features = torch.randn(len(rows), 7, generator=torch.Generator().manual_seed(2))
    features[1] = features[0]
    return features, momenta, torch.tensor([2, 3, 1, 3, 1, 0])


@pytest.mark.parametrize("form", ["published", "massless"])
@pytest.mark.parametrize("batch", [degenerate(), jets(torch.tensor([1])), jets(torch.tensor([0]))])
def test_gradients_of_degenerate_jets_are_finite(batch, form):
    net = network(Architecture(**{**TINY.__dict__, "pair_form": form})).train()
    logits = net(*batch)
    logits.square().sum().backward()
    assert logits.isfinite().all()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)
    assert net.head.weight.grad.abs().sum() > 0


def test_gradients_are_those_of_finite_differences():
    net = network(Architecture(**{**TINY.__dict__, "dropout": 0.0})).double().train()
    features, momenta, counts = jets(torch.tensor([3, 1, 2]))
    features, momenta = features.double(), momenta.double()
    parameters = [net.pairs.linears[1].weight, net.blocks[1].qkv.weight, net.pairs.norms[0].bias]
    loss = net(features, momenta, counts).square().sum()
    gradients = torch.autograd.grad(loss, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn_like(parameter)
        with torch.no_grad():
            values = []
            for step in (1e-4, -1e-4):
                parameter += step * direction
                values.append(net(features, momenta, counts).square().sum())
                parameter -= step * direction
        expected = (values[0] - values[1]) / 2e-4
        assert (gradient * direction).sum().item() == pytest.approx(expected.item(), rel=1e-4)


WITH_KERNELS = {
    "small": SMALL,
    "with dropout": Architecture(
        embedding=(24, 32), pair_embedding=(16, 24), heads=4, layers=3, dropout=0.3
    ),
    "heads of five": Architecture(embedding=(20,), pair_embedding=(16,), heads=4, layers=1),
    "without pairs": Architecture(embedding=(32,), heads=4, layers=2, pairs=False),
}


def trained(net, batch, with_kernels, seed=7):
    """Logits, gradients and running moments of one step of training, then logits without."""
    net = copy.deepcopy(net).train()
    torch.manual_seed(seed)  # of the dropout
    with nullcontext() if with_kernels else kernels.without_kernels():
        logits = net(*batch)
        (logits * torch.linspace(-1, 1, len(logits))).sum().backward()
        with torch.no_grad():
            scores = net.eval()(*batch)
    gradients = [p.grad for p in net.parameters()]
    return [logits.detach(), scores, *gradients, *net.buffers()]


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_a_network_with_kernels_is_that_without(name):
    if not kernels.fit_for(torch.ones(1)):
        pytest.skip(f"kernels: {kernels.description()}")
    batch = jets(torch.tensor([5, 1, 0, 9, 2, 17, 3, 30]))
    torch.manual_seed(1)
    net = ParticleTransformer(7, WITH_KERNELS[name], together=20)
    got, expected = trained(net, batch, True), trained(net, batch, False)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-5)
    drops = not torch.equal(trained(net, batch, True, seed=8)[0], got[0])
    assert drops == (WITH_KERNELS[name].dropout > 0)


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
def test_other_precisions_take_the_operations_of_torch(precision):
    torch.manual_seed(1)
    net = ParticleTransformer(7, SMALL).eval()
    features, momenta, counts = jets()
    if precision == torch.float64:
        logits = net.double()(features.double(), momenta.double(), counts)
    else:
        with torch.autocast("cpu", precision):
            logits = net(features, momenta, counts)
    assert logits.dtype == precision
    with torch.no_grad():
        expected = net.float()(features, momenta, counts)
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=0.05)


@pytest.mark.parametrize("training", [True, False])
def test_autocast_runs_and_stays_near(training):
    batch = jets(torch.tensor([6, 1, 0, 4]))
    net = network(SMALL, outputs=1).train(training)
    with torch.autocast("cpu", torch.bfloat16):
        got = net(*batch)
    got.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
    if not training:
        torch.testing.assert_close(got.float(), net(*batch), rtol=0.1, atol=0.1)


def test_dropout_drops_the_share_it_says_and_keeps_the_mean():
    torch.manual_seed(1)
    dropout = Dropout(0.1)
    x = torch.ones(1000, 1000, requires_grad=True)
    y = dropout(x)
    share = (y == 0).float().mean().item()
    assert share == pytest.approx(26 / 256, abs=5 * math.sqrt(0.1 * 0.9 / 1e6))
    assert y.max().item() == pytest.approx(256 / 230)
    y.sum().backward()
    assert torch.equal(x.grad, y)  # of ones
    assert torch.equal(dropout.eval()(x), x)


def dense(features, momenta, counts, length):
    """weaver's input: (jets, columns, length) with a mask."""
    real = torch.arange(length) < counts[:, None]
    tables = []
    for packed in (features, momenta):
        table = torch.zeros(len(counts), length, packed.shape[1])
        table[real] = packed
        tables.append(table.mT.contiguous())
    return *tables, real[:, None]


def weaver_network(module, inputs=17, outputs=10):
    torch.manual_seed(5)
    made = module.ParticleTransformer(
        inputs, outputs, pair_input_dim=4, use_pre_activation_pair=False, trim=False
    )
    for tensor in (*made.parameters(), *made.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5) if tensor.ndim == 1 else None
    return made


@pytest.mark.parametrize("training", [True, False])
def test_weights_of_weaver_give_the_output_of_weaver(training):
    reason = "weaver-core 0.5.3 (pip install --no-deps weaver-core==0.5.3) is not installed"
    module = pytest.importorskip("weaver.nn.model.ParticleTransformer", reason=reason)
    theirs = weaver_network(module).eval()
    ours = ParticleTransformer(17, outputs=10).eval()
    ours.load_state_dict(from_weaver(theirs.state_dict()))
    counts = torch.tensor([12, 1, 30, 7, 19, 2])
    if training:  # without padding, which weaver's batch norm of the features counts
        counts = torch.full((5,), 23)
        for made in (theirs, ours):
            made.train()
            for part in made.modules():
                if isinstance(part, nn.Dropout | Dropout | module.Attention):
                    part.p = part.threshold = part.dropout = 0
    batch = jets(counts, inputs=17)
    features, momenta, real = dense(*batch, length=int(counts.max()))
    expected = theirs(features, v=momenta, mask=real)
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(*batch), expected, rtol=1e-5, atol=1e-5)


def test_older_names_of_weaver_are_understood():
    old = {
        "mod.blocks.0.attn.in_proj_weight": torch.zeros(2, 3),
        "mod.cls_token": torch.ones(1, 1, 4),
    }
    new = from_weaver(old)
    assert set(new) == {"blocks.0.qkv.weight", "class_token"}
    assert new["class_token"].shape == (4,)
