"""Networks that a user's own Python file makes. To import a factory is to run that file.

Settings and stored networks only *name* a factory. It runs where somebody asks for it by
:func:`import_factory`: see docs/decisions/0006-own-code.md.
"""

import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from hepml.config import OwnOnFeatures, OwnOnImages, OwnOnSets
from hepml.errors import InputError
from hepml.factory import Place, locate
from hepml.inputs.features import Standardisation
from hepml.inputs.sets import FEATURES

OwnModel = OwnOnFeatures | OwnOnImages | OwnOnSets


@dataclass(frozen=True)
class Factory:
    """A user's function that makes a network; to have it means that its file was run.

    Attributes:
        name: as in the config.
        file: that defines it.
        sha256: of the file.
        function: gives a module when called with keyword arguments.
    """

    name: str
    file: Path
    sha256: str
    function: Callable[..., object]


def told(error: BaseException, file: Path) -> str:
    """What a user's code raised, and the last line of the file that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    where = f" ({file}, line {lines[-1]})" if lines else ""
    mend = ""
    if isinstance(error, ModuleNotFoundError):
        mend = "; only installed modules can be imported there, not files beside it"
    return f"{type(error).__name__}: {error}{where}{mend}"


def import_factory(name: str) -> Factory:
    """Run a user's file and give the function it defines.

    Args:
        name: as in the config; see :func:`hepml.factory.locate`.

    Raises:
        InputError: if it is not found, or the file raises.
    """
    place = locate(name)
    source = place.file.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    try:
        function = getattr(_imported(place, source, digest), place.function, None)
    except (Exception, SystemExit) as error:
        raise InputError(f"{name}: cannot be imported: {told(error, place.file)}") from error
    if not callable(function):
        raise InputError(f"{name}: expected a function, but that is {function!r}")
    return Factory(name, place.file, digest, function)


def _imported(place: Place, source: bytes, sha256: str) -> ModuleType:
    """Run the source that the digest belongs to, without a compiled copy beside it."""
    if place.module:
        return importlib.import_module(place.module)
    module = ModuleType(f"own_{sha256}")
    module.__file__ = str(place.file)
    sys.modules[module.__name__] = module  # dataclasses and others look for it there
    exec(compile(source, str(place.file), "exec"), module.__dict__)
    return module


class Standardised(nn.Module):
    """A network on variables that are shifted and scaled first.

    Args:
        network: takes variables of mean 0 and deviation 1, shape (batch, features).
        standardisation: of the variables; kept inside, as in :class:`hepml.models.mlp.Mlp`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, standardisation: Standardisation) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(standardisation.mean))
        self.register_buffer("deviation", torch.tensor(standardisation.deviation))
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """What the network gives; no shapes are promised for it here."""
        return self.network((features - self.mean) / self.deviation)


def build_own(
    settings: OwnModel, factory: Factory, standardisation: Standardisation | None
) -> nn.Module:
    """Let a user's function make a network.

    Args:
        settings: of the network.
        factory: the function.
        standardisation: of its variables, for a network on features; without it one that changes
            nothing.

    Raises:
        InputError: if the function does not take what it is given, raises, or gives no module.
    """
    arguments = _sizes(settings) | settings.options
    _require_call(factory, arguments)
    try:
        network = factory.function(**arguments)
    except Exception as error:
        raise InputError(f"{factory.name}: {told(error, factory.file)}") from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{factory.name}: expected a torch.nn.Module, got a {type(network).__name__}"
        )
    if not isinstance(settings, OwnOnFeatures):
        return network
    scale = standardisation or Standardisation.identity(len(settings.features))
    return Standardised(network, scale)


def _sizes(settings: OwnModel) -> dict[str, Any]:
    """Keyword arguments that follow from what the network reads."""
    if isinstance(settings, OwnOnFeatures):
        return {"features": len(settings.features)}
    if isinstance(settings, OwnOnImages):
        return {"channels": len(settings.images.channels), "pixels": settings.images.pixels}
    return {"features": len(FEATURES[settings.features])}


def _require_call(factory: Factory, arguments: Mapping[str, Any]) -> None:
    signature = inspect.signature(factory.function)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise InputError(
            f"{factory.name}: {error}; it is called with {', '.join(arguments)} and defined as "
            f"{factory.function.__name__}{signature}; what it needs beyond sizes belongs to options"
        ) from None
