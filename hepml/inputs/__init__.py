"""What networks take in: variables, jet images or sets of particles."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from hepml.config import (
    Cnn,
    Mlp,
    Model,
    OwnOnFeatures,
    OwnOnImages,
    OwnOnSets,
    ParticleTransformer,
)
from hepml.data.store import Columns
from hepml.inputs.images import ImageSettings, jet_images
from hepml.inputs.kept import KeptParticles, OpenRoom
from hepml.inputs.packed_sets import particle_sets
from hepml.inputs.resident import ResidentParticles, ResidentTable
from hepml.inputs.sets import SetRecipe
from hepml.inputs.source import (
    FeatureSource,
    ParticleSource,
    Prepare,
    Source,
    particle_counts,
    to_device,
)

OnParticles = Cnn | OwnOnImages | ParticleTransformer | OwnOnSets

_AT_ONCE = 8192  # events that are made resident at a time
_SHARE = 0.5  # of a GPU's free memory that resident events may take


def open_source(samples: Sequence[Columns], model: Model) -> Source:
    """Open what a network reads of some samples; it is made on the CPU, batch by batch.

    Args:
        samples: opened columns; events are numbered through them in this order.
        model: settings of the network.
    """
    if isinstance(model, Mlp | OwnOnFeatures):
        return FeatureSource(samples, model.features)
    return ParticleSource(samples, preparation(model, samples[0].particles().fields))


def preparation(model: OnParticles, fields: Sequence[str]) -> Prepare:
    """What makes the arguments of a network of packed particles, on the CPU.

    Args:
        model: settings of the network.
        fields: columns of the particles.
    """
    if isinstance(model, Cnn | OwnOnImages):
        return _images(model, fields)
    return _sets(model, fields)


def on_device(
    samples: Sequence[Columns],
    model: Model,
    device: torch.device,
    room: OpenRoom | None = None,
) -> Source:
    """Like :func:`open_source`, held on a GPU if that takes half of its free memory at most.

    Args:
        samples: opened columns; events are numbered through them in this order.
        model: settings of the network.
        device: where the network is.
        room: opens files for what is worth keeping where events are asked for again and again and
            memory does not hold them: features of particles. None if each is asked for once.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if resident_bytes(samples, model) < _SHARE * free:
            return make_resident(samples, model, device)
    source = open_source(samples, model)
    if room is None or not isinstance(model, ParticleTransformer | OwnOnSets):
        return source
    return KeptParticles(source, np.minimum(particle_counts(samples), model.maximum), room)


def resident_bytes(samples: Sequence[Columns], model: Model) -> int:
    """Memory that :func:`make_resident` will take."""
    if isinstance(model, Mlp | OwnOnFeatures):
        return 4 * len(model.features) * sum(sample.events for sample in samples)
    particles = sum(int(sample.particles().offsets[-1]) for sample in samples)
    if isinstance(model, Cnn | OwnOnImages):
        return 4 * len(samples[0].particles().fields) * particles
    return 4 * (len(SetRecipe(model.features).names) + 4) * particles  # 4 components of momentum


def make_resident(samples: Sequence[Columns], model: Model, device: torch.device) -> Source:
    """Read all events and hold them on a device; batches are made there.

    Args:
        samples: opened columns; events are numbered through them in this order.
        model: settings of the network.
        device: where the network is.
    """
    if isinstance(model, Mlp | OwnOnFeatures):
        table = [inputs[0] for inputs in _all_inputs(open_source(samples, model), samples)]
        return ResidentTable(torch.cat(table).to(device))
    fields = samples[0].particles().fields
    if isinstance(model, ParticleTransformer | OwnOnSets):
        source = ParticleSource(samples, _sets(model, fields))
        features, momenta, counts = zip(*_all_inputs(source, samples, device), strict=True)
        return ResidentParticles(
            (torch.cat(features), torch.cat(momenta)),
            torch.cat(counts).numpy(),
            lambda packed, of_each: (*packed, of_each),
        )
    settings = image_settings(model)

    def draw(packed: tuple[Tensor, ...], counts: Tensor) -> tuple[Tensor, ...]:
        return (jet_images(packed[0], counts.to(device), fields, settings).images,)

    source = ParticleSource(samples, lambda v, n: (torch.from_numpy(v), torch.from_numpy(n)))
    values, counts = zip(*_all_inputs(source, samples, device), strict=True)
    return ResidentParticles((torch.cat(values),), torch.cat(counts).numpy(), draw)


def image_settings(model: Cnn | OwnOnImages) -> ImageSettings:
    """The images of a network."""
    images = model.images
    return ImageSettings(images.pixels, images.half_width, images.channels, images.steps)


def _all_inputs(
    source: Source, samples: Sequence[Columns], device: torch.device | None = None
) -> Iterator[tuple[Tensor, ...]]:
    """Inputs of all events in their order, some at a time."""
    events = sum(sample.events for sample in samples)
    for first in range(0, max(events, 1), _AT_ONCE):
        inputs = source.take(np.arange(first, min(first + _AT_ONCE, events)))
        yield to_device(inputs, device or torch.device("cpu"))


def _images(model: Cnn | OwnOnImages, fields: Sequence[str]) -> Prepare:
    settings = image_settings(model)

    def prepare(values: np.ndarray, counts: np.ndarray) -> tuple[Tensor, ...]:
        return (torch.from_numpy(jet_images(values, counts, fields, settings).images),)

    return prepare


def _sets(model: ParticleTransformer | OwnOnSets, fields: Sequence[str]) -> Prepare:
    recipe = SetRecipe(model.features, model.maximum)

    def prepare(values: np.ndarray, counts: np.ndarray) -> tuple[Tensor, ...]:
        sets = particle_sets(values, counts, fields, recipe)
        return tuple(map(torch.from_numpy, (sets.features, sets.momenta, sets.counts)))

    return prepare
