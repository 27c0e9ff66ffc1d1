"""Settings of a whole analysis: what a config file holds."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hepml.config.base import RESERVED, Name, Real, Settings
from hepml.config.models import Mlp, Model, OwnOnFeatures, inputs_of
from hepml.config.samples import Data, Sample, Simulation
from hepml.config.systematics import Systematic
from hepml.errors import nearest


class Cut(Settings):
    """One threshold, or a window, to optimise."""

    variable: Name
    keep: Literal["above", "below", "window"]


class Inference(Settings):
    """From scores to significance."""

    background_uncertainty: Real = Field(
        ge=0, lt=1, description="relative; normalisation of the background"
    )
    bins: int = Field(
        32, gt=1, description="at most; of equal signal efficiency, as many as raise Z, then merged"
    )
    minimum_background: int = Field(10, gt=0, description="raw events in each bin and selection")
    replicas: int = Field(500, gt=9, description="bootstrap replicas for errors")
    toys: int = Field(
        0,
        ge=0,
        description="toy data sets for significances without asymptotic formulae; 0: none, "
        "10,000 give Z to 0.01 and take seconds",
    )
    gate: Literal["warn", "fail"] = Field(
        "warn", description="what happens if a score fails the checks of a likelihood ratio"
    )
    unblind: bool = Field(
        False, description="true: read all data, and quote observed results beside the expected"
    )
    blind_above: Real = Field(
        0.2,
        ge=0,
        description="expected S/√B of the first bin, counted from the background, from which on "
        "data are not read without unblind",
    )
    sculpting: Name | None = Field(
        None, description="variable of the background that a selection should not distort"
    )
    largest_sculpting: Real | None = Field(
        None, ge=0, le=1, description="divergence [bits] of it beyond which a method fails"
    )
    exact_llr: Name | None = Field(
        None, description="of toys: variable that holds the exact log-likelihood ratio"
    )
    exact_image_llr: Name | None = Field(
        None, description="the same of what images show; without, exact_llr for all networks"
    )

    @model_validator(mode="after")
    def _limit_of_something(self) -> "Inference":
        if self.largest_sculpting is not None and self.sculpting is None:
            raise ValueError("largest_sculpting: name the variable in sculpting too")
        return self


class Interference(Settings):
    """The fit of a signal that interferes with the background; done if a sample has role sbi."""

    largest_mu: Real = Field(4, gt=1, description="up to which signal strength µ is looked at")
    bins: int = Field(20, gt=1, description="of the binned fit, of equal expected events at µ = 1")
    toys: int = Field(
        500,
        ge=0,
        description="for each of 17 signal strengths, for intervals where Wilks' theorem fails; "
        "0: none",
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
    interference: Interference = Interference()
    systematics: dict[Name, Systematic] = Field(
        {}, description="uncertainties, correlated over the samples they concern"
    )
    plots: Plots = Plots()
    learning_curve: tuple[Annotated[int, Field(gt=1)], ...] = Field(
        (), description="numbers of training events at which `snakemake learning_curve` trains anew"
    )

    @model_validator(mode="after")
    def _names_exist(self) -> "Analysis":
        used = [(f"cuts[{i}].variable", cut.variable) for i, cut in enumerate(self.cuts)]
        used += [(f"data.spectators[{i}]", name) for i, name in enumerate(self.data.spectators)]
        for key in ("sculpting", "exact_llr", "exact_image_llr"):
            named = getattr(self.inference, key)
            used += [(f"inference.{key}", named)] if named else []
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
        if "sbi" in roles and not {"signal", "background"} <= roles:
            raise ValueError(
                "samples: beside a sample of role sbi, give signal and background by roles, each "
                "without the interference, not by labels"
            )
        return self

    @model_validator(mode="after")
    def _toys_exist(self) -> "Analysis":
        for name, sample in self.samples.items():
            if sample.process == "toy_sbi" and self.simulation.toy != "interference":
                raise ValueError(
                    f"samples.{name}.process: toy_sbi is of simulation.toy: interference only"
                )
        return self

    @model_validator(mode="after")
    def _systematics_fit(self) -> "Analysis":
        problems = []
        for name, systematic in self.systematics.items():
            where = f"systematics.{name}"
            for sample in systematic.samples:
                if sample not in self.samples:
                    near = nearest(sample, self.samples)
                    problems.append(f"{where}.samples: no sample {sample!r} ({near})")
                elif self.samples[sample].role == "data":
                    problems.append(f"{where}.samples: {sample} is data, which nothing varies")
                elif self.samples[sample].role == "sbi":
                    problems.append(
                        f"{where}.samples: {sample} has role sbi, and the fit of a signal that "
                        "interferes knows no systematics yet; take it out"
                    )
            problems += self._files_fit(name, systematic)
            taken = {f"weight_{name}_up", f"weight_{name}_down"} & self.data.variables.keys()
            if systematic.weight and taken:
                problems.append(
                    f"data.variables: {where} stores columns {', '.join(sorted(taken))}; rename "
                    "yours"
                )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def concerned(self, systematic: Systematic) -> tuple[Name, ...]:
        """Samples that a systematic varies: those it names, or all of signal and background."""
        fixed = ("data", "sbi")
        varied = (name for name, sample in self.samples.items() if sample.role not in fixed)
        return systematic.samples or tuple(varied)

    @property
    def compared(self) -> list[Name]:
        """Samples on whose events methods are compared: all but those of role sbi."""
        return [name for name, sample in self.samples.items() if sample.role != "sbi"]

    @property
    def interfering(self) -> list[Name]:
        """Samples of signal and background with their interference."""
        return [name for name, sample in self.samples.items() if sample.role == "sbi"]

    def _files_fit(self, name: Name, systematic: Systematic) -> list[str]:
        """Varied ntuples are named for each sample that is concerned, and for no other."""
        problems = []
        for direction in systematic.directions:
            objects = getattr(systematic.objects, direction, None)
            if objects is None or not objects.files:
                continue
            where = f"systematics.{name}.objects.{direction}.files"
            concerned = set(self.concerned(systematic))
            lacking = ", ".join(sorted(concerned - objects.files.keys()))
            if lacking:
                problems.append(
                    f"{where}: none for {lacking}; give them, or list the samples concerned in "
                    f"systematics.{name}.samples"
                )
            unknown = ", ".join(sorted(objects.files.keys() - concerned))
            if unknown:
                problems.append(f"{where}: {unknown} is no sample that {name} concerns")
        return problems
