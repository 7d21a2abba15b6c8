import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from segflow.datasets.near_duplicates import (
    MAX_DISTANCE,
    N_BITS,
    Pair,
    connect,
    find_pairs,
    group_pairs,
    perceptual_hash,
    read_pairs,
    write_pairs,
)

BUSI = Path(__file__).parents[3].parent / "shared/data/Dataset_BUSI_with_GT"


@pytest.fixture
def picture():
    """Return a smooth random image with grey values from 20 to 200."""

    def picture(seed, shape=(240, 320)):
        noise = gaussian_filter(np.random.default_rng(seed).random(shape), 10)
        return (20 + 180 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)

    return picture


def distance(one, other):
    return int((perceptual_hash(one) != perceptual_hash(other)).sum())


def test_brighter_to_the_right_and_to_the_bottom_are_set_bits():
    ramp = np.tile(np.arange(0, 255, dtype=np.uint8), (255, 1))
    along_x, along_y = np.split(perceptual_hash(ramp), 2)
    assert along_x.all()
    assert not along_y.any()
    along_x, along_y = np.split(perceptual_hash(ramp.T), 2)
    assert not along_x.any()
    assert along_y.all()
    assert len(along_x) + len(along_y) == N_BITS


def resize(image, width, height):
    return np.asarray(Image.fromarray(image).resize((width, height)))


def caption(image):
    changed = image.copy()
    changed[200:212, 30:120:3] = 255
    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda image: resize(image, 160, 120),
        lambda image: resize(image, 512, 512),
        lambda image: image[5:, 6:],
        lambda image: (image * 1.2).astype(np.uint8),
        lambda image: (255 * (image / 255) ** 0.6).astype(np.uint8),
        lambda image: image.astype(np.uint16) * 16 + 500,
        caption,
    ],
    ids=["halved", "stretched", "cropped", "brighter", "gamma", "12 bits", "caption"],
)
@pytest.mark.parametrize("seed", range(5))
def test_a_changed_image_is_near_its_original(picture, change, seed):
    assert distance(picture(seed), change(picture(seed))) <= MAX_DISTANCE


def test_different_images_are_far_apart(picture):
    hashes = {str(seed): perceptual_hash(picture(seed)) for seed in range(30)}
    assert find_pairs(hashes, {}) == []


def test_a_few_extreme_values_of_16_bits_do_not_hide_the_image(picture):
    image = picture(0).astype(np.uint16)
    image[100:104, 100:104] = 65535
    assert distance(picture(0), image) <= 16


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_uniform_image_has_no_bits(dtype):
    assert not perceptual_hash(np.full((30, 40), 7, dtype)).any()


@pytest.mark.parametrize("shape", [(3, 30, 40), (30,)])
def test_other_than_2d_is_refused(shape):
    with pytest.raises(ValueError, match="needs an array of shape"):
        perceptual_hash(np.zeros(shape, np.uint8))


def test_pairs_are_counted_by_hand():
    hashes = {
        "c": np.array([1, 1, 1, 0, 0], bool),
        "a": np.array([1, 1, 0, 0, 0], bool),
        "b": np.array([0, 0, 0, 1, 1], bool),
    }
    classes = {"a": "benign", "c": "malignant"}
    pair = Pair("a", "c", 1, "benign", "malignant")
    assert find_pairs(hashes, classes, 0) == []
    assert find_pairs(hashes, classes, 1) == [pair]
    assert find_pairs(hashes, classes, 4) == [Pair("a", "b", 4, "benign", ""), pair]
    assert [p.distance for p in find_pairs(hashes, classes, 5)] == [4, 1, 5]


@pytest.mark.parametrize("n_bits", [5, 64, 100, 512])
def test_pairs_agree_with_a_comparison_one_by_one(n_bits):
    bits = np.random.default_rng(n_bits).random((150, n_bits)) < 0.5
    hashes = {f"{number:03d}": row for number, row in enumerate(bits)}
    limit = int(0.45 * n_bits)
    expected = {
        (a, b): int((hashes[a] != hashes[b]).sum())
        for a in hashes
        for b in hashes
        if a < b and (hashes[a] != hashes[b]).sum() <= limit
    }
    found = find_pairs(hashes, {}, limit)
    assert {(pair.case, pair.other): pair.distance for pair in found} == expected
    assert len(found) == len(expected) > 0
    shuffled = dict(random.Random(0).sample(sorted(hashes.items()), len(hashes)))
    assert find_pairs(shuffled, {}, limit) == found


def test_no_image_has_no_pairs():
    assert find_pairs({}, {}) == []
    assert find_pairs({"a": np.ones(512, bool)}, {}) == []


@pytest.mark.parametrize(
    ("one", "other", "contradicts"),
    [("benign", "malignant", True), ("benign", "benign", False), ("", "benign", False)],
)
def test_only_known_classes_contradict_each_other(one, other, contradicts):
    assert Pair("a", "b", 0, one, other).contradicts is contradicts


def pairs(*names):
    return [Pair(a, b, 3, "", "") for a, b in names]


def test_pairs_join_into_groups_named_after_their_first_case():
    found = pairs("ed", "dc", "xz")
    assert group_pairs("fedcba", found) == dict(zip("abcdef", "abcccf", strict=True))


def test_a_pair_with_an_absent_case_joins_nothing():
    assert group_pairs("ac", pairs("ab", "bc")) == {"a": "a", "c": "c"}


def test_no_case_and_no_pair():
    assert group_pairs([], []) == {}
    assert group_pairs(["b", "a"], []) == {"a": "a", "b": "b"}


def test_links_are_followed_whatever_their_order():
    links = [(f"{i:03d}", f"{i + 1:03d}") for i in range(200)]
    random.Random(0).shuffle(links)
    names = {name for link in links for name in link}
    assert set(connect(names, links).values()) == {"000"}


def test_a_table_of_pairs_is_read_back(tmp_path):
    path = tmp_path / "near_duplicates.csv"
    found = [Pair("a", "b", 3, "benign", "malignant"), Pair("a", "c", 5, "benign", "")]
    write_pairs(path, found)
    assert path.read_text().splitlines() == [
        "case,other,distance,case_class,other_class,contradicts",
        "a,b,3,benign,malignant,True",
        "a,c,5,benign,,False",
    ]
    assert read_pairs(path) == found


def test_near_duplicates_of_real_images():
    if not BUSI.is_dir():
        pytest.skip("the sample of breast ultrasound images is not there")
    hashes, classes = {}, {}
    for path in BUSI.glob("*/*.png"):
        if "_mask" not in path.stem:
            with Image.open(path) as image:
                hashes[path.stem] = perceptual_hash(np.asarray(image.convert("L")))
            classes[path.stem] = path.parent.name
    found = find_pairs(hashes, classes)
    assert {(pair.case, pair.other) for pair in found if pair.contradicts} == {
        ("benign (42)", "malignant (51)"),
        ("benign (85)", "malignant (52)"),
    }
    groups = group_pairs(hashes, found)
    members = {}
    for name, group in groups.items():
        members.setdefault(group, set()).add(name)
    # As the images show to the eye; each set is one lesion or slice.
    assert [sorted(names) for _, names in sorted(members.items()) if len(names) > 1] == [
        ["benign (108)", "benign (61)", "benign (94)"],
        ["benign (42)", "malignant (51)"],
        ["benign (65)", "benign (99)"],
        ["benign (85)", "malignant (52)"],
        ["malignant (27)", "malignant (28)"],
        [f"malignant ({number})" for number in range(3, 10)],
        ["malignant (39)", "malignant (40)", "malignant (42)"],
        ["normal (13)", "normal (5)"],
    ]
