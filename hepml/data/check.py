"""Find everything that is wrong with an analysis before anything runs."""

from collections.abc import Iterator

from hepml.config import Analysis
from hepml.configfile import data_job, local_files, remote_files
from hepml.data.ntuples import open_file, open_tree
from hepml.data.recipe import Recipe, read_recipe
from hepml.data.stage import identity_branches
from hepml.errors import InputError


def problems(analysis: Analysis) -> list[str]:
    """Try the schema, the expressions and every file of every sample.

    Returns:
        One message per problem; none if all is well.
    """
    found: list[str] = []
    for name in analysis.samples:
        for message in _of_sample(analysis, name):
            found += [line for line in message.splitlines() if line not in found]
    return found


def _of_sample(analysis: Analysis, name: str) -> Iterator[str]:
    try:
        recipe = read_recipe(data_job(analysis, name))
        files = local_files(analysis, name) + remote_files(analysis, name)
    except InputError as error:
        yield str(error)
        return
    sample = analysis.samples[name]
    normalised = sample.cross_section or sample.expected_events or sample.role == "data"
    from_runs = recipe.schema.runs and recipe.schema.runs.cross_section
    if not normalised and not from_runs:
        yield (
            f"samples.{name}: no cross-section; give cross_section [pb] or expected_events, or "
            "name the branch that holds it in data.schema.runs.cross_section"
        )
    for path in files:
        try:
            _try_file(path, recipe, sample.tree or str(recipe.schema.tree), name)
        except InputError as error:
            yield str(error)


def _try_file(path: str, recipe: Recipe, tree_name: str, sample: str) -> None:
    with open_file(path) as file:
        tree = open_tree(file, path, tree_name)
        if tree.entries == 0:
            raise InputError(f"{path}: tree {tree.name!r} is empty; leave the file out")
        tree.require(recipe.raw_names, f"sample {sample!r}")
        identity_branches(recipe, tree)
