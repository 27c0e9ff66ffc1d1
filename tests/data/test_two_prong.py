"""The exact ratios of the toy jets, against densities integrated by brute force."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal, poisson

from hepml.data.two_prong import ToyJets, count_in_pixels, draw, exact_image_llr, exact_llr

JETS = 20_000
MEAN, DISTANCE, WIDTH = 20, 0.3, 0.12
ROUND = np.eye(2) * (WIDTH**2 + DISTANCE**2 / 8)
PRONG = np.eye(2) * WIDTH**2


def signal_density(x, angle):
    prong = np.array([np.cos(angle), np.sin(angle)]) * DISTANCE / 2
    return sum(multivariate_normal(at, PRONG).pdf(x) / 2 for at in (prong, -prong))


def background_density(x):
    return multivariate_normal(np.zeros(2), ROUND).pdf(x)


def pixel_means(density, pixels, half_width):
    """Mean numbers of particles by Gauss-Legendre quadrature of a density over each pixel."""
    node, weight = np.polynomial.legendre.leggauss(20)
    size = 2 * half_width / pixels
    x = (-half_width + size * (np.arange(pixels)[:, None] + (node + 1) / 2)).ravel()
    grid = density(np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1))
    cells = grid.reshape(pixels, len(node), pixels, len(node))
    return MEAN * np.einsum("iajb,a,b->ij", cells, weight, weight) * (size / 2) ** 2


def eccentricity(jets):
    eta, phi = jets.position.T
    jet = np.repeat(np.arange(len(jets.counts)), jets.counts)
    squares, difference, mixed = (
        np.bincount(jet, x, minlength=len(jets.counts))
        for x in (eta**2 + phi**2, eta**2 - phi**2, eta * phi)
    )
    return np.hypot(difference, 2 * mixed) / squares, squares / jets.counts


def auc_and_error(*scores):
    """AUC, or the difference of the AUCs of two scores on the same jets, and its error.

    Each score is a pair: of signal and of background jets. DeLong et al. 1988.
    """
    above = below = 0.0
    for sign, (signal, background) in zip((1, -1), scores, strict=False):
        above = above + sign * np.searchsorted(np.sort(background), signal) / len(background)
        below = below + sign * (1 - np.searchsorted(np.sort(signal), background) / len(signal))
    return above.mean(), np.sqrt(np.var(above) / len(above) + np.var(below) / len(below))


def mean_and_error(values):
    return values.mean(), values.std() / np.sqrt(len(values))


@pytest.fixture(scope="module", name="jets")
def _jets():
    """Signal and background."""
    random = np.random.default_rng(11)
    return draw(True, JETS, random), draw(False, JETS, random)


@pytest.fixture(scope="module", name="sets")
def _sets(jets):
    return tuple(map(exact_llr, jets))


@pytest.fixture(scope="module", name="images")
def _images(jets):
    return tuple(map(count_in_pixels, jets))


@pytest.fixture(scope="module", name="pictures")
def _pictures(images):
    return tuple(map(exact_image_llr, images))


@pytest.fixture(params=["set", "image"], name="llr")
def _llr(request, sets, pictures):
    return {"set": sets, "image": pictures}[request.param]


@pytest.mark.parametrize("particles", [1, 2, 7])
def test_set_ratio_is_that_of_the_integrated_densities(particles):
    x = np.random.default_rng(particles).normal(0, 0.2, (particles, 2)).astype(np.float32)

    def ratio(angle):
        return np.prod(signal_density(x, angle) / background_density(x))

    expected = np.log(quad(ratio, 0, np.pi, epsabs=0, epsrel=1e-11)[0] / np.pi)
    llr = exact_llr(ToyJets(x, np.array([particles])))
    np.testing.assert_allclose(llr, [expected], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("pixels", "half_width"), [(5, 0.4), (16, 0.8)])
def test_image_ratio_is_that_of_independent_poisson_numbers(pixels, half_width):
    image = np.random.default_rng(5).poisson(0.15, (pixels, pixels)).astype(float)
    image[0, -1] = 2  # far out, where means are tiny
    background = pixel_means(background_density, pixels, half_width)

    def ratio(angle):
        signal = pixel_means(lambda x: signal_density(x, angle), pixels, half_width)
        return np.exp(np.sum(poisson.logpmf(image, signal) - poisson.logpmf(image, background)))

    # a periodic function: the trapezium rule is as good as any
    expected = np.log(np.mean([ratio(angle) for angle in np.pi * np.arange(40) / 40]))
    llr = exact_image_llr(image[None], half_width)
    np.testing.assert_allclose(llr, [expected], rtol=0, atol=1e-7)


def test_mean_over_the_angle_has_converged(jets, images):
    for one, drawn in zip(jets, images, strict=True):
        few = ToyJets(one.position[: int(one.counts[:3000].sum())], one.counts[:3000])
        assert np.abs(exact_llr(few) - exact_llr(few, angles=96)).max() < 1e-10
        twice = exact_image_llr(drawn, angles=96)
        assert np.abs(exact_image_llr(drawn) - twice).max() < 1e-10


def test_ratios_stay_finite_far_out():
    crowd = np.random.default_rng(2).normal(0, 30, (3 * 200, 2)).astype(np.float32)
    assert np.isfinite(exact_llr(ToyJets(crowd, np.array([200, 200, 200])))).all()
    assert np.isfinite(exact_image_llr(np.full((1, 10, 10), 9.0), half_width=8.0)).all()


def test_no_particle_says_nothing_and_an_empty_image_next_to_nothing():
    jets = ToyJets(np.zeros((3, 2), np.float32), np.array([0, 3, 0]))
    assert exact_llr(jets)[[0, 2]].tolist() == [0, 0]
    assert count_in_pixels(jets)[[0, 2]].sum() == 0
    # almost no particle of either class is outside, so that there is none says little
    assert abs(exact_image_llr(np.zeros((1, 16, 16)))[0]) < 1e-3


def test_particles_have_no_order_and_jets_no_direction(jets, sets):
    few = slice(0, int(jets[0].counts[:50].sum()))
    x, counts = jets[0].position[few].astype(np.float64), jets[0].counts[:50]
    turn = np.array([[np.cos(0.7), np.sin(0.7)], [-np.sin(0.7), np.cos(0.7)]])
    owner = np.repeat(np.arange(50), counts)
    shuffled = np.lexsort((np.random.default_rng(0).random(len(x)), owner))
    for same in (x[shuffled], x @ turn, x * [1, -1]):
        # float32 positions: 3e-8 times a slope of 30 times 50 particles
        llr = exact_llr(ToyJets(same.astype(np.float32), counts))
        np.testing.assert_allclose(llr, sets[0][:50], rtol=0, atol=1e-4)


def test_an_image_and_its_mirror_and_quarter_turn_have_one_ratio(images, pictures):
    few = images[0][:50]
    for same in (few[:, ::-1], few[:, :, ::-1], few.transpose(0, 2, 1), np.rot90(few, axes=(1, 2))):
        llr = exact_image_llr(np.ascontiguousarray(same))
        np.testing.assert_allclose(llr, pictures[0][:50], rtol=0, atol=1e-10)


def test_pixels_are_those_of_a_histogram(jets, images):
    few = jets[1].counts[:20]
    edges = np.linspace(-0.8, 0.8, 17)
    for i, x in enumerate(np.split(jets[1].position, np.cumsum(few))[:20]):
        expected = np.histogram2d(*x.T.astype(np.float64), bins=(edges, edges))[0]
        np.testing.assert_array_equal(images[1][i], expected)


def test_both_classes_have_the_same_number_of_particles_and_the_same_size(jets):
    for one in jets:
        mean, error = mean_and_error(one.counts)
        assert mean == pytest.approx(MEAN, abs=4 * error)
        assert one.counts.var() == pytest.approx(MEAN, rel=4 * np.sqrt(2 / JETS))
        # ⟨r²⟩ = 2w² + R²/4, however the jets are turned
        mean, error = mean_and_error(np.sum(one.position.astype(np.float64) ** 2, axis=1))
        assert mean == pytest.approx(2 * WIDTH**2 + DISTANCE**2 / 4, abs=4 * error)


def test_ratio_averages_to_one_over_the_mixture(llr):
    # E_{(S+B)/2}[2 p(S|x)] = 1
    probability = [2 / (1 + np.exp(-values)) for values in llr]
    means, errors = zip(*map(mean_and_error, probability), strict=True)
    assert np.mean(means) == pytest.approx(1, abs=4 * np.hypot(*errors) / 2)


@pytest.mark.parametrize("kind", ["set", "image"])
def test_ratio_averages_to_one_over_background(sets, pictures, kind):
    """E_B[r] = 1, with the exact variance: that of the sample misses its long tail.

    E_B[r²] = ⟨exp 20 ∫(s - b)(s' - b)/b⟩ over the angle between densities s and s' of signal, for
    images the sum over pixels instead of the integral.
    """

    def overlap(angle):
        if kind == "set":
            b = background_density
            first, second = (
                lambda x, at=at: signal_density(x, at) / b(x) - 1 for at in (0.0, angle)
            )
            return pixel_means(lambda x: first(x) * second(x) * b(x), 16, 1.2).sum()
        b = pixel_means(background_density, 16, 0.8)
        first, second = (
            pixel_means(lambda x, at=at: signal_density(x, at), 16, 0.8) for at in (0.0, angle)
        )
        return np.sum((first - b) * (second - b) / b)

    variance = np.mean([np.exp(overlap(angle)) for angle in np.pi * np.arange(16) / 16]) - 1
    values = sets if kind == "set" else pictures
    assert np.exp(values[1]).mean() == pytest.approx(1, abs=4 * np.sqrt(variance / JETS))


def test_an_image_knows_what_its_particles_know_on_average(sets, pictures):
    """E[p(S|particles) | image] = p(S|image), in slices of what the image says."""
    fine, coarse = (1 / (1 + np.exp(-np.concatenate(x))) for x in (sets, pictures))
    difference = fine - coarse
    assert np.std(difference) > 0.05  # the particles do know more
    order = np.argsort(coarse)
    for part in np.array_split(order, 12):
        mean, error = mean_and_error(difference[part])
        assert mean == pytest.approx(0, abs=4 * error)


def test_labels_are_as_probable_as_the_ratio_says(llr):
    probability = 1 / (1 + np.exp(-np.concatenate(llr)))
    label = np.repeat([1.0, 0.0], JETS)
    for part in np.array_split(np.argsort(probability), 12):
        mean, error = mean_and_error((label - probability)[part])
        assert mean == pytest.approx(0, abs=4 * error)


def test_coarser_is_never_better(jets, sets, images, pictures):
    blocks = [x.reshape(-1, 8, 2, 8, 2).sum(axis=(2, 4)) for x in images]
    coarse = tuple(map(exact_image_llr, blocks))
    cut, _ = zip(*map(eccentricity, jets), strict=True)
    chain = [sets, pictures, coarse]
    for better, worse in ((sets, pictures), (pictures, coarse), (pictures, cut)):
        difference, error = auc_and_error(better, worse)
        assert difference > 4 * error
    divergences = [x[0].mean() for x in chain]
    assert divergences == sorted(divergences, reverse=True)


def test_small_pixels_tell_as_much_as_particles(jets, sets):
    """A particle is off by up to half a pixel, so halving pixels halves the difference."""
    few = ToyJets(jets[0].position[: int(jets[0].counts[:100].sum())], jets[0].counts[:100])
    off = []
    for pixels in (120, 240):
        llr = exact_image_llr(count_in_pixels(few, pixels, 1.2), half_width=1.2)
        off.append(np.sqrt(np.mean((llr - sets[0][:100]) ** 2)))
    assert off[1] < 0.1
    assert off[0] / off[1] == pytest.approx(2, rel=0.25)


# An independent prototype, 100k jets per class: errors of the AUC are 0.001. That ⟨r²⟩ separates
# nothing is by construction (both classes have the same mean).
@pytest.mark.parametrize(
    ("method", "auc"), [("set", 0.8811), ("image", 0.8666), ("eccentricity", 0.831), ("size", 0.5)]
)
def test_known_separation(jets, sets, pictures, method, auc):
    cut, size = zip(*map(eccentricity, jets), strict=True)
    scores = {"set": sets, "image": pictures, "eccentricity": cut, "size": size}
    found, error = auc_and_error(scores[method])
    assert found == pytest.approx(auc, abs=4 * error + 0.002)
