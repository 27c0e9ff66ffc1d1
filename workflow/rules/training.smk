# exec: a batch system's SIGTERM reaches the training, which then keeps what it needs to go on. With
# several GPUs a process trains on each; their number is a resource and makes nothing train again.
rule train:
    input:
        data=training_data,
        own=own_files,
    output:
        directory(f"{RESULTS}/training/{{model}}/fold{{fold}}"),
    log:
        f"{RESULTS}/logs/training/{{model}}/fold{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/training/{{model}}/fold{{fold}}.tsv"
    threads: 1
    resources:
        **needs(memory=2000, minutes=120, gpu=True),
    params:
        settings=training_settings,
        code=code_digest("hepml.training.stage"),
    shell:
        "exec $(test {resources.gpu} -gt 1"
        " && echo torchrun --standalone --nproc-per-node={resources.gpu} --no-python)"
        " hepml train {input.data:q} --settings {params.settings:q} --fold {wildcards.fold}"
        " --output {output:q} 2> {log:q}"


# an ensemble is assembled of networks that are trained side by side; "(?!)" matches no model
ruleorder: ensemble > train


use rule train as train_member with:
    output:
        directory(f"{RESULTS}/training/{{model}}/members/fold{{fold}}_{{member}}"),
    log:
        f"{RESULTS}/logs/training/{{model}}/fold{{fold}}_{{member}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/training/{{model}}/fold{{fold}}_{{member}}.tsv"
    params:
        settings=member_settings,
        code=code_digest("hepml.training.stage"),


rule ensemble:
    input:
        data=training_data,
        networks=members,
        own=own_files,
    output:
        directory(f"{RESULTS}/training/{{model}}/fold{{fold}}"),
    log:
        f"{RESULTS}/logs/training/{{model}}/fold{{fold}}.log",
    wildcard_constraints:
        model="|".join(map(re.escape, ENSEMBLES)) or "(?!)",
    threads: 1
    resources:
        **needs(memory=2000, minutes=60, gpu=True),
    params:
        settings=training_settings,
        networks=network_options,
        code=code_digest("hepml.training.stage"),
    shell:
        "hepml ensemble {input.data:q} {params.networks:q} --settings {params.settings:q}"
        " --output {output:q} 2> {log:q}"
