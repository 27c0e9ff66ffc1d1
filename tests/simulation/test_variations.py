"""Changed copies of simulated jets, which were never simulated again."""

import json

import awkward as ak
import numpy as np
import pytest
import uproot

pytest.importorskip("pythia8mc", reason="needs the extra `simulate`: no pythia8mc")
pytest.importorskip("fastjet", reason="needs the extra `simulate`: no fastjet")

from hepml.config import SimulationJob, VariationJob
from hepml.configfile import parse
from hepml.data.variations import Effect
from hepml.errors import InputError
from hepml.simulation.stage import simulate
from hepml.simulation.variations.jets import common_factor, scaled, scaled_alike
from hepml.simulation.variations.measurement import measured_again
from hepml.simulation.variations.stage import vary

RADIUS = 0.8
MOMENTA = ["part_px", "part_py", "part_pz", "part_energy", "jet_pt", "jet_energy", "jet_sdmass"]


@pytest.fixture(scope="module", name="source", params=["top", "qcd"])
def _source(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("nominal") / "jets.root"
    settings = {"process": request.param, "events": 120, "seed": 23, "simulation": {}}
    simulate(parse(SimulationJob, json.dumps(settings), "job"), path)
    return path


@pytest.fixture(name="varied")
def _varied(source, tmp_path):
    """Vary the simulated jets; gives both trees before and after."""

    def varied(**objects):
        changes = {"systematic": "test", "direction": "up", "objects": objects}
        job = parse(VariationJob, json.dumps({"variation": changes, "simulation": {}}), "job")
        vary(job, source, tmp_path / "varied.root")
        return [read(path) for path in (source, tmp_path / "varied.root")]

    return varied


def read(path):
    with uproot.open(path) as file:
        assert {file[name].classname for name in ("tree", "runs")} == {"TTree"}
        tree = file["tree"].arrays()
        return {n: tree[n] for n in file["tree"].keys()}, file["runs"].arrays(library="np")  # noqa: SIM118


def test_a_variation_that_changes_nothing_gives_the_nominal_file(varied):
    for objects in ({"scale": 1}, {"drop": 0}):
        (nominal, runs), (same, runs_again) = varied(**objects)
        assert list(same) == list(nominal)
        for name, values in nominal.items():
            assert ak.array_equal(same[name], values, dtype_exact=True), name
        assert runs == runs_again


def test_measuring_the_stored_particles_again_gives_what_is_stored(source):
    """Of jets that changed, FastJet measures all; here nothing changed, so nothing may move."""
    nominal, _ = read(source)
    again = measured_again({n: a for n, a in nominal.items() if n != "npart"}, RADIUS)
    for name, values in again.items():
        if name != "part":
            np.testing.assert_array_equal(values, ak.to_numpy(nominal[name]), err_msg=name)
    for field in again["part"].fields:
        assert ak.array_equal(again["part"][field], nominal[f"part_{field}"]), field


def test_jets_scaled_as_a_whole_are_what_fastjet_finds(source):
    """A factor of 2 rounds nothing: momenta and masses double, all else stays, to the last bit."""
    nominal = {n: a for n, a in read(source)[0].items() if n != "npart"}
    momenta = {n: nominal[n] * 2 for n in MOMENTA if n.startswith("part_")}
    found = measured_again(nominal | momenta, RADIUS)
    short = scaled(nominal, np.full(len(nominal["jet_pt"]), 2.0))
    assert found.keys() == short.keys()
    for name in found:
        if name == "part":
            for field in found["part"].fields:
                assert ak.array_equal(short["part"][field], found["part"][field]), field
        else:
            np.testing.assert_array_equal(short[name], found[name], err_msg=name)


def test_an_energy_scale_moves_momenta_and_masses_only(varied):
    (nominal, _), (up, _) = varied(scale=1.01)
    for name, values in nominal.items():
        old, new = (ak.to_numpy(ak.flatten(x, axis=None)) for x in (values, up[name]))
        expected = old * np.float32(1.01) if name in MOMENTA else old
        np.testing.assert_allclose(new, expected, rtol=2e-7, err_msg=name)


def test_a_scale_of_neutral_particles_moves_the_axis_and_what_is_relative_to_it(varied):
    (nominal, _), (up, _) = varied(scale="where(part_charge == 0, 1.2, 1)")
    factor = ak.where(nominal["part_charge"] == 0, 1.2, 1)
    px, py = (ak.sum(nominal[f"part_{x}"] * factor, axis=1) for x in ("px", "py"))
    np.testing.assert_allclose(up["jet_pt"], np.hypot(px, py), rtol=1e-6)
    shift = ak.to_numpy(up["jet_phi"] - nominal["jet_phi"])
    shift = (shift + np.pi) % (2 * np.pi) - np.pi
    moved = ak.mean(up["part_dphi"], axis=1) - ak.mean(nominal["part_dphi"], axis=1)
    near = ak.to_numpy(np.abs(moved) < 0.1)  # no particle went around φ = π from the axis
    np.testing.assert_allclose(ak.to_numpy(moved)[near], -shift[near], atol=1e-6)
    assert near.mean() > 0.95
    pt = np.hypot(up["part_px"], up["part_py"])
    assert ak.all(pt[:, 1:] <= pt[:, :-1])  # hardest first, as it was
    assert not np.allclose(up["jet_tau2"], nominal["jet_tau2"], rtol=1e-3)


def test_lost_tracks_are_missing_in_everything_that_is_measured(varied):
    (nominal, _), (up, _) = varied(drop="0.03 * (part_charge != 0)")
    old, new = (ak.sum(tree["part_charge"] != 0, axis=1) for tree in (nominal, up))
    charged = int(ak.sum(old))
    assert abs(charged - ak.sum(new) - 0.03 * charged) < 4 * np.sqrt(charged * 0.03 * 0.97)
    assert ak.array_equal(
        ak.sum(nominal["part_charge"] == 0, axis=1), ak.sum(up["part_charge"] == 0, axis=1)
    )
    np.testing.assert_array_equal(up["jet_nparticles"], ak.num(up["part_px"]))
    np.testing.assert_array_equal(up["event_id"], nominal["event_id"])
    np.testing.assert_allclose(
        up["jet_pt"],
        np.hypot(ak.sum(up["part_px"], axis=1), ak.sum(up["part_py"], axis=1)),
        rtol=1e-6,
    )
    whole = ak.to_numpy(old == new)  # jets that lost nothing stay as they were
    for name in ("jet_pt", "jet_sdmass", "jet_tau3"):
        np.testing.assert_array_equal(up[name][whole], nominal[name][whole])
    assert 0 < whole.sum() < len(whole)


def test_a_jet_without_particles_is_left_out(varied, source):
    # the hardest particle of a jet has no place in this expression: charged ones are certain
    # to be lost, and neutral ones are below 150 GeV in some jets only
    drop = "max(part_charge != 0, hypot(part_px, part_py) < 150)"
    (nominal, runs), (up, runs_again) = varied(drop=drop)
    pt = np.hypot(nominal["part_px"], nominal["part_py"])
    left = ak.to_numpy(ak.any((pt >= 150) & (nominal["part_charge"] == 0), axis=1))
    assert 0 < left.sum() < len(left)
    np.testing.assert_array_equal(up["event_id"], nominal["event_id"][left])
    assert runs == runs_again
    with pytest.raises(InputError, match=f"{source}: systematics.test.objects.up leaves no jet"):
        varied(drop=1)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"scale": "part_charge"}, "jets.root: .*objects.up.scale: .* positive numbers"),
        ({"drop": "part_chrg"}, "no branch 'part_chrg' .nearest: part_charge"),
    ],
)
def test_wrong_variations_leave_no_file(varied, tmp_path, objects, message):
    with pytest.raises(InputError, match=message):
        varied(**objects)
    assert list(tmp_path.glob("*.root")) == []


def test_toys_are_no_jets(tmp_path):
    toy = {"process": "toy_signal", "events": 10, "seed": 1, "simulation": {"toy": "two_prong"}}
    simulate(parse(SimulationJob, json.dumps(toy), "job"), tmp_path / "toy.root")
    changes = {"systematic": "s", "direction": "up", "objects": {"scale": 1.1}}
    job = parse(VariationJob, json.dumps({"variation": changes, "simulation": {}}), "job")
    with pytest.raises(InputError, match=r"no branch 'jet_sdmass'.*hepml vary, which takes simu"):
        vary(job, tmp_path / "toy.root", tmp_path / "varied.root")
    assert not (tmp_path / "varied.root").exists()


def test_which_jets_were_scaled_as_a_whole():
    effect = Effect(
        counts=np.array([2, 0, 3, 1, 2]),
        factor=np.array([1.5, 1.5, 2, 2, 1, 3, 4, 4], float),
        kept=np.array([1, 1, 1, 1, 1, 1, 0, 1], bool),
    )
    np.testing.assert_array_equal(scaled_alike(effect), [True, True, False, True, False])
    np.testing.assert_array_equal(common_factor(effect), [1.5, 1, 2, 3, 4])
