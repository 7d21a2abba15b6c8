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
    find_duplicates,
    find_pairs,
    fingerprint,
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
    assert find_pairs(hashes) == []
    prints = {str(seed): fingerprint(picture(seed)) for seed in range(30)}
    assert find_duplicates(prints, {}) == []


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
    assert find_pairs(hashes, 0) == []
    assert find_pairs(hashes, 1) == [("a", "c")]
    assert find_pairs(hashes, 4) == [("a", "b"), ("a", "c")]
    assert find_pairs(hashes, 5) == [("a", "b"), ("a", "c"), ("b", "c")]


@pytest.mark.parametrize("n_bits", [5, 64, 100, 512])
def test_pairs_agree_with_a_comparison_one_by_one(n_bits):
    bits = np.random.default_rng(n_bits).random((150, n_bits)) < 0.5
    hashes = {f"{number:03d}": row for number, row in enumerate(bits)}
    limit = int(0.45 * n_bits)
    expected = [
        (a, b) for a in hashes for b in hashes if a < b and (hashes[a] != hashes[b]).sum() <= limit
    ]
    found = find_pairs(hashes, limit)
    assert sorted(found) == sorted(expected) != []
    shuffled = dict(random.Random(0).sample(sorted(hashes.items()), len(hashes)))
    assert find_pairs(shuffled, limit) == found


def test_no_image_has_no_pairs():
    assert find_pairs({}) == []
    assert find_pairs({"a": np.ones(512, bool)}) == []
    assert find_duplicates({}, {}) == []


@pytest.mark.parametrize(
    ("one", "other", "contradicts"),
    [("benign", "malignant", True), ("benign", "benign", False), ("", "benign", False)],
)
def test_only_known_classes_contradict_each_other(one, other, contradicts):
    assert Pair("a", "b", 0, 1.0, one, other).contradicts is contradicts


def pairs(*names):
    return [Pair(a, b, 3, 0.9, "", "") for a, b in names]


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
    found = [Pair("a", "b", 3, 0.9, "benign", "malignant"), Pair("a", "c", 5, 0.8, "benign", "")]
    write_pairs(path, found)
    assert path.read_text().splitlines() == [
        "case,other,distance,correlation,case_class,other_class,contradicts",
        "a,b,3,0.9,benign,malignant,True",
        "a,c,5,0.8,benign,,False",
    ]
    assert read_pairs(path) == found


@pytest.fixture
def textured():
    """Return a picture with details of several sizes, of which no two are alike."""

    def textured(seed, shape=(300, 400)):
        draw = np.random.default_rng(seed)
        layers = [gaussian_filter(draw.random(shape), sigma) for sigma in (2, 4, 8, 16)]
        noise = sum((layer - layer.mean()) / layer.std() for layer in layers)
        return (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)

    return textured


def margins(image):
    return np.pad(image, ((60, 90), (150, 20)))


def crop(image):
    return image[:240, 110:]


def mirror(image):
    return image[:, ::-1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "change",
    [crop, margins, lambda image: resize(crop(image), 435, 360), lambda image: image[60:, :260]],
    ids=["narrow", "black margins", "crop and scale", "another corner"],
)
def test_a_part_is_found_among_others(textured, change, seed):
    prints = {str(number): fingerprint(textured(100 + number)) for number in range(8)}
    prints |= {"whole": fingerprint(textured(seed)), "part": fingerprint(change(textured(seed)))}
    [pair] = find_duplicates(prints, {})
    assert (pair.case, pair.other) == ("part", "whole")
    assert pair.correlation > 0.7
    shuffled = dict(sorted(prints.items(), reverse=True))
    assert find_duplicates(shuffled, {}) == [pair]


def test_mirrored_pictures_are_found_on_request(textured):
    for asked in (False, True):
        prints = {
            "a": fingerprint(textured(1), asked),
            "b": fingerprint(mirror(crop(textured(1))), asked),
            "c": fingerprint(textured(2), asked),
        }
        found = [(pair.case, pair.other) for pair in find_duplicates(prints, {})]
        assert found == ([("a", "b")] if asked else [])


def test_pictures_that_are_mostly_black_are_not_all_alike():
    draw = np.random.default_rng(3)
    prints = {}
    for number in range(30):
        image = np.zeros((300, 400), np.uint8)
        y, x, height, width = *draw.integers(20, 200, 2), *draw.integers(8, 60, 2)
        image[y : y + height, x : x + width] = draw.integers(80, 255, (height, width))
        prints[f"{number:02d}"] = fingerprint(image)
    assert find_duplicates(prints, {}) == []


def test_near_duplicates_of_real_images():
    if not BUSI.is_dir():
        pytest.skip("the sample of breast ultrasound images is not there")
    prints, classes = {}, {}
    for path in BUSI.glob("*/*.png"):
        if "_mask" not in path.stem:
            with Image.open(path) as image:
                prints[path.stem] = fingerprint(np.asarray(image.convert("L")))
            classes[path.stem] = path.parent.name
    found = find_duplicates(prints, classes)
    assert {(pair.case, pair.other) for pair in found if pair.contradicts} == {
        ("benign (42)", "malignant (51)"),
        ("benign (85)", "malignant (52)"),
    }
    groups = group_pairs(prints, found)
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
        ["malignant (65)", "malignant (66)"],  # a wide and a narrow view
        ["normal (13)", "normal (5)"],
    ]
