# How the networks gain with the number of training events: not part of the analysis, made on demand
# with `snakemake learning_curve`.

CURVE = f"{RESULTS}/learning_curve/{{model}}/{{size}}"


use rule train as train_smaller with:
    output:
        directory(f"{CURVE}/fold{{fold}}"),
    log:
        f"{RESULTS}/logs/learning_curve/{{model}}/{{size}}/fold{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/learning_curve/{{model}}/{{size}}/fold{{fold}}.tsv"
    params:
        settings=smaller_training_settings,
        code=code_digest("hepml.training.stage"),


use rule score as score_smaller with:
    input:
        models=expand(
            f"{RESULTS}/learning_curve/{{{{model}}}}/{{{{size}}}}/fold{{fold}}",
            fold=FOLDS,
        ),
        data=f"{RESULTS}/data/{{sample}}",
        own=own_files,
    output:
        f"{CURVE}/scores/{{sample}}.parquet",
    log:
        f"{RESULTS}/logs/learning_curve/{{model}}/{{size}}/{{sample}}.log",


use rule score as score_smaller_varied with:
    input:
        models=expand(
            f"{RESULTS}/learning_curve/{{{{model}}}}/{{{{size}}}}/fold{{fold}}",
            fold=FOLDS,
        ),
        data=f"{RESULTS}/data/{{sample}}.{{variation}}",
        own=own_files,
    output:
        f"{CURVE}/scores/{{sample}}.{{variation}}.parquet",
    log:
        f"{RESULTS}/logs/learning_curve/{{model}}/{{size}}/{{sample}}.{{variation}}.log",


use rule infer as infer_smaller with:
    input:
        data=INFERENCE_DATA,
        scores=expand(
            f"{RESULTS}/learning_curve/{{{{model}}}}/{{{{size}}}}/scores/{{sample}}.parquet",
            sample=SAMPLES,
        ),
        varied=VARIED_DATA,
        varied_scores=[
            f"{CURVE}/scores/{sample}.{variation}.parquet"
            for variation, sample in VARIED
        ],
    output:
        result=f"{CURVE}/inference.json",
        workspace=f"{CURVE}/inference.workspace.json",
    log:
        f"{RESULTS}/logs/learning_curve/{{model}}/{{size}}/inference.log",
    benchmark:
        f"{RESULTS}/benchmarks/learning_curve/{{model}}/{{size}}/inference.tsv"
    params:
        settings=model_inference_settings,
        scores=score_options,
        varied=varied_options,
        code=code_digest("hepml.inference.stage"),


rule plot_learning_curve:
    input:
        cuts=f"{RESULTS}/inference/cuts.json",
        folds=curve_folds,
        results=curve_results,
    output:
        png=report(
            f"{PLOTS}/learning_curve.png",
            category="Networks",
            caption="../report/learning_curve.rst",
        ),
        others=multiext(f"{PLOTS}/learning_curve", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/learning_curve.log",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        points=curve_points,
        caption=caption,
        code=code_digest("hepml.plots.stage"),
    shell:
        "hepml plot learning_curve --cuts {input.cuts:q} {params.points} --caption {params.caption:q}"
        " --output {output.png:q} 2> {log:q}"


rule learning_curve:
    input:
        f"{PLOTS}/learning_curve.png",
    localrule: True
