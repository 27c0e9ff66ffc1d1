"""Events that an exported network is tried on, as torch takes them and as its graph takes them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn

from hepml.config import Cnn, Mlp, Model, OwnOnFeatures, OwnOnImages
from hepml.export.graphs import particle_fields
from hepml.inputs import OnParticles, preparation
from hepml.inputs.sets import MOMENTUM, SetRecipe
from hepml.inputs.sets import needed_fields as set_fields
from hepml.models.ensemble import members_of

_NUDGE = 2.0**-20  # eight units of the last place of a float32
_COUNTS = (0, 1, 2, 3)  # particles of jets that are always among the synthetic ones


@runtime_checkable
class Events(Protocol):
    """Some events."""

    def __len__(self) -> int:
        """Their number."""

    def arguments(self) -> tuple[Tensor, ...]:
        """What the network in torch takes."""

    def feeds(self) -> dict[str, np.ndarray]:
        """What the graph takes, by name."""

    def take(self, chosen: Int64[np.ndarray, " chosen"]) -> "Events":
        """Some of them, the same one several times if asked for."""

    def nudged(self, random: np.random.Generator) -> "Events":
        """The same, each number changed by a few units of its last place."""


@dataclass(frozen=True)
class VariableEvents:
    """Events of named variables."""

    values: Float32[np.ndarray, "events features"]

    def __len__(self) -> int:
        return len(self.values)

    def arguments(self) -> tuple[Tensor, ...]:
        """What the network in torch takes."""
        return (torch.from_numpy(self.values),)

    def feeds(self) -> dict[str, np.ndarray]:
        """What the graph takes, by name."""
        return {"features": self.values}

    def take(self, chosen: Int64[np.ndarray, " chosen"]) -> "VariableEvents":
        """Some of them, the same one several times if asked for."""
        return VariableEvents(self.values[chosen])

    def nudged(self, random: np.random.Generator) -> "VariableEvents":
        """The same, each number changed by a few units of its last place."""
        return VariableEvents(_nudged(self.values, random))


@dataclass(frozen=True)
class JetEvents:
    """Jets: particles one jet after another, with the columns ``fields``."""

    model: OnParticles
    fields: Sequence[str]
    values: Float32[np.ndarray, "particles fields"]
    counts: Int64[np.ndarray, " jets"]

    def __len__(self) -> int:
        return len(self.counts)

    def arguments(self) -> tuple[Tensor, ...]:
        """What the network in torch takes: made by the code that trains and scores."""
        return preparation(self.model, self.fields)(self.values, self.counts)

    def feeds(self) -> dict[str, np.ndarray]:
        """What the graph takes, by name; places without a particle hold NaN."""
        real = self._real()
        columns = [list(self.fields).index(name) for name in particle_fields(self.model)]
        table = np.full((*real.shape, len(columns)), np.nan, np.float32)
        table[real] = self.values[:, columns]
        return {"particles": table, "real": real}

    def take(self, chosen: Int64[np.ndarray, " chosen"]) -> "JetEvents":
        """Some of them, the same one several times if asked for."""
        ends = np.cumsum(self.counts)
        rows = [np.arange(ends[jet] - self.counts[jet], ends[jet]) for jet in chosen]
        values = self.values[np.concatenate(rows)] if rows else self.values[:0]
        return replace(self, values=values, counts=self.counts[chosen])

    def nudged(self, random: np.random.Generator) -> "JetEvents":
        """The same, each number changed by a few units of its last place."""
        return replace(self, values=_nudged(self.values, random))

    def _real(self) -> Bool[np.ndarray, "jets places"]:
        """Mask of the places; one more than the longest jet needs."""
        return np.arange(self.counts.max(initial=0) + 1) < self.counts[:, None]


def synthetic(model: Model, network: nn.Module, events: int, random: np.random.Generator) -> Events:
    """Events out of the air; jets with none, few and more particles than are kept among them.

    Args:
        model: settings of the network.
        network: whose standardisation says what its variables are like.
        events: their number.
        random: source of them.
    """
    if isinstance(model, Mlp | OwnOnFeatures):
        first = members_of(network)[0]  # of an ensemble, all have the same standardisation
        mean, deviation = (first.get_buffer(name).numpy() for name in ("mean", "deviation"))
        drawn = random.normal(size=(events, len(mean)))
        return VariableEvents((mean + deviation * drawn).astype(np.float32))
    longest = 60 if isinstance(model, Cnn | OwnOnImages) else model.maximum + 10
    counts = random.integers(4, 60, events)
    some = (*_COUNTS, longest)[:events]
    counts[: len(some)] = some
    fields = (*MOMENTUM, *_others(model))
    return JetEvents(model, fields, _particles(fields, counts, random), counts)


def _others(model: OnParticles) -> tuple[str, ...]:
    """Fields of particles beside the momenta."""
    if isinstance(model, Cnn | OwnOnImages):
        return ("charge",)
    return set_fields(SetRecipe(model.features))[len(MOMENTUM) :]


def _particles(
    fields: Sequence[str], counts: Int64[np.ndarray, " jets"], random: np.random.Generator
) -> Float32[np.ndarray, "particles fields"]:
    """Massless particles about an axis, of pT 0.5 GeV and more; other fields fit their names."""
    size = int(counts.sum())
    deta, dphi = random.normal(0, 0.25, (2, size))
    eta = np.repeat(random.uniform(-2, 2, len(counts)), counts) + deta
    phi = np.repeat(random.uniform(-np.pi, np.pi, len(counts)), counts) + dphi
    pt = 0.5 + random.exponential(15, size)
    made = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "energy": pt * np.cosh(eta),
        "deta": deta,
        "dphi": dphi,
        "charge": random.integers(-1, 2, size),
    }
    for name in fields:
        if name.startswith("is"):
            made[name] = random.integers(0, 2, size)
    columns = [made.get(name, random.normal(0, 0.3, size)) for name in fields]
    return np.stack(columns, axis=1).astype(np.float32)


def _nudged(
    values: Float32[np.ndarray, "rows columns"], random: np.random.Generator
) -> Float32[np.ndarray, "rows columns"]:
    factor = 1 + random.uniform(-_NUDGE, _NUDGE, values.shape)
    return (values * factor).astype(np.float32)
