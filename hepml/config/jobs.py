"""What each stage needs to know about one of its jobs; travels as JSON on the command line."""

from pydantic import Field

from hepml.config.analysis import Cut, Inference, Interference
from hepml.config.base import Name, Real, Settings
from hepml.config.models import Model
from hepml.config.samples import Data, Process, Sample, Simulation
from hepml.config.systematics import Systematic, Variation, WeightVariation


class DataJob(Settings):
    """What the data stage needs to know about one sample."""

    name: Name
    sample: Sample
    data: Data
    luminosity: Real
    folds: int
    weights: dict[Name, WeightVariation] = Field({}, description="systematic: factors to store")
    variation: Variation | None = None


class SimulationJob(Settings):
    """What the simulation needs to know about one file."""

    process: Process
    events: int
    seed: int
    simulation: Simulation


class VariationJob(Settings):
    """What it takes to change a simulated file of jets."""

    variation: Variation
    simulation: Simulation


class TrainingJob(Settings):
    """What the training stage needs to know about one network."""

    model: Model
    folds: int
    seed: int
    member: int = 0  # of the ensemble; the first is the network that there is without one
    factory_sha256: str | None = None  # of the file of an own network, when the job was made


class InferenceJob(Settings):
    """What the inference stage needs to know about one method."""

    method: Name
    title: str
    cuts: tuple[Cut, ...] = ()
    inference: Inference
    folds: int
    seed: int
    systematics: dict[Name, Systematic] = Field({}, description="each with its samples")


class InterferenceJob(InferenceJob):
    """What the fit of a signal that interferes needs to know about one method."""

    interference: Interference


class DiagnosticsJob(InferenceJob):
    """What the diagnostics of one method need to know."""

    variables: tuple[Name, ...]  # in which reweighting is tested
    complete: bool  # whether the network reads these variables
    exact: Name | None  # variable that holds the exact log-likelihood ratio
