rule simulate:
    output:
        f"{RESULTS}/ntuples/{{sample}}_{{chunk}}.root",
    log:
        f"{RESULTS}/logs/simulation/{{sample}}_{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulation/{{sample}}_{{chunk}}.tsv"
    threads: 1
    resources:
        **needs(memory=1500, minutes=60),
    params:
        settings=simulation_settings,
        code=code_digest("hepml.simulation.stage"),
    shell:
        "hepml simulate {output:q} --settings {params.settings:q} > {log:q} 2>&1"


rule vary:
    input:
        f"{RESULTS}/ntuples/{{sample}}_{{chunk}}.root",
    output:
        f"{RESULTS}/ntuples/{{sample}}_{{chunk}}.{{variation}}.root",
    log:
        f"{RESULTS}/logs/simulation/{{sample}}_{{chunk}}.{{variation}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulation/{{sample}}_{{chunk}}.{{variation}}.tsv"
    threads: 1
    resources:
        **needs(memory=1500, minutes=30),
    params:
        settings=variation_settings,
        code=code_digest("hepml.simulation.variations.stage"),
    shell:
        "hepml vary {input:q} {output:q} --settings {params.settings:q} > {log:q} 2>&1"
