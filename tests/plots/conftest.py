"""A made-up analysis in the format of the other stages, small enough for every test."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hepml.config import Analysis
from hepml.data.store import ColumnWriter
from hepml.plots.stage import (
    ReportSources,
    plot_cutflow,
    plot_histogram,
    plot_likelihood,
    plot_llr,
    plot_ranking,
    plot_roc,
    plot_significance,
    plot_summary,
    plot_training,
    plot_variable,
)
from hepml.plots.style import Caption

LUMINOSITY = 300.0
FOLDS = 3
MODELS = ("mlp", "transformer")
CLASSES = {"top": (1, 0.006), "qcd": (0, 1.5)}  # label, weight per event
LABELS = {
    "jet_sdmass": r"Soft-drop mass $m_{\mathrm{SD}}$ [GeV]",
    "tau32": r"$\tau_3/\tau_2$",
    "constituents": "Number of particles",
}


@pytest.fixture(scope="session")
def caption():
    return Caption(
        title="Boosted top quarks against QCD jets", heading="Simulation", luminosity=LUMINOSITY
    )


@pytest.fixture(scope="session")
def analysis():
    return made_up_settings(MODELS)


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """The folder with results of all stages before this one."""
    root = tmp_path_factory.mktemp("results")
    write_results(root, events=3000, models=MODELS)
    return root


@pytest.fixture
def sources(results):
    return report_sources(results, MODELS)


@pytest.fixture
def read_json():
    return read


@pytest.fixture
def write_changed(tmp_path):
    """Write a changed copy of a JSON file; the change is a function of its content."""

    def write(path, change):
        content = read(path)
        change(content)
        write_json(tmp_path / path.name, content)
        return tmp_path / path.name

    return write


@pytest.fixture(scope="session")
def drawn(results, caption):
    """The same folder after every figure is drawn."""
    draw_all(results, MODELS[:1], ("tau32",), caption)
    return results


def made_up_settings(models):
    return Analysis.model_validate(
        {
            "analysis": "top",
            "title": "Boosted top quarks against QCD jets",
            "luminosity": LUMINOSITY,
            "seed": 1,
            "folds": FOLDS,
            "samples": {
                "top": {"role": "signal", "files": ("top.root",), "cross_section": 0.6},
                "qcd": {"role": "background", "files": ("qcd_*.root",), "cross_section": 120.0},
            },
            "data": {"schema": "jetclass", "variables": {name: name for name in LABELS}},
            "cuts": (
                {"variable": "jet_sdmass", "keep": "window"},
                {"variable": "tau32", "keep": "below"},
            ),
            "models": {name: {"architecture": "mlp", "features": tuple(LABELS)} for name in models},
            "inference": {"background_uncertainty": 0.05},
            "plots": {"labels": LABELS},
        }
    )


def write_results(root, events, models):
    rng = np.random.default_rng(5)
    for sample, (label, weight) in CLASSES.items():
        write_data(root / "data" / sample, sample, label, weight, events, rng)
    for number, model in enumerate(models):
        llr = write_scores(root, model, 1.1 + 0.7 * number, events, rng)
        write_method(root, model, ("MLP", "Particle Transformer", "CNN")[number], llr)
        write_training(root / "training" / model, 1 + number, rng)
    write_method(root, "cuts", "Cut-based selection", None)
    write_comparison(root, models)
    write_json(root / "provenance.json", provenance())


def write_data(folder, sample, label, weight, events, rng):
    folder.mkdir(parents=True)
    top = label == 1
    columns = {
        "event_id": np.arange(events, dtype=np.uint64),
        "fold": np.arange(events) % FOLDS,
        "label": np.full(events, label),
        "weight": np.full(events, weight) * rng.choice([1, 1, 1, 1, -0.2], events),
        "jet_sdmass": rng.normal(172, 15, events) if top else rng.exponential(70, events),
        "tau32": rng.beta(5, 6, events) if top else rng.beta(7, 4, events),
        "constituents": rng.poisson(60 if top else 45, events),
    }
    with ColumnWriter(folder, tuple(LABELS)) as writer:
        writer.append(columns)
        writer.finish({"sample": sample})
    left = columns["weight"].sum()
    steps = [
        step(name, events, left * factor)
        for name, factor in (
            ("all events", 8.5 if top else 4000),
            ("jet pT within 550–650 GeV", 2.1 if top else 9),
            ("|η| < 2", 1.2 if top else 1.4),
            ("all variables valid", 1),
        )
    ]
    write_json(folder / "cutflow.json", {"sample": sample, "steps": steps})


def step(name, raw, expected):
    return {
        "step": name,
        "raw": raw,
        "yield": expected,
        "error": expected / raw**0.5,
        "efficiency": 0.8,
    }


def write_scores(root, model, separation, events, rng):
    found = {}
    for sample, (label, weight) in CLASSES.items():
        sign = 2 * label - 1
        llr = separation * rng.normal(sign * separation / 2, 1, events) * 1.6
        columns = {
            "event_id": np.arange(events, dtype=np.uint64),
            "fold": (np.arange(events) % FOLDS).astype(np.int8),
            "label": np.full(events, label, np.int8),
            "weight": np.full(events, weight),
            "logit": llr.astype(np.float32),
            "llr": llr.astype(np.float32),
            "llr_err": pa.nulls(events, pa.float32()),
            "llr_train": (llr + sign * 0.1 + rng.normal(0, 0.2, events)).astype(np.float32),
        }
        path = root / "scores" / model / f"{sample}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
        found[label] = llr
    return found


def write_method(root, method, title, llr):
    signal_total, background_total = (3000 * weight for _, weight in CLASSES.values())
    signal_total *= 8
    chosen = {"signal_efficiency": 0.42, "background_efficiency": 0.0082}
    roc = scan = histogram = None
    z = 2.31
    if llr is not None:
        thresholds = np.quantile(llr[1], np.linspace(0.998, 0.005, 120))
        signal = np.array([(llr[1] >= t).mean() for t in thresholds])
        background = np.array([(llr[0] >= t).mean() for t in thresholds])
        roc = {
            "signal_efficiency": signal.tolist(),
            "background_efficiency": background.tolist(),
        }
        s, b = signal * signal_total, np.maximum(background * background_total, 0.3)
        significance = s / np.sqrt(b + (0.05 * b) ** 2)
        error = significance * 0.5 / np.sqrt(background * len(llr[0]) + 1)
        scan = {
            **roc,
            "threshold": thresholds.tolist(),
            "significance": significance.tolist(),
            "error": error.tolist(),
        }
        best = int(np.argmax(np.where(background * len(llr[0]) > 10, significance, 0)))
        z = float(significance[best])
        chosen = {"signal_efficiency": signal[best], "background_efficiency": background[best]}
        histogram = made_up_histogram(llr, signal_total, background_total)
    else:
        histogram = {
            "edges": [],
            "signal": [0.42 * signal_total],
            "signal_error": [0.3],
            "background": [0.0082 * background_total],
            "background_error": [3.3],
            "raw_signal": [1000],
            "raw_background": [25],
        }
    write_json(
        root / "inference" / f"{method}.json",
        {
            "method": method,
            "title": title,
            "events": 6000,
            "events_digest": "sha256:abc",
            "signal_events": 3000,
            "background_events": 3000,
            "expected_signal": signal_total,
            "expected_background": background_total,
            "auc": None if llr is None else {"value": 0.9312, "error": 0.0021},
            "rejection": {
                "0.3": {"value": 120.0, "error": 9.0},
                "0.5": {"value": 44.0, "error": 2},
            },
            "roc": roc,
            "working_point": {
                "thresholds": [
                    {"jet_sdmass": [142.1 + fold, 201.7], "tau32": [None, 0.61]}
                    if llr is None
                    else {"llr": 2.1 + 0.1 * fold}
                    for fold in range(FOLDS)
                ],
                "signal": {"yield": 60.1, "error": 0.9, "raw": 1260},
                "background": {"yield": 37.0, "error": 7.4, "raw": 25},
                **{name: {"value": v, "error": 0.1 * v} for name, v in chosen.items()},
            },
            "significance": {
                "counting": {"value": z, "error": 0.12 * z},
                "counting_without_uncertainty": {"value": 1.1 * z, "error": 0.1 * z},
                "counting_with_mc_statistics": {"value": 0.9 * z, "error": 0.1 * z},
                "li_ma": {"value": 0.8 * z, "error": 0.1},
                "binned": {"value": 1.2 * z, "error": 0.1 * z},
                "unbinned": None,
            },
            "p_value": 0.0104,
            "unbinned": None,
            "closure": None if llr is None else made_up_closure(),
            "nuisances": made_up_nuisances(llr is not None),
            "likelihood": made_up_curves(llr is not None),
            "mu": {"value": 1.0, "sigma": 0.31, "interval": [0.71, 1.33]},
            "limit": {"level": 0.95, "expected": [0.31, 0.42, 0.58, 0.82, 1.11]},
            "scan": scan,
            "histogram": histogram,
            "observed": None,
            "replicas": {},
            "warnings": [],
        },
    )


def made_up_curves(scored):
    """Parabolas; further sources add 0.18 in quadrature to σ."""
    sigmas = {"unbinned": 0.24, "binned": 0.252, "counting": 0.3, "all events": 0.48}
    curves = []
    for name, least in sigmas.items():
        if scored or name != "unbinned":
            sigma = np.hypot(least, 0.18)
            mu = np.linspace(max(0.0, 1 - 3.2 * sigma), 1 + 3.2 * sigma, 33)
            t = ((mu - 1) / sigma) ** 2
            of_name = {"estimator": name, "mu": mu.tolist(), "t": t.tolist()}
            curves.append(of_name | {"sigma": sigma, "sigma_normalisation_only": least})
    return curves


def made_up_nuisances(scored):
    impacts = [
        {
            "name": name,
            "title": title,
            "pull": 0.0,
            "error": error,
            "prefit": [-1.2 * size, size],
            "postfit": [-1.2 * error * size, error * size],
            "z_with_only_this": 2.4 - size,
            "z_without_this": 2.2,
        }
        for name, title, error, size in (
            ("scale", "Energy scale", 0.62, 0.21),
            ("background_normalisation", "Background normalisation", 0.97, 0.09),
        )
    ]
    ranking = {"z": 2.1, "z_without": 2.4, "sigma_mu": 0.5, "sigma_mu_without": 0.4}
    ranking["impacts"] = impacts
    counted = {
        "scale": {"value": 0.034, "error": 0.012},
        "background_normalisation": {"value": 0.05, "error": 0.0},
    }
    return {"counted": counted, "binned": ranking, "unbinned": ranking if scored else None}


def made_up_closure():
    numbers = {
        "slope": (1.013, 0.021),
        "offset": (-0.011, 0.024),
        "mean_ratio": (0.97, 0.11),
        "mean_inverse": (1.04, 0.08),
        "mean_of_mixture": (1.0021, 0.0034),
        "kl_signal": (2.31, 0.04),
        "kl_background": (2.12, 0.05),
        "cross_entropy": (0.2912, 0.0041),
        "over_training": (0.0021, 0.0019),
    }
    return {name: {"value": v, "error": e} for name, (v, e) in numbers.items()} | {
        "slope_of_folds": [{"value": 1.02, "error": 0.05}],
        "reliability": {"score": [-3, 0, 3], "observed": [-3.1, 0, 2.9], "error": [0.1, 0.1, 0.1]},
    }


def made_up_histogram(llr, signal_total, background_total):
    edges = np.quantile(llr[1], np.linspace(0, 1, 9))
    edges[0], edges[-1] = -1e9, 1e9
    raw = [np.histogram(llr[label], edges)[0] for label in (1, 0)]
    scale = signal_total / len(llr[1]), background_total / len(llr[0])
    return {
        "edges": [[None, *(edges[1:-1] + 0.1 * fold).tolist(), None] for fold in range(FOLDS)],
        "signal": (raw[0] * scale[0]).tolist(),
        "signal_error": (np.sqrt(raw[0]) * scale[0]).tolist(),
        "background": (raw[1] * scale[1]).tolist(),
        "background_error": (np.sqrt(raw[1]) * scale[1]).tolist(),
        "raw_signal": raw[0].tolist(),
        "raw_background": raw[1].tolist(),
    }


def write_training(folder, speed, rng):
    for fold in range(FOLDS):
        epochs = np.arange(1, 21)
        noise = rng.normal(0, 0.004, (2, 20))
        history = [
            {
                "epoch": int(e),
                "training_loss": 0.25 + 0.45 * np.exp(-e * speed / 4) - 0.002 * e + noise[0, e - 1],
                "validation_loss": 0.28 + 0.4 * np.exp(-e * speed / 4) + noise[1, e - 1],
                "events_per_second": 81000.0,
            }
            for e in epochs
        ]
        content = {
            "architecture": "mlp",
            "parameters": 8769,
            "macs": 8500.0,
            "seconds": 12.4,
            "device": "cpu",
            "best_epoch": 14 + fold,
            "history": history,
            "settings": {},
        }
        write_json(folder / f"fold{fold}" / "model.json", content)


def comparison_row(content, baseline):
    significance = content["significance"]
    counting, binned = significance["counting"], significance["binned"]
    cuts = content["method"] == "cuts"
    auc = content["auc"] or {"value": None, "error": None}
    gain = {kind: significance[kind]["value"] - baseline[kind]["value"] for kind in baseline}
    return {
        "method": content["method"],
        "title": content["title"],
        "auc": auc["value"],
        "auc_error": auc["error"],
        "rejection_03": 120.0,
        "rejection_03_error": 9.0,
        "rejection_05": None if cuts else 44.0,
        "rejection_05_error": None if cuts else 2.0,
        "z_counting": counting["value"],
        "z_counting_error": counting["error"],
        "z_binned": binned["value"],
        "z_binned_error": binned["error"],
        "z_unbinned": None,
        "z_unbinned_error": None,
        "p_value": 0.0104,
        "p_ratio": None if cuts else 14.2,
        "extra_data": None if cuts else 0.85,
        "luminosity_factor": None if cuts else 1.85,
        "delta_z_counting": None if cuts else gain["counting"],
        "delta_z_counting_error": None if cuts else 0.21,
        "delta_z_binned": None if cuts else gain["binned"],
        "delta_z_binned_error": None if cuts else 0.23,
        "sigma_mu": 0.31,
        "signal_efficiency": content["working_point"]["signal_efficiency"]["value"],
        "background_efficiency": content["working_point"]["background_efficiency"]["value"],
        "parameters": None if cuts else 8769,
        "macs": None if cuts else 8500.0,
        "training_seconds": None if cuts else 37.2,
        "device": None if cuts else "cpu",
    }


def write_comparison(root, models):
    contents = [read(root / "inference" / f"{method}.json") for method in ("cuts", *models)]
    baseline = {kind: contents[0]["significance"][kind] for kind in ("counting", "binned")}
    rows = [comparison_row(content, baseline) for content in contents]
    write_json(root / "comparison.json", {"rows": rows, "baseline": "cuts", "warnings": []})


def provenance():
    return {
        "software": {"hepml": "0.1.0", "commit": "a4a9f0b", "python": "3.12.3", "torch": "2.13.0"},
        "settings": {"analysis": "top", "seed": 1},
        "inputs": [{"file": "top.root", "bytes": 5300123, "sha256": "0" * 64}],
    }


def draw_all(root, models, variables, caption):
    """Every figure of the made-up analysis."""
    plots = root / "plots"
    samples = tuple(root / "data" / sample for sample in CLASSES)
    methods = tuple(root / "inference" / f"{method}.json" for method in ("cuts", *models))
    plot_summary(root / "comparison.json", caption, plots / "summary")
    plot_roc(methods, caption, plots / "roc")
    plot_significance(methods, caption, plots / "significance")
    plot_likelihood(methods, caption, plots / "likelihood")
    plot_cutflow(samples, caption, plots / "cutflow")
    for variable in variables:
        plot_variable(samples, variable, LABELS[variable], caption, plots / f"variable_{variable}")
    for path in methods:
        plot_histogram(path, caption, plots / f"histogram_{path.stem}")
        plot_ranking(path, caption, plots / f"ranking_{path.stem}")
    for model in models:
        scores = tuple(root / "scores" / model / f"{sample}.parquet" for sample in CLASSES)
        folders = tuple(sorted((root / "training" / model).iterdir()))
        plot_llr(scores, model, caption, plots / f"llr_{model}")
        plot_training(folders, model, caption, plots / f"training_{model}")


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def report_sources(root, models):
    return ReportSources(
        comparison=root / "comparison.json",
        results=tuple(root / "inference" / f"{method}.json" for method in ("cuts", *models)),
        data=tuple(root / "data" / sample for sample in CLASSES),
        training=tuple(
            root / "training" / model / f"fold{fold}" for model in models for fold in range(FOLDS)
        ),
        figures=tuple(sorted((root / "plots").glob("*.png"))),
        provenance=root / "provenance.json",
    )
