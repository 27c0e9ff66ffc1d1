"""From a module to an ONNX model, by torch's own exporter."""

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hepml.errors import InputError
from hepml.export.graphs import Graph

if TYPE_CHECKING:
    import onnx

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_QUIET = (  # say that torchvision is absent, and which constants stay unfolded
    "torch.onnx._internal.exporter._registration",
    "onnxscript.optimizer._constant_folding",
    "onnx_ir",
    "torch.fx.experimental.symbolic_shapes",
)
_EXPECTED = (  # of torch 2.13 about itself, and about names that inputs share
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),
    (r"# The axis name: \w+ will not be used", UserWarning),
)


def require_packages() -> None:
    """Raise InputError unless all that an export needs is installed."""
    absent = [name for name in _PACKAGES if find_spec(name) is None]
    if absent:
        raise InputError(
            f"hepml export needs {', '.join(absent)}, which is not installed: "
            "pip install -c constraints.txt -e '.[onnx]'"
        )


def convert(graph: Graph, fields: int, features: int, strict: bool) -> "onnx.ModelProto":
    """Export a graph with free numbers of events and, for jets, of places.

    Args:
        graph: in evaluation mode, on the CPU.
        fields: of a particle; 0 for a graph on variables.
        features: variables of an event, of a graph on such.
        strict: analyse the code instead of following one call, as ``len`` of a batch wants; our
            own modules do not need it, and it takes longer.

    Raises:
        Exception: whatever torch raises if it cannot export the graph.
    """
    jets, places = torch.export.Dim("jets"), torch.export.Dim("places")
    shapes: dict[str, dict[int, torch.export.Dim]] = {"features": {0: jets}}
    arguments: tuple[Tensor, ...] = (torch.rand(3, features),)
    if fields:
        shapes = {"particles": {0: jets, 1: places}, "real": {0: jets, 1: places}}
        arguments = (torch.rand(3, 5, fields), torch.rand(3, 5) > 0.3)
    with _quiet(), torch.no_grad():
        program = torch.export.export(graph, arguments, dynamic_shapes=shapes, strict=strict)
        converted = torch.onnx.export(
            program,
            arguments,
            input_names=list(shapes),
            output_names=["logit", "llr"],
            dynamo=True,
            verbose=False,
        )
    if converted is None:
        raise RuntimeError("torch.onnx.export gave no program")
    return _tidied(converted.model_proto)


def _tidied(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Name the free axes; drop the exporter's notes, which hold paths of this machine."""
    graph = model.graph
    axes = ("jets", "places")
    names = {d.dim_param: axis for d, axis in zip(_axes(graph.input[0]), axes, strict=False)}
    for value in (*graph.input, *graph.output):
        for dimension in _axes(value):
            if dimension.HasField("dim_param"):
                dimension.dim_param = names.get(dimension.dim_param, axes[0])
    graph.ClearField("value_info")  # sizes in between, by the old names
    for noted in (model, graph, *graph.input, *graph.output, *graph.initializer, *graph.node):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    return model


def _axes(value: "onnx.ValueInfoProto") -> Any:  # noqa: ANN401
    """Dimensions of an input or output."""
    return value.type.tensor_type.shape.dim


class Session:
    """An ONNX model in onnxruntime, on one thread of the CPU.

    Args:
        model: serialised.
    """

    def __init__(self, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # errors come as exceptions; printing them adds nothing
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, feeds: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Logit and log-likelihood ratio of each event."""
        logit, llr = self._session.run(["logit", "llr"], feeds)
        return logit, llr


def reason(error: BaseException) -> str:
    """What an exporter's error is about: the first line of the error at its root."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines: Sequence[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}".removesuffix(": ")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says about itself from users."""
    loggers = [logging.getLogger(name) for name in _QUIET]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message, category in _EXPECTED:
            warnings.filterwarnings("ignore", message, category)
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            with redirect_stderr(io.StringIO()):  # where a failing export prints what it traced
                yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
