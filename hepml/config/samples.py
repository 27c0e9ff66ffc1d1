"""Settings of samples, ntuples and their simulation."""

from typing import Literal

from pydantic import Field, model_validator

from hepml.config.base import Expression, Name, Real, Settings

Process = Literal["top", "qcd", "toy_signal", "toy_background", "toy_sbi"]


class Quantity(Settings):
    """A branch, or an expression in branches, with the unit it is stored in."""

    expression: Expression
    unit: Literal["MeV", "GeV", "TeV"] = Field(description="stored unit; converted to GeV")


class Particles(Settings):
    """The jagged branches that hold the particles of an event or jet."""

    px: str | None = None
    py: str | None = None
    pz: str | None = None
    pt: str | None = None
    eta: str | None = None
    phi: str | None = None
    energy: str | None = Field(None, description="without energy and mass: massless")
    mass: str | None = None
    unit: Literal["MeV", "GeV", "TeV"] = "GeV"
    fields: dict[Name, str] = Field({}, description="further columns per particle: name: branch")

    @model_validator(mode="after")
    def _one_coordinate_system(self) -> "Particles":
        cartesian = [self.px, self.py, self.pz]
        cylindrical = [self.pt, self.eta, self.phi]
        complete = [all(cartesian), all(cylindrical)]
        touched = [any(cartesian), any(cylindrical)]
        if complete.count(True) != 1 or touched.count(True) != 1:
            raise ValueError("give either px, py, pz or pt, eta, phi (and energy or mass)")
        if self.energy and self.mass:
            raise ValueError("give energy or mass, not both")
        return self


class Runs(Settings):
    """A tree with one row per file or run that carries sums over *generated* events."""

    tree: str
    sum_of_weights: str = Field(description="branch: Σ generator weights before any selection")
    cross_section: str | None = Field(None, description="branch: cross-section [pb]")
    cross_section_error: str | None = Field(None, description="branch: its error [pb]")


class Schema(Settings):
    """How one flavour of ntuple maps to our names and units."""

    base: str | None = Field(None, description="a shipped schema to start from")
    tree: str | None = None
    identity: tuple[tuple[str, ...], ...] = Field(
        (),
        description="branches that identify an event; the first alternative whose branches all "
        "exist is used, and recorded",
    )
    weight: Expression | None = Field(None, description="generator weight; 1 without")
    runs: Runs | None = None
    branches: dict[Name, Expression | Quantity] = Field({}, description="our name: branch")
    particles: Particles | None = None


class Sample(Settings):
    """One physics process, or data."""

    role: Literal["signal", "background", "sbi", "data"] | None = Field(
        None,
        description="sbi: signal and background simulated together, with their interference",
    )
    label: Expression | None = Field(None, description="true for signal, instead of a role")
    files: tuple[str, ...] = Field((), description="paths, globs, root:// or https://")
    process: Process | None = Field(
        None, description="simulate this process instead of reading files"
    )
    events: int | None = Field(None, gt=0, description="how many events (jets) to simulate")
    tree: str | None = Field(None, description="overrides the schema's tree")
    cross_section: Real | None = Field(None, gt=0, description="[pb]")
    expected_events: Real | None = Field(
        None, gt=0, description="fixed yield before selection, instead of a cross-section"
    )
    weight: Expression | None = Field(None, description="generator weight; overrides the schema's")
    scale: Expression | None = Field(
        None, description="further factor (efficiencies, corrections), not part of Σ weights"
    )
    sum_of_weights: Real | None = Field(None, gt=0, description="of skims: before the skim")
    selection: dict[str, Expression] = Field({}, description="steps before the common selection")

    @model_validator(mode="after")
    def _complete(self) -> "Sample":
        if (self.role is None) == (self.label is None):
            raise ValueError("give either role or label")
        if bool(self.files) == (self.process is not None):
            raise ValueError("give either files or process")
        if (self.process is not None) != (self.events is not None):
            raise ValueError("process and events go together: how many to simulate")
        if self.cross_section is not None and self.expected_events is not None:
            raise ValueError("give cross_section or expected_events, not both")
        scaled = ("cross_section", "expected_events", "weight", "scale", "sum_of_weights")
        given = [name for name in scaled if getattr(self, name) is not None]
        if self.role == "data" and given:
            raise ValueError(f"data are not scaled; remove {', '.join(given)}")
        return self


class Simulation(Settings):
    """Collisions, jets and detector of the simulated ntuples."""

    collision_energy: Real = Field(14000, gt=0, description="[GeV]")
    pt_hat: tuple[Real, Real] = Field((450, 1000), description="hard-process pT range [GeV]")
    jet_radius: Real = Field(0.8, gt=0, lt=2)
    jet_pt: tuple[Real, Real] = Field((550, 650), description="window of the jet pT [GeV]")
    jet_eta: Real = Field(2.0, gt=0)
    detector: bool = Field(True, description="false: stable particles as they are")
    multiparton_interactions: bool = False
    events_per_file: int = Field(5000, gt=0, description="at least; whole batches are kept")
    toy: Literal["shift", "scale", "xor", "interference", "two_prong"] = Field(
        "shift",
        description="which analytic toy toy_signal, toy_background and, of interference, toy_sbi "
        "draw from",
    )

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> "Simulation":
        for name in ("pt_hat", "jet_pt"):
            low, high = getattr(self, name)
            if not 0 <= low < high:
                raise ValueError(f"{name}: expected [low, high] with 0 ≤ low < high")
        return self


class Data(Settings):
    """From ntuples to columns."""

    schema_: str | Schema = Field(alias="schema")
    variables: dict[Name, Expression] = Field(min_length=1)
    selection: dict[str, Expression] = Field({}, description="cut-flow step: expression")
    invalid: Literal["fail", "drop"] = Field("fail", description="NaN, infinity, negative energy")
    particles: bool = Field(True, description="also store the particles")
    spectators: tuple[Name, ...] = Field((), description="variables copied beside the scores")
    files_per_job: int = Field(
        100,
        gt=0,
        description="a sample of more files is read by several jobs, and joined; changes no result",
    )
