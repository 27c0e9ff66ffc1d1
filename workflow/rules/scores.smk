rule score:
    input:
        models=expand(f"{RESULTS}/training/{{{{model}}}}/fold{{fold}}", fold=FOLDS),
        data=f"{RESULTS}/data/{{sample}}",
        own=own_files,
    output:
        f"{RESULTS}/scores/{{model}}/{{sample}}.parquet",
    log:
        f"{RESULTS}/logs/scores/{{model}}/{{sample}}.log",
    threads: 1
    resources:
        **needs(memory=1500, minutes=30, gpu=True),
    params:
        factory=factory_options,
        spectators=[f"--spectator={name}" for name in ANALYSIS.data.spectators],
        code=code_digest("hepml.scores.stage"),
    shell:
        "hepml score {input.models:q} --data {input.data:q} {params.spectators}"
        " {params.factory:q} --output {output:q} 2> {log:q}"


use rule score as score_varied with:
    input:
        models=expand(f"{RESULTS}/training/{{{{model}}}}/fold{{fold}}", fold=FOLDS),
        data=f"{RESULTS}/data/{{sample}}.{{variation}}",
        own=own_files,
    output:
        f"{RESULTS}/scores/{{model}}/{{sample}}.{{variation}}.parquet",
    log:
        f"{RESULTS}/logs/scores/{{model}}/{{sample}}.{{variation}}.log",
