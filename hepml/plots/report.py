"""The whole story of an analysis as one HTML page that needs no other file."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from hepml.config import Analysis
from hepml.inference.quantities import Number, signed, with_error, with_prefix, with_thousands
from hepml.jobs import model_of
from hepml.plots.headline import answer

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """Everything the page tells, as the other stages wrote it.

    Attributes:
        analysis: all settings.
        comparison: of ``comparison.json``.
        methods: of each ``inference/<method>.json``.
        samples: of each ``cutflow.json``.
        trainings: of the ``model.json`` of all folds, by model.
        figures: PNG images by their stem, such as ``roc`` or ``llr_<model>``.
        provenance: of ``provenance.json``.
        diagnostics: of each ``inference/<method>.closure.json``.
        interfering: of each ``interference/<method>.json``.
    """

    analysis: Analysis
    comparison: Content
    methods: Sequence[Content]
    samples: Sequence[Content]
    trainings: Mapping[str, Sequence[Content]]
    figures: Mapping[str, bytes]
    provenance: Content
    diagnostics: Sequence[Content] = ()
    interfering: Sequence[Content] = ()


@dataclass(frozen=True)
class Figure:
    """An image as a data URI, what it shows for who cannot see it, and how to read it."""

    name: str
    image: str
    alternative: str
    caption: str


# stem, or its beginning: what is shown, how to read it; {} is the variable, model or method
_TEXTS = {
    "summary": (
        "Expected significance of every method",
        "Expected significance of every method, with errors from the size of the simulated "
        "samples. Counting treats cuts and networks alike; the binned fit adds the shape of a "
        "score, which cuts do not have. Errors of different methods are correlated, because all "
        "saw the same events: judge differences by the paired ΔZ of the table, not by "
        "overlapping bars.",
    ),
    "roc": (
        "Background rejection against signal efficiency",
        "One over the fraction of the background that is kept (logarithmic), against the fraction "
        "of the signal that is kept. Higher is better; the dotted line is a coin toss. "
        "Markers show the selections the methods chose, the star the cuts.",
    ),
    "significance": (
        "Expected significance against signal efficiency",
        "Significance of counting the events beyond a threshold on the score, against the signal "
        "that threshold keeps. Bands: statistics of the simulation. Markers: working points, "
        "chosen on other folds than they are evaluated on, so they need not lie on the maximum.",
    ),
    "likelihood": (
        "Minus twice the logarithm of the likelihood ratio against the signal strength",
        "How well the signal strength µ would be known, for identical events: −2Δln L of the "
        "unbinned fit, the fit of bins and the count beyond the threshold, on data as expected at "
        "µ = 1. Narrower is better. Each profiles all sources of uncertainty, not the statistics "
        "of the simulation, which a fit without bins has no like of. The table has σ(µ) relative "
        "to the unbinned fit: what binning and counting lose.",
    ),
    "cutflow": (
        "Expected events after each step of the selection",
        "Expected events of every sample after each step of the selection, top to bottom, on a "
        "logarithmic axis. The table below holds the numbers.",
    ),
    "histogram_": (
        "Expected events per slice of the score of {}",
        "What the binned fit of {} uses: expected events per slice of the score, signal on top of "
        "background; the last slice is the most signal-like. Hatched: statistics of the "
        "simulation. Points: data with Garwood intervals, if there are any; slices in grey are "
        "those whose data have not been looked at. Below: signal over √background, to see where "
        "the significance comes from.",
    ),
    "interference": (
        "-2 Δ ln L against the strength of a signal that interferes",
        "Likelihood ratio of the strength µ of a signal that interferes with the background, on "
        "what is expected at µ = 1. Solid: every event by itself; dashed: bins of the observable "
        "that is most sensitive at µ = 1; dotted: counting what passes the cuts; grey: counting "
        "all events. A count may not tell a small µ from a large one: its curve has two minima.",
    ),
    "ranking_": (
        "Nuisance parameters of {} by their impact on µ",
        "Sources of uncertainty in the fit of {} to what is expected, the largest impact first. "
        "Left: pull and its error; 0 ± 1 is what was put in, a smaller error what the data add. "
        "Right: change of the signal strength µ when the parameter is fixed one standard deviation "
        "away and everything else fitted again. ΔZ: what the source alone does to Z.",
    ),
    "llr_": (
        "Log-likelihood ratio of signal and background, {}",
        "Log-likelihood ratio of {}. Points: every event scored by a network that never saw it; "
        "these scores are used. Filled: by a network that had seen it. If both agree, the network "
        "learned rules, not events. The Kolmogorov-Smirnov distance is the largest gap between "
        "the two cumulative distributions.",
    ),
    "training_": (
        "Loss per epoch in all folds, {}",
        "Training of {}, one pair of lines per fold. A validation loss that rises while the "
        "training loss still falls means over-training; the epoch kept is marked.",
    ),
    "reweighting_": (
        "Variables of signal, and of the mixture reweighted to signal, {}",
        "Does the ratio of {} turn one class into the other? Filled: signal; dashed: background; "
        "points: the mixture of both in equal parts, each event weighted by 2r/(1 + r), r being "
        "the ratio. If r is right, points and signal agree in every variable that the network "
        "reads. Below: points over signal, without the fluctuations both have in common (those "
        "are the band); χ² is of these.",
    ),
    "sculpting_": (
        "A variable of the background that {} keeps and rejects",
        "What a selection by {} does to a variable of the background. Points: background that "
        "passes, filled: that fails, each with unit area. The divergence (Jensen-Shannon) is 0 if "
        "both are distributed alike and 1 bit if nothing is common; by chance: if the same "
        "number of events were drawn at random. A selection by the variable itself sculpts it.",
    ),
    "images_": (
        "Mean jet images of signal and background, {}",
        "What {} is shown, seen from far away: the mean image of all signal jets and of all "
        "background jets, each jet with its weight, on one logarithmic colour scale, and the "
        "difference of the two (red: more in signal), whose scale is linear up to 1 % of its end "
        "and logarithmic beyond.",
    ),
    "saliency_": (
        "Mean gradient of the logit with respect to the image, {}",
        "Where {} looks: how its logit changes if a little more is put at a place of the image, "
        "as a mean over jets chosen at random, each judged by the network that never saw it. Red "
        "makes a jet more signal-like, blue more background-like. Half of what the mean image of "
        "the same jets holds lies inside the solid line, 95 % inside the dashed one: far outside "
        "of it the network saw next to nothing, and its gradient means little. Drawn is the "
        "gradient for a round blob of a tenth of the half width, because convolutions with "
        "strides treat neighbouring pixels differently; that of each pixel is beside the figure.",
    ),
    "importance_": (
        "Change of the logit through single particles, by rank and in the plane, {}",
        "Which particles {} listens to. Δ logit is the logit of a jet less its logit without one "
        "particle, nothing else of the jet being changed, for jets chosen at random, each by the "
        "network that never saw it. Left: means of its size and of itself, positive where "
        "the particle speaks for signal, against the rank of the particle in transverse momentum; "
        "bands are errors of the mean. Right: its mean for the particles at each place of the "
        "jet; grey where they are too few. Effects of single particles do not add up to the logit "
        "of a network that looks at them together.",
    ),
    "learning_curve": (
        "AUC and significance against the number of events trained on",
        "What networks trained on fewer events would reach: 1 − AUC (lower is better) and the "
        "significance by counting, with errors from the size of the simulated samples. All points "
        "are judged on the same events, so that their errors are strongly correlated. The band is "
        "the cuts. Models stand a little beside each other so that all errors can be seen.",
    ),
    "variable_": (
        "Distribution of {} for signal and background",
        "{}, each class with unit area. Bands: statistics of the simulation. The first and last "
        "bin hold everything beyond. Below: the ratio of both, where it is known.",
    ),
}


def render(report: Report) -> str:
    """Fill the page's template; everything from files and settings is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        percent=_percent,
        quantity=_quantity,
        percentage=_percentage,
        number=with_thousands,
        prefixed=with_prefix,
        duration=_duration,
        interval=_interval,
        intervals=_intervals,
        unbroken=_unbroken,
    )
    environment.globals.update(with_error=with_error, signed=signed)
    template = (files("hepml.plots") / "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        report=report,
        analysis=report.analysis,
        rows=report.comparison["rows"],
        answer=answer(report.comparison, report.analysis.luminosity),
        warnings=collected_warnings(report),
        figures=arranged_figures(report),
        titles=_titles(report),
        software=_flat(report.provenance["software"]),
        settings=json.dumps(report.provenance["settings"], indent=1, ensure_ascii=False),
    )


def collected_warnings(report: Report) -> list[str]:
    """Every warning of the comparison, the methods and the trainings, once, in order."""
    found, titles = [str(warning) for warning in report.comparison["warnings"]], _titles(report)
    for method in report.methods:
        found += [f"{method['title']}: {warning}" for warning in method["warnings"]]
    for name, folds in report.trainings.items():
        shown = titles.get(name, name)
        # what a network does not see hardly differs between folds: the first speaks for all
        found += [f"{shown}: {warning}" for warning in folds[0].get("warnings", ())]
        calibrations = [fold.get("calibration", {}).get("warning") for fold in folds]
        found += [f"{shown}: fold {k}: {text}" for k, text in enumerate(calibrations) if text]
    for checked in (*report.diagnostics, *report.interfering):
        found += [f"{checked['title']}: {warning}" for warning in checked["warnings"]]
    return list(dict.fromkeys(found))


def arranged_figures(report: Report) -> dict[str, list[Figure]]:
    """Figures by the beginning of their stems; what no text is known for under "other".

    Within a kind, variables and methods keep the order of the analysis.
    """
    titles = _titles(report)
    order = [*report.analysis.data.variables, *titles]
    arranged: dict[str, list[Figure]] = {kind: [] for kind in (*_TEXTS, "other")}

    def position(stem: str) -> tuple[int, str]:
        name = stem.partition("_")[2]
        return (order.index(name) if name in order else len(order)), stem

    for stem in sorted(report.figures, key=position):
        kind = next((k for k in _TEXTS if stem == k or (k[-1] == "_" and stem.startswith(k))), None)
        name = stem.removeprefix(kind or "")
        shown = titles.get(name, name)
        alternative, caption = _TEXTS[kind] if kind else (stem, stem)
        image = base64.b64encode(report.figures[stem]).decode("ascii")
        arranged[kind or "other"].append(
            Figure(
                name=name,
                image=f"data:image/png;base64,{image}",
                alternative=alternative.replace("{}", shown),
                caption=caption.replace("{}", shown),
            )
        )
    return arranged


def _titles(report: Report) -> dict[str, str]:
    """Of all methods and networks, by their names."""
    titles = {method["method"]: method["title"] for method in report.methods}
    networks = {name: model_of(name) for name in report.trainings if name not in titles}
    return titles | {name: f"{titles.get(model, model)}, SBI" for name, model in networks.items()}


def _flat(content: Content) -> dict[str, str]:
    """Names and versions, those of packages inside "packages" too."""
    flat: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value)
        elif isinstance(value, bool):
            flat[name.replace("_", " ")] = "yes" if value else "no"
        else:
            flat[name] = "unknown" if value is None else str(value)
    return flat


def _quantity(content: Any) -> str:  # noqa: ANN401 - {"value", "error"}, a number or None
    if isinstance(content, Mapping):
        return with_error(content.get("value"), content.get("error"))
    return with_thousands(content)


def _percentage(content: Mapping[str, Any] | None) -> str:
    """Of {"value", "error"}; a dash where there is none."""
    if content is None:
        return "–"
    return f"{with_error(100 * content['value'], 100 * content['error'])} %"


def _unbroken(text: str) -> str:
    """Equations and numbers with errors never end a line halfway."""
    for sign in ("=", "±", "%"):
        text = text.replace(f" {sign}", f"\u00a0{sign}")
    return text.replace("= ", "=\u00a0").replace("± ", "±\u00a0")


def _percent(fraction: Number | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.0f} %".replace("-", "−")


def _duration(seconds: Number | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _intervals(parts: Sequence[Sequence[Number]]) -> str:
    """One interval, or several, to three digits."""
    return " and ".join(f"{low:.3g} to {high:.3g}" for low, high in parts)


def _interval(bounds: Any) -> str:  # noqa: ANN401 - a lower threshold or [low, high]
    """What a cut keeps; a null end is open."""
    low, high = bounds if isinstance(bounds, Sequence) else (bounds, None)
    if low is None and high is None:
        return "no cut"
    if high is None:
        return f"≥ {with_thousands(low)}"
    if low is None:
        return f"< {with_thousands(high)}"
    return f"{with_thousands(low)} to {with_thousands(high)}"
