"""Toy jets from the generator through ntuple, data stage and inputs: nothing is lost on the way."""

from pathlib import Path

import numpy as np
import pytest
import uproot
import yaml

from hepml.config import ParticleTransformer
from hepml.configfile import analysis
from hepml.data import two_prong
from hepml.data.stage import make_columns
from hepml.data.store import open_columns
from hepml.inputs import image_settings
from hepml.inputs.images import jet_images
from hepml.inputs.packed_sets import particle_sets
from hepml.inputs.sets import SetRecipe
from hepml.jobs import data_job, simulation_job
from hepml.simulation.stage import simulate

CONFIG = Path(__file__).parents[2] / "config/oracle_jets.yaml"
JETS = 700
EDGE = 2e-6  # float32 momenta: a particle nearer to the edge of a pixel may go to either side


@pytest.fixture(scope="module", name="settings")
def _settings():
    content = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for sample in content["samples"].values():
        sample["events"] = JETS
    return analysis(content, "oracle_jets.yaml")


@pytest.fixture(scope="module", params=["signal", "background"], name="ntuple")
def _ntuple(request, settings, tmp_path_factory):
    path = tmp_path_factory.mktemp("toys") / f"{request.param}.root"
    simulate(simulation_job(settings, request.param, 0), path)
    return path


@pytest.fixture(scope="module", name="tree")
def _tree(ntuple):
    with uproot.open(ntuple) as file:
        return file["tree"].arrays()


@pytest.fixture(scope="module", name="columns")
def _columns(settings, ntuple, tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns") / ntuple.stem
    make_columns(data_job(settings, ntuple.stem), [str(ntuple)], folder)
    return open_columns(folder)


def flat(tree, name):
    return np.concatenate([np.asarray(x) for x in tree[name]]).astype(np.float64)


def toy_jets(deta, dphi, counts):
    position = np.stack([deta, dphi], axis=1).astype(np.float32)
    return two_prong.ToyJets(position, np.asarray(counts, np.int64))


def test_particles_are_massless_and_lie_where_the_branches_say(tree):
    px, py, pz, energy = (flat(tree, f"part_{name}") for name in ("px", "py", "pz", "energy"))
    pt = np.hypot(px, py)
    np.testing.assert_allclose(pt, 5, rtol=1e-6)
    np.testing.assert_allclose(energy**2, px**2 + py**2 + pz**2, rtol=1e-6)
    np.testing.assert_allclose(np.arcsinh(pz / pt), flat(tree, "part_deta"), atol=2e-7)
    np.testing.assert_allclose(np.arctan2(py, px), flat(tree, "part_dphi"), atol=2e-7)
    np.testing.assert_array_equal(flat(tree, "part_isPhoton"), 1)
    np.testing.assert_array_equal(flat(tree, "part_charge"), 0)


def test_ratios_in_the_ntuple_are_those_of_its_particles(tree):
    jets = toy_jets(flat(tree, "part_deta"), flat(tree, "part_dphi"), tree["jet_nparticles"])
    np.testing.assert_array_equal(tree["exact_llr"], two_prong.exact_llr(jets))
    images = two_prong.count_in_pixels(jets)
    np.testing.assert_array_equal(tree["exact_image_llr"], two_prong.exact_image_llr(images))


def test_images_of_the_network_have_the_ratio_of_the_ntuple(settings, columns):
    """Pixel by pixel the image of the closed form, for the images that the config asks for."""
    stored = columns.particles()
    pictured = image_settings(settings.models["cnn"])
    counts = np.diff(stored.offsets)
    images = jet_images(np.asarray(stored.values), counts, stored.fields, pictured).images[:, 0]
    edges = np.linspace(-0.8, 0.8, 17)
    x = [stored.values[:, stored.fields.index(name)] for name in ("deta", "dphi")]
    near = np.min(np.abs(np.stack(x)[..., None] - edges), axis=(0, 2)) < EDGE
    clear = np.add.reduceat(near, stored.offsets[:-1]) == 0
    assert clear.mean() > 0.99
    expected = two_prong.count_in_pixels(toy_jets(*x, counts))
    np.testing.assert_array_equal(images[clear], expected[clear])
    llr = two_prong.exact_image_llr(images.astype(np.float64), pictured.half_width)
    exact = columns["exact_image_llr"]
    np.testing.assert_allclose(llr[clear], exact[clear], rtol=1e-6, atol=1e-6)


def test_sets_of_the_network_have_the_ratio_of_the_ntuple(settings, columns):
    """The transformer's own features, in its own order, are all that the closed form needs."""
    model = settings.models["transformer"]
    assert isinstance(model, ParticleTransformer)
    recipe = SetRecipe(model.features, model.maximum)
    stored = columns.particles()
    counts = np.diff(stored.offsets)
    sets = particle_sets(np.asarray(stored.values), counts, stored.fields, recipe)
    assert sets.particles_cut == 0
    deta, dphi = (sets.features[:, recipe.names.index(f"part_{x}")] for x in ("deta", "dphi"))
    llr = two_prong.exact_llr(toy_jets(deta, dphi, sets.counts))
    np.testing.assert_allclose(llr, columns["exact_llr"], rtol=1e-6, atol=1e-6)


def test_variables_are_the_moments_of_the_particles(columns):
    stored = columns.particles()
    x = np.stack([stored.values[:, stored.fields.index(f)] for f in ("deta", "dphi")])
    for i, jet in enumerate(np.split(x.astype(np.float64), stored.offsets[1:-1], axis=1)[:50]):
        small, large = np.linalg.eigvalsh(jet @ jet.T / jet.shape[1])
        assert columns["size"][i] == pytest.approx(small + large, rel=1e-5)
        eccentricity = (large - small) / (large + small)
        assert columns["eccentricity"][i] == pytest.approx(eccentricity, rel=1e-4, abs=1e-5)
        assert columns["n_particles"][i] == jet.shape[1]


def test_the_same_job_gives_the_same_jets(settings, ntuple, tree, tmp_path):
    job = simulation_job(settings, ntuple.stem, 0)
    simulate(job, tmp_path / "again.root")
    with uproot.open(tmp_path / "again.root") as file:
        assert file["tree"].arrays().to_list() == tree.to_list()
