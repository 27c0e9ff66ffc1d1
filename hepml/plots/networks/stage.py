"""Draw what networks on images and on particles see: from columns and trained networks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int8, Int64
from torch import nn

from hepml.config import Cnn, Images, Model, OwnOnImages, TrainingJob, inputs_of
from hepml.data.store import open_columns
from hepml.errors import InputError
from hepml.inputs import open_source
from hepml.inputs.images import positions
from hepml.inputs.source import Labels, Source, read_labels, to_device
from hepml.models.importance import removal_effects
from hepml.models.saliency import gradients
from hepml.plots.means import Mean, weighted_mean
from hepml.plots.networks.planes import JetMaps, images_figure, saliency_figure
from hepml.plots.networks.ranks import Removals, importance_figure, importance_of
from hepml.plots.style import Caption, save
from hepml.training.checkpoint import Trained, load_folds
from hepml.training.device import Runtime

GRADIENTS = 2000  # jets of each class that are asked for gradients
REMOVALS = 500  # and that are taken apart, particle by particle
_CLASSES = {"signal": 1, "background": 0}
_BATCH = 512


@dataclass(frozen=True)
class Jets:
    """Some jets of one class: their numbers in the source, weights and folds."""

    events: Int64[np.ndarray, " jets"]
    weight: Float64[np.ndarray, " jets"]
    fold: Int8[np.ndarray, " jets"]

    def take(self, chosen: Int64[np.ndarray, " chosen"]) -> "Jets":
        """Some of them."""
        return Jets(self.events[chosen], self.weight[chosen], self.fold[chosen])

    def of_fold(self, fold: int) -> "Jets":
        """Those of one fold."""
        return self.take(np.flatnonzero(self.fold == fold))

    def batches(self) -> Iterator["Jets"]:
        """All of them, a few at a time."""
        for start in range(0, len(self.events), _BATCH):
            yield self.take(np.arange(start, min(start + _BATCH, len(self.events))))


def plot_images(
    data: tuple[Path, ...], job: TrainingJob, title: str, caption: Caption, stem: Path
) -> None:
    """Draw the mean image of all jets of each class, and the difference of the two.

    Args:
        data: folders of all samples; those of one class combine by their weights.
        job: settings of a network on images.
        title: of the model.
        caption: above the axes.
        stem: figure without suffix.

    Raises:
        InputError: if the network reads no images, or a class has no positive sum of weights.
    """
    images = _images(job.model)
    source, labels = _open(data, job.model)
    jets = {name: _jets(labels, name, data) for name in _CLASSES}
    means = {name: weighted_mean(_seen(source, chosen)) for name, chosen in jets.items()}
    maps = _maps(images, means, jets)
    save(images_figure(maps, title, caption), maps, stem)


def plot_saliency(
    data: tuple[Path, ...],
    networks: tuple[Path, ...],
    title: str,
    caption: Caption,
    stem: Path,
    runtime: Runtime,
) -> None:
    """Draw the mean gradient of the logit, each jet by the network that never saw it.

    Args:
        data: folders of all samples.
        networks: ``training/<model>/fold<k>`` of all folds of a network on images.
        title: of the model.
        caption: above the axes.
        stem: figure without suffix.
        runtime: where the networks compute, and whose code makes them.

    Raises:
        InputError: if the networks are not one per fold and on images, or a class has no positive
            sum of weights.
    """
    trained = load_folds(networks, runtime.factory)
    job = trained[0].job
    images = _images(job.model)
    source, labels = _open(data, job.model)
    jets = {name: _some(_jets(labels, name, data), GRADIENTS, job.seed) for name in _CLASSES}
    slopes = {
        name: weighted_mean(_gradients(trained, source, js, runtime.device))
        for name, js in jets.items()
    }
    means = {name: weighted_mean(_seen(source, js)) for name, js in jets.items()}
    shown = {"gradients": _maps(images, slopes, jets), "images": _maps(images, means, jets)}
    save(saliency_figure(**shown, title=title, caption=caption), shown, stem)


def plot_importance(
    data: tuple[Path, ...],
    networks: tuple[Path, ...],
    title: str,
    caption: Caption,
    stem: Path,
    runtime: Runtime,
) -> None:
    """Draw how much single particles change the logit, each jet by the network that never saw it.

    Args:
        data: folders of all samples.
        networks: ``training/<model>/fold<k>`` of all folds of a network on sets of particles.
        title: of the model.
        caption: above the axes.
        stem: figure without suffix.
        runtime: where the networks compute, and whose code makes them.

    Raises:
        InputError: if the networks are not one per fold and on sets, or a class has no positive
            sum of weights.
    """
    trained = load_folds(networks, runtime.factory)
    job = trained[0].job
    if inputs_of(job.model) != "sets":
        raise _wrong_kind(job.model, "sets of particles")
    source, labels = _open(data, job.model)
    jets = {name: _some(_jets(labels, name, data), REMOVALS, job.seed) for name in _CLASSES}
    importance = importance_of(
        {name: _removals(trained, source, js, runtime.device) for name, js in jets.items()}
    )
    save(importance_figure(importance, title, caption), importance, stem)


def _images(model: Model) -> Images:
    if not isinstance(model, Cnn | OwnOnImages):
        raise _wrong_kind(model, "images")
    return model.images


def _wrong_kind(model: Model, asked: str) -> InputError:
    return InputError(
        f"plots: a network of architecture {model.architecture!r} reads {inputs_of(model)}, "
        f"but this figure is about networks on {asked}"
    )


def _open(data: Sequence[Path], model: Model) -> tuple[Source, Labels]:
    samples = [open_columns(folder) for folder in data]
    return open_source(samples, model), read_labels(samples)


def _jets(labels: Labels, name: str, data: Sequence[Path]) -> Jets:
    """All jets of a class."""
    events = np.flatnonzero(labels.label == _CLASSES[name])
    weight = labels.weight[events]
    if not weight.sum() > 0:
        raise InputError(
            f"plots: the weights of {len(events)} {name} events in {', '.join(map(str, data))} "
            f"sum up to {weight.sum():g}; check the selection and the weights"
        )
    return Jets(events, weight, labels.fold[events])


def _some(jets: Jets, most: int, seed: int) -> Jets:
    """At most so many jets, all equally likely, whatever their weight, sample or fold."""
    if len(jets.events) <= most:
        return jets
    chosen = np.random.default_rng(seed).choice(len(jets.events), most, replace=False)
    return jets.take(np.sort(chosen))


def _seen(source: Source, jets: Jets) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images of the jets, and their weights, in batches."""
    for batch in jets.batches():
        (images,) = source.take(batch.events)
        yield images.numpy(), batch.weight


def _gradients(
    trained: Sequence[Trained], source: Source, jets: Jets, device: torch.device
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Gradients by the networks that never saw the jets, and the jets' weights, in batches."""
    for network, batch in _unseen(trained, jets, device):
        (images,) = to_device(source.take(batch.events), device)
        yield gradients(network, images).cpu().numpy(), batch.weight


def _removals(
    trained: Sequence[Trained], source: Source, jets: Jets, device: torch.device
) -> Removals:
    """Effects of all particles, by the networks that never saw them."""
    pieces = []
    for network, batch in _unseen(trained, jets, device):
        features, momenta, counts = source.take(batch.events)
        effects = removal_effects(network, *to_device((features, momenta, counts), device))
        places = positions(momenta.numpy(), counts.numpy())
        pieces.append(Removals(effects, places, counts.numpy(), batch.weight))
    columns = zip(*(vars(piece).values() for piece in pieces), strict=True)
    return Removals(*map(np.concatenate, columns))


def _unseen(
    trained: Sequence[Trained], jets: Jets, device: torch.device
) -> Iterator[tuple[nn.Module, Jets]]:
    """Each network on the device, with the jets of its fold in batches."""
    for each in trained:
        network = each.network.to(device)
        for batch in jets.of_fold(each.fold).batches():
            yield network, batch


def _maps(images: Images, means: Mapping[str, Mean], jets: Mapping[str, Jets]) -> JetMaps:
    return JetMaps(
        channels=images.channels,
        steps=images.steps,
        half_width=images.half_width,
        signal=means["signal"],
        background=means["background"],
        jets=(len(jets["signal"].events), len(jets["background"].events)),
    )
