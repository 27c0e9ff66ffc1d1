"""Small networks with weights of their own, and their exported files."""

import json
import subprocess
import sys

import pytest
import torch

from hepml.config import Cnn, Images, Mlp, ParticleTransformer, TrainingJob
from hepml.inputs.features import Standardisation
from hepml.models import build
from hepml.models.ensemble import together
from hepml.training.calibration import Line
from hepml.training.checkpoint import Trained, save

FOLDS, FOLD, ODDS = 4, 2, 0.25
LINE = Line(1.1, -0.2)
SCALE = Standardisation((1.0, 2.0, -30.0), (1.0, 0.5, 100.0))
MODELS = {
    "mlp": Mlp(architecture="mlp", features=("x", "y", "z"), hidden=(8,)),
    "cnn": Cnn(
        architecture="cnn",
        images=Images(pixels=13, channels=("pt", "multiplicity", "charged_pt")),
        width=4,
        stages=2,
    ),
    "set": ParticleTransformer(architecture="particle_transformer", features="full", maximum=20),
}


def lively(network):
    """Weights and running moments that make the logits of different jets differ."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1.5)
        for module in network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_().mul_(0.1)
                module.running_var.uniform_(0.5, 2)
    return network.eval()


def write_network(folder, model, factory=None):
    """Store a network that is not trained, but lively."""
    torch.manual_seed(1)
    scale = SCALE if model.architecture == "mlp" else None
    network = together([lively(build(model, scale, factory)) for _ in range(model.ensemble)]).eval()
    digest = factory.sha256 if factory else None
    job = TrainingJob(model=model, folds=FOLDS, seed=1, factory_sha256=digest)
    save(folder, Trained(network, job, FOLD, ODDS, LINE), {})
    return folder


def run_export(folder, output, *options):
    """Run the command, warnings being errors as in all tests; gives what subprocess says."""
    command = [sys.executable, "-W", "error", "-c", "from hepml.cli import main; main()", "export"]
    command += [str(folder), "--output", str(output), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Export a network once; gives its folder, its file and what was reported.

    In a process of its own: checks of shapes at every call do not know torch's symbolic tensors.
    """
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    done = {}

    def make(name):
        if name not in done:
            folder = write_network(tmp_path_factory.mktemp(name) / "fold2", MODELS[name])
            answer = run_export(folder, folder.with_suffix(".onnx"))
            assert answer.returncode == 0, answer.stderr
            done[name] = folder, folder.with_suffix(".onnx"), answer.stderr.splitlines()
        return done[name]

    return make


@pytest.fixture(scope="session")
def session_of(exported):
    """onnxruntime alone with an exported file, as a user has it, and what the file says."""

    def load(name):
        import onnxruntime

        session = onnxruntime.InferenceSession(
            exported(name)[1], providers=["CPUExecutionProvider"]
        )
        properties = session.get_modelmeta().custom_metadata_map
        return session, {
            key: json.loads(properties[key]) for key in ("inputs", "outputs", "settings", "parity")
        } | {key: properties[key] for key in ("architecture", "fold", "hepml_version")}

    return load
