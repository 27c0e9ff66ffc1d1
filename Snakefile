# Thin entry, so that `snakemake --cores all` works in the top folder; the workflow is in workflow/.
include: "workflow/Snakefile"


# an include alone leaves no default target: Snakemake would say "nothing to be done" and exit 0
rule default:
    default_target: True
    input:
        rules.all.input,
    localrule: True
