PLOTS = f"{RESULTS}/plots"


rule plot_variable:
    input:
        expand(f"{RESULTS}/data/{{sample}}", sample=SAMPLES),
    output:
        png=report(
            f"{PLOTS}/variable_{{variable}}.png",
            category="Variables",
            caption="../report/variable.rst",
            labels={"variable": "{variable}"},
        ),
        others=multiext(f"{PLOTS}/variable_{{variable}}", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/variable_{{variable}}.log",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        caption=caption,
        label=variable_label,
        code=code_digest("hepml.plots.stage"),
    shell:
        "hepml plot variable {input:q} --variable {wildcards.variable} --label {params.label:q}"
        " --caption {params.caption:q} --output {output.png:q} 2> {log:q}"


rule plot_cutflow:
    input:
        expand(f"{RESULTS}/data/{{sample}}", sample=SAMPLES),
    output:
        png=report(
            f"{PLOTS}/cutflow.png", category="Data", caption="../report/cutflow.rst"
        ),
        others=multiext(f"{PLOTS}/cutflow", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/cutflow.log",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        caption=caption,
        code=code_digest("hepml.plots.stage"),
    shell:
        "hepml plot cutflow {input:q} --caption {params.caption:q} --output {output.png:q} 2> {log:q}"


rule plot_training:
    input:
        expand(f"{RESULTS}/training/{{{{model}}}}/fold{{fold}}", fold=FOLDS),
    output:
        png=report(
            f"{PLOTS}/training_{{model}}.png",
            category="Networks",
            caption="../report/training.rst",
            labels={"model": "{model}", "figure": "training"},
        ),
        others=multiext(f"{PLOTS}/training_{{model}}", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/training_{{model}}.log",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        caption=caption,
        title=method_title,
        code=code_digest("hepml.plots.stage"),
    shell:
        "hepml plot training {input:q} --title {params.title:q} --caption {params.caption:q}"
        " --output {output.png:q} 2> {log:q}"


rule plot_llr:
    input:
        expand(f"{RESULTS}/scores/{{{{model}}}}/{{sample}}.parquet", sample=SAMPLES),
    output:
        png=report(
            f"{PLOTS}/llr_{{model}}.png",
            category="Networks",
            caption="../report/llr.rst",
            labels={"model": "{model}", "figure": "log-likelihood ratio"},
        ),
        others=multiext(f"{PLOTS}/llr_{{model}}", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/llr_{{model}}.log",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        caption=caption,
        title=method_title,
        code=code_digest("hepml.plots.stage"),
    shell:
        "hepml plot llr {input:q} --title {params.title:q} --caption {params.caption:q}"
        " --output {output.png:q} 2> {log:q}"


rule plot_histogram:
    input:
        f"{RESULTS}/inference/{{method}}.json",
    output:
        png=report(
            f"{PLOTS}/histogram_{{method}}.png",
            category="Inference",
            caption="../report/histogram.rst",
            labels={"figure": "fitted bins, {method}"},
        ),
        others=multiext(f"{PLOTS}/histogram_{{method}}", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/histogram_{{method}}.log",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        caption=caption,
        code=code_digest("hepml.plots.stage"),
    shell:
        "hepml plot histogram {input:q} --caption {params.caption:q} --output {output.png:q} 2> {log:q}"


rule plot_ranking:
    input:
        f"{RESULTS}/inference/{{method}}.json",
    output:
        png=report(
            f"{PLOTS}/ranking_{{method}}.png",
            category="Inference",
            caption="../report/ranking.rst",
            labels={"figure": "nuisance parameters, {method}"},
        ),
        others=multiext(f"{PLOTS}/ranking_{{method}}", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/ranking_{{method}}.log",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        caption=caption,
        code=code_digest("hepml.plots.stage"),
    shell:
        "hepml plot ranking {input:q} --caption {params.caption:q} --output {output.png:q} 2> {log:q}"


rule plot_methods:
    input:
        expand(f"{RESULTS}/inference/{{method}}.json", method=METHODS),
    output:
        png=report(
            f"{PLOTS}/{{figure}}.png",
            category="Comparison",
            caption="../report/methods.rst",
            labels={"figure": "{figure}"},
        ),
        others=multiext(f"{PLOTS}/{{figure}}", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/{{figure}}.log",
    wildcard_constraints:
        figure="roc|significance|likelihood",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        caption=caption,
        code=code_digest("hepml.plots.stage"),
    shell:
        "hepml plot {wildcards.figure} {input:q} --caption {params.caption:q} --output {output.png:q}"
        " 2> {log:q}"


rule plot_interference:
    input:
        expand(f"{RESULTS}/interference/{{method}}.json", method=METHODS),
    output:
        png=report(
            f"{PLOTS}/interference.png",
            category="Comparison",
            caption="../report/methods.rst",
            labels={"figure": "signal that interferes"},
        ),
        others=multiext(f"{PLOTS}/interference", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/interference.log",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        caption=caption,
        code=code_digest("hepml.plots.stage"),
    shell:
        "hepml plot interference {input:q} --caption {params.caption:q} --output {output.png:q}"
        " 2> {log:q}"


rule plot_summary:
    input:
        f"{RESULTS}/comparison.json",
    output:
        png=report(
            f"{PLOTS}/summary.png",
            category="Comparison",
            caption="../report/summary.rst",
        ),
        others=multiext(f"{PLOTS}/summary", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/summary.log",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        caption=caption,
        code=code_digest("hepml.plots.stage"),
    shell:
        "hepml plot summary {input:q} --caption {params.caption:q} --output {output.png:q} 2> {log:q}"


rule plot_diagnostics:
    input:
        f"{RESULTS}/inference/{{method}}.closure.json",
    output:
        png=report(
            f"{PLOTS}/{{figure}}_{{method}}.png",
            category="Diagnostics",
            caption="../report/diagnostics.rst",
            labels={"figure": "{figure}, {method}"},
        ),
        others=multiext(f"{PLOTS}/{{figure}}_{{method}}", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/{{figure}}_{{method}}.log",
    wildcard_constraints:
        figure="reweighting|sculpting",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        caption=caption,
        labels=variable_labels,
        code=code_digest("hepml.plots.diagnostics.stage"),
    shell:
        "hepml plot {wildcards.figure} {input:q} --labels {params.labels:q}"
        " --caption {params.caption:q} --output {output.png:q} 2> {log:q}"


rule plot_images:
    input:
        expand(f"{RESULTS}/data/{{sample}}", sample=SAMPLES),
    output:
        png=report(
            f"{PLOTS}/images_{{model}}.png",
            category="What networks see",
            caption="../report/images.rst",
            labels={"model": "{model}", "figure": "mean jet images"},
        ),
        others=multiext(f"{PLOTS}/images_{{model}}", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/images_{{model}}.log",
    threads: 1
    resources:
        **needs(memory=900, minutes=15),
    params:
        caption=caption,
        title=method_title,
        settings=training_settings,
        code=code_digest("hepml.plots.networks.stage"),
    shell:
        "hepml plot images {input:q} --settings {params.settings:q} --title {params.title:q}"
        " --caption {params.caption:q} --output {output.png:q} 2> {log:q}"


rule plot_saliency:
    input:
        data=expand(f"{RESULTS}/data/{{sample}}", sample=SAMPLES),
        networks=expand(f"{RESULTS}/training/{{{{model}}}}/fold{{fold}}", fold=FOLDS),
        own=own_files,
    output:
        png=report(
            f"{PLOTS}/saliency_{{model}}.png",
            category="What networks see",
            caption="../report/saliency.rst",
            labels={"model": "{model}", "figure": "saliency"},
        ),
        others=multiext(f"{PLOTS}/saliency_{{model}}", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/saliency_{{model}}.log",
    threads: 1
    resources:
        **needs(memory=2000, minutes=30, gpu=True),
    params:
        caption=caption,
        title=method_title,
        networks=network_options,
        factory=factory_options,
        code=code_digest("hepml.plots.networks.stage"),
    shell:
        "hepml plot saliency {input.data:q} {params.networks:q} {params.factory:q}"
        " --title {params.title:q} --caption {params.caption:q} --output {output.png:q} 2> {log:q}"


rule plot_importance:
    input:
        data=expand(f"{RESULTS}/data/{{sample}}", sample=SAMPLES),
        networks=expand(f"{RESULTS}/training/{{{{model}}}}/fold{{fold}}", fold=FOLDS),
        own=own_files,
    output:
        png=report(
            f"{PLOTS}/importance_{{model}}.png",
            category="What networks see",
            caption="../report/importance.rst",
            labels={"model": "{model}", "figure": "importance of particles"},
        ),
        others=multiext(f"{PLOTS}/importance_{{model}}", ".pdf", ".json"),
    log:
        f"{RESULTS}/logs/plots/importance_{{model}}.log",
    threads: 1
    resources:
        **needs(memory=2000, minutes=60, gpu=True),
    params:
        caption=caption,
        title=method_title,
        networks=network_options,
        factory=factory_options,
        code=code_digest("hepml.plots.networks.stage"),
    shell:
        "hepml plot importance {input.data:q} {params.networks:q} {params.factory:q}"
        " --title {params.title:q} --caption {params.caption:q} --output {output.png:q} 2> {log:q}"


rule report:
    input:
        comparison=f"{RESULTS}/comparison.json",
        provenance=f"{RESULTS}/provenance.json",
        results=expand(f"{RESULTS}/inference/{{method}}.json", method=METHODS),
        diagnostics=expand(
            f"{RESULTS}/inference/{{method}}.closure.json", method=DIAGNOSED
        ),
        interfering=expand(
            f"{RESULTS}/interference/{{method}}.json", method=INTERFERING
        ),
        data=expand(f"{RESULTS}/data/{{sample}}", sample=ALL_SAMPLES),
        training=expand(
            f"{RESULTS}/training/{{model}}/fold{{fold}}",
            model=jobs.networks(ANALYSIS),
            fold=FOLDS,
        ),
        figures=expand(
            f"{PLOTS}/{{figure}}.png",
            figure=[
                "summary",
                "roc",
                "significance",
                "likelihood",
                *(["interference"] if INTERFERING else []),
                "cutflow",
                *expand("llr_{model}", model=MODELS),
                *expand("training_{model}", model=jobs.networks(ANALYSIS)),
                *expand("reweighting_{model}", model=MODELS),
                *expand("sculpting_{method}", method=SCULPTING),
                *expand("images_{model}", model=IMAGE_MODELS),
                *expand("saliency_{model}", model=IMAGE_MODELS),
                *expand("importance_{model}", model=SET_MODELS),
                *expand("histogram_{method}", method=METHODS),
                *expand("ranking_{method}", method=METHODS),
                *expand("variable_{variable}", variable=VARIABLES),
            ],
        ),
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/plots/report.log",
    localrule: True
    params:
        settings=all_settings,
        sources=report_options,
        code=code_digest("hepml.plots.stage"),
    shell:
        "hepml report {params.sources} --settings {params.settings:q} --output {output:q} 2> {log:q}"
