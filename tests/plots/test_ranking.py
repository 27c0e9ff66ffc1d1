"""The ranking figure shows the fit that is quoted, and says what a source costs."""

import numpy as np
import pytest

from hepml.plots.ranking import ranked, ranking_figure
from hepml.plots.style import Caption


def impact(name, size, z):
    return {
        "name": name,
        "title": name.upper(),
        "pull": 0.1,
        "error": 0.8,
        "prefit": [-size, 1.5 * size],
        "postfit": [-0.8 * size, size],
        "z_with_only_this": z,
        "z_without_this": 3.0,
    }


@pytest.fixture
def content():
    ranking = {
        "z": 2.5,
        "z_without": 3.2,
        "impacts": [impact("a", 0.2, 2.7), impact("b", 0.1, 3.1)],
    }
    return {"nuisances": {"binned": ranking, "unbinned": None}}


def test_bars_points_and_costs(content):
    record = ranked(content)
    assert record.fit == "binned fit"
    assert record.cost == pytest.approx([0.5, 0.1])
    pulls, impacts = ranking_figure(record, "Cuts", Caption(title="T", luminosity=1.0)).axes
    assert [label.get_text() for label in pulls.get_yticklabels()] == ["A", "B"]
    widths = sorted(bar.get_width() for bar in impacts.patches)
    expected = np.sort(np.concatenate([record.prefit.ravel(), record.postfit.ravel()]))
    assert widths == pytest.approx(expected.tolist())
    texts = [text.get_text() for text in impacts.texts]
    assert texts[0].endswith("-0.50$")


def test_the_unbinned_fit_is_shown_where_there_is_one(content):
    content["nuisances"]["unbinned"] = {"z_without": 4.0, "impacts": [impact("c", 0.3, 3.0)]}
    record = ranked(content)
    assert (record.fit, record.titles) == ("unbinned fit", ("C",))


def test_no_sources(content):
    content["nuisances"]["binned"]["impacts"] = []
    figure = ranking_figure(ranked(content), "Cuts", Caption(title="T", luminosity=1.0))
    assert figure.axes[1].texts[0].get_text() == "no sources"
