import json
import math

import awkward as ak
import numpy as np
import pytest

from hepml.artifacts import sha256
from hepml.config import Variation
from hepml.configfile import parse
from hepml.data import ntuples
from hepml.data.check import problems
from hepml.data.schemas import resolve
from hepml.data.variations import read_change, uniform
from hepml.errors import InputError
from hepml.inputs.images import ImageSettings, jet_images
from hepml.inputs.packed_sets import particle_sets
from hepml.inputs.sets import SetRecipe

SCHEMA = {
    "tree": "tree",
    "identity": [["event"]],
    "particles": {
        "px": "part_px",
        "py": "part_py",
        "pz": "part_pz",
        "energy": "part_energy",
        "fields": {"charge": "part_charge", "deta": "part_deta", "dphi": "part_dphi"},
    },
}
VARIABLES = {
    "pt": "hypot(sum(part_px), sum(part_py))",
    "mass": "sqrt(sum(part_energy)**2 - sum(part_px)**2 - sum(part_py)**2 - sum(part_pz)**2)",
    "n": "count(part_px)",
    "n_charged": "sum(part_charge != 0)",
    "jet_pt": "jet_pt",
}


def variation(direction="up", systematic="jes", **objects):
    return {"systematic": systematic, "direction": direction, "objects": objects}


def change(**objects):
    settings = parse(Variation, json.dumps(variation(**objects)), "v")
    return read_change(settings, resolve("simulation"))


@pytest.fixture(scope="module", name="jets")
def _jets():
    """Branches of 400 jets of 5 to 60 particles; a third of the particles is neutral."""
    random = np.random.default_rng(3)
    counts = random.integers(5, 61, 400)
    total = counts.sum()
    pt, (eta, phi) = random.exponential(10, total), random.normal(0, 0.3, (2, total))
    flat = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "energy": pt * np.cosh(eta),
        "charge": random.integers(-1, 2, total),
        "deta": eta,
        "dphi": phi,
    }
    return {
        "event": np.arange(400),
        "jet_pt": np.full(400, 600, np.float32),
        "jet_pt_up": np.full(400, 612, np.float32),
        "part": ak.zip({n: ak.unflatten(x.astype(np.float32), counts) for n, x in flat.items()}),
    }


@pytest.fixture(name="vary")
def _vary(tmp_path, run, write_tree, jets):
    """Run the data stage on the jets; without objects, the nominal columns."""
    file = write_tree(tmp_path / "jets.root", jets)

    def vary(folder, *, data=None, direction="up", systematic="jes", **objects):
        varied = variation(direction, systematic, **objects) if objects else None
        changes = {"schema": SCHEMA, "data": data, "variation": varied}
        return run([file], VARIABLES, folder=folder, **changes)[0]

    return vary


@pytest.mark.parametrize("factor", [2, 0.97])
def test_a_factor_on_all_particles_moves_mass_and_momentum_by_it(vary, factor):
    nominal, varied = vary("nominal"), vary("up", scale=factor)
    # massless particles: rounding of their components to single precision moves m² by about
    # 1e-7 E², and here E² < 100 m²
    for name in ("pt", "mass"):
        np.testing.assert_allclose(varied[name], factor * nominal[name], rtol=1e-5)
    for name in ("event_id", "fold", "label", "weight", "n", "n_charged"):
        np.testing.assert_array_equal(varied[name], nominal[name])
    old, new = nominal.particles(), varied.particles()
    np.testing.assert_array_equal(new.offsets, old.offsets)
    np.testing.assert_allclose(new.values[:, :4], factor * old.values[:, :4], rtol=2e-7)
    np.testing.assert_array_equal(new.values[:, 4:], old.values[:, 4:])


def test_images_know_no_common_factor_and_logarithms_move_by_its_logarithm(vary):
    nominal, varied = vary("nominal").particles(), vary("up", scale=2).particles()
    images, sets = [], []
    for particles in (nominal, varied):
        counts = np.diff(particles.offsets)
        values = np.asarray(particles.values)
        images.append(jet_images(values, counts, particles.fields, ImageSettings()).images)
        sets.append(particle_sets(values, counts, particles.fields, SetRecipe("kin", 100)))
    np.testing.assert_array_equal(images[1], images[0])  # a factor of 2 rounds nothing
    moved = dict.fromkeys(SetRecipe("kin").names, 0) | {
        "part_pt_log": 0.7 * math.log(2),  # 0.7 is the scale of these features
        "part_e_log": 0.7 * math.log(2),
    }
    inside = (np.abs(sets[0].features) < 4.4) & (np.abs(sets[1].features) < 4.4)  # not cut off
    difference = sets[1].features - sets[0].features
    expected = np.broadcast_to(list(moved.values()), difference.shape)
    np.testing.assert_allclose(difference[inside], expected[inside], atol=2e-6)
    assert inside.mean() > 0.9


def test_factors_may_differ_from_particle_to_particle(vary):
    both = vary("nominal"), vary("up", scale="where(part_charge == 0, 1.5, 1)")
    old, new = (columns.particles().values for columns in both)
    factor = np.where(old[:, 4] == 0, 1.5, 1)
    scaled = old[:, :4] * factor[:, None]
    # particles are stored by falling pT, and these factors change their order
    events = np.repeat(np.arange(both[0].events), np.diff(both[0].particles().offsets))
    order = np.lexsort((-np.hypot(scaled[:, 0], scaled[:, 1]), events))
    assert not np.array_equal(order, np.arange(len(order)))
    np.testing.assert_allclose(new[:, :4], scaled[order], rtol=2e-7)


def test_particles_of_pt_eta_phi_and_mass_keep_their_directions(tmp_path, run, write_tree):
    part = {"pt": [[3.0, 4.0]], "eta": [[0.5, -1.0]], "phi": [[1.0, 2.0]], "m": [[0.1, 5.0]]}
    tree = {"event": np.array([1]), "part": ak.zip({n: ak.Array(v) for n, v in part.items()})}
    schema = {"tree": "tree", "identity": [["event"]]}
    names = {"pt": "part_pt", "eta": "part_eta", "phi": "part_phi", "mass": "part_m"}
    file = write_tree(tmp_path / "a.root", tree)
    both = []
    for varied in (None, variation(scale=1.25)):
        job = {"schema": schema | {"particles": names}, "variation": varied}
        columns, _ = run([file], {"n": "count(part_pt)"}, folder=str(len(both)), **job)
        both.append(np.array(columns.particles().values))
    np.testing.assert_allclose(both[1], 1.25 * both[0], rtol=2e-7)


def test_losses_are_binomial_and_of_chosen_particles_only(vary):
    nominal = vary("nominal")
    varied = vary("up", drop="0.1 * (part_charge != 0)")
    charged = nominal["n_charged"].sum()
    lost = charged - varied["n_charged"].sum()
    assert abs(lost - 0.1 * charged) < 4 * math.sqrt(charged * 0.1 * 0.9)
    neutral = nominal["n"] - nominal["n_charged"]
    np.testing.assert_array_equal(varied["n"] - varied["n_charged"], neutral)
    np.testing.assert_array_equal(varied["event_id"], nominal["event_id"])
    # who is left is as it was
    old = {tuple(row) for row in nominal.particles().values}
    assert {tuple(row) for row in varied.particles().values} < old


def test_losses_do_not_depend_on_chunks(tmp_path, vary, monkeypatch):
    vary("whole", drop=0.3)
    monkeypatch.setattr(ntuples, "CHUNK", 20_000)
    vary("chunks", drop=0.3)
    whole, chunks = (
        {path.name: sha256(path) for path in (tmp_path / folder).glob("*.npy")}
        for folder in ("whole", "chunks")
    )
    assert whole == chunks
    assert len(whole) == 4 + len(VARIABLES) + 2


def test_draws_are_uniform_and_independent_of_each_other():
    random = np.random.default_rng(1)
    ids = np.arange(3000, dtype=np.uint64)
    branch = ak.unflatten(random.normal(size=90_000).astype(np.float32), 30)
    draws = uniform("tracking", ids, branch).reshape(3000, 30)
    # 100 bins of 900 ± 30: χ² of 99 degrees of freedom, whose 5σ interval is 99 ± 70
    counts = np.histogram(draws, 100, (0, 1))[0]
    assert abs(((counts - 900) ** 2 / 900).sum() - 99) < 70
    others = {
        "neighbours in an event": (draws[:, 1:], draws[:, :-1]),
        "neighbouring events": (draws[1:], draws[:-1]),
        "another systematic": (uniform("other", ids, branch).reshape(draws.shape), draws),
        "another jet of the events": (
            uniform("tracking", ids, -branch).reshape(draws.shape),
            draws,
        ),
    }
    for what, (one, other) in others.items():
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 5 / math.sqrt(one.size), what


def test_what_a_small_probability_loses_a_larger_one_does_too(vary):
    few = {tuple(row) for row in vary("up", drop=0.1).particles().values}
    fewer = {tuple(row) for row in vary("down", direction="down", drop=0.3).particles().values}
    assert fewer < few


@pytest.mark.parametrize(("probability", "left"), [(0, 1), (1, 0)])
def test_certain_losses(vary, probability, left):
    nominal, varied = vary("nominal"), vary("up", drop=probability, data={"invalid": "fail"})
    np.testing.assert_array_equal(varied["n"], left * nominal["n"])


def test_a_branch_takes_the_place_of_another_everywhere(vary):
    selection = {"selection": {"hard": "jet_pt > 610"}}
    varied = vary("up", branches={"jet_pt": "jet_pt_up"}, data=selection)
    assert set(varied["jet_pt"]) == {612}
    # what takes the place of a branch sees particles that were scaled
    summed = {"jet_pt": "hypot(sum(part_px), sum(part_py))"}
    varied = vary("sum", scale=1.1, branches=summed)
    np.testing.assert_allclose(varied["jet_pt"], 1.1 * vary("nominal")["pt"], rtol=1e-6)


def test_names_of_the_schema_are_replaced_and_keep_their_unit(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(1, 5))
    schema = {
        "tree": "tree",
        "identity": [["event"]],
        "branches": {"x": {"expression": "pt", "unit": "TeV"}},
    }
    varied = variation(branches={"x": "pt + 1"})
    columns, _ = run([file], {"y": "x"}, schema=schema, variation=varied)
    assert columns["y"].tolist() == [11e3, 21e3, 31e3, 41e3]


def test_an_identity_of_branches_that_vary_stays_nominal(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 40))
    schema = {"tree": "tree", "identity": [["pt", "run"]]}
    nominal, _ = run([file], schema=schema)
    varied, _ = run([file], schema=schema, folder="v", variation=variation(branches={"pt": "pt*2"}))
    np.testing.assert_array_equal(varied["event_id"], nominal["event_id"])
    np.testing.assert_array_equal(varied["fold"], nominal["fold"])
    np.testing.assert_array_equal(varied["pt"], 2 * nominal["pt"])


def test_weights_by_hand(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 10))  # Σw = 8 - 2 = 6, 1000 events expected
    weights = {"sf": {"up": "1 + n / 10", "down": 0.5}, "flat": {"up": "where(n == 2, 1.2, 1)"}}
    selection = {"selection": {"hard": "pt > 20"}}
    columns, _ = run([file], data=selection, weights=weights)
    event = np.arange(3, 10)
    nominal = np.where(event % 4 == 3, -1, 1) * 1000 / 6
    up = np.where(event % 3 == 2, 1.2, 1)
    expected = {
        "weight": nominal,
        "weight_sf_up": nominal * (1 + event % 3 / 10),
        "weight_sf_down": nominal / 2,
        "weight_flat_up": nominal * up,
        "weight_flat_down": nominal * (2 - up),  # one-sided: mirrored at the nominal weight
    }
    for name, values in expected.items():
        np.testing.assert_allclose(columns[name], values, rtol=1e-12)
        assert columns[name].dtype == np.float64
    nominal, _ = run([file], data=selection, folder="nominal")
    for name in nominal.names:
        np.testing.assert_array_equal(columns[name], nominal[name])


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"scale": "part_charge"}, r"jets.root: systematics.jes.objects.up.scale: .*'part_charge': "
         r"factors on momenta are positive numbers, but \d+ are not, such as"),
        ({"scale": 0}, "positive numbers, but .* such as 0.0"),
        ({"scale": "1 / 0"}, "positive numbers, but .* such as inf"),
        ({"drop": 1.2}, "objects.up.drop: .*probabilities lie between 0 and 1, but .* such as 1.2"),
        ({"drop": "-0.1 * part_charge"}, "probabilities lie between 0 and 1"),
        ({"drop": "part_chrage"}, "has no branch 'part_chrage' .nearest: part_charge.*"
         "asked for by systematics.jes.objects.up.drop"),
        ({"scale": "1 +"}, r"systematics.jes.objects.up.scale: expression '1 \+'"),
        ({"scale": "part_px[part_charge == 0]"}, "another number of values per event"),
        ({"branches": {"jet_ptt": "jet_pt_up"}}, "systematics.jes.objects.up.branches.jet_ptt: "
         "nothing reads a branch of that name .nearest: jet_pt"),
        ({"branches": {"jet_pt": "jet_pt_uup"}}, "no branch 'jet_pt_uup'.*branches.jet_pt"),
        ({"branches": {"jet_pt": "0 / 0"}}, r"NaN.*in 'jet_pt' \(400 events"),
    ],
)  # fmt: skip
def test_wrong_variations_are_named(tmp_path, vary, objects, message):
    with pytest.raises(InputError, match=message):
        vary("wrong", **objects)
    assert not (tmp_path / "wrong").exists()


def test_a_variation_that_loses_all_events_is_named(vary):
    message = "samples.top, varied by jes_up: no event is left .all events: 400 → some: 0"
    with pytest.raises(InputError, match=message):
        vary("wrong", drop=1, data={"selection": {"some": "count(part_px) > 0"}})


def test_without_particles_there_is_nothing_to_scale():
    settings = parse(Variation, json.dumps(variation(scale=1.1)), "v")
    with pytest.raises(InputError, match=r"objects.up: scale and drop act on particles"):
        read_change(settings, resolve("nanoaod"))


def test_factors_without_a_value_are_named(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 10))
    message = "systematics.sf.weight.up: .* missing in 2 events, the first at entry 4"
    with pytest.raises(InputError, match=message):
        run(
            [file],
            data={"selection": {"hard": "pt > 20"}},
            weights={"sf": {"up": "part_px[0]", "down": 1}},
        )


def test_varied_files_need_an_identity_that_does_not_vary(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 10))
    varied = variation(files={"top": [file]})
    columns, _ = run([file], variation=varied)
    assert columns.events == 10
    schema = {"tree": "tree", "identity": [["pt"]]}
    with pytest.raises(InputError, match=r"objects.up.files: events are identified by 'pt'"):
        run([file], schema=schema, variation=varied, folder="wrong")


def test_branches_that_do_not_follow_the_particles_are_named(vary, capsys):
    vary("up", scale=1.01)
    assert (
        "warning: systematics.jes.objects.up changes particles, but not what the ntuples hold "
        "in jet_pt; if" in capsys.readouterr().err
    )
    vary("replaced", scale=1.01, branches={"jet_pt": "jet_pt_up"})
    vary("nominal")
    assert capsys.readouterr().err == ""


def test_check_tries_variations_on_the_first_events(tmp_path, ntuple, write_tree, make_job):
    files = {"files": [write_tree(tmp_path / "a.root", ntuple(0, 20))]}
    weights = {"sf": {"up": "n[0]", "down": "m"}}
    jobs = [
        make_job(sample=files),
        make_job(sample=files, weights=weights),
        make_job(sample=files, variation=variation(scale="-1")),
        make_job(sample=files, variation=variation(drop="part_charge2")),
        make_job(sample=files, variation=variation(branches={"pt": "pt * 1.1"})),
    ]
    found = problems(jobs)
    assert len(found) == 4
    assert "systematics.sf.weight.up" in found[0]
    assert "no branch 'm'" in found[1]
    assert "factors on momenta are positive" in found[2]
    assert "no branch 'part_charge2'" in found[3]
