"""Every setting there is, as frozen models: the only definition.

Only what can change a result is a setting. Device, threads and paths of results belong to the
command line and the workflow profile. YAML is read by :mod:`hepml.configfile`; rules and the
command line exchange settings as JSON.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from hepml.errors import nearest

# YAML 1.1 reads 1e-3 as text, so numbers are accepted as text too
Real = Annotated[float, Field(strict=False, allow_inf_nan=False)]
# names become files and wildcards: no dots, slashes or blanks
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
# a number alone is an expression too
Expression = Annotated[str, Field(min_length=1, strict=False, coerce_numbers_to_str=True)]
# columns of every sample and of its scores
RESERVED = {"event_id", "fold", "label", "weight", "particles", "offsets"}
RESERVED |= {"logit", "llr", "llr_err", "llr_train"}


class Settings(BaseModel):
    """Base of all settings: unknown keys, wrong types and later changes are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


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

    role: Literal["signal", "background", "data"] | None = None
    label: Expression | None = Field(None, description="true for signal, instead of a role")
    files: tuple[str, ...] = Field((), description="paths, globs, root:// or https://")
    process: Literal["top", "qcd", "toy_signal", "toy_background"] | None = Field(
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
    toy: Literal["shift", "scale", "xor", "two_prong"] = Field(
        "shift", description="which analytic toy toy_signal and toy_background draw from"
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


class Training(Settings):
    """How a network is fitted."""

    epochs: int = Field(20, gt=0, description="upper bound; early stopping may end sooner")
    patience: int = Field(12, gt=0, description="epochs without a better validation loss")
    batch_size: int = Field(512, gt=0)
    learning_rate: Real = Field(5e-3, gt=0, lt=1, description="peak of the schedule")
    schedule: Literal["one-cycle", "cosine", "flat", "constant"] = Field(
        "one-cycle",
        description="flat: constant for 70 % of the steps, then exponentially down to 1 %",
    )
    optimiser: Literal["adamw", "ranger"] = Field(
        "adamw", description="ranger: RAdam with Lookahead, as Particle Transformer was published"
    )
    weight_decay: Real = Field(5e-2, ge=0)
    gradient_clip: Real = Field(1.0, gt=0, description="largest gradient norm")
    average: Real = Field(
        0, ge=0, lt=1, description="decay per step of a moving average of the weights; 0: none"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of training on a GPU (autocast); CPUs and scores always take fp32"
    )
    compile: bool = Field(False, description="torch.compile: minutes first, then faster on a GPU")
    events: int | None = Field(
        None, gt=1, description="train on so many events at most, drawn at random; all without"
    )

    @model_validator(mode="after")
    def _patience_can_matter(self) -> "Training":
        if self.patience >= self.epochs:
            raise ValueError(
                f"patience ({self.patience}) must be smaller than epochs ({self.epochs}), "
                "or early stopping never acts"
            )
        return self


class Mlp(Settings):
    """A multilayer perceptron on named variables."""

    architecture: Literal["mlp"]
    title: str = Field("", description="in tables and figures; the key without it")
    features: tuple[Name, ...] = Field(min_length=1)
    hidden: tuple[int, ...] = Field((64, 64, 64), min_length=1)
    dropout: Real = Field(0, ge=0, lt=1)
    training: Training = Training()


class Images(Settings):
    """What a jet image shows: see hepml.inputs.images."""

    pixels: int = Field(40, gt=0, description="along each axis")
    half_width: Real = Field(0.8, gt=0, description="in η and φ, from the centre to the border")
    channels: tuple[Literal["pt", "multiplicity", "charged_pt", "neutral_pt"], ...] = Field(
        ("pt",), min_length=1
    )
    steps: tuple[Literal["centre", "rotate", "flip", "normalise"], ...] = Field(
        ("centre", "rotate", "flip", "normalise"), description="of the preprocessing, in this order"
    )


class Cnn(Settings):
    """A residual convolutional network on jet images."""

    architecture: Literal["cnn"]
    title: str = Field("", description="in tables and figures; the key without it")
    images: Images = Images()
    width: int = Field(16, gt=0, description="channels of the first stage")
    stages: int = Field(3, gt=0, description="resolutions, each half of the one before")
    blocks: int = Field(1, gt=0, description="residual blocks of each stage")
    dropout: Real = Field(0.3, ge=0, lt=1)
    training: Training = Training(batch_size=256, learning_rate=4e-3, epochs=6, patience=5)


class ParticleTransformer(Settings):
    """Particle Transformer (arXiv:2202.03772) on the particles of a jet."""

    architecture: Literal["particle_transformer"]
    title: str = Field("", description="in tables and figures; the key without it")
    features: Literal["kin", "full"] = Field("kin", description="per particle, as for JetClass")
    maximum: int = Field(128, gt=0, description="particles of a jet that are kept, hardest first")
    size: Literal["small", "published"] = Field("small", description="small suits a CPU")
    pairs: bool = Field(True, description="false: attention without pair features")
    training: Training = Training(batch_size=128, learning_rate=1e-3, epochs=8, patience=6)


def _function(text: str) -> str:
    module, _, function = text.rpartition(":")
    if not module or not function.isidentifier():
        raise ValueError("expected file.py:function or module:function")
    return text


def _option(value: Any) -> Any:  # noqa: ANN401
    """YAML 1.1 reads 1e-3 as text: give the number."""
    if isinstance(value, list):
        return [_option(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"[+-]?[\d.]+[eE][+-]?\d+", value):
        return float(value)
    return value


class Own(Settings):
    """A network of your own: see docs/own-model.md."""

    factory: Annotated[str, AfterValidator(_function)] = Field(
        description="file.py:function, relative to the working folder, or module:function"
    )
    inputs: str
    title: str = Field("", description="in tables and figures; the key without it")
    options: dict[Name, Annotated[Any, AfterValidator(_option)]] = Field(
        {}, description="further keyword arguments of the function"
    )
    training: Training = Training(batch_size=256, learning_rate=1e-3)

    @property
    def architecture(self) -> str:
        """What the architecture is called where ours have names."""
        return "own"

    @model_validator(mode="after")
    def _sizes_are_given(self) -> "Own":
        taken = sorted({"features", "channels", "pixels"} & self.options.keys())
        if taken:
            raise ValueError(f"options: {', '.join(taken)} follows from inputs; leave it out")
        return self


class OwnOnFeatures(Own):
    """A network of your own on named variables: see docs/own-model.md."""

    inputs: Literal["features"]
    features: tuple[Name, ...] = Field(min_length=1)


class OwnOnImages(Own):
    """A network of your own on jet images: see docs/own-model.md."""

    inputs: Literal["images"]
    images: Images = Images()


class OwnOnSets(Own):
    """A network of your own on the particles of a jet: see docs/own-model.md."""

    inputs: Literal["sets"]
    features: Literal["kin", "full"] = Field("kin", description="per particle, as for JetClass")
    maximum: int = Field(128, gt=0, description="particles of a jet that are kept, hardest first")


def _kind(network: Any) -> str | None:  # noqa: ANN401
    """What tells networks apart: the architecture, or what one of your own reads."""
    given = network if isinstance(network, dict) else getattr(network, "__dict__", {})
    if "factory" in given and "architecture" not in given:
        return f"own network on {given.get('inputs')}"
    return str(given["architecture"]) if "architecture" in given else None


Model = Annotated[
    Annotated[Mlp, Tag("mlp")]
    | Annotated[Cnn, Tag("cnn")]
    | Annotated[ParticleTransformer, Tag("particle_transformer")]
    | Annotated[OwnOnFeatures, Tag("own network on features")]
    | Annotated[OwnOnImages, Tag("own network on images")]
    | Annotated[OwnOnSets, Tag("own network on sets")],
    Discriminator(
        _kind,
        custom_error_type="no_such_network",
        custom_error_message="give architecture: mlp, cnn or particle_transformer; or factory and "
        "inputs: features, images or sets",
    ),
]
Inputs = Literal["features", "images", "sets"]


def inputs_of(model: Model) -> Inputs:
    """What a network reads: named variables, jet images, or sets of particles."""
    if isinstance(model, Own):
        return model.inputs
    if isinstance(model, Mlp):
        return "features"
    return "images" if isinstance(model, Cnn) else "sets"


class Cut(Settings):
    """One threshold, or a window, to optimise."""

    variable: Name
    keep: Literal["above", "below", "window"]


class Inference(Settings):
    """From scores to significance."""

    background_uncertainty: Real = Field(
        ge=0, lt=1, description="relative; normalisation of the background"
    )
    bins: int = Field(10, gt=1, description="slices of equal signal efficiency before merging")
    minimum_background: int = Field(10, gt=0, description="raw events in each bin and selection")
    replicas: int = Field(500, gt=9, description="bootstrap replicas for errors")
    gate: Literal["warn", "fail"] = Field(
        "warn", description="what happens if a score fails the checks of a likelihood ratio"
    )


class Plots(Settings):
    """How things are called on figures."""

    labels: dict[Name, str] = Field({}, description="variable: axis label, LaTeX allowed")
    heading: str = Field("Simulation", description="beside the analysis title on each figure")


class Analysis(Settings):
    """One whole analysis: what a config file holds."""

    analysis: Name = Field(description="results go to results/<analysis>/")
    title: str
    luminosity: Real = Field(gt=0, description="[fb⁻¹]")
    seed: int = Field(ge=0, lt=2**31)
    folds: int = Field(
        5, ge=3, le=100, description="one for testing, one for validation, others to train"
    )
    samples: dict[Name, Sample] = Field(min_length=1)
    simulation: Simulation = Simulation()
    data: Data
    cuts: tuple[Cut, ...] = Field(min_length=1)
    models: dict[Name, Model] = Field(min_length=1)
    inference: Inference
    plots: Plots = Plots()
    learning_curve: tuple[Annotated[int, Field(gt=1)], ...] = Field(
        (), description="numbers of training events at which `snakemake learning_curve` trains anew"
    )

    @model_validator(mode="after")
    def _names_exist(self) -> "Analysis":
        used = [(f"cuts[{i}].variable", cut.variable) for i, cut in enumerate(self.cuts)]
        used += [(f"data.spectators[{i}]", name) for i, name in enumerate(self.data.spectators)]
        used += [("plots.labels", name) for name in self.plots.labels]
        for model, settings in self.models.items():
            if isinstance(settings, Mlp | OwnOnFeatures):
                used += [(f"models.{model}.features", name) for name in settings.features]
        problems = [
            f"{where}: no variable {name!r} in data.variables "
            f"({nearest(name, self.data.variables)})"
            for where, name in used
            if name not in self.data.variables
        ]
        problems += [
            f"data.variables.{name}: every sample has a column of that name; rename yours"
            for name in sorted(RESERVED & self.data.variables.keys())
        ]
        for model, settings in self.models.items():
            if inputs_of(settings) != "features" and not self.data.particles:
                problems.append(f"models.{model}: reads particles; set data.particles: true")
        if "cuts" in self.models:
            problems.append("models.cuts: the name is taken by the cut-based selection")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _steps_have_one_name(self) -> "Analysis":
        for name, sample in self.samples.items():
            twice = sample.selection.keys() & self.data.selection.keys()
            if twice:
                raise ValueError(
                    f"samples.{name}.selection: {', '.join(sorted(twice))} is a step of "
                    "data.selection too; rename one"
                )
        return self

    @model_validator(mode="after")
    def _signal_and_background(self) -> "Analysis":
        roles = {sample.role for sample in self.samples.values()}
        for role in ("signal", "background"):
            if role not in roles and None not in roles:
                raise ValueError(f"samples: none has the role {role}")
        return self


class DataJob(Settings):
    """What the data stage needs to know about one sample."""

    name: Name
    sample: Sample
    data: Data
    luminosity: Real
    folds: int


class SimulationJob(Settings):
    """What the simulation needs to know about one file."""

    process: Literal["top", "qcd", "toy_signal", "toy_background"]
    events: int
    seed: int
    simulation: Simulation


class TrainingJob(Settings):
    """What the training stage needs to know about one network."""

    model: Model
    folds: int
    seed: int
    factory_sha256: str | None = None  # of the file of an own network, when the job was made


class InferenceJob(Settings):
    """What the inference stage needs to know about one method."""

    method: Name
    title: str
    cuts: tuple[Cut, ...] = ()
    inference: Inference
    folds: int
    seed: int
