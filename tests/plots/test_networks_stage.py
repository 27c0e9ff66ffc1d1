"""Figures of what networks see, from columns and trained networks on disk."""

import inspect

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hepml.cli import hepml
from hepml.config import Cnn, Images, Mlp, OwnOnImages, ParticleTransformer, TrainingJob
from hepml.data.store import ColumnWriter, open_columns
from hepml.errors import InputError
from hepml.inputs.images import ImageSettings, jet_images
from hepml.inputs.packed_sets import particle_sets
from hepml.inputs.sets import SetRecipe
from hepml.models import build
from hepml.models.own import import_factory
from hepml.plots import stage as one_method
from hepml.plots.commands import plot
from hepml.plots.diagnostics import stage as diagnostics
from hepml.plots.networks import stage
from hepml.plots.networks.stage import plot_images, plot_importance, plot_saliency
from hepml.training.checkpoint import Trained, save
from hepml.training.device import Runtime

FIELDS = ("px", "py", "pz", "energy", "deta", "dphi")
FOLDS = 3
JETS = 45
CPU = Runtime(torch.device("cpu"))
CNN = Cnn(architecture="cnn", images=Images(pixels=6), width=2, stages=1, dropout=0.5)
TRANSFORMER = ParticleTransformer(architecture="particle_transformer", maximum=3)


@pytest.fixture
def data(tmp_path):
    """Two samples of signal of different weight, one of background, and data, which stay out."""
    samples = {"top": (1, 0.5), "higgs": (1, 3.0), "qcd": (0, 1.0), "run": (-1, 1.0)}
    return tuple(
        write_jets(tmp_path / name, label, weight, seed)
        for seed, (name, (label, weight)) in enumerate(samples.items())
    )


def write_jets(folder, label, weight, seed):
    folder.mkdir()
    random = np.random.default_rng(seed)
    counts = random.integers(1, 6, JETS)
    pt, eta, phi = random.exponential(10, counts.sum()), *random.normal(0, 0.3, (2, counts.sum()))
    columns = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta), eta, phi)
    with ColumnWriter(folder, (), FIELDS) as writer:
        writer.append(
            {
                "event_id": np.arange(JETS),
                "fold": random.integers(0, FOLDS, JETS),
                "label": np.full(JETS, label),
                "weight": weight * random.choice([1.0, 2.0, -0.4], JETS),
            },
            counts,
            np.stack(columns, axis=1).astype(np.float32),
        )
        writer.finish({})
    return folder


@pytest.fixture
def networks(tmp_path):
    """Save a network of each fold, all of them different."""

    def save_all(model):
        folders = tuple(tmp_path / model.architecture / f"fold{k}" for k in range(FOLDS))
        job = TrainingJob(model=model, folds=FOLDS, seed=5)
        made = []
        for k, folder in enumerate(folders):
            torch.manual_seed(k)
            made.append(build(model).eval())
            save(folder, Trained(made[-1], job, k, 0.0), {})
        return folders, made

    return save_all


def jets_of(data, label):
    """Particles, weight and fold of each jet of a class, one by one."""
    for folder in data:
        sample = open_columns(folder)
        particles = sample.particles()
        for jet in np.flatnonzero(sample["label"] == label):
            values = particles.values[particles.offsets[jet] : particles.offsets[jet + 1]]
            yield np.array(values), float(sample["weight"][jet]), int(sample["fold"][jet])


def image_of(values):
    counts = np.array([len(values)])
    return jet_images(values, counts, FIELDS, ImageSettings(pixels=6)).images


@pytest.fixture
def job():
    return TrainingJob(model=CNN, folds=FOLDS, seed=5)


def test_mean_images_are_weighted_means_over_all_samples_of_a_class(
    data, job, caption, tmp_path, read_json
):
    plot_images(data, job, "CNN", caption, tmp_path / "images")
    numbers = read_json(tmp_path / "images.json")
    assert numbers["jets"] == [2 * JETS, JETS]
    for name, label in (("signal", 1), ("background", 0)):
        jets = list(jets_of(data, label))
        images = [image_of(values)[0] for values, _, _ in jets]
        weights = [weight for _, weight, _ in jets]
        expected = np.average(images, axis=0, weights=weights)
        np.testing.assert_allclose(numbers[name]["value"], expected, atol=1e-6)


def test_gradients_are_of_networks_that_never_saw_the_jets(
    data, networks, caption, tmp_path, read_json
):
    folders, made = networks(CNN)
    plot_saliency(data, folders[::-1], "CNN", caption, tmp_path / "saliency", CPU)
    numbers = read_json(tmp_path / "saliency.json")["gradients"]
    for name, label in (("signal", 1), ("background", 0)):
        total, weights = 0, 0
        for values, weight, fold in jets_of(data, label):
            image = torch.from_numpy(image_of(values)).requires_grad_()
            made[fold](image).sum().backward()
            total, weights = total + weight * image.grad[0], weights + weight
        np.testing.assert_allclose(numbers[name]["value"], total / weights, rtol=1e-3, atol=1e-4)


def test_importance_is_of_networks_that_never_saw_the_jets(
    data, networks, caption, tmp_path, read_json
):
    folders, made = networks(TRANSFORMER)
    plot_importance(data, folders, "Transformer", caption, tmp_path / "importance", CPU)
    numbers = read_json(tmp_path / "importance.json")["ranks"]["background"]
    effects, weights = [], []  # of taking away the hardest of at most three
    for values, weight, fold in jets_of(data, 0):
        sets = particle_sets(values, np.array([len(values)]), FIELDS, SetRecipe("kin", 3))
        inputs = [torch.from_numpy(x) for x in (sets.features, sets.momenta)]
        with torch.no_grad():
            whole, without = (
                made[fold](*(x[first:] for x in inputs), torch.tensor([len(inputs[0]) - first]))
                for first in (0, 1)
            )
        effects.append((whole - without).item())
        weights.append(weight)
    assert numbers["jets"][0] == JETS
    assert len(numbers["jets"]) <= 3
    np.testing.assert_allclose(
        [numbers["effect"]["value"][0], numbers["size"]["value"][0]],
        [np.average(x, weights=weights) for x in (effects, np.abs(effects))],
        atol=1e-5,
    )


def test_jets_are_chosen_whatever_their_weight_sample_or_fold():
    events, weight = np.arange(3000), np.linspace(0.1, 9, 3000)
    jets = stage.Jets(events, weight, (events % 3).astype(np.int8))
    chosen = stage._some(jets, 1000, seed=3)
    assert len(np.unique(chosen.events)) == 1000
    np.testing.assert_array_equal(chosen.weight, weight[chosen.events])
    np.testing.assert_array_equal(chosen.fold, chosen.events % 3)
    # means of a third of 0 ... 2999 and of their folds scatter by √(σ²/1000 · 2/3)
    assert chosen.events.mean() == pytest.approx(1499.5, abs=5 * 866 * np.sqrt(2 / 3e3))
    assert chosen.fold.mean() == pytest.approx(1, abs=5 * 0.82 * np.sqrt(2 / 3e3))
    assert stage._some(jets, 3000, seed=3) is jets


def test_a_class_without_positive_weight_is_named(data, job, caption, tmp_path):
    with pytest.raises(InputError, match=r"weights of 0 background events in .*top.* sum up to 0"):
        plot_images(data[:2], job, "CNN", caption, tmp_path / "images")
    assert not list(tmp_path.glob("images*"))


def test_figures_are_for_the_networks_that_they_are_about(data, networks, caption, tmp_path):
    stem = tmp_path / "figure"
    mlp = TrainingJob(model=Mlp(architecture="mlp", features=("x",)), folds=3, seed=1)
    with pytest.raises(InputError, match=r"'mlp' reads features, but .* on images"):
        plot_images(data, mlp, "MLP", caption, stem)
    folders, _ = networks(TRANSFORMER)
    with pytest.raises(InputError, match=r"'particle_transformer' reads sets, .* on images"):
        plot_saliency(data, folders, "PT", caption, stem, CPU)
    folders, _ = networks(CNN)
    with pytest.raises(InputError, match=r"'cnn' reads images, .* on sets of particles"):
        plot_importance(data, folders, "CNN", caption, stem, CPU)
    with pytest.raises(InputError, match=r"folds \[0, 2\] given, expected one for each of 0 to 2"):
        plot_saliency(data, folders[::2], "CNN", caption, stem, CPU)
    assert not list(tmp_path.glob("figure*"))


@pytest.mark.parametrize("name", sorted(plot.commands))
def test_every_subcommand_gives_its_figure_what_it_asks_for(name):
    stages = (one_method, stage, diagnostics)
    (draw,) = (getattr(s, f"plot_{name}") for s in stages if f"plot_{name}" in vars(s))
    asked = set(inspect.signature(draw).parameters)
    given = {parameter.name for parameter in plot.commands[name].params}
    together = {"device", "factory"}  # are given as one
    assert (given - together | {"runtime"} if together <= given else given) == asked


def test_figures_from_the_command_line(data, networks, job, caption, tmp_path):
    folders, _ = networks(CNN)
    of_folds = [f"--network={folder}" for folder in folders]
    for name, options in (
        ("images", ["--settings", job.model_dump_json()]),
        ("saliency", [*of_folds, "--device", "cpu"]),
    ):
        output = tmp_path / "plots" / f"{name}_cnn.png"
        common = ["--title=CNN", f"--caption={caption.model_dump_json()}", f"--output={output}"]
        answer = CliRunner().invoke(hepml, ["plot", name, *map(str, data), *options, *common])
        assert answer.exit_code == 0, answer.output
        for suffix in ("png", "pdf", "json"):
            assert output.with_suffix(f".{suffix}").stat().st_size > 100


def test_a_users_own_network_is_drawn_if_its_file_may_run(data, caption, tmp_path, read_json):
    """The gradient of a linear network is its weight, whatever the jet."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\ndef build(channels, pixels):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(pixels**2, 1), nn.Flatten(0))\n"
    )
    factory = import_factory(f"{file}:build")
    model = OwnOnImages(factory=factory.name, inputs="images", images=Images(pixels=6))
    job = TrainingJob(model=model, folds=FOLDS, seed=5, factory_sha256=factory.sha256)
    network = build(model, factory=factory).eval()
    folders = [tmp_path / f"own{k}" for k in range(FOLDS)]
    for k, folder in enumerate(folders):
        save(folder, Trained(network, job, k, 0.0), {})
    command = ["plot", "saliency", *map(str, data), *(f"--network={folder}" for folder in folders)]
    command += ["--title=Own", f"--caption={caption.model_dump_json()}"]
    command += [f"--output={tmp_path / 'saliency.png'}", "--device=cpu"]
    refused = CliRunner().invoke(hepml, command)
    assert "give --factory" in str(refused.exception)
    answer = CliRunner().invoke(hepml, [*command, f"--factory={factory.name}"])
    assert answer.exit_code == 0, answer.output
    numbers = read_json(tmp_path / "saliency.json")["gradients"]
    expected = network[1].weight.detach().numpy().reshape(1, 6, 6)
    np.testing.assert_allclose(numbers["signal"]["value"], expected, rtol=1e-5)
