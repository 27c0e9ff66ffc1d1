"""The comparison as a table for people."""

from hepml.inference.comparison import BASELINE, Comparison, Row
from hepml.inference.quantities import signed, with_error, with_prefix, with_thousands

COLUMNS = {
    "method": "",
    "AUC": "area under the ROC curve, errors by DeLong's method; a dash for cuts, which have none.",
    "1/ε_B (ε_S = 0.3), 1/ε_B (ε_S = 0.5)": "background rejection where 30 % or 50 % of the signal "
    "is kept; the cuts were optimised anew for each. A dash: fewer simulated background events are "
    "left than inference.minimum_background asks for, or the cuts that keep so many miss this ε_S.",
    "Z counting": "expected significance of the events beyond the best threshold (or inside the "
    "best cuts), background uncertainty included. Thresholds for each fold were chosen on the "
    "other folds, for networks and cuts alike.",
    "ΔZ counting": "difference to the cuts, like for like; its error comes from bootstrap replicas "
    "that are the same for all methods, and is therefore smaller than the errors of the two "
    "suggest.",
    "Z binned": "expected significance of a profile likelihood fit to bins of the score (for cuts: "
    "failed and passed), with background uncertainty and the statistics of the simulated "
    "background.",
    "Z unbinned": "expected significance of a fit in which every event counts with its own "
    "likelihood ratio, background uncertainty included: all that the score knows, if it is a "
    "likelihood ratio. The statistics of the simulated background is not in it, unlike in the "
    "binned fit.",
    "ΔZ binned": "difference to the cuts in the binned fit, where a score has more bins than the "
    "cuts: beyond ΔZ counting it is what the shape of the score adds, which the same cut variable "
    "would gain too if it were binned.",
    "p-value": "one-sided probability that background alone looks as signal-like, from Z counting.",
    "p ratio": "p-value of the cuts divided by that of the method.",
    "extra data": "additional data the cuts would need for the method's Z counting, if Z grew as "
    "the square root of the luminosity: (Z/Z_cuts)² - 1.",
    "luminosity factor": "by which the luminosity of the cuts must grow, with their relative "
    "background uncertainty, which does not shrink; a dash above 10 000.",
    "σ(µ)": "expected error of the signal strength at µ = 1, by the binned fit.",
    "ε_S, ε_B": "efficiencies of signal and background at the working point of Z counting.",
    "parameters, MACs, training": "trainable numbers of one network; multiplications with addition "
    "to score one event, mean over the events; time of all folds together, and on what device.",
}
HEADER = (
    "method",
    "AUC",
    "1/ε_B (ε_S = 0.3)",
    "1/ε_B (ε_S = 0.5)",
    "Z counting",
    "ΔZ counting",
    "Z binned",
    "ΔZ binned",
    "Z unbinned",
    "p-value",
    "p ratio",
    "extra data",
    "luminosity factor",
    "σ(µ)",
    "ε_S",
    "ε_B",
    "parameters",
    "MACs",
    "training",
)


def markdown(comparison: Comparison, luminosity: float) -> str:
    """A table with a sentence on each column.

    Args:
        comparison: all rows.
        luminosity: [fb⁻¹].
    """
    lines = [
        f"# Comparison at {luminosity:g} fb⁻¹",
        "",
        "| " + " | ".join(HEADER) + " |",
        "| --- |" + " ---: |" * (len(HEADER) - 1),
    ]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in comparison.rows]
    lines += [
        "",
        "Expected results from simulated events; errors are the statistics of these samples.",
        "",
    ]
    lines += [f"- **{column}**: {text}" for column, text in COLUMNS.items() if text]
    lines += _toys(comparison)
    if comparison.warnings:
        lines += ["", "To be kept in mind:", ""]
        lines += [f"- {_in_a_cell(text)}" for text in comparison.warnings]
    return "\n".join(lines) + "\n"


def _toys(comparison: Comparison) -> list[str]:
    """Significances from toys beside those of asymptotic formulae, if any were drawn."""
    rows = [row for row in comparison.rows if row.z_binned_toys is not None]
    if not rows:
        return []
    return [
        "",
        "Without asymptotic formulae, from toy data sets, whose errors are those of their number:",
        "",
        "| method | Z counting | by toys | Z binned | by toys |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {_in_a_cell(row.title)} | {row.z_counting:.3f} | "
            f"{with_error(row.z_counting_toys, row.z_counting_toys_error)} | {row.z_binned:.3f} | "
            f"{with_error(row.z_binned_toys, row.z_binned_toys_error)} |"
            for row in rows
        ),
    ]


def _cells(row: Row) -> list[str]:
    return [
        _in_a_cell(row.title),
        with_error(row.auc, row.auc_error),
        with_error(row.rejection_03, row.rejection_03_error),
        with_error(row.rejection_05, row.rejection_05_error),
        with_error(row.z_counting, row.z_counting_error),
        _difference(row, row.delta_z_counting, row.delta_z_counting_error),
        with_error(row.z_binned, row.z_binned_error),
        _difference(row, row.delta_z_binned, row.delta_z_binned_error),
        with_error(row.z_unbinned, row.z_unbinned_error),
        f"{row.p_value:.2e}",
        "–" if row.p_ratio is None else f"{row.p_ratio:.3g}",
        f"{row.extra_data:+.0%}",
        "–" if row.luminosity_factor is None else f"{row.luminosity_factor:.2f}",
        f"{row.sigma_mu:.3f}",
        f"{row.signal_efficiency:.3f}",
        f"{row.background_efficiency:.2e}",
        with_thousands(row.parameters),
        with_prefix(row.macs),
        "–" if row.training_seconds is None else f"{row.training_seconds:.0f} s, {row.device}",
    ]


def _in_a_cell(text: str) -> str:
    """Text that neither ends a cell nor a line."""
    return " ".join(text.split()).replace("|", "\\|")


def _difference(row: Row, value: float, error: float) -> str:
    return "–" if row.method == BASELINE else signed(value, error)
