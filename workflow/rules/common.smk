import json
from pathlib import Path

from hepml import configfile, jobs
from hepml.provenance import code_digest

ANALYSIS = configfile.from_workflow(config, workflow.configfiles)
RESULTS = f"results/{ANALYSIS.analysis}"
SAMPLES = list(ANALYSIS.samples)
MODELS = list(ANALYSIS.models)
IMAGE_MODELS = jobs.models_reading(ANALYSIS, "images")
SET_MODELS = jobs.models_reading(ANALYSIS, "sets")
METHODS = ["cuts", *MODELS]
SCULPTING = METHODS if ANALYSIS.inference.sculpting else []
DIAGNOSED = SCULPTING or MODELS
VARIABLES = list(ANALYSIS.data.variables)
FOLDS = range(ANALYSIS.folds)


wildcard_constraints:
    sample="|".join(SAMPLES),
    model="|".join(MODELS),
    method="|".join(METHODS),
    variable="|".join(VARIABLES),
    fold=r"\d+",
    chunk=r"\d+",
    size=r"\d+",


def ntuple_files(sample):
    """Files of a sample: simulated here, or what its patterns match."""
    chunks = jobs.simulated_chunks(ANALYSIS, sample)
    simulated = [f"{RESULTS}/ntuples/{sample}_{i}.root" for i in range(chunks)]
    return simulated or jobs.local_files(ANALYSIS, sample)


def ntuples(wildcards):
    return ntuple_files(wildcards.sample)


def ntuple_urls(wildcards):
    """Files of a sample that are read over the network, which Snakemake does not watch."""
    return jobs.remote_files(ANALYSIS, wildcards.sample)


# settings come from functions: in a plain string Snakemake would take LaTeX's {21} for a wildcard


def all_settings(wildcards):
    return jobs.all_settings(ANALYSIS)


def caption(wildcards):
    return jobs.caption(ANALYSIS)


def simulation_settings(wildcards):
    job = jobs.simulation_job(ANALYSIS, wildcards.sample, int(wildcards.chunk))
    return job.model_dump_json()


def data_settings(wildcards):
    return jobs.data_settings(ANALYSIS, wildcards.sample)


def training_settings(wildcards):
    return jobs.training_job(ANALYSIS, wildcards.model).model_dump_json()


def smaller_training_settings(wildcards):
    size = int(wildcards.size)
    return jobs.smaller_training_job(ANALYSIS, wildcards.model, size).model_dump_json()


def own_files(wildcards):
    """The user's file that makes a network, if a model is not one of ours."""
    return jobs.own_files(ANALYSIS, wildcards.model)


def all_own_files(wildcards):
    """The user's files of all models."""
    return sorted({file for name in MODELS for file in jobs.own_files(ANALYSIS, name)})


def factory_options(wildcards):
    return jobs.factory_options(ANALYSIS, wildcards.model)


def inference_settings(wildcards):
    return jobs.inference_job(ANALYSIS, wildcards.method).model_dump_json()


def diagnostics_settings(wildcards):
    return jobs.diagnostics_job(ANALYSIS, wildcards.method).model_dump_json()


def model_inference_settings(wildcards):
    return jobs.inference_job(ANALYSIS, wildcards.model).model_dump_json()


def method_scores(wildcards):
    """Scores that a method is judged by; the cuts need none."""
    if wildcards.method == "cuts":
        return []
    return expand(
        f"{RESULTS}/scores/{wildcards.method}/{{sample}}.parquet", sample=SAMPLES
    )


def score_options(wildcards, input):
    return [f"--scores={path}" for path in input.scores]


def model_options(wildcards, input):
    folders = [Path(folder) for folder in input.models]
    return [f"--model {folder.parent.name} {folder}" for folder in folders]


def network_options(wildcards, input):
    return [f"--network={folder}" for folder in input.networks]


def curve_folds(wildcards):
    """One trained fold of each model: after trainings on fewer events, and on all."""
    return curve_files("learning_curve/{model}/{size}/fold0", "training/{model}/fold0")


def curve_results(wildcards):
    return curve_files(
        "learning_curve/{model}/{size}/inference.json", "inference/{model}.json"
    )


def curve_files(smaller, full):
    """Files of every model, those of the sizes in turn before that of all events."""
    if not ANALYSIS.learning_curve:
        raise WorkflowError(
            "learning_curve: give numbers of training events in the config, such as [1000, 3000]"
        )
    return [
        f"{RESULTS}/{file}"
        for model in MODELS
        for file in [
            *expand(smaller, model=model, size=ANALYSIS.learning_curve),
            full.format(model=model),
        ]
    ]


def curve_points(wildcards, input):
    """Each model after trainings on fewer events and on all: one fold, and the result."""
    models = [name for name in MODELS for _ in [*ANALYSIS.learning_curve, "all"]]
    triples = zip(models, input.folds, input.results, strict=True)
    return [f"--point {model} {fold} {result}" for model, fold, result in triples]


def all_ntuples(wildcards):
    """Every ROOT file that is read from disk, of all samples."""
    return [file for name in SAMPLES for file in ntuple_files(name)]


def method_title(wildcards):
    return jobs.title(ANALYSIS, wildcards.model)


def variable_labels(wildcards):
    return json.dumps(ANALYSIS.plots.labels)


def variable_label(wildcards):
    return ANALYSIS.plots.labels.get(wildcards.variable, wildcards.variable)


def report_options(wildcards, input):
    """Every input of the report under the name of its group."""
    groups = [
        "comparison",
        "provenance",
        "results",
        "diagnostics",
        "data",
        "training",
        "figures",
    ]
    return [f"--{group}={path}" for group in groups for path in paths(input[group])]


def paths(group):
    return [group] if isinstance(group, str) else list(group)
