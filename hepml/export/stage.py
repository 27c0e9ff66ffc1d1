"""The export stage: a trained network to one ONNX file that needs neither hepml nor torch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hepml.artifacts import new_file
from hepml.config import Mlp, Own, OwnOnFeatures
from hepml.data.store import Columns, open_columns
from hepml.errors import InputError
from hepml.export.convert import Session, convert, reason, require_packages
from hepml.export.description import metadata, summary
from hepml.export.events import Events, JetEvents, VariableEvents, synthetic
from hepml.export.graphs import Graph, make_graph, particle_fields
from hepml.export.parity import Parity, compare
from hepml.inputs.source import FeatureSource, ParticleSource, particle_counts
from hepml.models.own import Factory
from hepml.training.checkpoint import Trained, load

if TYPE_CHECKING:
    import onnx

TRIED = 500  # events of each sample, and synthetic ones


def export(
    network: Path,
    data: Sequence[Path],
    output: Path,
    factory: Factory | None,
    report: Callable[[str], None],
) -> None:
    """Export one network with its preprocessing, and compare it with torch before it is kept.

    Args:
        network: folder that ``hepml train`` wrote.
        data: columns of samples to compare on, besides synthetic events.
        output: file, whose properties say what goes in and comes out.
        factory: what makes the network, if it is a user's own.
        report: is told how well the two agree.

    Raises:
        InputError: if packages are missing, an own network cannot be exported, or onnxruntime
            gives other logits than torch; then there is no file.
    """
    require_packages()
    trained = load(network, factory)
    model = _converted(trained, network)
    session = Session(model.SerializeToString())
    random = np.random.default_rng(1)
    samples: dict[str, Events] = {
        "synthetic events": synthetic(trained.job.model, trained.network, TRIED, random)
    }
    for folder in data:
        samples[str(folder)] = _events(open_columns(folder), trained, random)
    worst = Parity(0, 0.0, 0)
    for name, events in samples.items():
        found = compare(trained.network, session, trained.llr, events)
        report(f"{name}: {found.told()}")
        if not found.holds:
            raise InputError(f"{network}: not exported: {name}: {found.told()}")
        difference = max(worst.difference, found.difference)
        worst = Parity(worst.events + found.events, difference, worst.rounded + found.rounded)
    _describe(model, trained, worst)
    with new_file(output) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _converted(trained: Trained, folder: Path) -> "onnx.ModelProto":
    """The network as an ONNX model; torch may be unable to export a user's own."""
    settings = trained.job.model
    trained.network.requires_grad_(False)
    graph = make_graph(trained).eval()
    features = len(settings.features) if isinstance(settings, Mlp | OwnOnFeatures) else 0
    fields = len(particle_fields(settings))
    if not isinstance(settings, Own):
        return convert(graph, fields, features, strict=False)
    try:
        return _by_either_way(graph, fields, features)
    except Exception as error:
        raise InputError(
            f"{folder}: {settings.factory}: torch cannot export this network ({reason(error)}); "
            "docs/onnx.md says what it can"
        ) from error


def _by_either_way(graph: Graph, fields: int, features: int) -> "onnx.ModelProto":
    """A user's code may be clear to torch from one call, or only when it is analysed."""
    try:
        return convert(graph, fields, features, strict=False)
    except Exception:
        return convert(graph, fields, features, strict=True)


def _events(columns: Columns, trained: Trained, random: np.random.Generator) -> Events:
    """Some events of a sample; of jets those with the fewest and the most particles, too."""
    model, number = trained.job.model, min(TRIED, columns.events)
    if not number:
        raise InputError(f"{columns.folder}: has no events to compare on")
    chosen = random.choice(columns.events, number, replace=False)
    if isinstance(model, Mlp | OwnOnFeatures):
        (features,) = FeatureSource([columns], model.features).take(np.sort(chosen))
        return VariableEvents(features.numpy())
    counts = particle_counts([columns])
    chosen = np.unique([*chosen, counts.argmin(), counts.argmax()])
    source = ParticleSource([columns], lambda values, counts: ())  # noqa: ARG005 - only gathers
    return JetEvents(model, columns.particle_fields, *source.gather(chosen))


def _describe(model: "onnx.ModelProto", trained: Trained, parity: Parity) -> None:
    """Write into the file what it is."""
    properties = metadata(trained, parity)
    model.producer_name, model.producer_version = "hepml", properties["hepml_version"]
    model.doc_string = summary(trained)
    for name, text in properties.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, text
