"""Jets for benchmarks: as many particles, and files as large, as those of JetClass."""

import math
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

BASKET = 2500  # jets
MOST = 128  # particles of a jet
PION = 0.13957  # GeV
KINDS = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
SHARES = (0.55, 0.12, 0.31, 0.01, 0.01)


def make_jets(number: int, seed: int = 1) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Particles of jets by field, hardest first, and how many each jet has (45 on average)."""
    random = np.random.default_rng(seed)
    counts = np.clip(random.normal(45, 17, number), 1, MOST).astype(np.int64)
    jet = np.repeat(np.arange(number), counts)
    pt = 0.5 + random.exponential(12, len(jet))
    order = np.lexsort((-pt, jet))
    deta, dphi = random.normal(0, 0.2, (2, len(jet)))
    eta = random.uniform(-2, 2, number)[jet] + deta
    phi = random.uniform(-math.pi, math.pi, number)[jet] + dphi
    p = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    kind = random.choice(len(KINDS), len(jet), p=SHARES)
    charged = (kind != 1) & (kind != 2)
    track = {name: random.normal(0, 0.1, len(jet)) * charged for name in ("d0val", "dzval")}
    track |= {name: random.exponential(0.02, len(jet)) * charged for name in ("d0err", "dzerr")}
    energy = np.sqrt(sum(x**2 for x in p) + PION**2)
    fields = dict(zip(("px", "py", "pz", "energy"), (*p, energy), strict=True))
    fields |= {"deta": deta, "dphi": dphi, **track}
    fields["charge"] = random.choice([-1, 1], len(jet)) * charged
    fields |= {name: kind == number for number, name in enumerate(KINDS)}
    return {
        n: x[order].astype(bool if n in KINDS else np.float32) for n, x in fields.items()
    }, counts


def write_jets(path: Path, number: int, codec: uproot.compression.Compression, seed: int) -> None:
    """Write jets of two classes with the branches of JetClass (arXiv:2202.03772)."""
    with uproot.recreate(path, compression=codec) as file:
        for start in range(0, number, BASKET):
            jets = min(BASKET, number - start)
            branches = _branches(jets, seed * number + start)
            if start == 0:
                types = {
                    n: getattr(x, "dtype", None) or x.type.content for n, x in branches.items()
                }
                file.mktree("tree", types)
            file["tree"].extend(branches)


def _branches(jets: int, seed: int) -> dict[str, np.ndarray | ak.Array]:
    particles, counts = make_jets(jets, seed)
    ends = np.cumsum(counts)
    momentum = np.stack([particles[n] for n in ("px", "py", "pz", "energy")], 1)
    px, py, pz, energy = np.add.reduceat(momentum.astype(np.float64), ends - counts).T
    pt = np.hypot(px, py)
    random = np.random.default_rng(seed)
    scalars = {
        "jet_pt": pt,
        "jet_eta": np.arcsinh(pz / pt),
        "jet_phi": np.arctan2(py, px),
        "jet_energy": energy,
        "jet_nparticles": counts,
        **{f"jet_{name}": random.exponential(0.2, jets) for name in ("tau1", "tau2", "tau3")},
        "jet_sdmass": random.exponential(80, jets),
    }
    top = random.random(jets) < 0.5
    part = ak.zip({name: ak.unflatten(values, counts) for name, values in particles.items()})
    return {
        "part": part,
        **{name: values.astype(np.float32) for name, values in scalars.items()},
        "label_QCD": ~top,
        "label_Tbqq": top,
    }
