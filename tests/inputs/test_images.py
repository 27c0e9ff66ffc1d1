import math

import numpy as np
import pytest
import torch

from hepml import kernels
from hepml.errors import InputError
from hepml.inputs.images import STEPS, ImageSettings, jet_images, positions

pytestmark = pytest.mark.usefixtures("made_by")
FIELDS = ("px", "py", "pz", "energy", "charge")
# 4 pixels of 0.5 along each axis, from -1 to 1
COARSE = ImageSettings(pixels=4, half_width=1.0, steps=())


def particles(pt, eta, phi, charge=None):
    """Massless particles, float32, in the order of FIELDS."""
    pt, eta, phi = (np.asarray(x, np.float64) for x in (pt, eta, phi))
    charge = np.zeros_like(pt) if charge is None else np.asarray(charge)
    momentum = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)]
    return np.stack([*momentum, charge], axis=1).astype(np.float32)


def draw(values, settings, counts=None):
    counts = np.array([len(values)]) if counts is None else np.asarray(counts)
    return jet_images(values, counts, FIELDS, settings)


def single(pt, eta, phi, settings):
    return draw(particles(pt, eta, phi), settings).images[0, 0]


@pytest.fixture(scope="module")
def jets():
    """300 jets of 0 to 60 particles in all directions, and the counts."""
    random = np.random.default_rng(11)
    counts = random.integers(0, 61, 300)
    counts[[0, 7, 299]] = 0
    axis = np.repeat(random.uniform((-2, -math.pi), (2, math.pi), (300, 2)), counts, axis=0)
    eta, phi = (axis + random.normal(0, 0.4, axis.shape)).T
    charge = random.integers(-1, 2, len(eta))
    return particles(random.exponential(10, len(eta)), eta, phi, charge), counts


def test_pixels_worked_out_by_hand():
    # η in [0.5, 1) is row 3, φ in [-1, -0.5) is column 0; the third particle is outside in η
    drawn = draw(particles([5, 7, 2, 1], [0.6, 0.9, 1.1, -0.2], [-0.7, -0.6, 0, 0.3]), COARSE)
    expected = np.zeros((4, 4))
    expected[3, 0] = 12
    expected[1, 2] = 1
    np.testing.assert_allclose(drawn.images[0, 0], expected, rtol=1e-6)
    assert drawn.outside == pytest.approx([2])


def test_channels_worked_out_by_hand():
    settings = ImageSettings(
        4, 1.0, ("neutral_pt", "multiplicity", "charged_pt", "pt"), steps=("normalise",)
    )
    values = particles([5, 2, 1, 8], [0.6, 0.6, 0.6, 5], [0.6, 0.6, 0.6, 0], charge=[1, 0, -1, 1])
    drawn = draw(values, settings)
    np.testing.assert_allclose(drawn.images[0, :, 3, 3], [2 / 16, 3, 6 / 16, 8 / 16], rtol=1e-6)
    assert drawn.images.sum() == pytest.approx(2 / 16 + 3 + 6 / 16 + 8 / 16)
    assert drawn.outside == pytest.approx([8 / 16])


def test_the_lower_border_is_inside_and_the_upper_one_is_not():
    # η = 0 and φ = 0 are exact in float32, so one image of two pixels shows the edge between them
    image = single([3], [0], [0], ImageSettings(pixels=2, half_width=1.0, steps=()))
    np.testing.assert_array_equal(image, [[0, 0], [0, 3]])
    edge = single([3], [0], [math.pi / 2], ImageSettings(2, math.pi / 2 - 1e-3, steps=()))
    assert not edge.any()


@pytest.mark.parametrize("steps", [(), ("centre",), STEPS])
def test_pt_inside_and_outside_is_the_pt_of_the_jet(jets, steps):
    values, counts = jets
    settings = ImageSettings(21, 0.5, ("pt", "charged_pt", "neutral_pt"), steps)
    drawn = draw(values, settings, counts)
    pt = np.hypot(values[:, 0], values[:, 1])
    expected = np.bincount(np.repeat(np.arange(300), counts), weights=pt, minlength=300)
    expected = (expected > 0) if "normalise" in steps else expected
    inside = drawn.images.sum(axis=(2, 3))
    assert (drawn.outside > 0).any()
    np.testing.assert_allclose(inside[:, 0] + drawn.outside, expected, rtol=2e-6)
    np.testing.assert_allclose(inside[:, 1] + inside[:, 2], inside[:, 0], atol=2e-4)


def test_images_agree_with_a_loop_over_jets(jets):
    values, counts = jets
    settings = ImageSettings(33, 0.8)
    drawn = draw(values, settings, counts)
    loop = [one_by_one(jet) for jet in np.split(values.astype(np.float64), np.cumsum(counts)[:-1])]
    differs = np.abs(drawn.images[:, 0] - loop).max(axis=(1, 2)) > 1e-5
    assert differs.mean() < 0.01  # a particle at the edge of a pixel, double against single


def one_by_one(jet):
    """The whole chain for one jet, in double precision, with np.histogram2d."""
    if len(jet) == 0:
        return np.zeros((33, 33))
    px, py, pz = jet.T[:3]
    pt = np.hypot(px, py)
    eta = np.arcsinh(pz / pt)
    turn = np.arctan2(py, px) - math.atan2(py.sum(), px.sum())
    phi = (turn + math.pi) % (2 * math.pi) - math.pi
    plane = np.stack([eta - np.average(eta, weights=pt), phi - np.average(phi, weights=pt)])
    _, vectors = np.linalg.eigh((pt * plane) @ plane.T)
    plane = np.stack([vectors[:, 1], vectors[:, 0]]) @ plane
    plane *= np.where(((pt * np.sign(plane)).sum(axis=1) < 0), -1, 1)[:, None]
    edges = np.linspace(-0.8, 0.8, 34)
    return np.histogram2d(*plane, bins=(edges, edges), weights=pt / pt.sum())[0]


# Five particles at whole numbers of pixels from their centroid, (0, 0). Σ pT·η·φ = 0 and η spreads
# more than φ, so these are the principal axes; more pT is on the positive sides.
PT = np.array([1.0, 2, 5, 4, 6])
ROW = np.array([-2.0, -5, -4, 5, 2])
COLUMN = np.array([-3.0, -3, 1, -2, 2])


def pattern(pixels=15, size=0.1):
    image = np.zeros((pixels, pixels))
    np.add.at(image, ((ROW + pixels // 2).astype(int), (COLUMN + pixels // 2).astype(int)), PT)
    return image / PT.sum(), ROW * size, COLUMN * size


def test_the_pattern_is_centred_upright_and_the_right_way_round():
    assert PT @ ROW == PT @ COLUMN == PT @ (ROW * COLUMN) == 0
    assert PT @ ROW**2 > PT @ COLUMN**2
    assert PT @ np.sign(ROW) > 0
    assert PT @ np.sign(COLUMN) > 0


@pytest.mark.parametrize("mirror", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 2, 2.0, -3.0])
@pytest.mark.parametrize("axis", [(0, 0), (1.7, 0.4), (-0.6, math.pi), (0.2, -math.pi + 0.05)])
def test_moved_turned_and_mirrored_jets_give_one_image(axis, angle, mirror):
    expected, eta, phi = pattern()
    eta, phi = mirror[0] * eta, mirror[1] * phi
    turned = math.cos(angle) * eta - math.sin(angle) * phi
    phi = math.sin(angle) * eta + math.cos(angle) * phi
    image = single(PT, axis[0] + turned, axis[1] + phi, ImageSettings(15, 0.75))
    np.testing.assert_allclose(image, expected, atol=1e-6)


def test_each_step_does_its_own_part():
    expected, eta, phi = pattern()
    plain = single(PT, eta, phi, ImageSettings(15, 0.75, steps=()))
    np.testing.assert_allclose(plain, expected * PT.sum(), rtol=1e-5)
    shifted = single(PT, eta + 0.9, phi - 0.5, ImageSettings(15, 0.75, steps=("centre",)))
    np.testing.assert_allclose(shifted, expected * PT.sum(), rtol=1e-5)
    lying = single(PT, phi, eta, ImageSettings(15, 0.75, steps=("rotate", "flip")))
    np.testing.assert_allclose(lying, expected * PT.sum(), rtol=1e-5)
    mirrored = single(PT, -eta, phi, ImageSettings(15, 0.75, steps=("flip", "normalise")))
    np.testing.assert_allclose(mirrored, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "phi", [-3.137, -2.003, -math.pi / 2, -0.503, 0.0, 1e-4, 1.003, 1.603, 3.14]
)
def test_azimuth_without_centring_is_arctan2(phi):
    image = single([1], [0], [phi], ImageSettings(315, 3.15, steps=()))
    assert image[157, math.floor((phi + 3.15) / 0.02)] == 1


def test_tensors_give_the_images_of_arrays(jets):
    values, counts = jets
    settings = ImageSettings(33, 0.8, ("pt", "multiplicity", "charged_pt", "neutral_pt"))
    drawn = draw(values, settings, counts)
    tensors = jet_images(torch.tensor(values), torch.tensor(counts), FIELDS, settings)
    differs = np.abs(drawn.images - tensors.images.numpy()).max(axis=(1, 2, 3)) > 1e-5
    assert differs.mean() < 0.01  # edges of pixels
    np.testing.assert_allclose(
        tensors.outside.numpy()[~differs], drawn.outside[~differs], atol=1e-6
    )
    _, eta, phi = pattern()  # and at the centres of pixels, no exception
    exact = particles(PT, eta + 0.4, phi + 2)
    one = jet_images(torch.tensor(exact), torch.tensor([5]), FIELDS, ImageSettings(15, 0.75))
    np.testing.assert_allclose(one.images[0, 0].numpy(), pattern()[0], atol=1e-6)


@pytest.mark.parametrize("steps", [(), STEPS[:1], STEPS[:2], STEPS[2:], STEPS])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_kernel_draws_the_images_of_numpy(jets, steps, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    values, counts = jets
    settings = ImageSettings(33, 0.8, ("neutral_pt", "multiplicity", "pt"), steps)
    by_kernel = draw(values, settings, counts)
    with kernels.without_kernels():
        by_numpy = draw(values, settings, counts)
    scale = 1 if "normalise" in steps else by_numpy.images.max()
    differs = np.abs(by_kernel.images - by_numpy.images).max(axis=(1, 2, 3)) > 1e-5 * scale
    assert differs.mean() < 0.01  # edges of pixels
    np.testing.assert_allclose(
        by_kernel.outside[~differs], by_numpy.outside[~differs], atol=1e-5 * scale
    )


def test_a_view_of_the_columns_gives_the_same(jets):
    values, counts = jets
    wide = np.concatenate([values, values], axis=1)[:, 5:]
    expected = draw(values, ImageSettings(9), counts).images
    np.testing.assert_array_equal(draw(wide, ImageSettings(9), counts).images, expected)


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_empty_jets_are_empty_images(kind):
    values = particles([1.0, 2.0], [0, 0.1], [0, 0.1])
    drawn = jet_images(kind(values), kind(np.array([0, 2, 0])), FIELDS, ImageSettings(9))
    assert drawn.images.sum(axis=(1, 2, 3)).tolist() == pytest.approx([0, 1, 0])
    nothing = jet_images(kind(values[:0]), kind(np.array([0, 0])), FIELDS, ImageSettings(9))
    assert not nothing.images.any()
    assert nothing.images.shape == (2, 1, 9, 9)
    none = jet_images(kind(values[:0]), kind(np.array([], int)), FIELDS, ImageSettings(9))
    assert none.images.shape == (0, 1, 9, 9)


def test_one_particle_is_one_pixel_at_the_centre():
    image = single([40.0], [1.3], [3.0], ImageSettings(9))
    assert image[4, 4] == pytest.approx(1)
    assert np.count_nonzero(image) == 1


def test_particles_without_pt_enter_no_channel():
    values = particles([0, 0, 5], [0, 0, 0], [0, 0, 0])
    values[0, 2] = 7.0  # along the beam
    drawn = draw(values, ImageSettings(9, channels=("pt", "multiplicity")))
    assert drawn.images.sum(axis=(2, 3)).tolist() == [[1, 1]]
    assert not draw(values[:2], ImageSettings(9)).images.any()


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
def test_a_momentum_that_is_not_finite_names_the_jet(kind, bad):
    counts = np.full(2000, 2)
    values = particles(np.ones(4000), np.zeros(4000), np.zeros(4000))
    values[2 * 1789 + 1, 2] = bad
    with pytest.raises(InputError, match=r"jet 1789 .* not finite"):
        jet_images(kind(values), kind(counts), FIELDS, ImageSettings(3))


def test_what_does_not_fit_together_is_said():
    values = particles([1.0], [0], [0])
    with pytest.raises(InputError, match="counts sum up to 2, but there are 1 particles"):
        draw(values, ImageSettings(), [2])
    with pytest.raises(InputError, match=r"no \['charge'\]"):
        jet_images(
            values, np.array([1]), (*FIELDS[:4], "mass"), ImageSettings(channels=("charged_pt",))
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pixels": 0}, "0 pixels"),
        ({"half_width": 0.0}, "half width of 0"),
        ({"channels": ("pT",)}, "no 'pT' .nearest: pt"),
        ({"channels": ()}, "one or more"),
        ({"channels": ("pt", "pt")}, "each once"),
        ({"steps": ("center",)}, "no 'center' .nearest: centre"),
        ({"steps": ("flip", "rotate")}, r"in the order \('rotate', 'flip'\)"),
    ],
)
def test_settings_that_make_no_image(settings, message):
    with pytest.raises(InputError, match=message):
        ImageSettings(**settings)


def test_positions_are_those_of_the_pixels(jets):
    values, counts = jets
    settings = ImageSettings(33, 0.8, steps=("centre", "rotate", "flip"))
    images = draw(values, settings, counts).images[:, 0]
    pt = np.hypot(values[:, 0], values[:, 1])
    edges = np.linspace(-0.8, 0.8, 34)
    owner = np.repeat(np.arange(len(counts)), counts)
    place = positions(values, counts)
    for jet in range(len(counts)):
        mine = owner == jet
        filled, _, _ = np.histogram2d(*place[mine].T, bins=(edges, edges), weights=pt[mine])
        np.testing.assert_allclose(images[jet], filled, atol=1e-3)


def test_positions_worked_out_by_hand():
    # along φ, so turned by a right angle; more pT is at +0.2 after centring on 0.4
    place = positions(particles([1, 2], [0, 0], [0, 0.6]), np.array([2]))
    np.testing.assert_allclose(place, [[-0.4, 0], [0.2, 0]], atol=1e-6)
