# The short names of long commands. All need the environment of the README's second command.
.PHONY: check format test schema
KERNELS = $(wildcard hepml/kernels/*.cpp hepml/kernels/*.h)

check:  ## lint, format, types, imports and the form of the workflow
	ruff check .
	ruff format --check .
	clang-format --dry-run --Werror $(KERNELS)
	mypy
	lint-imports
	snakefmt --check Snakefile workflow
	snakemake --lint --configfile config/quick.yaml

format:  ## mend what tools can mend
	ruff check --fix .
	ruff format .
	clang-format -i $(KERNELS)
	snakefmt Snakefile workflow

test:  ## everything but whole workflow runs
	pytest -m "not slow"

schema:  ## what documents the config: JSON schema for editors, and the page of all keys
	hepml schema --json workflow/schemas/config.schema.json --page docs/configuration.md
