import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from hepml.config import Systematic
from hepml.plots.stage import write_report

# elements of HTML that load what an attribute names
LOADING = {"src", "srcset", "data", "poster", "action", "background"}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Page(HTMLParser):
    """Tags with their attributes, text, and headings in order."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.pieces = [], []
        self.feed(content)
        self.text = re.sub(r"\s+", " ", "".join(self.pieces))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.pieces.append(data)

    def all_of(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture
def figures(tmp_path):
    """One pixel for every figure: the page does not look inside."""
    stems = ["roc", "summary", "llr_mlp", "variable_tau32", "variable_jet_sdmass", "my_own"]
    stems += ["images_mlp", "saliency_mlp", "importance_transformer", "learning_curve"]
    stems += ["likelihood"]
    paths = tuple(tmp_path / "plots" / f"{stem}.png" for stem in stems)
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(PIXEL)
    return paths


@pytest.fixture
def write(analysis, tmp_path):
    def write(sources, settings=analysis):
        write_report(settings, sources, tmp_path / "report.html")
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def test_every_image_is_embedded_with_words_for_it(write, sources, figures):
    images = Page(write(replace(sources, figures=figures))).all_of("img")
    assert len(images) == 11
    for image in images:
        kind, _, content = image["src"].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content) == PIXEL
        assert image["alt"].strip()


def test_nothing_is_loaded_from_elsewhere(write, sources, figures):
    content = write(replace(sources, figures=figures))
    page = Page(content)
    for tag, attributes in page.tags:
        for name in LOADING & set(attributes):
            assert attributes[name].startswith("data:"), (tag, name)
    assert not page.all_of("script", "iframe", "object", "embed")
    assert [link["href"] for link in page.all_of("link")] == ["data:,"]
    assert "url(" not in content
    assert "@import" not in content


def test_figures_stand_in_the_order_of_the_analysis(write, sources, figures):
    page = Page(write(replace(sources, figures=figures)))
    alternatives = [image["alt"] for image in page.all_of("img")]
    mass, tau = (f"Distribution of {v} for signal and background" for v in ("jet_sdmass", "tau32"))
    assert alternatives.index(mass) < alternatives.index(tau)
    assert alternatives[-1] == "my_own"
    assert "Log-likelihood ratio of signal and background, MLP" in alternatives


def test_what_networks_see_is_told_where_there_are_figures_of_it(write, sources, figures):
    text = Page(write(replace(sources, figures=figures))).text
    told = ["What the networks see", "What MLP is shown", "Where MLP looks"]
    told += ["Which particles Particle Transformer listens to", "Variables"]
    places = [text.rindex(words) for words in told]
    assert places == sorted(places)
    assert "What the networks see" not in Page(write(replace(sources, figures=figures[:6]))).text


def test_markup_in_names_is_shown_and_not_obeyed(write, sources, analysis, write_changed):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"

    def infect(content):
        for row in content["rows"]:
            row["title"] = row["device"] = evil
        content["warnings"] = [evil]

    def infect_provenance(content):
        content["inputs"][0]["file"] = content["settings"]["title"] = evil

    settings = analysis.model_copy(update={"title": evil})
    content = write(
        replace(
            sources,
            figures=(),
            comparison=write_changed(sources.comparison, infect),
            provenance=write_changed(sources.provenance, infect_provenance),
        ),
        settings,
    )
    page = Page(content)
    assert not page.all_of("script", "img")
    assert "<script" not in content
    assert evil in page.text


def test_sample_names_with_markup_are_escaped(write, sources, tmp_path, results, read_json):
    folder = tmp_path / "sample"
    folder.mkdir()
    flow = read_json(results / "data" / "top" / "cutflow.json")
    flow["sample"] = '"><script>alert(1)</script>'
    flow["steps"][0]["step"] = "<b>all</b>"
    (folder / "cutflow.json").write_text(json.dumps(flow))
    page = Page(write(replace(sources, data=(folder,))))
    assert not page.all_of("script", "b")
    assert '"><script>alert(1)</script>' in page.text


def test_answer_comes_first_and_warnings_right_after_it(write, sources, write_changed):
    def warn(content):
        content["warnings"] = ["closure failed"]

    text = Page(write(replace(sources, comparison=write_changed(sources.comparison, warn)))).text
    order = ["Boosted top quarks", "A network gains", "closure failed", "AUC", "never saw", "97"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_warnings_of_methods_name_the_method_and_come_once(write, sources, write_changed):
    def warn(content):
        content["warnings"] = ["few events", "few events"]

    result = write_changed(sources.results[1], warn)
    results = (sources.results[0], result, *sources.results[2:])
    text = Page(write(replace(sources, results=results))).text
    assert text.count("MLP: few events") == 1
    assert "this warning" in text


def test_numbers_stand_in_the_table_with_their_errors(write, sources):
    text = Page(write(sources)).text
    assert "0.9312 ± 0.0021" in text
    assert "142.1 to 201.7" in text
    assert "< 0.61" in text
    assert "a4a9f0b" in text
    assert "0" * 64 in text


def test_what_each_step_loses_is_relative_to_the_unbinned_fit_of_the_same_sources(
    write, sources, figures, analysis
):
    drawn = replace(sources, figures=figures)
    plain = re.sub(r"\s", "", Page(write(drawn)).text)
    assert "σ(µ)withoutthestatistics" in plain
    systematic = Systematic(samples=("qcd",), normalisation=0.2)
    settings = analysis.model_copy(update={"systematics": {"xsec": systematic}})
    text = re.sub(r"\s", "", Page(write(drawn, settings)).text)
    of_all = "all0.30.3097(1.03)0.3499(1.17)0.5126(1.71)"
    of_one = "backgroundnormalisation0.240.252(1.05)0.3(1.25)0.48(2.00)"
    assert f"MLP{of_all}{of_one}" in text
    assert "all–0.30970.34990.5126backgroundnormalisation–0.2520.30.48" in text
    assert of_one not in plain
    assert "MLPbackgroundnormalisation0.30.3097(1.03)0.3499(1.17)0.5126(1.71)" in plain


def test_what_is_said_of_uncertainties_is_what_there_are(write, sources, analysis):
    assert "The only systematic uncertainty is the background normalisation" in write(sources)
    systematic = Systematic(samples=("qcd",), normalisation=0.2)
    text = write(sources, analysis.model_copy(update={"systematics": {"xsec": systematic}}))
    assert "The only systematic uncertainty" not in text
    assert "slice and every source of uncertainty as nuisance parameters" in text
    assert "(5 % and all systematics in quadrature)" in text


def test_cuts_alone_make_a_report(write, sources, write_changed):
    def only_cuts(content):
        content["rows"] = content["rows"][:1]

    alone = replace(
        sources,
        comparison=write_changed(sources.comparison, only_cuts),
        results=sources.results[:1],
        training=(),
    )
    text = Page(write(alone)).text
    assert "No network to compare with" in text
    assert "No network was trained" in text


def test_numbers_that_are_null_become_a_dash(write, sources, write_changed):
    def empty(content):
        kept = {"method", "title"}
        for row in content["rows"]:
            row.update({name: None for name in row if name not in kept})

    def empty_result(content):
        content["significance"] = {name: None for name in content["significance"]}
        content["mu"] = {"value": None, "sigma": None, "interval": [None, None]}
        content["limit"]["expected"] = [None] * 5

    sparse = replace(
        sources,
        comparison=write_changed(sources.comparison, empty),
        results=(write_changed(sources.results[0], empty_result), *sources.results[1:]),
    )
    text = Page(write(sparse)).text
    assert "None" not in text
    assert not re.search(r"\bnan\b", text)


def test_headings_are_nested_and_tables_have_headers(write, sources):
    page = Page(write(sources))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.all_of("html")[0]["lang"] == "en"
    assert all("scope" in header for header in page.all_of("th"))
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert {link["href"][1:] for link in page.all_of("a") if link["href"][0] == "#"} <= targets


def test_an_older_report_stays_if_a_new_one_fails(write, sources, tmp_path, write_changed):
    write(sources)
    before = (tmp_path / "report.html").read_bytes()

    def broken(content):
        del content["rows"][0]["z_counting"]

    with pytest.raises(KeyError, match="z_counting"):
        write(replace(sources, comparison=write_changed(sources.comparison, broken)))
    assert (tmp_path / "report.html").read_bytes() == before


def test_a_calibration_that_failed_is_told_with_its_fold(write, sources, tmp_path):
    second = sources.training[1]
    content = json.loads((second / "model.json").read_text(encoding="utf-8"))
    content["calibration"] = {"slope": 1.0, "offset": 0.0, "warning": "the slope is -0.2 ± 0.1"}
    folder = tmp_path / second.parent.name / second.name
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")
    trained = (sources.training[0], folder, *sources.training[2:])
    page = Page(write(replace(sources, training=trained)))
    warnings = page.text[page.text.index("Read the numbers") : page.text.index("Comparison")]
    assert "MLP: fold 1: the slope is -0.2 ± 0.1" in warnings


def test_what_networks_do_not_see_is_told(write, sources, tmp_path):
    """Of the first fold of a network on particles: in the table, and among the warnings."""
    assert "Without particles" not in Page(write(sources)).text
    first = sources.training[0]
    content = json.loads((first / "model.json").read_text(encoding="utf-8"))
    content["warnings"] = ["7 of 1234 jets have no particle"]
    content["unseen"] = {
        "jets": 1234, "empty": 7, "single": 8, "cut": 99, "particles_cut": 0.034,
        "examined": 1234, "pt_unseen": 0.0012, "blank": 9, "limit": "maximum 21",
    }  # fmt: skip
    folder = tmp_path / first.parent.name / first.name
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")
    page = Page(write(replace(sources, training=(folder, *sources.training[1:]))))
    row = re.search(r"Without particles.*?maximum 21", page.text).group()
    # number of jets, without, with one, cut; shares of particles and of pT
    assert "MLP123478993.4%0.12%maximum21" in re.sub(r"\s", "", row)
    warnings = page.text[page.text.index("Read the numbers") : page.text.index("Comparison")]
    assert "MLP: 7 of 1234 jets have no particle" in warnings
