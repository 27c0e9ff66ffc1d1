"""What networks on images and on particles do not see of the jets: counted, and told."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from hepml.config import Cnn, Mlp, Model, OwnOnFeatures, OwnOnImages, OwnOnSets, ParticleTransformer
from hepml.data.store import Columns
from hepml.inputs import image_settings
from hepml.inputs.images import jet_images
from hepml.inputs.packed_sets import particle_sets
from hepml.inputs.sets import MOMENTUM, SetRecipe
from hepml.inputs.source import ParticleSource, particle_counts

EXAMINED = 20_000  # jets whose transverse momenta are added up
_AT_ONCE = 1024
_CUT_JETS, _CUT_PT, _OUTSIDE_PT = 0.01, 1e-3, 0.01  # shares from which on a reader is warned


@dataclass(frozen=True)
class Unseen:
    """Jets of which a network is not shown everything.

    Attributes:
        jets: all.
        empty: without particles.
        single: with one particle.
        cut: with more particles than the network takes.
        particles_cut: share of all particles that are cut away for that.
        examined: jets that the following is about.
        pt_unseen: share of their transverse momentum that is cut away, or outside of the image.
        blank: of them, jets that have particles, but none with transverse momentum that is seen.
        limit: the setting that is to blame, and its value.
    """

    jets: int
    empty: int
    single: int
    cut: int
    particles_cut: float
    examined: int
    pt_unseen: float
    blank: int
    limit: str

    def record(self) -> dict[str, Any]:
        """The same as plain numbers, with the warnings."""
        return {"unseen": asdict(self), "warnings": self.warnings()}

    def told(self) -> str:
        """One line for the log."""
        pt = f"{_percent(self.pt_unseen)} of the transverse momentum of {self.examined} of them"
        return (
            f"{self.jets} jets, of which {self.empty} have no particle, {self.single} have one, "
            f"{self.cut} have more than are kept ({_percent(self.particles_cut)} of all particles "
            f"cut away); {pt} is not seen ({self.limit}), and nothing of {self.blank}"
        )

    def warnings(self) -> list[str]:
        """What a reader of the results should know; empty if next to nothing is lost."""
        found = []
        if self.empty:
            found.append(
                f"{self.empty} of {self.jets} jets have no particle: the network is told nothing "
                "about them"
            )
        pt = f"{_percent(self.pt_unseen)} of the transverse momentum"
        if self.cut > _CUT_JETS * self.jets or (self.cut and self.pt_unseen > _CUT_PT):
            found.append(
                f"{self.cut} of {self.jets} jets have more particles than are kept, the hardest "
                f"({self.limit}): {_percent(self.particles_cut)} of all particles, with {pt}, are "
                "cut away"
            )
        if not self.cut and (self.blank or self.pt_unseen > _OUTSIDE_PT):
            found.append(
                f"{pt} lies outside of the images ({self.limit}), and {self.blank} of "
                f"{self.examined} jets have nothing in theirs"
            )
        return found


def find_unseen(
    samples: Sequence[Columns], model: Model, events: Int64[np.ndarray, " events"]
) -> Unseen | None:
    """Count what a network does not see of some events.

    Numbers of particles are those of all events; transverse momenta are added up over at most
    ``EXAMINED`` of them, always the same.

    Args:
        samples: opened columns; events are numbered through them in this order.
        model: settings of the network.
        events: to look at.

    Returns:
        None for networks on variables, which read no particles.
    """
    if isinstance(model, Mlp | OwnOnFeatures):
        return None
    counts = particle_counts(samples)[events]
    if isinstance(model, Cnn | OwnOnImages):
        kept, limit = counts, f"half_width {model.images.half_width:g}"
    else:
        kept, limit = np.minimum(counts, model.maximum), f"maximum {model.maximum}"
    examined = _some(len(events))
    pieces = list(_transverse_momenta(samples, model, events[examined]))
    whole, seen = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return Unseen(
        jets=len(events),
        empty=int((counts == 0).sum()),
        single=int((counts == 1).sum()),
        cut=int((counts > kept).sum()),
        particles_cut=float((counts - kept).sum() / max(counts.sum(), 1)),
        examined=len(examined),
        pt_unseen=max(0.0, 1 - float(seen.sum() / whole.sum())) if whole.any() else 0.0,
        blank=int(((seen == 0) & (counts[examined] > 0)).sum()),
        limit=limit,
    )


def _some(events: int) -> Int64[np.ndarray, " some"]:
    """At most ``EXAMINED`` numbers of events, drawn, because files may have an order."""
    if events <= EXAMINED:
        return np.arange(events)
    return np.sort(np.random.default_rng(1).choice(events, EXAMINED, replace=False))


def _transverse_momenta(
    samples: Sequence[Columns],
    model: Cnn | OwnOnImages | ParticleTransformer | OwnOnSets,
    events: Int64[np.ndarray, " events"],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scalar sums of the transverse momenta of each jet, and what a network sees of them [GeV]."""
    source = ParticleSource(samples, lambda values, counts: ())  # noqa: ARG005 - only gathers
    fields = samples[0].particles().fields
    for piece in np.array_split(events, -(-len(events) // _AT_ONCE)):
        values, counts = source.gather(piece)
        yield _sums(values, counts, fields), _seen(values, counts, fields, model)


def _seen(
    values: Float32[np.ndarray, "particles fields"],
    counts: Int64[np.ndarray, " jets"],
    fields: Sequence[str],
    model: Cnn | OwnOnImages | ParticleTransformer | OwnOnSets,
) -> Float64[np.ndarray, " jets"]:
    if isinstance(model, ParticleTransformer | OwnOnSets):
        sets = particle_sets(values, counts, fields, SetRecipe(model.features, model.maximum))
        return _sums(sets.momenta, sets.counts, MOMENTUM)
    given = image_settings(model)
    steps = tuple(step for step in given.steps if step != "normalise")
    drawn = jet_images(values, counts, fields, replace(given, channels=("pt",), steps=steps))
    return drawn.images.sum(axis=(1, 2, 3), dtype=np.float64)


def _sums(
    values: Float32[np.ndarray, "particles fields"],
    counts: Int64[np.ndarray, " jets"],
    fields: Sequence[str],
) -> Float64[np.ndarray, " jets"]:
    pt = np.hypot(*(values[:, list(fields).index(name)] for name in ("px", "py")))
    jet = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(jet, pt, len(counts))


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
