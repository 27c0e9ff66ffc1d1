"""Networks with their preprocessing as one module on plain tables: what is exported.

Particles come in a table (jets, places, fields) with a mask that is True for particles. What stands
in places without a particle is never read, and their number is free.
"""

import torch
from jaxtyping import Bool, Float32
from torch import Tensor, nn

from hepml.config import Cnn, Model, OwnOnImages, OwnOnSets, ParticleTransformer
from hepml.inputs import image_settings
from hepml.inputs.images import LARGEST, ImageSettings, draw
from hepml.inputs.images import needed_fields as image_fields
from hepml.inputs.segments import EXPORTABLE, PaddedSegments
from hepml.inputs.sets import MOMENTUM, SetRecipe, feature_columns
from hepml.inputs.sets import needed_fields as set_fields
from hepml.models.ensemble import members_of, together
from hepml.models.padded import PaddedParticleTransformer
from hepml.models.particle_transformer import ParticleTransformer as PackedParticleTransformer
from hepml.training.checkpoint import Trained

Outputs = tuple[Float32[Tensor, " events"], Float32[Tensor, " events"]]


class Graph(nn.Module):
    """A network from its inputs as stored to its outputs as used.

    Args:
        network: in evaluation mode.
        trained: whose prior odds and calibration make a ratio of the logit.
    """

    def __init__(self, network: nn.Module, trained: Trained) -> None:
        super().__init__()
        self.network = network
        self.log_prior_odds = trained.log_prior_odds
        self.slope, self.offset = trained.line.slope, trained.line.offset

    def outputs(self, logit: Float32[Tensor, " events"]) -> Outputs:
        """Logit, and calibrated ln p(x|S)/p(x|B), as :meth:`Trained.llr` gives it."""
        return logit, self.slope * (logit - self.log_prior_odds) + self.offset


class OnVariables(Graph):
    """Variables → outputs; the standardisation is the network's."""

    def forward(self, features: Float32[Tensor, "events features"]) -> Outputs:
        """Outputs of each event."""
        return self.outputs(self.network(features))


class OnImages(Graph):
    """Particles → jet images → outputs.

    Args:
        network: on images.
        trained: whose prior odds and calibration make a ratio of the logit.
        settings: of the images.
    """

    def __init__(self, network: nn.Module, trained: Trained, settings: ImageSettings) -> None:
        super().__init__(network, trained)
        self.settings = settings

    def forward(
        self,
        particles: Float32[Tensor, "jets places fields"],
        real: Bool[Tensor, "jets places"],
    ) -> Outputs:
        """Outputs of each jet; NaN for one with a momentum that ``jet_images`` would refuse."""
        sound = (particles.abs() < LARGEST).all(-1)
        columns = _blanked(particles, real & sound).unbind(-1)
        jets, settings = particles.shape[0], self.settings
        size = (jets, len(settings.channels), settings.pixels, settings.pixels)
        images = particles.new_zeros(size)
        draw(images, columns, PaddedSegments(jets), settings)
        return self.outputs(_broken_as_nan(self.network(images), real, sound))


class OnSets(Graph):
    """Particles → the hardest of each jet with their features → outputs.

    Args:
        network: on sets; takes ``features``, ``momenta`` and, where particles are, a mask.
        trained: whose prior odds and calibration make a ratio of the logit.
        recipe: of the features.
    """

    def __init__(self, network: nn.Module, trained: Trained, recipe: SetRecipe) -> None:
        super().__init__(network, trained)
        self.recipe = recipe

    def forward(
        self,
        particles: Float32[Tensor, "jets places fields"],
        real: Bool[Tensor, "jets places"],
    ) -> Outputs:
        """Outputs of each jet; NaN for one with a particle that ``particle_sets`` would refuse."""
        fields = set_fields(self.recipe)
        energy = particles[..., fields.index("energy")]
        sound = (particles.abs() < torch.inf).all(-1) & (energy >= 0)
        particles = _blanked(particles, real & sound)
        names = [fields.index(name) for name in MOMENTUM]
        # in float64, as particle_sets adds up
        sums = particles[..., names].double().sum(1).float()
        kept, there = self._hardest(particles, real)
        columns = dict(zip(fields, kept.unbind(-1), strict=True))
        of_jet = dict(zip(MOMENTUM, sums[:, None].unbind(-1), strict=True))
        features = torch.stack(
            list(feature_columns(columns, of_jet, self.recipe, EXPORTABLE)), dim=-1
        )
        logit = self.network(features, kept[..., names], there)
        return self.outputs(_broken_as_nan(logit, real, sound))

    def _hardest(
        self, particles: Float32[Tensor, "jets places fields"], real: Bool[Tensor, "jets places"]
    ) -> tuple[Float32[Tensor, "jets places fields"], Bool[Tensor, "jets places"]]:
        """Order by falling transverse momentum; the mask hides what is beyond the maximum.

        In ONNX ties keep their order, as in ``particle_sets``: TopK is specified so.
        """
        fields = set_fields(self.recipe)
        px, py = (particles[..., fields.index(name)] for name in ("px", "py"))
        pt = torch.where(real, (px * px + py * py).sqrt(), -1.0)
        order = pt.sort(dim=1, descending=True).indices
        rank = torch.arange(pt.shape[1], device=pt.device)
        ordered = particles.gather(1, order[..., None].expand(-1, -1, len(fields)))
        return ordered, real.gather(1, order) & (rank < self.recipe.maximum)


class Packed(nn.Module):
    """A user's own network on packed sets, given padded ones.

    Args:
        network: takes features, momenta and counts.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        features: Float32[Tensor, "jets places features"],
        momenta: Float32[Tensor, "jets places 4"],
        real: Bool[Tensor, "jets places"],
    ) -> Tensor:
        """What the network gives."""
        return self.network(features[real], momenta[real], real.sum(1))


def make_graph(trained: Trained) -> Graph:
    """Put the preprocessing in front of a trained network, which is shared, not copied.

    Args:
        trained: the network, in evaluation mode, or an ensemble.
    """
    model, network = trained.job.model, trained.network
    if isinstance(model, Cnn | OwnOnImages):
        return OnImages(network, trained, image_settings(model))
    if isinstance(model, ParticleTransformer | OwnOnSets):
        padded = together([_on_tables(member) for member in members_of(network)])
        return OnSets(padded, trained, SetRecipe(model.features, model.maximum))
    return OnVariables(network, trained)


def _on_tables(network: nn.Module) -> nn.Module:
    """A network on packed particles, given padded ones."""
    if isinstance(network, PackedParticleTransformer):
        return PaddedParticleTransformer(network)
    return Packed(network)


def particle_fields(model: Model) -> tuple[str, ...]:
    """Columns of the particles that the graph of a network takes; none if it takes variables."""
    if isinstance(model, Cnn | OwnOnImages):
        return image_fields(image_settings(model))
    if isinstance(model, ParticleTransformer | OwnOnSets):
        return set_fields(SetRecipe(model.features, model.maximum))
    return ()


def _blanked(
    particles: Float32[Tensor, "jets places fields"], kept: Bool[Tensor, "jets places"]
) -> Float32[Tensor, "jets places fields"]:
    """Zero where no particle is kept: what stands there may be NaN."""
    return torch.where(kept[..., None], particles, 0.0)


def _broken_as_nan(
    logit: Float32[Tensor, " jets"],
    real: Bool[Tensor, "jets places"],
    sound: Bool[Tensor, "jets places"],
) -> Float32[Tensor, " jets"]:
    """NaN for jets with a particle that is not sound."""
    return torch.where((sound | ~real).all(1), logit, torch.nan)
