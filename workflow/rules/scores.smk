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
        gpu=1,
        mem_mb=1500,
        runtime=30,
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
