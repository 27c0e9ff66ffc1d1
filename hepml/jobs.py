"""Settings of each job of the workflow, made from those of the whole analysis."""

import hashlib
import json

from hepml.artifacts import sha256
from hepml.config import (
    Analysis,
    DataJob,
    DiagnosticsJob,
    InferenceJob,
    Inputs,
    InterferenceJob,
    Mlp,
    Objects,
    Own,
    OwnOnFeatures,
    Sample,
    SimulationJob,
    Systematic,
    TrainingJob,
    inputs_of,
)
from hepml.errors import InputError
from hepml.factory import Place, locate

SBI = ".sbi"  # ending of the name of a network that tells SBI from background
TOYS_PER_JOB = 20_000  # cannot change a result: toys are seeded block by block


def data_job(settings: Analysis, name: str) -> DataJob:
    """Settings of the data stage for one sample."""
    return DataJob(
        name=name,
        sample=settings.samples[name],
        data=settings.data,
        luminosity=settings.luminosity,
        folds=settings.folds,
    )


def without_files(sample: Sample) -> Sample:
    """A sample without its list of files, which may be longer than a command line."""
    return sample.model_copy(update={"files": _shortened(sample.files)})


def _shortened(files: tuple[str, ...], counted: bool = True) -> tuple[str, ...]:
    return files[:1] + ((f"and {len(files) - 1} more",) if counted and files[1:] else ())


def data_settings(job: DataJob) -> str:
    """Settings of one job of the data stage as JSON; its files are named on the command line."""
    return _data_json(job, counted=True)


def part_settings(job: DataJob) -> str:
    """The same for a part of the files, which does not change if others are added behind it."""
    return _data_json(job, counted=False)


def _data_json(job: DataJob, counted: bool) -> str:
    files = {"files": _shortened(job.sample.files, counted)}
    # of a simulated sample, more events are more files
    events = {} if counted or not job.sample.events else {"events": 1}
    changes: dict[str, object] = {"sample": job.sample.model_copy(update=files | events)}
    if job.variation:
        objects = _short(job.variation.objects, counted)
        changes["variation"] = job.variation.model_copy(update={"objects": objects})
    # how many files one job reads changes no column
    dropped = {"data": {"files_per_job"}}
    return job.model_copy(update=changes).model_dump_json(by_alias=True, exclude=dropped)


def _short(objects: Objects, counted: bool = True) -> Objects:
    files = {name: _shortened(files, counted) for name, files in objects.files.items()}
    return objects.model_copy(update={"files": files})


def _systematics(settings: Analysis) -> dict[str, Systematic]:
    """Systematics with the samples that each concerns, without long lists of files."""
    found = {}
    for name, systematic in settings.systematics.items():
        update: dict[str, object] = {"samples": settings.concerned(systematic)}
        if systematic.objects:
            pair = {d: getattr(systematic.objects, d) for d in systematic.directions}
            short = {str(d): _short(objects) for d, objects in pair.items() if objects}
            update["objects"] = systematic.objects.model_copy(update=short)
        found[name] = systematic.model_copy(update=update)
    return found


def all_settings(settings: Analysis) -> str:
    """The whole analysis as JSON, for the record."""
    samples = {name: without_files(sample) for name, sample in settings.samples.items()}
    update = {"samples": samples, "systematics": _systematics(settings)}
    return settings.model_copy(update=update).model_dump_json(by_alias=True)


def simulation_job(settings: Analysis, name: str, chunk: int) -> SimulationJob:
    """Settings of the simulation of file number ``chunk`` of one sample."""
    sample = settings.samples[name]
    if sample.process is None or sample.events is None:
        raise InputError(f"samples.{name}: has files and is not simulated")
    per_file = settings.simulation.events_per_file
    return SimulationJob(
        process=sample.process,
        events=min(per_file, sample.events - chunk * per_file),
        seed=_seed(settings.seed, name, chunk),
        simulation=settings.simulation,
    )


def simulated_chunks(settings: Analysis, name: str) -> int:
    """How many files a simulated sample is scattered over; 0 if it is read from files."""
    return -(-(settings.samples[name].events or 0) // settings.simulation.events_per_file)


def toy_chunks(settings: Analysis) -> int:
    """How many jobs the toys of one method are scattered over; 0 without toys."""
    return -(-settings.inference.toys // TOYS_PER_JOB)


def training_job(settings: Analysis, model: str) -> TrainingJob:
    """Settings of the training of one model, the same for all folds."""
    network = settings.models[model].model_copy(update={"title": ""})  # cannot change a result
    place = _place(settings, model)
    return TrainingJob(
        model=network,
        folds=settings.folds,
        seed=settings.seed,
        factory_sha256=sha256(place.file) if place else None,
    )


def member_job(job: TrainingJob, member: int) -> TrainingJob:
    """Settings of the training of one network of an ensemble.

    They depend neither on how many there are nor on the calibration of the ensemble, so that a
    change of these trains no network again.
    """
    fields = type(job.model).model_fields
    alone = {name: fields[name].default for name in ("ensemble", "calibration")}
    return job.model_copy(update={"member": member, "model": job.model.model_copy(update=alone)})


def ensembles(settings: Analysis) -> list[str]:
    """Networks, by name, that are several per fold."""
    return [name for name in networks(settings) if settings.models[model_of(name)].ensemble > 1]


def _place(settings: Analysis, model: str) -> Place | None:
    """Where an own network is made; None for the others."""
    network = settings.models[model]
    if not isinstance(network, Own):
        return None
    try:
        return locate(network.factory)
    except InputError as error:
        raise InputError(f"models.{model}.factory: {error}") from None


def own_files(settings: Analysis, model: str) -> list[str]:
    """The file that makes a network, if it is the user's own and not an installed module."""
    place = _place(settings, model)
    return [str(place.file)] if place and not place.module else []


def factory_options(settings: Analysis, model: str) -> list[str]:
    """What allows a stage to run the user's file when it reads a trained network."""
    network = settings.models[model]
    return ["--factory", network.factory] if isinstance(network, Own) else []


def factory_problems(settings: Analysis) -> list[str]:
    """One message per own network that cannot be found; nothing is run."""
    found = []
    for model in settings.models:
        try:
            _place(settings, model)
        except InputError as error:
            found.append(str(error))
    return found


def smaller_training_job(settings: Analysis, model: str, events: int) -> TrainingJob:
    """The same on fewer events, for the learning curve."""
    job = training_job(settings, model)
    training = job.model.training.model_copy(update={"events": events})
    return job.model_copy(update={"model": job.model.model_copy(update={"training": training})})


def inference_job(settings: Analysis, method: str) -> InferenceJob:
    """Settings of the inference for ``cuts`` or one model."""
    return InferenceJob(
        method=method,
        title=title(settings, method),
        cuts=settings.cuts if method == "cuts" else (),
        inference=settings.inference.model_copy(update={"toys": 0}),  # drawn afterwards
        folds=settings.folds,
        seed=settings.seed,
        systematics=_systematics(settings),
    )


def diagnostics_job(settings: Analysis, method: str) -> DiagnosticsJob:
    """Settings of the diagnostics of ``cuts`` or one model.

    Networks on variables are tested in what they read, others in all variables.
    """
    inference = settings.inference
    exact = {inference.exact_llr, inference.exact_image_llr}
    variables = tuple(name for name in settings.data.variables if name not in exact)
    model = None if method == "cuts" else settings.models[method]
    complete = isinstance(model, Mlp | OwnOnFeatures)
    best = inference.exact_llr
    if model and inputs_of(model) == "images":
        best = inference.exact_image_llr or best
    return DiagnosticsJob(
        **dict(inference_job(settings, method)),
        variables=model.features if isinstance(model, Mlp | OwnOnFeatures) else variables,
        complete=complete,
        exact=best if model else None,
    )


def interference_job(settings: Analysis, method: str) -> InterferenceJob:
    """Settings of the fit of a signal that interferes, for ``cuts`` or one model."""
    job = inference_job(settings, method)
    return InterferenceJob(**dict(job), interference=settings.interference)


def networks(settings: Analysis) -> list[str]:
    """Names of all networks: of each model, and with interference those of SBI and background."""
    endings = ("", SBI) if settings.interfering else ("",)
    return [f"{model}{ending}" for ending in endings for model in settings.models]


def training_samples(settings: Analysis, network: str) -> list[str]:
    """Samples of both classes that a network is trained on."""
    if not network.endswith(SBI):
        return settings.compared
    background = [name for name in settings.compared if settings.samples[name].role == "background"]
    return [*settings.interfering, *background]


def model_of(network: str) -> str:
    """The model that a network is of."""
    return network.removesuffix(SBI)


def title(settings: Analysis, method: str) -> str:
    """What a method is called in tables and figures."""
    return "Cuts" if method == "cuts" else settings.models[method].title or method


def models_reading(settings: Analysis, inputs: Inputs) -> list[str]:
    """Models that read variables, images or sets, in their order."""
    return [name for name, model in settings.models.items() if inputs_of(model) == inputs]


def caption(settings: Analysis) -> str:
    """What stands above the axes of every figure, as JSON."""
    return json.dumps(
        {
            "title": settings.title,
            "heading": settings.plots.heading,
            "luminosity": settings.luminosity,
        }
    )


def _seed(seed: int, name: str, chunk: int) -> int:
    """One seed per file in 1..900,000,000, the range that Pythia takes."""
    digest = hashlib.sha256(f"{seed}/{name}/{chunk}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 900_000_000 + 1
