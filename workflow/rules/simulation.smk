rule simulate:
    output:
        f"{RESULTS}/ntuples/{{sample}}_{{chunk}}.root",
    log:
        f"{RESULTS}/logs/simulation/{{sample}}_{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulation/{{sample}}_{{chunk}}.tsv"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        settings=simulation_settings,
        code=code_digest("hepml.simulation.stage"),
    shell:
        "hepml simulate {output:q} --settings {params.settings:q} > {log:q} 2>&1"
