import json
import re
from functools import cache
from pathlib import Path

from hepml import configfile, files, jobs, provenance, variations
from hepml.errors import InputError
from hepml.resources import needs

ANALYSIS = configfile.from_workflow(config, workflow.configfiles)
RESULTS = f"results/{ANALYSIS.analysis}"
SAMPLES = ANALYSIS.compared
# signal and background together, with their interference
SBI_SAMPLES = ANALYSIS.interfering
ALL_SAMPLES = [*SAMPLES, *SBI_SAMPLES]
MODELS = list(ANALYSIS.models)
IMAGE_MODELS = jobs.models_reading(ANALYSIS, "images")
SET_MODELS = jobs.models_reading(ANALYSIS, "sets")
METHODS = ["cuts", *MODELS]
SCULPTING = METHODS if ANALYSIS.inference.sculpting else []
DIAGNOSED = SCULPTING or MODELS
INTERFERING = METHODS if SBI_SAMPLES else []
VARIABLES = list(ANALYSIS.data.variables)
FOLDS = range(ANALYSIS.folds)
# changed copies of samples: pairs of variation and sample
VARIED = list(variations.varied_copies(ANALYSIS))
VARIATIONS = {name for name, _ in VARIED}
# samples of which systematics change the weights, in columns beside those of the networks
WEIGHTED = variations.weighted_samples(ANALYSIS)
# what the inference reads of each sample, and of each changed copy
INFERENCE_DATA = [
    f"{RESULTS}/data/{sample}{'.weights' if sample in WEIGHTED else ''}"
    for sample in SAMPLES
]
VARIED_DATA = [f"{RESULTS}/data/{sample}.{variation}" for variation, sample in VARIED]
ENSEMBLES = jobs.ensembles(ANALYSIS)


@cache
def column_files(columns):
    """Files that a folder of columns is made of: simulated here, on disk, or URLs at the end."""
    sample, _, copy = columns.partition(".")
    job = variations.columns_job(ANALYSIS, columns)
    if copy in VARIATIONS and variations.measured_again(ANALYSIS, sample, copy):
        return chunks(sample, f".{copy}.root")
    if copy and job.sample.files == ANALYSIS.samples[sample].files:
        return column_files(sample)
    return chunks(sample, ".root") or files.local_files(job) + files.remote_files(job)


def chunks(sample, ending):
    """Simulated files of a sample; none if it has files of its own."""
    number = jobs.simulated_chunks(ANALYSIS, sample)
    return [f"{RESULTS}/ntuples/{sample}_{i}{ending}" for i in range(number)]


def batches(columns):
    """Which files each job reads, of columns whose files are too many for one."""
    try:
        number = len(column_files(columns))
    except InputError:  # no such files: said by the job that needs them
        return []
    return files.batches(number, ANALYSIS.data.files_per_job)


PARTS = {columns: batches(columns) for columns in variations.all_columns(ANALYSIS)}


wildcard_constraints:
    columns="|".join(re.escape(columns) for columns in PARTS if PARTS[columns])
    or "(?!)",
    part=r"\d+",
    sample="|".join(ALL_SAMPLES),
    model="|".join(re.escape(name) for name in jobs.networks(ANALYSIS)),
    method="|".join(METHODS),
    variable="|".join(VARIABLES),
    variation="|".join(sorted(VARIATIONS) or ["none"]),
    fold=r"\d+",
    chunk=r"\d+",
    size=r"\d+",
    member=r"\d+",


def on_disk(paths):
    """Those that Snakemake watches."""
    return [path for path in paths if not files.is_remote(path)]


def remote(paths):
    return [path for path in paths if files.is_remote(path)]


def ntuples(wildcards):
    return on_disk(column_files(wildcards.sample))


def ntuple_urls(wildcards):
    return remote(column_files(wildcards.sample))


def varied_ntuples(wildcards):
    """Jets measured again on changed particles, files of the config, or the nominal ones."""
    return on_disk(column_files(f"{wildcards.sample}.{wildcards.variation}"))


def varied_urls(wildcards):
    return remote(column_files(f"{wildcards.sample}.{wildcards.variation}"))


def sizes(paths):
    """Of ntuples that are not simulated here; what depends on `input` Snakemake does not compare."""
    made = f"{RESULTS}/ntuples/"
    return files.sizes([path for path in paths if not path.startswith(made)])


def ntuple_sizes(wildcards):
    return sizes(ntuples(wildcards))


def varied_sizes(wildcards):
    return sizes(varied_ntuples(wildcards))


def part_sizes(wildcards):
    return sizes(part_ntuples(wildcards))


def part_files(wildcards):
    batch = PARTS[wildcards.columns][int(wildcards.part)]
    return column_files(wildcards.columns)[batch]


def part_ntuples(wildcards):
    return on_disk(part_files(wildcards))


def part_urls(wildcards):
    return remote(part_files(wildcards))


def parts(wildcards):
    """Parts of columns, in the order of their files."""
    folder = f"{RESULTS}/data/{wildcards.columns}.parts"
    return [f"{folder}/{i}" for i in range(len(PARTS[wildcards.columns]))]


# settings come from functions: in a plain string Snakemake would take LaTeX's {21} for a wildcard


def all_settings(wildcards):
    return jobs.all_settings(ANALYSIS)


def caption(wildcards):
    return jobs.caption(ANALYSIS)


def simulation_settings(wildcards):
    job = jobs.simulation_job(ANALYSIS, wildcards.sample, int(wildcards.chunk))
    return job.model_dump_json()


def variation_settings(wildcards):
    return variations.variation_job(ANALYSIS, wildcards.variation).model_dump_json()


def data_settings(wildcards):
    return jobs.data_settings(jobs.data_job(ANALYSIS, wildcards.sample))


def weighted_data_settings(wildcards):
    return jobs.data_settings(variations.weighted_job(ANALYSIS, wildcards.sample))


def varied_data_settings(wildcards):
    job = variations.varied_job(ANALYSIS, wildcards.sample, wildcards.variation)
    return jobs.data_settings(job)


def part_settings(wildcards):
    return jobs.part_settings(variations.columns_job(ANALYSIS, wildcards.columns))


def merge_settings(wildcards):
    return jobs.data_settings(variations.columns_job(ANALYSIS, wildcards.columns))


def training_data(wildcards):
    """Columns of the samples of both classes that a network tells apart."""
    samples = jobs.training_samples(ANALYSIS, wildcards.model)
    return [f"{RESULTS}/data/{sample}" for sample in samples]


def model_of(wildcards):
    """Of a network, which may be one that tells SBI from background."""
    return jobs.model_of(wildcards.model)


def training_settings(wildcards):
    return jobs.training_job(ANALYSIS, model_of(wildcards)).model_dump_json()


def member_settings(wildcards):
    job = jobs.training_job(ANALYSIS, model_of(wildcards))
    return jobs.member_job(job, int(wildcards.member)).model_dump_json()


def members(wildcards):
    """The networks of an ensemble in one fold, each trained by a job of its own."""
    number = ANALYSIS.models[model_of(wildcards)].ensemble
    folder = f"{RESULTS}/training/{wildcards.model}/members/fold{wildcards.fold}"
    return [f"{folder}_{member}" for member in range(number)]


def smaller_training_settings(wildcards):
    size = int(wildcards.size)
    return jobs.smaller_training_job(ANALYSIS, wildcards.model, size).model_dump_json()


def own_files(wildcards):
    """The user's file that makes a network, if a model is not one of ours."""
    return jobs.own_files(ANALYSIS, model_of(wildcards))


def all_own_files(wildcards):
    """The user's files of all models."""
    return sorted({file for name in MODELS for file in jobs.own_files(ANALYSIS, name)})


def own_options(wildcards, input):
    return [f"--own={file}" for file in input.own]


def factory_options(wildcards):
    return jobs.factory_options(ANALYSIS, model_of(wildcards))


def inference_settings(wildcards):
    return jobs.inference_job(ANALYSIS, wildcards.method).model_dump_json()


def diagnostics_settings(wildcards):
    return jobs.diagnostics_job(ANALYSIS, wildcards.method).model_dump_json()


def interference_settings(wildcards):
    return jobs.interference_job(ANALYSIS, wildcards.method).model_dump_json()


def model_inference_settings(wildcards):
    return jobs.inference_job(ANALYSIS, wildcards.model).model_dump_json()


def method_scores(wildcards):
    """Scores that a method is judged by; the cuts need none."""
    if wildcards.method == "cuts":
        return []
    return expand(
        f"{RESULTS}/scores/{wildcards.method}/{{sample}}.parquet", sample=SAMPLES
    )


def interference_scores(ending):
    """Scores of all samples, by the networks of signal or of SBI; the cuts need none."""
    return lambda wildcards: (
        []
        if wildcards.method == "cuts"
        else expand(
            f"{RESULTS}/scores/{wildcards.method}{ending}/{{sample}}.parquet",
            sample=ALL_SAMPLES,
        )
    )


def sbi_options(wildcards, input):
    return [
        *(f"--sbi={folder}" for folder in input.sbi),
        *(f"--scores={path}" for path in input.scores),
        *(f"--sbi-scores={path}" for path in input.sbi_scores),
    ]


def varied_scores(wildcards):
    """Scores of the changed copies; the cuts need none."""
    if wildcards.method == "cuts":
        return []
    folder = f"{RESULTS}/scores/{wildcards.method}"
    return [f"{folder}/{sample}.{variation}.parquet" for variation, sample in VARIED]


def varied_options(wildcards, input):
    """Each changed copy with its variation and the number of its sample."""
    keys = [f"{variation} {SAMPLES.index(sample)}" for variation, sample in VARIED]
    data = zip(keys, input.varied, strict=True)
    scores = zip(keys, input.varied_scores)
    return [
        *(f"--varied {key} {folder}" for key, folder in data),
        *(f"--varied-scores {key} {file}" for key, file in scores),
    ]


def score_options(wildcards, input):
    return [f"--scores={path}" for path in input.scores]


def data_options(wildcards, input):
    return [f"--data={folder}" for folder in input.data]


def toy_results(wildcards):
    """Significances by toys of all methods, if any toys are asked for."""
    methods = METHODS if ANALYSIS.inference.toys else []
    return [f"{RESULTS}/inference/toys/{method}.json" for method in methods]


def toy_options(wildcards, input):
    return [f"--toys={path}" for path in input.toys]


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


def method_title(wildcards):
    title = jobs.title(ANALYSIS, model_of(wildcards))
    return title if wildcards.model in MODELS else f"{title}, SBI"


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
        "interfering",
        "data",
        "training",
        "figures",
    ]
    return [f"--{group}={path}" for group in groups for path in paths(input[group])]


def paths(group):
    return [group] if isinstance(group, str) else list(group)


def code_digest(module):
    """Digest of the code of a rule, taken for those that have a job: batch jobs have one rule each."""
    return lambda wildcards: provenance.code_digest(module)
