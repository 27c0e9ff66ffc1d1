"""What networks do not see of jets is counted by hand here, and told."""

import numpy as np
import pytest

from hepml.config import Cnn, Images, Mlp, OwnOnImages, OwnOnSets, ParticleTransformer
from hepml.data.store import ColumnWriter, open_columns
from hepml.inputs import unseen
from hepml.inputs.unseen import Unseen, find_unseen

FIELDS = ("px", "py", "pz", "energy", "deta", "dphi")
SETS = {"factory": "my:build", "inputs": "sets"}


@pytest.fixture
def write_jets(tmp_path):
    """Jets given as lists of (pT, η); all particles have φ = 0."""

    def write(jets, name="jets"):
        pt, eta = np.array([particle for jet in jets for particle in jet]).reshape(-1, 2).T
        zero = np.zeros_like(pt)
        momenta = [pt, zero, pt * np.sinh(eta), pt * np.cosh(eta), eta, zero]
        folder = tmp_path / name
        folder.mkdir()
        ids = np.arange(len(jets))
        with ColumnWriter(folder, (), FIELDS) as writer:
            columns = {"event_id": ids, "fold": ids % 3, "label": ids % 2, "weight": ids + 1.0}
            counts = np.array([len(jet) for jet in jets])
            writer.append(columns, counts, np.stack(momenta, axis=1).astype(np.float32))
            writer.finish({})
        return open_columns(folder)

    return write


JETS = [
    [(10, 0.0), (1, 0.0), (4, 0.0), (5, 0.0)],
    [],
    [(7, 0.3)],
    [(3, 0.0), (2, 0.0)],
    [(0, 0.0), (0, 0.0)],  # along the beam, so to speak
    [(6, 0.1), (6, 0.1), (6, 0.1)],
]


PART = ParticleTransformer(architecture="particle_transformer", maximum=2)


@pytest.mark.parametrize("model", [PART, OwnOnSets(maximum=2, **SETS)])
def test_particles_beyond_the_maximum_by_hand(write_jets, model):
    found = find_unseen([write_jets(JETS)], model, np.arange(6))
    # 4 - 2 and 3 - 2 of 12 particles; 1 + 4 and 6 of 20 + 7 + 5 + 0 + 18 GeV
    expected = Unseen(
        jets=6, empty=1, single=1, cut=2, particles_cut=3 / 12, examined=6,
        pt_unseen=found.pt_unseen, blank=1, limit="maximum 2",
    )  # fmt: skip
    assert found == expected
    assert found.pt_unseen == pytest.approx(11 / 50, rel=1e-6)
    assert found.warnings() == [
        "1 of 6 jets have no particle: the network is told nothing about them",
        "2 of 6 jets have more particles than are kept, the hardest (maximum 2): 25 % of all "
        "particles, with 22 % of the transverse momentum, are cut away",
    ]


@pytest.mark.parametrize("steps", [(), ("normalise",), ("centre", "rotate", "flip", "normalise")])
def test_what_lies_outside_of_images_by_hand(write_jets, steps):
    jets = [
        [(10, 0.0), (10, 0.02)],
        [(5, -3.0), (5, 3.0)],  # both far outside, also of an image that is centred
        [],
        [(30, 0.0), (1, 2.0)],  # the soft particle is outside
    ]
    images = Images(half_width=0.5, pixels=8, steps=steps, channels=("multiplicity",))
    for model in (
        Cnn(architecture="cnn", images=images),
        OwnOnImages(factory="my:build", inputs="images", images=images),
    ):
        name = f"jets_{model.architecture}"
        found = find_unseen([write_jets(jets, name)], model, np.arange(4))
        assert (found.jets, found.empty, found.single, found.cut) == (4, 1, 0, 0)
        assert (found.blank, found.limit) == (1, "half_width 0.5")
        assert found.pt_unseen == pytest.approx(11 / 61, rel=1e-5)
        assert found.warnings()[1] == (
            "18 % of the transverse momentum lies outside of the images (half_width 0.5), and 1 of "
            "4 jets have nothing in theirs"
        )


def test_only_the_chosen_events_count(write_jets):
    samples = [write_jets(JETS[:3], "a"), write_jets(JETS[3:], "b")]
    model = OwnOnSets(maximum=2, **SETS)
    found = find_unseen(samples, model, np.array([2, 5]))
    assert (found.jets, found.empty, found.single, found.cut) == (2, 0, 1, 1)
    assert found.pt_unseen == pytest.approx(6 / 25)


def test_some_of_many_jets_tell_the_share(write_jets, monkeypatch):
    """Every second jet loses half of its pT; 101 jets tell it to 0.5·√(0.25/101) = 0.025."""
    jets = [[(4, 0.0), (4, 0.0)], [(8, 0.0)]] * 500
    columns, model = write_jets(jets), OwnOnSets(maximum=1, **SETS)
    whole = find_unseen([columns], model, np.arange(1000))
    monkeypatch.setattr(unseen, "EXAMINED", 101)
    monkeypatch.setattr(unseen, "_AT_ONCE", 7)
    some = find_unseen([columns], model, np.arange(1000))
    assert whole.pt_unseen == pytest.approx(0.25)
    assert some.pt_unseen == pytest.approx(0.25, abs=0.1)
    assert some == find_unseen([columns], model, np.arange(1000))
    assert (some.examined, some.cut, some.particles_cut) == (101, 500, pytest.approx(1 / 3))


@pytest.mark.parametrize(("soft", "warned"), [(0.01, False), (4.0, True)])
def test_next_to_nothing_lost_is_no_warning(write_jets, soft, warned):
    """One of 200 jets is cut: a reader is warned beyond a thousandth of the transverse momentum."""
    jets = [[(4, 0.0)] * 3] * 199 + [[(4, 0.0)] * 3 + [(soft, 0.0)]]
    found = find_unseen([write_jets(jets)], OwnOnSets(maximum=3, **SETS), np.arange(200))
    assert found.cut == 1
    assert found.pt_unseen == pytest.approx(soft / (2400 + soft), rel=1e-3)
    assert bool(found.warnings()) == warned


def test_the_line_of_the_log(write_jets):
    found = find_unseen([write_jets(JETS)], OwnOnSets(maximum=2, **SETS), np.arange(6))
    assert found.told() == (
        "6 jets, of which 1 have no particle, 1 have one, 2 have more than are kept (25 % of all "
        "particles cut away); 22 % of the transverse momentum of 6 of them is not seen "
        "(maximum 2), and nothing of 1"
    )


def test_networks_on_variables_see_their_variables(write_jets):
    model = Mlp(architecture="mlp", features=("x",))
    assert find_unseen([write_jets(JETS)], model, np.arange(6)) is None
