"""What jobs ask for, on a machine with a GPU and on one without."""

import pytest

from hepml.resources import has_gpu, needs


def test_a_job_that_was_killed_asks_for_more_memory_and_time():
    words = needs(memory=2000, minutes=60)
    assert [words["runtime"]("wildcards", attempt) for attempt in (1, 2, 3)] == [60, 120, 180]
    for word in ("mem_mb", "htcondor_request_mem_mb"):
        # 300 MB for the two Snakemake processes of 135 MB in each batch job
        assert [words[word]("wildcards", attempt) for attempt in (1, 2)] == [2300, 4600]
    assert not {"gpu", "request_gpus", "retries"} & set(words)


@pytest.mark.parametrize(
    ("device", "environment", "expected"),
    [
        ("nvidia0", {}, True),
        ("kfd", {}, True),
        ("nvidia3", {"CUDA_VISIBLE_DEVICES": "3"}, True),
        ("nvidia0", {"CUDA_VISIBLE_DEVICES": ""}, False),
        ("nvidia0", {"CUDA_VISIBLE_DEVICES": "-1"}, False),
        ("nvidia0", {"HEPML_DEVICE": "cpu"}, False),
        ("nvidia0", {"HEPML_DEVICE": "cuda"}, True),
        ("nvidia-caps", {}, False),  # stays when the driver is there and the card is not
        ("null", {}, False),
    ],
)
def test_a_gpu_is_seen_by_its_device_file(tmp_path, device, environment, expected):
    (tmp_path / device).touch()
    assert has_gpu(tmp_path, environment) is expected
