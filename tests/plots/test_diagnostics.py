"""Figures and section of the report that tell whether a score can be trusted."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from hepml.errors import InputError
from hepml.inference.diagnostics.oracle import Distance, Limit
from hepml.inference.diagnostics.overtraining import KolmogorovSmirnov, Overtraining
from hepml.inference.diagnostics.record import DIAGNOSTICS, Checks, Diagnostics
from hepml.inference.diagnostics.reweighting import Reweighted
from hepml.inference.diagnostics.sculpting import Sculpting
from hepml.inference.metrics import Estimate
from hepml.plots.diagnostics.stage import plot_reweighting, plot_sculpting
from hepml.plots.stage import write_report

BINS = 4
SHARES = [0.1, 0.4, 0.3, 0.2]


def checks(closing):
    test = KolmogorovSmirnov(0.031, 0.27)
    gap = Estimate(0.0071, 0.0012)
    return Checks(
        Estimate(0.47, 0.002),
        Estimate(closing, 0.0021),
        Overtraining(gap, gap, test, test),
        Distance(gap, Estimate(0.0108, 0.0029), Estimate(0.171, 0.012)),
    )


@pytest.fixture
def diagnostics(tmp_path):
    """Of one network, as its file."""
    edges = np.linspace(0, 2, BINS + 1).tolist()
    variables = [
        Reweighted(
            name, edges, SHARES, [0.01] * 4, SHARES[::-1], SHARES, [1.0, 1.02, 0.97, None],
            [0.1, 0.02, 0.03, None], 7.5, 3, 0.06,
        )
        for name in ("tau32", "jet_sdmass", "constituents", "more")
    ]  # fmt: skip
    sculpted = Sculpting(
        "jet_sdmass", 0.5, 321, Estimate(0.31, 0.02), Estimate(0.004, 0.001), 0.0025, edges,
        SHARES, [0.02] * 4, SHARES[::-1], [0.01] * 4,
    )  # fmt: skip
    found = Diagnostics(
        method="mlp",
        title="MLP",
        variables=["tau32"],
        complete=True,
        two_sample_before=0.683,
        all=checks(0.5212),
        folds=[checks(0.51 + 0.001 * fold) for fold in range(3)],
        reweighted=variables,
        sculpting=sculpted,
        limit=Limit("exact_llr", Estimate(5.15, 0.1), Estimate(0.981, 0.011)),
        warnings=["reweighting to signal does not close"],
    )
    return write(found, tmp_path / "mlp.closure.json")


def write(found, path):
    path.write_bytes(DIAGNOSTICS.dump_json(found))
    return path


def test_figures_are_drawn_with_their_numbers(diagnostics, caption, tmp_path):
    labels = {"jet_sdmass": "$m_{SD}$ [GeV]"}
    plot_reweighting(diagnostics, labels, caption, tmp_path / "reweighting_mlp")
    plot_sculpting(diagnostics, labels, caption, tmp_path / "sculpting_mlp")
    shown = json.loads((tmp_path / "reweighting_mlp.json").read_text())
    assert shown[0]["variable"] == "tau32"
    assert shown[0]["ratio"] == [1.0, 1.02, 0.97, None]
    assert json.loads((tmp_path / "sculpting_mlp.json").read_text())["raw_passed"] == 321
    for name in ("reweighting_mlp", "sculpting_mlp"):
        assert (tmp_path / f"{name}.pdf").stat().st_size > 5000
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_where_too_little_passes_the_figure_says_so(diagnostics, caption, tmp_path):
    found = DIAGNOSTICS.validate_json(diagnostics.read_bytes())
    path = write(replace(found, sculpting=None), tmp_path / "cuts.closure.json")
    plot_sculpting(path, {}, caption, tmp_path / "sculpting_cuts")
    assert (tmp_path / "sculpting_cuts.png").exists()


def test_diagnostics_of_another_version_are_named(caption, tmp_path):
    (tmp_path / "mlp.closure.json").write_text('{"method": "mlp"}')
    with pytest.raises(InputError, match=r"mlp.closure.json: no diagnostics of this version"):
        plot_reweighting(tmp_path / "mlp.closure.json", {}, caption, tmp_path / "figure")
    assert not list(tmp_path.glob("figure*"))


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def test_the_report_tells_them_with_their_errors(diagnostics, sources, analysis, tmp_path):
    page = tmp_path / "report.html"
    write_report(analysis, replace(sources, diagnostics=(diagnostics,)), page)
    text = text_of(page.read_text(encoding="utf-8"))
    section = text[text.index("Can the scores be trusted?") :]
    for number in ("0.5212 ± 0.0021", "+0.0071 ± 0.0012", "0.031 (0.27)", "0.683 (MLP)"):
        assert number in section
    for number in ("+0.0108 ± 0.0029", "0.171 ± 0.012", "0.981 ± 0.011", "5.15 ± 0.10"):
        assert number in section
    assert "0.310 ± 0.020" in section
    assert "MLP: reweighting to signal does not close" in text[: text.index("Comparison ")]


def test_without_an_exact_ratio_no_limit_is_told(diagnostics, sources, analysis, tmp_path):
    found = DIAGNOSTICS.validate_json(diagnostics.read_bytes())
    path = write(replace(found, limit=None, sculpting=None), diagnostics)
    write_report(analysis, replace(sources, diagnostics=(path,)), tmp_path / "report.html")
    text = text_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Can the scores be trusted?" in text
    assert "Distance to the" not in text
    assert "What selections do to" not in text
