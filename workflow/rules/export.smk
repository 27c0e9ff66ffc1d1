# Trained networks as ONNX files, to be used outside of hepml: not part of the analysis, made on demand
# with `snakemake export`.


rule export_network:
    input:
        network=f"{RESULTS}/training/{{model}}/fold{{fold}}",
        data=expand(f"{RESULTS}/data/{{sample}}", sample=SAMPLES),
        own=own_files,
    output:
        f"{RESULTS}/export/{{model}}/fold{{fold}}.onnx",
    log:
        f"{RESULTS}/logs/export/{{model}}/fold{{fold}}.log",
    threads: 1
    resources:
        **needs(memory=2000, minutes=30),
    params:
        data=data_options,
        factory=factory_options,
        code=code_digest("hepml.export.stage"),
    shell:
        "hepml export {input.network:q} {params.data} {params.factory:q} --output {output:q} 2> {log:q}"


rule export:
    input:
        expand(
            f"{RESULTS}/export/{{model}}/fold{{fold}}.onnx",
            model=jobs.networks(ANALYSIS),
            fold=FOLDS,
        ),
    localrule: True
