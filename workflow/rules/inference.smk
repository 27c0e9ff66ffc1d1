rule infer:
    input:
        data=INFERENCE_DATA,
        scores=method_scores,
        varied=VARIED_DATA,
        varied_scores=varied_scores,
    output:
        result=f"{RESULTS}/inference/{{method}}.json",
        workspace=f"{RESULTS}/inference/{{method}}.workspace.json",
    log:
        f"{RESULTS}/logs/inference/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/inference/{{method}}.tsv"
    threads: 1
    resources:
        **needs(memory=2000, minutes=60),
    params:
        settings=inference_settings,
        scores=score_options,
        varied=varied_options,
        code=code_digest("hepml.inference.stage"),
    shell:
        "hepml infer {input.data:q} {params.scores} {params.varied} --settings {params.settings:q}"
        " --output {output.result:q} --workspace {output.workspace:q} 2> {log:q}"


rule diagnose:
    input:
        data=expand(f"{RESULTS}/data/{{sample}}", sample=SAMPLES),
        scores=method_scores,
    output:
        f"{RESULTS}/inference/{{method}}.closure.json",
    log:
        f"{RESULTS}/logs/inference/{{method}}.closure.log",
    benchmark:
        f"{RESULTS}/benchmarks/inference/{{method}}.closure.tsv"
    threads: 1
    resources:
        **needs(memory=2000, minutes=60),
    params:
        settings=diagnostics_settings,
        scores=score_options,
        code=code_digest("hepml.inference.diagnostics.stage"),
    shell:
        "hepml diagnose {input.data:q} {params.scores} --settings {params.settings:q}"
        " --output {output:q} 2> {log:q}"


rule interference:
    input:
        data=expand(f"{RESULTS}/data/{{sample}}", sample=SAMPLES),
        sbi=expand(f"{RESULTS}/data/{{sample}}", sample=SBI_SAMPLES),
        scores=interference_scores(""),
        sbi_scores=interference_scores(jobs.SBI),
    output:
        f"{RESULTS}/interference/{{method}}.json",
    log:
        f"{RESULTS}/logs/interference/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/interference/{{method}}.tsv"
    threads: 1
    resources:
        **needs(memory=2000, minutes=60),
    params:
        settings=interference_settings,
        sbi=sbi_options,
        code=code_digest("hepml.inference.interference.stage"),
    shell:
        "hepml interference {input.data:q} {params.sbi} --settings {params.settings:q}"
        " --output {output:q} 2> {log:q}"


rule toys:
    input:
        result=f"{RESULTS}/inference/{{method}}.json",
        workspace=f"{RESULTS}/inference/{{method}}.workspace.json",
    output:
        f"{RESULTS}/inference/toys/{{method}}_{{chunk}}.npz",
    log:
        f"{RESULTS}/logs/inference/toys/{{method}}_{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/inference/toys/{{method}}_{{chunk}}.tsv"
    threads: 1
    resources:
        **needs(memory=1000, minutes=60),
    params:
        toys=ANALYSIS.inference.toys,
        chunks=jobs.toy_chunks(ANALYSIS),
        code=code_digest("hepml.inference.toys.stage"),
    shell:
        "hepml toys {input.result:q} --workspace {input.workspace:q} --toys {params.toys}"
        " --part {wildcards.chunk} {params.chunks} --output {output:q} 2> {log:q}"


rule merge_toys:
    input:
        result=f"{RESULTS}/inference/{{method}}.json",
        parts=expand(
            f"{RESULTS}/inference/toys/{{{{method}}}}_{{chunk}}.npz",
            chunk=range(jobs.toy_chunks(ANALYSIS)),
        ),
    output:
        f"{RESULTS}/inference/toys/{{method}}.json",
    log:
        f"{RESULTS}/logs/inference/toys/{{method}}.log",
    localrule: True
    params:
        toys=ANALYSIS.inference.toys,
        code=code_digest("hepml.inference.toys.stage"),
    shell:
        "hepml merge-toys {input.result:q} {input.parts:q} --toys {params.toys} --output {output:q}"
        " 2> {log:q}"


rule compare:
    input:
        results=expand(f"{RESULTS}/inference/{{method}}.json", method=METHODS),
        models=expand(
            f"{RESULTS}/training/{{model}}/fold{{fold}}", model=MODELS, fold=FOLDS
        ),
        toys=toy_results,
    output:
        json=f"{RESULTS}/comparison.json",
        csv=f"{RESULTS}/comparison.csv",
        markdown=report(
            f"{RESULTS}/comparison.md",
            category="Comparison",
            caption="../report/comparison.rst",
        ),
    log:
        f"{RESULTS}/logs/compare.log",
    localrule: True
    params:
        models=model_options,
        toys=toy_options,
        luminosity=ANALYSIS.luminosity,
        code=code_digest("hepml.inference.stage"),
    shell:
        "hepml compare {input.results:q} {params.models} {params.toys}"
        " --luminosity {params.luminosity}"
        " --output $(dirname {output.json:q}) 2> {log:q}"


rule provenance:
    input:
        data=[
            *expand(f"{RESULTS}/data/{{sample}}", sample=ALL_SAMPLES),
            *VARIED_DATA,
        ],
        own=all_own_files,
    output:
        f"{RESULTS}/provenance.json",
    log:
        f"{RESULTS}/logs/provenance.log",
    resources:
        **needs(memory=500, minutes=60),
    params:
        own=own_options,
        settings=all_settings,
        code=code_digest("hepml.records"),
    shell:
        "hepml provenance {input.data:q} {params.own:q} --settings {params.settings:q}"
        " --output {output:q} 2> {log:q}"
