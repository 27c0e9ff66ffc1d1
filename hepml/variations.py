"""Jobs that make changed copies of samples, from the settings of the whole analysis."""

from collections.abc import Iterator

from hepml.config import (
    Analysis,
    DataJob,
    Variation,
    VariationJob,
    WeightVariation,
    object_variations,
)
from hepml.jobs import data_job

WEIGHTS = "weights"  # ending of a folder of columns with all varied weights
JETS = ("top", "qcd")  # processes whose jets can be measured again


def varied_copies(settings: Analysis) -> Iterator[tuple[str, str]]:
    """Variation and sample of every changed copy."""
    for variation in object_variations(settings.systematics):
        for sample in settings.concerned(settings.systematics[variation.systematic]):
            yield variation.name, sample


def weighted_samples(settings: Analysis) -> list[str]:
    """Samples of which systematics change the weights."""
    return [name for name in settings.samples if _factors(settings, name)]


def weighted_job(settings: Analysis, name: str) -> DataJob:
    """Settings of the data stage for one sample with all its varied weights.

    The nominal columns are without: a factor that changes would train all networks anew.
    """
    job = data_job(settings, name)
    # broken particles can drop an event; otherwise no weight depends on stored particles
    particles = job.data.particles and job.data.invalid == "drop"
    data = job.data.model_copy(update={"particles": particles})
    return job.model_copy(update={"data": data, "weights": _factors(settings, name)})


def _factors(settings: Analysis, name: str) -> dict[str, WeightVariation]:
    return {
        key: systematic.weight
        for key, systematic in settings.systematics.items()
        if systematic.weight and name in settings.concerned(systematic)
    }


def varied_job(settings: Analysis, name: str, variation: str) -> DataJob:
    """Settings of the data stage for a changed copy of one sample."""
    job, found = data_job(settings, name), _variation(settings, variation)
    objects, sample = found.objects, job.sample
    if objects.files:
        objects = objects.model_copy(update={"files": {name: objects.files[name]}})
        own = {"files": objects.files[name], "process": None, "events": None}
        sample = sample.model_copy(update=own)
    if measured_again(settings, name, variation):  # scaled and lost in these ntuples already
        objects = objects.model_copy(update={"scale": None, "drop": None})
    left = objects.scale or objects.drop or objects.branches or objects.files
    update = {"objects": objects}
    return job.model_copy(
        update={"sample": sample, "variation": found.model_copy(update=update) if left else None}
    )


def measured_again(settings: Analysis, name: str, variation: str) -> bool:
    """Whether jets were simulated here, so that what is measured on them can follow particles."""
    objects = _variation(settings, variation).objects
    simulated = settings.samples[name].process in JETS and not objects.files
    return simulated and bool(objects.scale or objects.drop)


def variation_job(settings: Analysis, variation: str) -> VariationJob:
    """Settings of the simulation for changed copies of its files."""
    found = _variation(settings, variation)
    objects = found.objects.model_copy(update={"branches": {}, "files": {}})
    return VariationJob(
        variation=found.model_copy(update={"objects": objects}), simulation=settings.simulation
    )


def all_columns(settings: Analysis) -> list[str]:
    """Names of all folders of columns that the data stage makes, the nominal ones first."""
    weighted = [f"{name}.{WEIGHTS}" for name in weighted_samples(settings)]
    varied = [f"{name}.{variation}" for variation, name in varied_copies(settings)]
    return [*settings.samples, *weighted, *varied]


def columns_job(settings: Analysis, columns: str) -> DataJob:
    """Settings of the data stage for one folder of columns, by its name."""
    sample, _, copy = columns.partition(".")
    if not copy:
        return data_job(settings, sample)
    if copy == WEIGHTS:
        return weighted_job(settings, sample)
    return varied_job(settings, sample, copy)


def all_jobs(settings: Analysis) -> list[DataJob]:
    """Every job of the data stage, the nominal ones first."""
    return [columns_job(settings, columns) for columns in all_columns(settings)]


def _variation(settings: Analysis, name: str) -> Variation:
    return next(v for v in object_variations(settings.systematics) if v.name == name)
