import numpy as np
import pytest

pytest.importorskip("pythia8mc", reason="needs the extra `simulate`: pythia8mc is not installed")
pytest.importorskip("fastjet", reason="needs the extra `simulate`: fastjet is not installed")

from hepml.config import Simulation, SimulationJob
from hepml.simulation.branches import accepted_jets
from hepml.simulation.generate import Collisions
from hepml.simulation.veto import OnlyHopeful, Parton, hardest_cone


def test_hardest_cone_by_hand():
    # 300 and 400 GeV at right angles in the plane would be 500, but are π/2 apart
    right, up = Parton(300.0, 0.0, 0.0, 0.0), Parton(0.0, 400.0, 0.0, np.pi / 2)
    partons = [right, up, Parton(0.0, 50.0, 0.9, np.pi / 2)]
    assert hardest_cone(partons, [right], 1.0) == pytest.approx(300)
    assert hardest_cone(partons, [right, up], 1.0) == pytest.approx(450)
    assert hardest_cone(partons, [right], 3.0) == pytest.approx(np.hypot(300, 450))
    assert hardest_cone(partons, [], 1.0) == 0


def test_hardest_cone_reaches_across_phi_of_pi():
    one, other = (Parton(-100.0, 0.0, 0.0, phi) for phi in (3.1, -3.1))
    assert hardest_cone([one, other], [one], 0.2) == pytest.approx(200)


class Watching(OnlyHopeful):
    """Vetoes nothing, but remembers what the veto would have said of each hard process."""

    def __init__(self, simulation, tops_only):
        super().__init__(simulation, tops_only)
        self.hopeful = []

    def doVetoPT(self, position, event):  # noqa: N802
        if position != 5:
            self.last = not super().doVetoPT(position, event)
        return False

    def canVetoPartonLevel(self):  # noqa: N802
        return True

    def doVetoPartonLevel(self, event):  # noqa: N802, ARG002
        self.hopeful.append(self.last)
        return False


def watch(process, simulation, events, seed):
    """Accepted jets of each collision without a veto, and what the veto would have said."""
    job = SimulationJob(process=process, events=1, seed=seed, simulation=simulation)
    hook = Watching(simulation, tops_only=process == "top")
    collisions, random = Collisions(job, hook), np.random.default_rng(seed)
    jets, hopeful = [], []
    while len(hopeful) < events:
        hook.hopeful.clear()
        batch = collisions.batch(100)
        if len(hook.hopeful) == 100:  # else Pythia failed on a collision and made another
            hopeful += hook.hopeful
            jets += np.bincount(accepted_jets(batch, job, random).event, minlength=100).tolist()
    return np.array(jets), np.array(hopeful)


@pytest.mark.parametrize("process", ["qcd", "top"])
def test_veto_saves_much_and_loses_nothing(process):
    jets, hopeful = watch(process, Simulation(), 200, seed=3)
    assert hopeful.mean() < 0.8
    assert jets[~hopeful].sum() == 0
    assert jets.sum() > 20


@pytest.mark.slow
@pytest.mark.parametrize("process", ["qcd", "top"])
@pytest.mark.parametrize("interactions", [False, True])
def test_veto_loses_less_than_a_thousandth(process, interactions):
    settings = Simulation(multiparton_interactions=interactions)
    jets, hopeful = watch(process, settings, 2000 if interactions else 8000, seed=4)
    assert jets[~hopeful].sum() <= 1e-3 * jets.sum()


@pytest.mark.slow
@pytest.mark.parametrize("process", ["qcd", "top"])
def test_veto_changes_neither_cross_section_nor_acceptance(process):
    settings = Simulation()
    visible, errors = [], []
    for seed, hook in ((5, None), (6, OnlyHopeful(settings, tops_only=process == "top"))):
        job = SimulationJob(process=process, events=1, seed=seed, simulation=settings)
        collisions, random = Collisions(job, hook), np.random.default_rng(seed)
        counts = []
        for _ in range(10):
            jets = accepted_jets(collisions.batch(400), job, random)
            counts.append(np.bincount(jets.event, minlength=400))
        total = collisions.normalisation()
        visible.append(total.cross_section * np.sum(counts) / total.generated_events)
        # Poisson in events, of which each may give two jets
        relative = np.sqrt(np.sum(np.square(counts))) / np.sum(counts)
        errors.append(
            visible[-1] * np.hypot(relative, total.cross_section_error / total.cross_section)
        )
    assert visible[0] == pytest.approx(visible[1], abs=3.5 * np.hypot(*errors))
