"""Published numbers of top taggers from their published scores, jet by jet.

The scores of the community comparison (arXiv:1902.09914) on the 404,000 test jets of the reference
set (Zenodo record 2603256) are public, e.g. in github.com/fizisist/LorentzGroupNetwork
(figures/ROC_curves/TopTagReference) and, with the labels in ``testlabels.npy``, in the repository
of LorentzNet (arXiv:2201.08187). They are too large to ship: name a folder that holds them.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from hepml.inference.metrics import rejection_at, weighted_auc

VARIABLE = "HEPML_TOP_TAGGING_SCORES"
LABELS = "testlabels.npy"


def read(name):
    """An array of one number per jet, of the folder that the variable names."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no folder with published scores of top taggers")
    missing = [file for file in (LABELS, name) if not (Path(folder) / file).is_file()]
    if missing:
        pytest.skip(f"{VARIABLE}: {folder} holds no {' and no '.join(missing)}")
    return np.load(Path(folder) / name, allow_pickle=False).astype(np.float64).ravel()


# as quoted for the same files: AUC, 1/ε_B at ε_S = 0.5 and 0.3. The errors of the rejections are
# those of several trainings, of which the file is one.
@pytest.mark.parametrize(
    ("file", "auc", "at_50", "at_30"),
    [
        # arXiv:1902.08570, Table 2
        pytest.param("P-CNN_v2.npy", 0.9803, (201, 4), (759, 24), id="P-CNN"),
        pytest.param("ResNeXt50_v2.npy", 0.9837, (302, 5), (1147, 58), id="ResNeXt-50"),
        # arXiv:1902.09914, Table 1
        pytest.param("topodnn_v2.npy", 0.972, None, (295, 5), id="TopoDNN"),
    ],
)
def test_published_top_taggers(file, auc, at_50, at_30):
    signal = read(LABELS) == 1
    score = read(file)
    weight = np.ones(len(score))
    digits = len(str(auc)) - 2
    # one unit of the last digit: the quoted value may be the mean of several trainings
    assert weighted_auc(score, signal, weight).value == pytest.approx(auc, abs=10**-digits)
    for efficiency, quoted in ((0.5, at_50), (0.3, at_30)):
        if quoted:
            found = rejection_at(score, signal, weight, efficiency)
            assert found.value == pytest.approx(quoted[0], abs=quoted[1])
