import json

import matplotlib
import numpy as np
import pytest

from hepml.errors import InputError
from hepml.plots.histograms import Histogram
from hepml.plots.style import as_json, method_looks, new_axes, save, styled


def test_a_figure_is_kept_as_pdf_png_and_numbers(caption, tmp_path):
    figure, _ = new_axes(caption)
    save(figure, Histogram(np.arange(3.0), np.array([1.0, np.nan]), np.ones(2)), tmp_path / "a.b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.b.json", "a.b.pdf", "a.b.png"]
    assert (tmp_path / "a.b.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "a.b.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((tmp_path / "a.b.json").read_text())
    assert numbers == {"edges": [0, 1, 2], "values": [1, None], "errors": [1, 1]}


def test_what_cannot_be_drawn_leaves_the_old_files_alone(caption, tmp_path):
    for kind in ("pdf", "png", "json"):
        (tmp_path / f"roc.{kind}").write_text("old")
    figure, axes = new_axes(caption)
    axes.set_xlabel(r"$\nonsense{$")
    with pytest.raises(InputError, match=r"roc: .* not LaTeX"):
        save(figure, {}, tmp_path / "roc")
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}
    assert len(list(tmp_path.iterdir())) == 3


def test_another_failure_while_drawing_keeps_its_traceback(caption, tmp_path):
    figure, axes = new_axes(caption)
    axes.set_yscale("log")
    axes.add_artist(Unpaintable())
    with pytest.raises(ValueError, match="no paint"):
        save(figure, {}, tmp_path / "roc")
    assert not list(tmp_path.iterdir())


class Unpaintable(matplotlib.artist.Artist):
    def draw(self, renderer):  # noqa: ARG002
        raise ValueError("no paint")


def test_the_same_figure_gives_the_same_bytes(caption, tmp_path):
    for name in ("one", "two"):
        save(new_axes(caption)[0], {}, tmp_path / name)
    for kind in ("pdf", "png"):
        one, two = (tmp_path / f"{name}.{kind}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_the_house_style_ends_with_its_block():
    before = dict(matplotlib.rcParams)
    with styled():
        assert matplotlib.rcParams["xtick.direction"] == "in"
    assert dict(matplotlib.rcParams) == before


def test_a_title_may_be_long_and_hold_dollars(caption, tmp_path):
    long = caption.model_copy(update={"title": "Costs $5 & more: <b>τ</b> " * 8})
    save(new_axes(long)[0], {}, tmp_path / "long")


def test_each_method_keeps_its_look_and_no_two_models_look_alike():
    models = [f"model{i}" for i in range(12)]
    looks = method_looks(["cuts", *models])
    assert looks == method_looks([*models, "cuts"])
    assert len({(look["color"], look["linestyle"]) for look in looks.values()}) == 13


def test_json_holds_numpy_scalars_paths_of_records_and_no_infinity():
    assert as_json({"a": (np.float32(0.5), np.int8(3)), "b": float("inf")}) == {
        "a": [0.5, 3],
        "b": None,
    }
