"""Every setting there is, as frozen models: the only definition.

Only what can change a result is a setting. Device, threads and paths of results belong to the
command line and the workflow profile. YAML is read by :mod:`hepml.configfile`; rules and the
command line exchange settings as JSON.
"""

from hepml.config.analysis import (
    Analysis,
    Cut,
    Inference,
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
    SimulationJob,
    TrainingJob,
)
from hepml.config.models import (
    Cnn,
    Images,
    Inputs,
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
    "Mlp",
    "Model",
    "Name",
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
    "Training",
    "TrainingJob",
    "inputs_of",
]
