rule train:
    input:
        expand(f"{RESULTS}/data/{{sample}}", sample=SAMPLES),
    output:
        directory(f"{RESULTS}/training/{{model}}/fold{{fold}}"),
    log:
        f"{RESULTS}/logs/training/{{model}}_fold{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/training/{{model}}_fold{{fold}}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        settings=training_settings,
        code=code_digest("hepml.training.stage"),
    shell:
        "hepml train {input} --settings {params.settings:q} --fold {wildcards.fold}"
        " --output {output} 2> {log}"
