"""Networks: pure modules that return logits."""

from dataclasses import replace

from torch import nn

from hepml.config import Cnn as CnnSettings
from hepml.config import Mlp as MlpSettings
from hepml.config import Model, Own
from hepml.config import ParticleTransformer as ParticleTransformerSettings
from hepml.errors import InputError
from hepml.inputs.features import Standardisation
from hepml.inputs.sets import SetRecipe
from hepml.models.cnn import Cnn
from hepml.models.mlp import Mlp
from hepml.models.own import Factory, build_own
from hepml.models.particle_transformer import PUBLISHED, SMALL, ParticleTransformer


def build(
    settings: Model,
    standardisation: Standardisation | None = None,
    factory: Factory | None = None,
) -> nn.Module:
    """Build the network that the settings describe.

    Args:
        settings: of the network.
        standardisation: of the variables of a network that reads such; without it one that
            changes nothing, to be overwritten by stored weights. Others have none.
        factory: what makes a user's own network. Settings only name it: code runs only if the
            caller imported it.

    Raises:
        InputError: if a user's own network has no factory here, or it fails.
    """
    if isinstance(settings, CnnSettings):
        return _cnn(settings)
    if isinstance(settings, ParticleTransformerSettings):
        return _particle_transformer(settings)
    if isinstance(settings, Own):
        return build_own(settings, _allowed(settings, factory), standardisation)
    return _mlp(settings, standardisation)


def _allowed(settings: Own, factory: Factory | None) -> Factory:
    if factory is None:
        raise InputError(
            f"this network is made by {settings.factory}, and to read it runs that file: if you "
            f"trust it, give --factory {settings.factory}"
        )
    return factory


def _mlp(settings: MlpSettings, standardisation: Standardisation | None) -> Mlp:
    scale = standardisation or Standardisation.identity(len(settings.features))
    return Mlp(scale, settings.hidden, settings.dropout)


def _cnn(settings: CnnSettings) -> Cnn:
    # a typical pixel: a thousandth of a jet of unit pT, a GeV, or a particle
    pt = 1e-3 if "normalise" in settings.images.steps else 1.0
    scale = [1.0 if channel == "multiplicity" else pt for channel in settings.images.channels]
    return Cnn(scale, settings.width, settings.stages, settings.blocks, settings.dropout)


def _particle_transformer(settings: ParticleTransformerSettings) -> ParticleTransformer:
    size = PUBLISHED if settings.size == "published" else SMALL
    names = SetRecipe(settings.features).names
    return ParticleTransformer(len(names), replace(size, pairs=settings.pairs))
