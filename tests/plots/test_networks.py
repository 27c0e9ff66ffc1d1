"""What networks see: numbers against closed forms, and the drawn artists against the numbers."""

import numpy as np
import pytest
from matplotlib.colors import LogNorm

from hepml.plots.means import Mean
from hepml.plots.networks.planes import (
    JetMaps,
    blurred,
    enclosing_level,
    gradient_unit,
    images_figure,
    saliency_figure,
)
from hepml.plots.networks.ranks import (
    MINIMUM_JETS,
    MINIMUM_PARTICLES,
    Cells,
    Importance,
    Ranks,
    Removals,
    by_rank,
    colour_reach,
    importance_figure,
    importance_of,
    in_cells,
)

STEPS = ("centre", "rotate", "flip", "normalise")


def removals(counts, effect, position=None, weight=None):
    position = np.zeros((len(effect), 2), np.float32) if position is None else position
    weight = np.ones(len(counts)) if weight is None else weight
    return Removals(effect, position, counts, weight)


# --- by rank


def test_means_by_rank_in_a_network_that_adds_up_known_terms():
    """Particle k of jet j adds (-1)^j / k; jets of weight 1 and 3 take turns."""
    counts = np.tile([5, 2], MINIMUM_JETS)
    rank = np.concatenate([np.arange(n) + 1 for n in counts])
    sign = np.repeat(np.tile([1.0, -1.0], MINIMUM_JETS), counts)
    weight = np.tile([1.0, 3.0], MINIMUM_JETS)
    ranks = by_rank(removals(counts, sign / rank, weight=weight))
    assert ranks.jets.tolist() == [2 * MINIMUM_JETS] * 2 + [MINIMUM_JETS] * 3
    np.testing.assert_allclose(ranks.size.value, 1 / np.arange(1, 6))
    np.testing.assert_allclose(ranks.size.error, 0, atol=1e-8)
    # (1 - 3)/4 while both kinds have such a particle
    np.testing.assert_allclose(ranks.effect.value, [-0.5, -0.25, 1 / 3, 1 / 4, 1 / 5])
    # n (1·1.5² + 9·0.5²)/(4n)²
    error = np.sqrt(4.5 / 16 / MINIMUM_JETS)
    np.testing.assert_allclose(ranks.effect.error, [error, error / 2, 0, 0, 0], atol=1e-8)


def test_ranks_that_few_jets_have_are_left_out():
    counts = np.array([1] * MINIMUM_JETS + [2] * (MINIMUM_JETS - 1))
    ranks = by_rank(removals(counts, np.ones(counts.sum())))
    assert ranks.jets.tolist() == [2 * MINIMUM_JETS - 1]
    nothing = by_rank(removals(np.zeros(3, int), np.empty(0)))
    assert nothing.size.value.shape == nothing.jets.shape == (0,)


# --- in the plane


def test_cells_hold_weighted_means_and_only_where_there_are_enough_particles():
    n = MINIMUM_PARTICLES
    counts = np.array([n, n, n - 1])
    position = np.repeat(np.array([[0.5, -0.5], [0.5, -0.5], [-0.5, 0.5]], np.float32), counts, 0)
    effect = np.repeat([1.0, 5.0, 9.0], counts)
    cells = in_cells(
        removals(counts, effect, position, np.array([3.0, 1.0, 1.0])), np.array([-1.0, 0.0, 1.0])
    )
    assert cells.particles.tolist() == [[0, n - 1], [2 * n, 0]]
    np.testing.assert_allclose(cells.effect, [[np.nan, np.nan], [2.0, np.nan]])


def test_the_plane_reaches_as_far_as_the_particles():
    random = np.random.default_rng(5)
    counts = np.full(400, 25)
    wide, narrow = (
        removals(counts, np.ones(10000), random.uniform(-a, a, (10000, 2)).astype(np.float32))
        for a in (2.0, 0.5)
    )
    edges = importance_of({"signal": narrow, "background": wide}).edges
    assert edges[0] == -edges[-1]
    assert edges[-1] == pytest.approx(0.99 * 2, rel=0.01)


def test_colours_reach_to_the_cells_of_nearly_all_particles():
    many = Cells(np.array([[0.1, -0.3], [np.nan, 7.0]]), np.array([[500, 495], [9, 5]]))
    assert colour_reach((many, many)) == pytest.approx(0.3)
    nothing = Cells(np.full((2, 2), np.nan), np.zeros((2, 2), int))
    assert colour_reach((nothing, nothing)) == 1


@pytest.fixture
def importance():
    def ranks(n, sign):
        value = np.linspace(1, 0.2, n)
        means = [Mean(a * value, 0.1 * value) for a in (1, sign)]
        return Ranks(*means, np.full(n, 40))

    effect = np.array([[0.1, -0.2], [np.nan, 0.3], [0.0, 0.05]])
    return Importance(
        ranks={"signal": ranks(4, 1), "background": ranks(6, -1)},
        edges=np.array([-0.4, 0.0, 0.4]),
        cells={
            "signal": Cells(effect, np.full((3, 2), 50)),
            "background": Cells(-effect, np.full((3, 2), 50)),
        },
    )


def test_importance_is_drawn_against_rank_with_its_error(importance, caption):
    sizes, effects, signal, background, *_ = importance_figure(importance, "PT", caption).axes
    drawn = sizes.get_lines()[1]
    np.testing.assert_allclose(drawn.get_xdata(), np.arange(1, 7))
    np.testing.assert_allclose(drawn.get_ydata(), np.linspace(1, 0.2, 6))
    heights = effects.collections[1].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((-1.1, -0.18))
    for axes, sign in ((signal, 1), (background, -1)):
        (image,) = axes.get_images()
        expected = sign * importance.cells["signal"].effect.T  # η is to the right
        np.testing.assert_allclose(image.get_array().filled(np.nan), expected)
        assert image.get_extent() == [-0.4, 0.4, -0.4, 0.4]
        assert image.get_clim() == (-0.3, 0.3)


def test_too_few_jets_leave_empty_panels(caption, tmp_path):
    few = removals(np.array([2, 3]), np.ones(5))
    importance = importance_of({"signal": few, "background": few})
    assert len(importance.ranks["signal"].jets) == 0
    assert np.isnan(importance.cells["signal"].effect).all()
    importance_figure(importance, "PT", caption).savefig(tmp_path / "figure.png")


# --- images and gradients


def maps(signal, background, channels=("pt",), steps=STEPS):
    means = [Mean(np.asarray(x, float), np.zeros(np.shape(x))) for x in (signal, background)]
    return JetMaps(channels, steps, 0.8, *means, (10, 20))


RANDOM = np.random.default_rng(6)
SIGNAL, BACKGROUND = RANDOM.exponential(1, (2, 2, 5, 5))


def test_images_and_their_difference_are_drawn_with_eta_to_the_right(caption):
    figure = images_figure(maps(SIGNAL, BACKGROUND, ("charged_pt", "multiplicity")), "CNN", caption)
    panels = [axes for axes in figure.axes if axes.get_images()]
    drawn = [axes.get_images()[0] for axes in panels]
    for row in range(2):
        expected = SIGNAL[row], BACKGROUND[row], SIGNAL[row] - BACKGROUND[row]
        for image, values in zip(drawn[3 * row : 3 * row + 3], expected, strict=True):
            np.testing.assert_allclose(image.get_array(), values.T)
            assert image.origin == "lower"
        assert drawn[3 * row].norm is drawn[3 * row + 1].norm  # one scale for both classes
        assert isinstance(drawn[3 * row].norm, LogNorm)
        low, high = drawn[3 * row + 2].get_clim()
        assert -low == high == np.abs(expected[2]).max()
    labels = {axes.get_ylabel() for axes in figure.axes}
    assert {"Charged share of jet $p_T$ per pixel", "Particles per pixel"} <= labels


def test_axes_say_what_was_done_to_the_jets(caption):
    for steps, label in (
        (STEPS, r"$\Delta\eta'$"),
        (("centre",), r"$\Delta\eta$"),
        ((), r"$\eta$"),
    ):
        figure = images_figure(maps(SIGNAL[:1], BACKGROUND[:1], steps=steps), "CNN", caption)
        assert label in {axes.get_xlabel() for axes in figure.axes}
    assert "$p_T$ [GeV] per pixel" in {axes.get_ylabel() for axes in figure.axes}


def test_classes_that_look_alike_or_are_empty_can_be_drawn(caption, tmp_path):
    empty = maps(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)))
    for figure in (images_figure(empty, "", caption), saliency_figure(empty, empty, "", caption)):
        figure.savefig(tmp_path / "figure.png")


def test_a_gradient_is_blurred_to_that_of_a_gaussian_blob():
    size, width = 40, 2  # a twentieth
    x = np.arange(size)
    point = np.zeros((size, size))
    point[20, 15] = 1
    gaussian = np.exp(-((x - 20) ** 2)[:, None] / 2 / width**2 - (x - 15) ** 2 / 2 / width**2)
    np.testing.assert_allclose(blurred(point), gaussian / gaussian.sum(), atol=1e-5)
    # of a logit that is the same for all pixels nothing changes, not even at the border
    np.testing.assert_allclose(blurred(np.full((size, size), 3.0)), 3.0)
    # what alternates from pixel to pixel averages out
    stripes = np.tile([1.0, -1.0], (size, size // 2))
    assert np.abs(blurred(stripes)[8:-8, 8:-8]).max() < 1e-4


def test_levels_enclose_their_share():
    image = np.array([[4.0, 3.0], [2.0, 1.0]])
    assert enclosing_level(image, 0.4) == 4
    assert enclosing_level(image, 0.5) == 3
    assert enclosing_level(image, 0.95) == 1


def test_gradients_are_drawn_per_what_their_label_says(caption):
    constant = [np.full((1, 6, 6), value) for value in (20.0, -50.0)]
    images = maps(np.ones((1, 6, 6)), np.ones((1, 6, 6)))
    figure = saliency_figure(maps(*constant), images, "CNN", caption)
    signal, background = (axes.get_images()[0] for axes in figure.axes if axes.get_images())
    np.testing.assert_allclose(signal.get_array(), 0.02)  # a thousandth of the jet's pT
    np.testing.assert_allclose(background.get_array(), -0.05)
    assert signal.get_clim() == background.get_clim() == pytest.approx((-0.05, 0.05))
    assert r"$\Delta$ logit per 0.1 % of jet $p_T$" in {a.get_ylabel() for a in figure.axes}
    assert gradient_unit("multiplicity", STEPS) == ("particle", 1)
    assert gradient_unit("charged_pt", ("centre",)) == ("GeV", 1)
