rule train:
    input:
        data=expand(f"{RESULTS}/data/{{sample}}", sample=SAMPLES),
        own=own_files,
    output:
        directory(f"{RESULTS}/training/{{model}}/fold{{fold}}"),
    log:
        f"{RESULTS}/logs/training/{{model}}/fold{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/training/{{model}}/fold{{fold}}.tsv"
    threads: 1
    resources:
        gpu=1,
        mem_mb=2000,
        runtime=120,
    params:
        settings=training_settings,
        code=code_digest("hepml.training.stage"),
    shell:
        "hepml train {input.data:q} --settings {params.settings:q} --fold {wildcards.fold}"
        " --output {output:q} 2> {log:q}"
