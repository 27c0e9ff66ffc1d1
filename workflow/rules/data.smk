rule data:
    input:
        ntuples,
    output:
        directory(f"{RESULTS}/data/{{sample}}"),
    log:
        f"{RESULTS}/logs/data/{{sample}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/{{sample}}.tsv"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        settings=data_settings,
        urls=ntuple_urls,
        code=code_digest("hepml.data.stage"),
    shell:
        "hepml data {input:q} {params.urls:q} --settings {params.settings:q} --output {output:q} 2> {log:q}"
