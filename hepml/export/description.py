"""What an exported file says about itself, so that it can be used without the config."""

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from hepml.config import Cnn, Mlp, Model, OwnOnFeatures, OwnOnImages
from hepml.export.graphs import particle_fields
from hepml.export.parity import Parity
from hepml.inputs import OnParticles
from hepml.training.checkpoint import Trained

_UNITS = {
    **dict.fromkeys(("px", "py", "pz", "energy"), "GeV"),
    "charge": "e",
    "deta": "η less that of the jet",
    "dphi": "φ less that of the jet, rad",
    **dict.fromkeys(("d0val", "d0err", "dzval", "dzerr"), "as in the ntuples; JetClass has mm"),
}
_REFUSED = "the outputs of a jet with a value that is not finite or a negative energy are NaN"


def metadata(trained: Trained, parity: Parity) -> dict[str, str]:
    """Properties of the file: text, or JSON where it is more than a word.

    Args:
        trained: the network.
        parity: of the graph with it.
    """
    model = trained.job.model
    rest: dict[str, Any] = {
        "inputs": _inputs(model),
        "outputs": _outputs(trained),
        "settings": json.loads(trained.job.model_dump_json()),
        "parity": asdict(parity),
    }
    return {
        "hepml_version": version("hepml-workflow"),
        "architecture": model.architecture,
        "fold": str(trained.fold),
        "folds": str(trained.job.folds),
        "log_prior_odds": repr(trained.log_prior_odds),
        "calibration": json.dumps(asdict(trained.line)),
        **{name: json.dumps(content, ensure_ascii=False) for name, content in rest.items()},
    }


def summary(trained: Trained) -> str:
    """One paragraph on what the file is."""
    return (
        f"{trained.job.model.architecture} of fold {trained.fold} of {trained.job.folds}, with its "
        "preprocessing. It never saw the events of its fold; for others use the network of theirs. "
        "The properties of this file say what goes in and what comes out."
    )


def _inputs(model: Model) -> dict[str, Any]:
    """Axes, columns, units and meaning of each input."""
    if isinstance(model, Mlp | OwnOnFeatures):
        return {
            "features": {
                "axes": ["jets", "features"],
                "columns": list(model.features),
                "meaning": "variables as the config defines them, not standardised",
            }
        }
    fields = particle_fields(model)
    return {
        "particles": {
            "axes": ["jets", "places", "fields"],
            "columns": list(fields),
            "units": {name: _UNITS[name] for name in fields if name in _UNITS},
            "meaning": f"all particles of each jet in any order; {_seen(model)}; {_REFUSED}",
        },
        "real": {
            "axes": ["jets", "places"],
            "meaning": "true where there is a particle; what stands elsewhere is not read",
        },
    }


def _seen(model: OnParticles) -> str:
    """What becomes of the particles."""
    if isinstance(model, Cnn | OwnOnImages):
        return f"they become images of {model.images.pixels}×{model.images.pixels} pixels"
    return f"the network sees the hardest {model.maximum} of them"


def _outputs(trained: Trained) -> dict[str, str]:
    return {
        "logit": "of the network",
        "llr": "ln p(x|signal)/p(x|background), calibrated: "
        f"{trained.line.slope:g} * (logit - {trained.log_prior_odds:g}) + {trained.line.offset:g}; "
        "taken off is the logarithm of the prior odds of the training",
    }
