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
        **needs(memory=1500, minutes=60),
    params:
        settings=data_settings,
        urls=ntuple_urls,
        sizes=ntuple_sizes,
        code=code_digest("hepml.data.stage"),
    shell:
        "hepml data {input:q} {params.urls:q} --settings {params.settings:q} --output {output:q} 2> {log:q}"


# the same events with their weights under systematics, for the inference: in the nominal columns, a
# factor that changes would train all networks anew
use rule data as data_weights with:
    output:
        directory(f"{RESULTS}/data/{{sample}}.weights"),
    log:
        f"{RESULTS}/logs/data/{{sample}}.weights.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/{{sample}}.weights.tsv"
    params:
        settings=weighted_data_settings,
        urls=ntuple_urls,
        sizes=ntuple_sizes,
        code=code_digest("hepml.data.stage"),


use rule data as data_varied with:
    input:
        varied_ntuples,
    output:
        directory(f"{RESULTS}/data/{{sample}}.{{variation}}"),
    log:
        f"{RESULTS}/logs/data/{{sample}}.{{variation}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/{{sample}}.{{variation}}.tsv"
    params:
        settings=varied_data_settings,
        urls=varied_urls,
        sizes=varied_sizes,
        code=code_digest("hepml.data.stage"),


# of a sample of many files: some are read by each job, and the parts joined with the weights
# normalised to all of them. Parts are kept, so that a file that changes has only its own part read
# again
rule data_part:
    input:
        part_ntuples,
    output:
        directory(f"{RESULTS}/data/{{columns}}.parts/{{part}}"),
    log:
        f"{RESULTS}/logs/data/{{columns}}.parts/{{part}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/{{columns}}.parts/{{part}}.tsv"
    threads: 1
    resources:
        **needs(memory=1500, minutes=60),
    params:
        settings=part_settings,
        urls=part_urls,
        sizes=part_sizes,
        code=code_digest("hepml.data.stage"),
    shell:
        "hepml data {input:q} {params.urls:q} --part --settings {params.settings:q} --output {output:q}"
        " 2> {log:q}"


ruleorder: merge_data > data_weights > data_varied > data


rule merge_data:
    input:
        parts,
    output:
        directory(f"{RESULTS}/data/{{columns}}"),
    log:
        f"{RESULTS}/logs/data/{{columns}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/{{columns}}.tsv"
    threads: 1
    resources:
        **needs(memory=1000, minutes=60),
    params:
        settings=merge_settings,
        code=code_digest("hepml.data.stage"),
    shell:
        "hepml merge-data {input:q} --settings {params.settings:q} --output {output:q} 2> {log:q}"
