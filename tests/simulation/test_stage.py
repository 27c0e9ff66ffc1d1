import sys

import awkward as ak
import numpy as np
import pytest
import uproot

from hepml.config import Simulation, SimulationJob
from hepml.data import oracle
from hepml.errors import InputError
from hepml.simulation.stage import event_ids, simulate

FLAGS = ["isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"]


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory):
    """Simulate a file and read both trees back."""

    def run(process, events, seed, **settings):
        path = tmp_path_factory.mktemp("simulation") / f"{process}.root"
        job = SimulationJob(
            process=process, events=events, seed=seed, simulation=Simulation(**settings)
        )
        simulate(job, path)
        with uproot.open(path) as file:
            assert file["tree"].classname == "TTree"
            return file["tree"].arrays(), file["runs"].arrays()

    return run


@pytest.fixture(scope="module", params=["qcd", "top"], name="process")
def _process(request):
    pytest.importorskip("pythia8mc", reason="needs the extra `simulate`: no pythia8mc")
    pytest.importorskip("fastjet", reason="needs the extra `simulate`: no fastjet")
    return request.param


@pytest.fixture(scope="module", name="trees")
def _trees(run, process):
    return run(process, 60, 17)


@pytest.fixture(name="jets")
def _jets(trees):
    return trees[0]


def test_jets_lie_in_the_window(jets):
    assert len(jets) >= 60
    assert ak.all((jets.jet_pt > 550) & (jets.jet_pt < 650) & (abs(jets.jet_eta) < 2))


def test_labels_are_those_of_the_process(jets, process):
    assert ak.all(jets.label_Tbqq == (process == "top"))
    assert ak.all(jets.label_QCD == (process == "qcd"))
    if process == "top":
        assert 140 < np.median(jets.jet_sdmass) < 190
        assert ak.all(abs(jets.aux_genpart_pid) == 6)


def test_jets_are_the_sum_of_their_particles(jets):
    px, py = ak.sum(jets.part_px, axis=1), ak.sum(jets.part_py, axis=1)
    np.testing.assert_allclose(np.hypot(px, py), jets.jet_pt, rtol=1e-4)
    np.testing.assert_allclose(ak.sum(jets.part_energy, axis=1), jets.jet_energy, rtol=1e-4)
    np.testing.assert_array_equal(ak.num(jets.part_px), jets.jet_nparticles)


def test_each_particle_is_of_one_kind(jets):
    flags = [jets[f"part_{flag}"] for flag in FLAGS]
    assert ak.all(sum(ak.values_astype(flag, np.int64) for flag in flags) == 1)
    neutral = jets.part_isPhoton | jets.part_isNeutralHadron
    assert ak.all((jets.part_charge == 0) == neutral)
    assert ak.all((jets.part_d0err == 0) == neutral)


def test_taus_fall_and_soft_drop_only_removes(jets):
    for n in (1, 2, 3):
        assert ak.mean(jets[f"jet_tau{n + 1}"] <= jets[f"jet_tau{n}"] + 1e-6) > 0.95
    momentum = np.hypot(jets.jet_pt, jets.jet_pt * np.sinh(jets.jet_eta))
    mass = np.sqrt(np.maximum(jets.jet_energy**2 - momentum**2, 0))
    assert ak.all(jets.jet_sdmass < mass + 1)


def test_both_jets_of_a_collision_share_its_identity(jets):
    identity, counts = np.unique(ak.to_numpy(jets.event_id), return_counts=True)
    assert identity.dtype == np.uint64
    assert set(counts) == {1, 2}
    together = jets[np.isin(jets.event_id, identity[counts == 2])]
    dphi = np.diff(ak.to_numpy(together.jet_phi).reshape(-1, 2))
    assert np.median(np.abs(np.abs(dphi) - np.pi)) < 0.3  # back to back
    assert set(identity >> np.uint64(32)) == {np.uint64(17)}


def test_normalisation_counts_all_generated_events(trees, process):
    jets, runs = trees
    assert len(runs) == 1
    assert runs.generated_events[0] > len(np.unique(jets.event_id))
    assert runs.sum_of_weights[0] == runs.generated_events[0]
    assert runs.cross_section[0] == pytest.approx({"qcd": 1345, "top": 1.41}[process], rel=0.3)
    assert ak.all(jets.event_weight == 1)


def test_same_job_gives_the_same_arrays(run, trees, process):
    again = run(process, 60, 17)
    for one, other in zip(trees, again, strict=True):
        assert one.fields == other.fields
        assert all(ak.array_equal(one[name], other[name]) for name in one.fields)
    assert run(process, 5, 18)[0].jet_pt[0] != trees[0].jet_pt[0]


@pytest.mark.parametrize("toy", ["shift", "scale", "xor"])
@pytest.mark.parametrize("process", ["toy_signal", "toy_background"])
def test_toys_carry_their_exact_llr(run, process, toy):
    events, runs = run(process, 123, 19, toy=toy)
    assert len(events) == runs.generated_events[0] == runs.sum_of_weights[0] == 123
    assert (runs.cross_section[0], runs.cross_section_error[0]) == (1.0, 0.0)
    x = np.stack([ak.to_numpy(events[name]) for name in oracle.NAMES], axis=1)
    np.testing.assert_array_equal(events.exact_llr, oracle.exact_llr(toy, x))
    assert len(np.unique(events.event_id)) == 123
    assert (ak.mean(events.exact_llr) > 0) == (process == "toy_signal")


def test_identities_of_two_files_differ():
    one, other = (event_ids(seed, np.arange(7)) for seed in (900_000_000, 899_999_999))
    assert not np.intersect1d(one, other).size


def test_without_the_extra_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    for module in ("generate", "veto", "branches"):
        monkeypatch.delitem(sys.modules, f"hepml.simulation.{module}", raising=False)
    job = SimulationJob(process="qcd", events=1, seed=1, simulation=Simulation())
    with pytest.raises(InputError, match=r"hepml-workflow\[simulate\]"):
        simulate(job, tmp_path / "x.root")
    assert list(tmp_path.iterdir()) == []
