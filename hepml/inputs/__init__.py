"""What networks take in: variables, jet images or sets of particles."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hepml.config import Cnn, Mlp, Model, ParticleTransformer
from hepml.data.store import Columns
from hepml.inputs.features import read_features
from hepml.inputs.images import ImageSettings, jet_images
from hepml.inputs.sets import SetRecipe, particle_sets
from hepml.inputs.source import FeatureSource, ParticleSource, Prepare, Source


def open_source(samples: Sequence[Columns], model: Model, device: torch.device) -> Source:
    """Open what a network reads of some samples; images and sets are made batch by batch.

    Args:
        samples: opened columns; events are numbered through them in this order.
        model: settings of the network.
        device: where the network is.
    """
    if isinstance(model, Mlp):
        table = torch.from_numpy(read_features(samples, model.features))
        return FeatureSource(table.to(device))
    fields = samples[0].particles().fields
    prepare = (
        _images(model, fields, device) if isinstance(model, Cnn) else _sets(model, fields, device)
    )
    return ParticleSource(samples, prepare)


def image_settings(model: Cnn) -> ImageSettings:
    """The images of a network."""
    images = model.images
    return ImageSettings(images.pixels, images.half_width, images.channels, images.steps)


def _images(model: Cnn, fields: Sequence[str], device: torch.device) -> Prepare:
    settings = image_settings(model)

    def prepare(values: np.ndarray, counts: np.ndarray) -> tuple[Tensor, ...]:
        images = jet_images(values, counts, fields, settings).images
        return (torch.from_numpy(images).to(device),)

    return prepare


def _sets(model: ParticleTransformer, fields: Sequence[str], device: torch.device) -> Prepare:
    recipe = SetRecipe(model.features, model.maximum)

    def prepare(values: np.ndarray, counts: np.ndarray) -> tuple[Tensor, ...]:
        sets = particle_sets(values, counts, fields, recipe)
        features, momenta = (torch.from_numpy(x).to(device) for x in (sets.features, sets.momenta))
        return features, momenta, torch.from_numpy(sets.counts)

    return prepare
