"""Schemas that ship with hepml, and how one builds on another."""

from hepml.config import Particles, Runs, Schema
from hepml.errors import InputError, nearest

_JETCLASS_PARTICLES = Particles(
    px="part_px",
    py="part_py",
    pz="part_pz",
    energy="part_energy",
    fields={
        name: f"part_{name}"
        for name in (
            "deta",
            "dphi",
            "d0val",
            "d0err",
            "dzval",
            "dzerr",
            "charge",
            "isChargedHadron",
            "isNeutralHadron",
            "isPhoton",
            "isElectron",
            "isMuon",
        )
    },
)

SHIPPED = {
    # arXiv:2202.03772; one jet per entry and no event number, so a jet is known by its momentum
    "jetclass": Schema(
        tree="tree",
        identity=(("jet_pt", "jet_eta", "jet_phi", "jet_energy"),),
        particles=_JETCLASS_PARTICLES,
    ),
    # what `hepml simulate` writes: JetClass and what JetClass leaves out
    "simulation": Schema(
        tree="tree",
        identity=(("event_id",),),
        weight="event_weight",
        runs=Runs(
            tree="runs",
            sum_of_weights="sum_of_weights",
            cross_section="cross_section",
            cross_section_error="cross_section_error",
        ),
        particles=_JETCLASS_PARTICLES,
    ),
    # CMS NanoAOD: variables are picked from its branches in data.variables
    "nanoaod": Schema(
        tree="Events",
        identity=(("run", "luminosityBlock", "event"),),
        weight="genWeight",
        runs=Runs(tree="Runs", sum_of_weights="genEventSumw"),
    ),
}


def resolve(schema: str | Schema) -> Schema:
    """Give the schema of that name, or a user's own merged over its ``base``.

    Raises:
        InputError: if no schema of that name ships, or tree or identity are missing.
    """
    if isinstance(schema, str):
        schema = Schema(base=schema)
    if schema.base is not None:
        if schema.base not in SHIPPED:
            raise InputError(
                f"data.schema: no schema {schema.base!r} ships ({nearest(schema.base, SHIPPED)})"
            )
        own = {name: getattr(schema, name) for name in schema.model_fields_set}
        schema = SHIPPED[schema.base].model_copy(update=own)
    if schema.tree is None:
        raise InputError("data.schema.tree: name the tree, or start from a base schema")
    if not schema.identity:
        raise InputError(
            "data.schema.identity: name the branches that identify an event, for instance "
            "[[run, luminosityBlock, event]]; folds are made from them"
        )
    return schema
