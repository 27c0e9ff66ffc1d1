"""From the contents of the other stages' JSON files to the records that figures show."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from hepml.inference.quantities import Measured, measured
from hepml.plots.curves import Losses, Roc, Scan
from hepml.plots.learning import LearningCurve, LearningCurves
from hepml.plots.likelihood import Profile
from hepml.plots.yields import CutFlow, Headline, Slices

HIGHEST_T = 9.0
_ROLES: dict[tuple[int, ...], str] = {(0,): "background", (1,): "signal", (-1,): "data"}


def roc(content: Mapping[str, Any]) -> Roc:
    """Of ``inference/<method>.json``."""
    curve = content["roc"] or {"signal_efficiency": [], "background_efficiency": []}
    point = content["working_point"]
    return Roc(
        method=content["method"],
        title=content["title"],
        auc=measured(content["auc"]),
        signal_efficiency=_floats(curve["signal_efficiency"]),
        background_efficiency=_floats(curve["background_efficiency"]),
        point=(
            Measured(**point["signal_efficiency"]),
            Measured(**point["background_efficiency"]),
        ),
    )


def scan(content: Mapping[str, Any]) -> Scan:
    """Of ``inference/<method>.json``."""
    curve = content["scan"] or {"signal_efficiency": [], "significance": [], "error": []}
    return Scan(
        method=content["method"],
        title=content["title"],
        signal_efficiency=_floats(curve["signal_efficiency"]),
        significance=_floats(curve["significance"]),
        error=_floats(curve["error"]),
        point=Measured(**content["working_point"]["signal_efficiency"]),
        point_significance=Measured(**content["significance"]["counting"]),
    )


def profiles(content: Mapping[str, Any]) -> tuple[Profile, ...]:
    """Of ``inference/<method>.json``."""
    curves = content["likelihood"]
    best = next((curve for curve in curves if curve["estimator"] == "unbinned"), None)
    return tuple(
        Profile(
            method=content["method"],
            title=content["title"],
            estimator=curve["estimator"],
            mu=_floats(curve["mu"]),
            t=_floats(curve["t"]),
            sigma=curve["sigma"],
            relative=_relative("sigma", curve, best),
            sigma_normalisation_only=curve["sigma_normalisation_only"],
            relative_normalisation_only=_relative("sigma_normalisation_only", curve, best),
        )
        for curve in curves
    )


def _relative(name: str, curve: Mapping[str, Any], best: Mapping[str, Any] | None) -> float | None:
    return curve[name] / best[name] if best else None


def interfering_profiles(content: Mapping[str, Any]) -> tuple[Profile, ...]:
    """Of ``interference/<method>.json``."""
    best = content["expected"][0]["sigma"] if content["constants"] else None
    return tuple(
        Profile(
            method=content["method"],
            title=content["title"],
            estimator=fit["estimator"],
            mu=_floats(fit["curve"][0]),
            t=_shown(_floats(fit["curve"][1])),
            sigma=fit["sigma"],
            relative=fit["sigma"] / best if best else None,
        )
        for fit in content["expected"]
    )


def _shown(t: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """NaN where a curve would leave the figure, and cross its legend."""
    return np.where(t < HIGHEST_T, t, np.nan)


def slices(result: Mapping[str, Any]) -> Slices:
    """Of the histogram in ``inference/<method>.json``, with data if there are any."""
    content, observed = result["histogram"], result["observed"]
    edges = content["edges"]
    per_fold = bool(edges) and all(edges)
    return Slices(
        edges=_floats(edges).mean(axis=0) if per_fold else np.empty(0),
        signal=_floats(content["signal"]),
        signal_error=_floats(content["signal_error"]),
        background=_floats(content["background"]),
        background_error=_floats(content["background_error"]),
        data=_floats(observed["data"]["counts"]) if observed else None,
    )


def cut_flow(content: Mapping[str, Any], label: Integer[np.ndarray, " events"]) -> CutFlow:
    """Of ``cutflow.json`` and the labels of the events that are left."""
    present = tuple(int(value) for value in np.unique(label))
    steps = content["steps"]
    return CutFlow(
        sample=content["sample"],
        role=_ROLES.get(present, "mixed"),
        steps=tuple(step["step"] for step in steps),
        yields=_floats([step["yield"] for step in steps]),
        errors=_floats([step["error"] for step in steps]),
    )


def members(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Trainings in ``model.json``: of all networks of an ensemble, or of the only one."""
    return list(content.get("members", [content]))


def losses(content: Mapping[str, Any], fold: str) -> Losses:
    """Of ``model.json``."""
    history = content["history"]
    return Losses(
        fold=fold,
        epochs=np.array([entry["epoch"] for entry in history]),
        training=_floats([entry["training_loss"] for entry in history]),
        validation=_floats([entry["validation_loss"] for entry in history]),
        best_epoch=content["best_epoch"],
    )


def headlines(content: Mapping[str, Any]) -> tuple[Headline, ...]:
    """Of ``comparison.json``."""
    return tuple(
        Headline(row["title"], _of_row(row, "z_counting"), _of_row(row, "z_binned"))
        for row in content["rows"]
    )


def learning_curves(
    cuts: Mapping[str, Any], points: Sequence[tuple[str, int, Mapping[str, Any]]]
) -> LearningCurves:
    """Of ``inference/<method>.json`` of the cuts, and of models after several trainings.

    Args:
        cuts: of the cuts.
        points: model, number of events trained on, and what came out; models keep their order.
    """
    by_model: dict[str, dict[int, Mapping[str, Any]]] = {}
    for model, events, content in points:
        by_model.setdefault(model, {})[events] = content
    networks = [_learning_curve(model, found) for model, found in by_model.items()]
    return LearningCurves(Measured(**cuts["significance"]["counting"]), tuple(networks))


def _learning_curve(model: str, found: Mapping[int, Mapping[str, Any]]) -> LearningCurve:
    events = sorted(found)
    contents = [found[number] for number in events]
    auc = [content["auc"] for content in contents]
    z = [content["significance"]["counting"] for content in contents]
    return LearningCurve(
        method=model,
        title=contents[0]["title"],
        events=np.array(events),
        auc_gap=1 - _floats([one["value"] for one in auc]),
        auc_error=_floats([one["error"] for one in auc]),
        significance=_floats([one["value"] for one in z]),
        significance_error=_floats([one["error"] for one in z]),
    )


def _of_row(row: Mapping[str, Any], name: str) -> Measured | None:
    return measured({"value": row[name], "error": row[f"{name}_error"]})


def _floats(values: list[Any]) -> Float[np.ndarray, "..."]:
    """Numbers from JSON; null, which stands for what is not finite, becomes NaN."""
    return np.array(values, dtype=float)
