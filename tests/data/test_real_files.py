"""Real files that others wrote, with configs as docs/own-ntuples.md writes them."""

import numpy as np
import pytest

from hepml.errors import InputError


def test_jetclass_ii(run, real_file):
    columns, flow = run(
        [real_file("JetClassII_example.root")],
        {"pt": "jet_pt", "tau32": "jet_tau3 / jet_tau2"},
        schema="jetclass",
        sample={"role": None, "label": "jet_label < 161"},
        data={"selection": {"subjettiness": "jet_tau2 > 0"}},
    )
    assert columns.events == 99
    assert set(columns["label"]) == {0, 1}
    assert flow["steps"][0]["yield"] == pytest.approx(1000)
    particles = columns.particles()
    momentum = np.add.reduceat(particles.values[:, :2], particles.offsets[:-1])
    # the particles make up the jet
    np.testing.assert_allclose(np.hypot(*momentum.T), columns["pt"], rtol=0.02)


def test_nanoaod(run, real_file):
    runs = {"tree": "Runs", "sum_of_weights": "genEventSumw_"}
    columns, flow = run(
        [real_file("coffea_nano_dy.root")],
        {"ht": "sum(Jet_pt[Jet_pt > 30 && abs(Jet_eta) < 2.4])", "muons": "nMuon - 1",
         "lead": "alt(Muon_pt[0], 0)"},
        schema={"base": "nanoaod", "runs": runs},
    )  # fmt: skip
    assert columns.events == 40
    assert columns["muons"].min() == -1
    # the file is a skim: its 40 events are a small part of the generated ones
    assert flow["sum_of_weights"] > 40
    with pytest.raises(InputError, match=r"no branch 'genEventSumw' \(nearest: genEventSumw_,"):
        run([real_file("coffea_nano_dy.root")], {"n": "nMuon"}, schema="nanoaod")


def test_pfnano_particles(run, real_file):
    particles = {"pt": "PFCands_pt", "eta": "PFCands_eta", "phi": "PFCands_phi",
                 "mass": "PFCands_mass", "fields": {"charge": "PFCands_charge"}}  # fmt: skip
    columns, _ = run(
        [real_file("coffea_pfnano.root")],
        {"n": "nPFCands"},
        schema={"base": "nanoaod", "particles": particles},
    )
    assert np.diff(columns.particles().offsets).tolist() == columns["n"].tolist()
    assert set(np.unique(columns.particles().values[:, 4])) <= {-1, 0, 1}


def test_delphes_with_dotted_branches(run, real_file):
    columns, _ = run(
        [real_file("sophon_events_delphes_example.root")],
        {"met": "MissingET.MET[0]", "n": "count(JetPUPPI.PT)", "lead": "max(JetPUPPI.PT)"},
        schema={"tree": "Delphes", "identity": [["Event.Number"]]},
        data={"selection": {"jet": "JetPUPPI.PT[0] > 20"}},
    )
    assert columns.events > 0
    assert columns["n"].min() >= 1
    assert columns["lead"].min() > 20


def test_atlas_open_data_in_mev(run, real_file):
    schema = {
        "tree": "mini",
        "identity": [["runNumber", "eventNumber"]],
        "branches": {"lep_pt_gev": {"expression": "lep_pt", "unit": "MeV"}},
        "particles": {"pt": "lep_pt", "eta": "lep_eta", "phi": "lep_phi", "energy": "lep_E",
                      "unit": "MeV", "fields": {"charge": "lep_charge"}},
    }  # fmt: skip
    columns, _ = run(
        [real_file("data_A.4lep.root")],
        {"lead": "lep_pt_gev[0]", "n": "lep_n", "total": "Sum$(lep_charge)"},
        schema=schema,
        sample={"role": "data", "cross_section": None},
    )
    particles = columns.particles()
    assert columns.events == 39
    assert np.diff(particles.offsets).tolist() == columns["n"].tolist()
    first = particles.values[particles.offsets[:-1]]
    np.testing.assert_allclose(np.hypot(first[:, 0], first[:, 1]), columns["lead"], rtol=1e-5)
    assert 5 < columns["lead"].min() < columns["lead"].max() < 1000
