import re
import shutil
from pathlib import Path

import pytest

from segflow.models.loading import Loading, check_shared_memory, patch_megabytes, plan_loading

PATCH_MB = 13.2  # 128^3 voxels of one channel and their labels


@pytest.mark.parametrize(
    ("threads", "memory_mb", "expected"),
    [
        pytest.param(1, 1e6, 0, id="one thread"),
        pytest.param(2, 1e6, 0, id="two threads"),
        pytest.param(3, 1e6, 2, id="all but one"),
        pytest.param(8, 16000, 7, id="the rule's own memory"),
        pytest.param(8, 8000, 3, id="little memory"),
        pytest.param(8, 4000, 0, id="no memory"),
    ],
)
def test_workers_follow_from_threads_and_memory(threads, memory_mb, expected):
    assert plan_loading(threads, memory_mb, 2, PATCH_MB).workers == expected


def test_batches_in_flight_are_counted():
    # Queued: 6 for training, 3 for validation; 7 and 3 in the workers' hands; 2 on their way.
    assert plan_loading(8, 1e6, 2, 10.0) == Loading(7, 21 * 2 * 10.0)
    # Queued: 10 and 5; 20 and 10 in the workers' hands; 2 on their way.
    assert plan_loading(21, 1e6, 1, 10.0) == Loading(20, 47 * 10.0)
    assert plan_loading(1, 1e6, 2, 10.0) == Loading(0, 0.0)


def test_larger_patches_leave_room_for_fewer_workers():
    found = [plan_loading(8, 16000, 2, size_mb).workers for size_mb in (1, 13, 45, 200)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 7
    assert found[-1] == 0


DATASET = {"channel_names": {"0": "MRI", "1": "CT"}, "labels": {"background": 0, "a": 1, "b": 2}}


@pytest.mark.parametrize(
    ("labels", "target_bytes"), [({}, 2), ({"labels": {"background": 0, "a": [1, 2], "b": 2}}, 2)]
)
def test_a_patch_is_its_image_and_its_target(base_plans, labels, target_bytes):
    base_plans["segflow"] = {"configuration": "3d_fullres"}
    dataset = {**DATASET, **labels, "regions_class_order": [1, 2]}
    expected = 40 * 56 * 40 * (2 * 4 + target_bytes * 4 / 3) / 1e6
    assert patch_megabytes(base_plans, dataset) == pytest.approx(expected)


def test_too_little_shared_memory_is_an_error(tmp_path):
    free_mb = shutil.disk_usage(tmp_path).free / 1e6
    check_shared_memory(free_mb / 2, "unet", tmp_path)
    expected = (
        rf"{re.escape(str(tmp_path))}: .* need {2 * free_mb:.0f} MB of shared memory, found \d+ MB "
        r"free; .*--shm-size.*threads of config/models/unet\.yaml to 2"
    )
    with pytest.raises(RuntimeError, match=expected):
        check_shared_memory(2 * free_mb, "unet", tmp_path)


def test_a_system_without_such_a_folder_is_not_checked():
    check_shared_memory(1e9, "unet", Path("missing"))
