"""The numbers that reach the axes are the numbers of the records."""

import numpy as np
import pytest

from hepml.inference.quantities import Measured
from hepml.plots.curves import Losses, Roc, Scan, roc_figure, significance_figure, training_figure
from hepml.plots.distributions import (
    class_shapes,
    llr_figure,
    seen_and_unseen,
    variable_figure,
)
from hepml.plots.learning import LearningCurve, LearningCurves, learning_curve_figure
from hepml.plots.yields import (
    CutFlow,
    Headline,
    Slices,
    cutflow_figure,
    histogram_figure,
    merged_steps,
    summary_figure,
)

NONE = np.empty(0)


def upper_errors(container):
    """Lengths of the vertical error bars above their points; NaN points have none."""
    (bars,) = container.lines[2]
    ends = np.array([segment[:, 1] for segment in bars.get_segments() if len(segment)])
    middle = np.asarray(container.lines[0].get_ydata(), dtype=float)
    return ends[:, 1] - middle[np.isfinite(middle)]


def points_x(container):
    return np.asarray(container.lines[0].get_xdata(), dtype=float)


@pytest.fixture
def shapes():
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(1, 1, 500), rng.normal(-1, 1, 700)])
    signal = np.arange(1200) < 500
    return class_shapes(x, signal, rng.choice([1.0, -0.3], 1200, p=[0.9, 0.1]))


def test_drawn_densities_have_unit_area(shapes, caption):
    upper = variable_figure(shapes, "x", caption).axes[0]
    for line in (upper.patches[0], upper.patches[3]):  # line, filling and band of each class
        values, edges, _ = line.get_data()
        assert np.sum(values * np.diff(edges)) == pytest.approx(1)


def test_band_of_a_density_is_its_error(shapes, caption):
    upper = variable_figure(shapes, "x", caption).axes[0]
    high, _, low = upper.patches[2].get_data()
    np.testing.assert_allclose((high - low) / 2, shapes.signal.errors)


def test_test_points_carry_their_errors_over_the_filled_training_scores(caption):
    rng = np.random.default_rng(3)
    unseen, weight = rng.normal(0, 1, 300), np.full(300, 0.2)
    edges = np.linspace(-4, 4, 9)
    both = seen_and_unseen(unseen, unseen + 0.1, weight, edges)
    figure = llr_figure({"signal": both, "background": both}, "MLP", caption)
    upper, lower = figure.axes
    counts, _ = np.histogram(np.clip(unseen, -4, 4), edges)
    points = upper.containers[0]
    drawn = np.where(counts > 0, counts / 300, np.nan)  # bins are one wide
    np.testing.assert_allclose(points.lines[0].get_ydata(), drawn)
    np.testing.assert_allclose(upper_errors(points), np.sqrt(counts[counts > 0]) / 300)
    values, _, _ = upper.patches[0].get_data()
    assert values.sum() == pytest.approx(1)
    assert lower.get_ylabel() == "Test / train"
    assert "KS distance" in upper.get_legend().get_texts()[0].get_text()


def test_roc_shows_one_over_background_efficiency_and_the_point_of_the_cuts(caption):
    curve = Roc(
        "mlp",
        "MLP",
        Measured(0.91, 0.01),
        np.array([0.1, 0.5, 1.0]),
        np.array([0.0, 0.04, 1.0]),
        (Measured(0.5, 0.01), Measured(0.04, 0.002)),
    )
    cuts = Roc("cuts", "Cuts", None, NONE, NONE, (Measured(0.4, 0.03), Measured(0.05, 0.005)))
    axes = roc_figure((cuts, curve), caption).axes[0]
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(lines[0].get_ydata(), [25.0, 1.0])  # ε_B = 0 has no rejection
    star = axes.containers[0]
    assert star.lines[0].get_xdata()[0] == 0.4
    assert star.lines[0].get_ydata()[0] == pytest.approx(20)
    horizontal, vertical = (bars.get_segments()[0] for bars in star.lines[2])
    assert np.ptp(horizontal[:, 0]) == pytest.approx(0.06)
    assert np.ptp(vertical[:, 1]) == pytest.approx(4.0)  # ± 0.005 / 0.05²
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["Cuts", "MLP (AUC 0.910 ± 0.010)", "random choice"]


def test_band_of_the_significance_is_its_error(caption):
    x, z, error = np.array([0.2, 0.5, 0.8]), np.array([2.0, 3.0, 1.0]), np.array([0.3, 0.2, 0.1])
    scan = Scan("mlp", "MLP", x, z, error, Measured(0.5, 0.01), Measured(2.9, 0.25))
    axes = significance_figure((scan,), caption).axes[0]
    (band,) = (c for c in axes.collections if len(c.get_paths()[0].vertices) > 3)
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(3.2)
    assert heights.min() == pytest.approx(0.9)
    assert axes.get_ylim()[1] > 3.2


def test_unknown_errors_of_a_scan_still_leave_its_line_visible(caption):
    x, z = np.array([0.2, 0.8]), np.array([9.0, 1.0])
    scan = Scan("mlp", "MLP", x, z, np.full(2, np.nan), Measured(0.5), Measured(2.0))
    assert significance_figure((scan,), caption).axes[0].get_ylim()[1] > 9


def test_slices_are_stacked_with_the_errors_of_both_in_quadrature(caption):
    slices = Slices(
        np.array([np.nan, 0.5, np.nan]),
        np.array([3.0, 6.0]),
        np.array([0.3, 0.4]),
        np.array([100.0, 9.0]),
        np.array([4.0, 0.3]),
    )
    upper, lower = histogram_figure(slices, "MLP", caption).axes
    contents = [patch.get_data() for patch in upper.patches]
    np.testing.assert_allclose(contents[1].values, [103, 15])
    np.testing.assert_allclose(contents[1].baseline, [100, 9])
    np.testing.assert_allclose(
        contents[3].values - contents[1].values, np.hypot([4, 0.3], [0.3, 0.4])
    )
    np.testing.assert_allclose(lower.patches[0].get_data().values, [0.3, 2.0])  # 3/√100, 6/√9
    assert [label.get_text() for label in lower.get_xticklabels()] == ["0.5"]


def test_slices_of_a_selection_without_a_score_are_failed_and_passed(caption):
    slices = Slices(NONE, np.array([2.0, 3.0]), np.ones(2), np.array([90.0, 4.0]), np.ones(2))
    lower = histogram_figure(slices, "Cuts", caption).axes[1]
    assert [label.get_text() for label in lower.get_xticklabels()] == ["failed", "passed"]


def test_cut_flow_keeps_steps_that_only_one_sample_has(caption):
    top = CutFlow("top", "signal", ("all", "trigger", "jets"), np.array([9.0, 5, 3]), np.ones(3))
    qcd = CutFlow("qcd", "background", ("all", "jets"), np.array([900.0, 0]), np.array([9.0, 0]))
    axes = cutflow_figure((top, qcd), caption).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["all", "trigger", "jets"]
    one, two = axes.containers
    np.testing.assert_allclose(one.lines[0].get_xydata(), [[9, 0], [5, 1], [3, 2]])
    np.testing.assert_allclose(two.lines[0].get_xydata(), [[900, 0], [np.nan, 2]])


def test_losses_of_all_folds_are_drawn_and_the_kept_epoch_marked(caption):
    folds = tuple(
        Losses(f"fold{k}", np.array([1, 2, 3]), np.array([0.7, 0.5, 0.4]), np.full(3, 0.6), best)
        for k, best in enumerate((2, None))
    )
    axes = training_figure(folds, "MLP", caption).axes[0]
    lines = axes.get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), [0.7, 0.5, 0.4])
    np.testing.assert_allclose(lines[2].get_xydata(), [[2, 0.6]])
    assert len(lines[5].get_xdata()) == 0


def test_summary_leaves_out_what_was_not_measured(caption):
    methods = (
        Headline("Cuts", Measured(2.0, 0.1), None),
        Headline("MLP", Measured(2.5, None), Measured(3.0, 0.2)),
    )
    axes = summary_figure(methods, caption).axes[0]
    counting, binned = axes.containers
    np.testing.assert_allclose(points_x(counting), [2.0, 2.5])
    np.testing.assert_allclose(points_x(binned), [3.0])
    assert {text.get_text() for text in axes.texts} >= {"2.00 ± 0.10", "2.5", "3.00 ± 0.20"}


def test_steps_keep_the_order_they_have_in_every_sample():
    flows = ("all", "jets", "valid"), ("all", "jets", "truth", "valid"), ("all", "lumi", "jets")
    assert merged_steps(flows) == ["all", "lumi", "jets", "truth", "valid"]
    late = ("all", "b", "end"), ("all", "a", "end"), ("all", "a", "b", "end")
    assert merged_steps(late) == ["all", "a", "b", "end"]
    assert merged_steps((("a", "b"), ("b", "a"))) == ["a", "b"]  # no order is right for both


def test_learning_curves_stand_beside_the_band_of_the_cuts(caption):
    events = np.array([500, 1000, 1100, 4000])
    curves = [
        LearningCurve(name, name, events, gap, gap / 10, np.arange(1.0, 5), np.full(4, 0.2))
        for name, gap in (("mlp", np.geomspace(0.1, 0.03, 4)), ("cnn", np.geomspace(0.2, 0.02, 4)))
    ]
    figure = learning_curve_figure(LearningCurves(Measured(3.0, 0.4), tuple(curves)), caption)
    upper, lower = figure.axes
    for axes, shown in ((upper, "auc_gap"), (lower, "significance")):
        for container, curve in zip(axes.containers, curves, strict=True):
            np.testing.assert_allclose(container.lines[0].get_ydata(), getattr(curve, shown))
            assert points_x(container) == pytest.approx(events, rel=0.02)  # a little apart
        assert not np.any(points_x(axes.containers[0]) == points_x(axes.containers[1]))
    np.testing.assert_allclose(upper_errors(upper.containers[1]), curves[1].auc_error)
    np.testing.assert_allclose(upper_errors(lower.containers[1]), 0.2)
    (band,) = lower.patches
    assert (band.get_y(), band.get_height()) == pytest.approx((2.6, 0.8))
    # labels that would overlap are left out
    labels = [label.get_text() for label in lower.get_xticklabels()]
    assert labels == ["500", "1\u202f000", "4\u202f000"]
