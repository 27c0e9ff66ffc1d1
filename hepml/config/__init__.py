"""Every setting there is, as frozen models: the only definition.

Only what can change a result is a setting. Device, threads and paths of results belong to the
command line and the workflow profile. YAML is read by :mod:`hepml.configfile`; rules and the
command line exchange settings as JSON.
"""

from hepml.config.analysis import (
    Analysis,
    Cut,
    Inference,
    Interference,
    Plots,
)
from hepml.config.base import (
    RESERVED,
    Expression,
    Name,
    Real,
    Settings,
)
from hepml.config.jobs import (
    DataJob,
    DiagnosticsJob,
    InferenceJob,
    InterferenceJob,
    SimulationJob,
    TrainingJob,
    VariationJob,
)
from hepml.config.models import (
    Cnn,
    Images,
    Inputs,
    Map,
    Mlp,
    Model,
    Own,
    OwnOnFeatures,
    OwnOnImages,
    OwnOnSets,
    ParticleTransformer,
    Training,
    inputs_of,
)
from hepml.config.samples import (
    Data,
    Particles,
    Quantity,
    Runs,
    Sample,
    Schema,
    Simulation,
)
from hepml.config.systematics import (
    Objects,
    ObjectVariation,
    Systematic,
    Variation,
    WeightVariation,
    object_variations,
)

__all__ = [
    "RESERVED",
    "Analysis",
    "Cnn",
    "Cut",
    "Data",
    "DataJob",
    "DiagnosticsJob",
    "Expression",
    "Images",
    "Inference",
    "InferenceJob",
    "Inputs",
    "Interference",
    "InterferenceJob",
    "Map",
    "Mlp",
    "Model",
    "Name",
    "ObjectVariation",
    "Objects",
    "Own",
    "OwnOnFeatures",
    "OwnOnImages",
    "OwnOnSets",
    "ParticleTransformer",
    "Particles",
    "Plots",
    "Quantity",
    "Real",
    "Runs",
    "Sample",
    "Schema",
    "Settings",
    "Simulation",
    "SimulationJob",
    "Systematic",
    "Training",
    "TrainingJob",
    "Variation",
    "VariationJob",
    "WeightVariation",
    "inputs_of",
    "object_variations",
]
