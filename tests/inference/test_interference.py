"""Fits of a signal that interferes, from ratios per event: exact ones of a toy, and spoilt ones."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hepml.artifacts import new_folder
from hepml.config import Cut, Inference, Interference, InterferenceJob
from hepml.data import interfering
from hepml.data.store import ColumnWriter
from hepml.errors import InputError
from hepml.inference.events import Events
from hepml.inference.goals import LargestSignificance
from hepml.inference.interference.method import Observations, evaluate
from hepml.inference.interference.results import INTERFERING
from hepml.inference.interference.samples import Kind, Samples, densities
from hepml.inference.interference.stage import fit_interference
from hepml.inference.selection import select

SIGMA = 0.2133302  # of µ at µ = 1, by the Fisher information of the exact densities
INTERVAL = (0.79685, 1.22333)  # where t < 1, by quadrature
COUNTING = 2.854  # σ(µ) of a count of all events


def simulate(number, seed, identity=0):
    """So many events of each kind, and both exact ratios; a sample of its own identity."""
    random = np.random.default_rng(seed)
    x = [interfering.draw(kind, number, random) for kind in interfering.EVENTS]
    llr = [[interfering.exact_llr(kind, each) for each in x] for kind in ("signal", "sbi")]
    weight = np.repeat([events / number for events in interfering.EVENTS.values()], number)
    event = np.arange(3 * number, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    kind = np.repeat([Kind.SIGNAL, Kind.SBI, Kind.BACKGROUND], number)
    samples = Samples(event + np.uint64(identity), np.arange(3 * number) % 5, kind, weight)
    return samples, np.stack([np.concatenate(row) for row in llr]), np.concatenate(x)


def job(toys=0, replicas=10, **changes):
    return InterferenceJob(
        method="mlp",
        title="MLP",
        inference=Inference(background_uncertainty=0.1, replicas=replicas),
        interference=Interference(toys=toys, **changes),
        folds=5,
        seed=1,
    )


def by_estimator(found):
    return {fit.estimator: fit for fit in found.expected}


@pytest.fixture(scope="module")
def exact():
    samples, llr, x = simulate(20_000, 1)
    return samples, llr, x, evaluate(job(toys=400, replicas=100), samples, llr)


# 20,000 events of each kind: σ(µ) and ends of intervals by quadrature, errors those of the sample
def test_exact_ratios_give_what_quadrature_gives(exact):
    *_, found = exact
    fits = by_estimator(found)
    unbinned = fits["unbinned"]
    assert unbinned.mu.value == pytest.approx(1, abs=3 * unbinned.mu.error)
    assert unbinned.mu.error < 0.03
    assert unbinned.sigma == pytest.approx(SIGMA, rel=0.03)
    assert unbinned.significance.value == pytest.approx(
        45.77204**0.5, abs=3 * unbinned.significance.error
    )
    (low, high), *others = unbinned.intervals[0].wilks
    assert not others
    assert (low, high) == pytest.approx(INTERVAL, abs=0.06)
    # far from µ = 0 Neyman's construction agrees, to the number of toys
    assert unbinned.intervals[0].neyman[0] == pytest.approx((low, high), abs=0.05)
    assert fits["all events"].sigma == pytest.approx(COUNTING, rel=0.001)
    assert unbinned.sigma < fits["binned"].sigma < 1.1 * unbinned.sigma
    for constant in found.constants:
        assert constant.value == pytest.approx(1, abs=3 * constant.error)
    assert found.cut_back == 0
    assert found.warnings == []
    assert found.yields["interference"].value == pytest.approx(-105.0541919)


def test_constants_of_the_ratios_do_not_matter(exact):
    samples, llr, _, found = exact
    scaled = evaluate(job(), samples, llr + np.log([[3.0], [0.2]]))
    assert scaled.constants[0].value == pytest.approx(found.constants[0].value / 3)
    assert scaled.constants[1].value == pytest.approx(found.constants[1].value / 0.2)
    one, other = (by_estimator(each)["unbinned"] for each in (found, scaled))
    assert other.sigma == pytest.approx(one.sigma, rel=1e-9)
    assert other.mu.value == pytest.approx(one.mu.value, abs=1e-6)


def test_shares_of_each_event_add_up_to_what_is_expected(exact):
    samples, llr, *_ = exact
    terms = densities(llr, samples.kind, samples.weight).terms
    for share, kind in ((terms.signal, 0), (terms.total, 1), (terms.background, 2)):
        expected = samples.weight[samples.kind == kind].sum()
        assert samples.weight @ share == pytest.approx(expected, rel=1e-9)
    assert terms.signal + terms.total + terms.background == pytest.approx(1, rel=1e-12)


def test_errors_are_the_spread_of_independent_samples():
    """The mean bootstrap error of 25 samples against their spread, which is known to 14 %."""
    found = []
    for seed in range(25):
        samples, llr, _ = simulate(2000, 100 + seed, identity=seed)
        fits = by_estimator(evaluate(job(replicas=30), samples, llr))
        found.append([fits["unbinned"].mu, fits["unbinned"].significance])
    values = np.array([[(each.value, each.error) for each in row] for row in found])
    spread, errors = values[:, :, 0].std(axis=0, ddof=1), values[:, :, 1].mean(axis=0)
    assert errors == pytest.approx(spread, rel=0.4)


def test_a_wrong_ratio_is_found_out(exact):
    """Of SBI without interference: µ is biased, which is said."""
    samples, llr, *_ = exact
    ratio = interfering.SIGNAL / interfering.BACKGROUND * np.exp(llr[0])
    found = evaluate(job(), samples, np.stack([llr[0], np.log(1 + ratio)]))
    mu = by_estimator(found)["unbinned"].mu
    assert abs(mu.value - 1) > 5 * mu.error
    assert "train on more events, or trust the binned fit" in found.warnings[0]


def test_an_interference_that_no_amplitudes_give_is_cut_back(exact):
    """SBI a hundredth of S + B where |I| is at most 2√(SB): λ would be negative."""
    samples, llr, *_ = exact
    spoilt = llr.copy()
    spoilt[1, ::7] -= 8
    found = evaluate(job(), samples, spoilt)
    assert found.cut_back > 0.01
    assert "which no amplitudes reach" in " ".join(found.warnings)


def test_cuts_are_counted_where_they_pass(exact):
    """σ(µ) = √SBI / |dν/dµ| of what passes."""
    samples, _, x, _ = exact
    along = x.sum(axis=1)[None] / np.sqrt(interfering.DIMENSIONS)
    cuts = (Cut(variable="along", keep="above"),)
    found = evaluate(job().model_copy(update={"cuts": cuts}), samples, along)
    (fit,) = found.expected
    assert found.constants is None
    # the thresholds of the comparison
    chosen = samples.kind != Kind.SBI
    columns = (samples.event_id, samples.fold, samples.kind == Kind.SIGNAL, samples.weight)
    events = Events(*(column[chosen] for column in columns), 5)
    (low, _), *_ = select(cuts, along[:, chosen], events, LargestSignificance(0.1, 10)).bounds.mean(
        axis=0
    )
    kept = [samples.weight[(samples.kind == k) & (along[0] > low)].sum() for k in range(3)]
    slope = (kept[0] + kept[1] - kept[2]) / 2
    assert fit.sigma == pytest.approx(kept[1] ** 0.5 / slope, rel=0.03)  # folds differ a little
    assert fit.sigma > SIGMA


def test_data_that_pass_the_cuts_are_counted(exact):
    """One in 44 of the events of SBI, each worth 1/44: as many as are expected at µ = 1."""
    samples, _, x, _ = exact
    along = x.sum(axis=1)[None] / np.sqrt(interfering.DIMENSIONS)
    cuts = job().model_copy(update={"cuts": (Cut(variable="along", keep="above"),)})
    drawn = np.flatnonzero(samples.of(Kind.SBI))[::44]
    data = Observations(samples.fold[drawn], along[:, drawn])
    found = evaluate(cuts, samples, along, data)
    (fit,), (expected,) = found.observed, found.expected
    assert fit.estimator == "counting"
    assert fit.mu.value == pytest.approx(1, abs=3 * expected.sigma)
    nothing = Observations(data.fold[:0], data.variables[:, :0])
    (empty,) = evaluate(cuts, samples, along, nothing).observed
    assert empty.mu.value < fit.mu.value


@pytest.mark.parametrize("mu", [1.0, 2.0])
def test_data_are_fitted(mu, exact):
    """Data drawn with weights λ(µ)/SBI from the events of SBI of another sample."""
    samples, llr, *_ = exact
    other, ratios, _ = simulate(20_000, 9)
    random = np.random.default_rng(int(mu))
    of_sbi = other.of(Kind.SBI)
    s, t = (np.exp(row[of_sbi]) for row in ratios)
    s, t = s * interfering.SIGNAL, t * interfering.SBI
    density = (mu - mu**0.5) * s + mu**0.5 * t + (1 - mu**0.5) * interfering.BACKGROUND
    number = random.poisson(other.weight[of_sbi] * density / t)
    seen = np.repeat(ratios[:, of_sbi], number, axis=1)
    data = Observations(np.arange(seen.shape[1]) % 5, seen)
    found = evaluate(job(), samples, llr, data)
    for fit in found.observed[:2]:
        assert fit.mu.value == pytest.approx(mu, abs=3.5 * SIGMA * mu**0.5)
        assert fit.mu.error is None
        low, high = fit.intervals[0].wilks[-1]
        assert low < fit.mu.value < high


def test_what_is_no_ratio_is_refused(exact):
    samples, llr, *_ = exact
    broken = llr.copy()
    broken[0, 5] = 800
    with pytest.raises(InputError, match="mlp: a log-likelihood ratio of 800 is no ratio"):
        evaluate(job(), samples, broken)


def test_a_sample_without_events_is_named(exact):
    samples, llr, *_ = exact
    empty = replace(samples, weight=np.where(samples.of(Kind.SBI), 0.0, samples.weight))
    with pytest.raises(InputError, match="0 expected events of the samples of role sbi"):
        evaluate(job(), empty, llr)


def test_bins_of_a_handful_of_events_are_named():
    samples, llr, _ = simulate(1000, 1)
    with pytest.raises(InputError, match=r"bin \d+ of 150 .* lower interference.bins"):
        evaluate(job(bins=150), samples, llr)
    assert evaluate(job(bins=40), samples, llr).expected


def test_expected_events_that_no_amplitudes_give_are_refused():
    """At most 2√(SB) overlap = 210 events interfere; a third less of SBI are 257."""
    samples, llr, _ = simulate(2000, 1)
    weight = np.where(samples.of(Kind.SBI), samples.weight / 1.5, samples.weight)
    with pytest.raises(InputError, match=r"60, 303.3, 500 .* an interference of -256.7, more than"):
        evaluate(job(), replace(samples, weight=weight), llr)


def test_an_interval_that_reaches_the_largest_mu_is_said(exact):
    samples, llr, *_ = exact
    found = evaluate(job(largest_mu=1.1), samples, llr)
    assert any("interference.largest_mu = 1.1 only; raise it" in text for text in found.warnings)


def test_negative_weights_are_kept_where_they_can_be(exact):
    """Twice as many events, a third of negative weight: the same density, larger errors."""
    samples, llr, _, found = exact
    random = np.random.default_rng(4)
    sign = np.where(random.random(len(samples.weight)) < 0.15, -1.0, 1.0)
    mean = np.array([sign[samples.kind == k].mean() for k in range(3)])[samples.kind]
    signed = evaluate(
        job(toys=100, replicas=60), replace(samples, weight=samples.weight * sign / mean), llr
    )
    fit, plain = (by_estimator(each)["unbinned"] for each in (signed, found))
    assert fit.mu.value == pytest.approx(1, abs=3 * fit.mu.error)
    assert fit.mu.error > plain.mu.error
    assert fit.sigma == pytest.approx(SIGMA, rel=0.1)


def write_files(folder, count=600):
    """Columns and both scores of three samples; of the background a tenth are data."""
    samples, llr, x = simulate(count, 3)
    folders, scores, sbi_scores = {}, {}, {}
    for kind, name in enumerate(("signal", "together", "background")):
        own = samples.kind == kind
        label = np.full(count, 0 if name == "background" else 1, np.int8)
        if name == "background":
            label[::10] = -1
        identity = {
            "event_id": np.arange(count, dtype=np.uint64) * 977 + kind,
            "fold": (np.arange(count) % 5).astype(np.int8),
            "label": label,
        }
        columns = identity | {"weight": samples.weight[own], "x": x[own, 0].astype(np.float32)}
        folders[name] = folder / name
        with new_folder(folders[name]) as made, ColumnWriter(made, ("x",)) as writer:
            writer.append(columns)
            writer.finish({})
        for row, found in enumerate((scores, sbi_scores)):
            table = identity | {"llr": llr[row, own], "llr_train": llr[row, own]}
            found[name] = folder / f"{name}_{row}.parquet"
            pq.write_table(pa.table(table), found[name])
    return folders, scores, sbi_scores


def fit_files(folder, files, **inference):
    """What the stage writes."""
    folders, scores, sbi_scores = files
    settings = job().inference.model_copy(update=inference)
    order = ("background", "signal", "together")  # not that of the kinds
    given = tuple(tuple(each[name] for name in order) for each in (scores, sbi_scores))
    fit_interference(
        job().model_copy(update={"inference": settings}),
        (folders["background"], folders["signal"]),
        (folders["together"],),
        given,
        folder / "fit.json",
    )
    return INTERFERING.validate_json((folder / "fit.json").read_bytes())


def test_files_are_read_and_data_only_when_unblind(tmp_path):
    files = write_files(tmp_path)
    blind = fit_files(tmp_path, files)
    assert blind.observed is None
    assert blind.yields["background"].value == pytest.approx(0.9 * interfering.BACKGROUND)
    assert blind.yields["sbi"].value == pytest.approx(interfering.SBI)
    opened = fit_files(tmp_path, files, unblind=True)
    assert [fit.estimator for fit in opened.observed] == ["unbinned", "binned", "all events"]
    assert opened.expected == blind.expected
    path = files[2]["background"]
    table = pq.read_table(path)
    broken = np.where(table["label"].to_numpy() < 0, np.nan, table["llr"].to_numpy())
    position = table.schema.get_field_index("llr")
    pq.write_table(table.set_column(position, "llr", pa.array(broken)), path)
    assert fit_files(tmp_path, files).expected == blind.expected
    with pytest.raises(InputError, match=r"background_1.parquet: column llr holds 60 NaN"):
        fit_files(tmp_path, files, unblind=True)


def test_files_that_are_missing_are_asked_for(tmp_path):
    folders, scores, _ = write_files(tmp_path)
    data = (folders["background"], folders["signal"])
    with pytest.raises(InputError, match="give the samples of role sbi with --sbi"):
        fit_interference(job(), data, (), ((), ()), tmp_path / "fit.json")
    some = tuple(scores[name] for name in ("background", "signal"))
    with pytest.raises(InputError, match="3 samples but 2 score files; give --scores and --sbi-sc"):
        fit_interference(job(), data, (folders["together"],), (some, some), tmp_path / "fit.json")
    assert not (tmp_path / "fit.json").exists()
