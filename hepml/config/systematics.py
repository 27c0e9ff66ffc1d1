"""Settings of systematic uncertainties: what is varied, and in which samples."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from hepml.config.base import Expression, Name, Real, Settings

Direction = Literal["up", "down"]


def _both_sides(given: Any) -> Any:  # noqa: ANN401
    """0.1 as (-0.1, 0.1); what came as a list in JSON stays a pair."""
    if isinstance(given, list):
        return tuple(given)
    try:
        return (-float(given), float(given))
    except (TypeError, ValueError):
        return given


_PAIR = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
Normalisation = Annotated[
    tuple[Real, Real],
    BeforeValidator(_both_sides),
    WithJsonSchema({"anyOf": [{"type": "number"}, _PAIR]}),
]


class WeightVariation(Settings):
    """Factors on the weight of each event."""

    up: Expression = Field(description="in branches; 1 changes nothing")
    down: Expression | None = None


class Objects(Settings):
    """What is changed in the ntuples before anything is made from them."""

    scale: Expression | None = Field(
        None, description="factor on the four-momentum of each particle, in its branches"
    )
    drop: Expression | None = Field(
        None, description="probability of each particle to be lost, in its branches"
    )
    branches: dict[str, Expression] = Field(
        {}, description="a branch, or a name of data.schema.branches: what takes its place"
    )
    files: dict[Name, tuple[str, ...]] = Field(
        {}, description="sample: varied ntuples to read instead of its own"
    )
    independent: bool = Field(
        False, description="files hold other events than the sample's, also where numbers agree"
    )

    @model_validator(mode="after")
    def _changes_something(self) -> "Objects":
        if not (self.scale or self.drop or self.branches or self.files):
            raise ValueError("changes nothing; give scale, drop, branches or files")
        if self.independent and not self.files:
            raise ValueError("independent: only files can hold other events; remove it")
        return self


class ObjectVariation(Settings):
    """Selection, variables and particles made anew from changed ntuples; nothing trained anew."""

    up: Objects
    down: Objects | None = None


class Systematic(Settings):
    """One source of uncertainty: a normalisation, weights, or changed objects."""

    title: str = Field("", description="in tables and figures; the key without it")
    samples: tuple[Name, ...] = Field((), description="those concerned; all simulated ones without")
    normalisation: Normalisation | None = Field(
        None, description="relative: 0.1, or [-0.08, 0.12] for down and up"
    )
    weight: WeightVariation | None = None
    objects: ObjectVariation | None = None
    one_sided: bool = Field(
        False, description="there is no down: as far below the nominal yields as up is above"
    )

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Which variations are made; of a one-sided one, down is 2 · nominal - up in each bin."""
        return ("up",) if self.one_sided else ("up", "down")

    @model_validator(mode="after")
    def _one_kind(self) -> "Systematic":
        kinds = ("normalisation", "weight", "objects")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none of them"
            raise ValueError(f"give exactly one of {', '.join(kinds)} (got {said})")
        return self

    @model_validator(mode="after")
    def _is_relative(self) -> "Systematic":
        if self.normalisation is None:
            return self
        down, up = self.normalisation
        if not -1 < down <= 0 <= up or down == up:
            raise ValueError(
                f"normalisation: expected relative changes down in (-1, 0] and up ≥ 0, such as "
                f"[-0.08, 0.12] (got [{down:g}, {up:g}])"
            )
        if self.one_sided:
            raise ValueError("normalisation has both sides; remove one_sided")
        return self

    @model_validator(mode="after")
    def _has_its_partner(self) -> "Systematic":
        for kind, pair in (("weight", self.weight), ("objects", self.objects)):
            if pair is None:
                continue
            if pair.down is None and not self.one_sided:
                raise ValueError(f"{kind}: up without down; give down, or one_sided: true")
            if pair.down is not None and self.one_sided:
                raise ValueError(f"{kind}.down: one_sided is true; remove one of the two")
        return self


class Variation(Settings):
    """One changed copy of a sample: what a job of the data stage makes."""

    systematic: Name
    direction: Direction
    objects: Objects

    @property
    def name(self) -> str:
        """What its folders and files are called: ``<systematic>_up`` or ``<systematic>_down``."""
        return f"{self.systematic}_{self.direction}"

    @property
    def key(self) -> str:
        """Where it stands in the config."""
        return f"systematics.{self.systematic}.objects.{self.direction}"


def object_variations(systematics: dict[Name, Systematic]) -> Iterator[Variation]:
    """The changed copies that systematics on objects ask for."""
    for name, systematic in systematics.items():
        for direction in systematic.directions if systematic.objects else ():
            objects: Objects | None = getattr(systematic.objects, direction)
            if objects is not None:
                yield Variation(systematic=name, direction=direction, objects=objects)
