import numpy as np
import pydicom
import pytest
from scipy.ndimage import binary_dilation, binary_erosion
from scipy.stats import norm

from inbreast import WHITE, draw_mammogram, make_inbreast
from segflow.images.mammography import (
    Chain,
    air_threshold,
    breast_box,
    find_breast,
    infer_laterality,
    make_tissue_bright,
    prepare,
    scale_tones,
    standardise,
)

# Steps that depend on lengths, for images that are 13 times smaller than INbreast's.
SMALL = Chain(iterations=8, margin_px=4)
STEPS = ["polarity", "breast_mask", "crop", "orientation", "tones", "zscore"]
PLAIN = {step: False for step in STEPS}


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def test_monochrome1_is_inverted_within_its_own_range():
    image = np.array([[3, 5], [7, 4]])
    assert make_tissue_bright(image, "MONOCHROME1").tolist() == [[7, 5], [3, 6]]


@pytest.mark.parametrize("photometric", ["MONOCHROME2", ""])
def test_other_images_are_as_they_were(photometric):
    image = np.array([[3, 5], [7, 4]])
    assert make_tissue_bright(image, photometric).tolist() == image.tolist()


def test_colour_is_refused():
    with pytest.raises(ValueError, match=r"MONOCHROME1 or MONOCHROME2, found .*'RGB'"):
        make_tissue_bright(np.zeros((2, 2)), "RGB")


@pytest.mark.parametrize("level", [0.5, 0.05])
def test_the_threshold_is_where_the_peak_of_the_air_has_fallen_to_the_level(level):
    rng = np.random.default_rng(0)
    air, fat = rng.normal(200, 20, 50_000), rng.normal(2000, 300, 30_000)
    image = np.concatenate([air, fat, rng.normal(4000, 500, 20_000)]).reshape(500, 200)
    peak = norm(200, 20)
    expected = next(x for x in np.arange(200, 300) if peak.pdf(x) < level * peak.pdf(200))
    assert air_threshold(image, level) == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("level", [0, 1, -0.1, 2])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        air_threshold(np.eye(4), level)


def test_the_threshold_does_not_depend_on_the_size_of_the_breast():
    thresholds = [air_threshold(draw_mammogram(extent=extent).image) for extent in (0.3, 0.6, 0.9)]
    assert max(thresholds) - min(thresholds) < 20  # of 14 bits


def air_with(kind):
    """Return a drawing whose air differs from the usual."""
    drawn = draw_mammogram(seed=5)
    image, air = drawn.image.copy(), ~drawn.breast
    rng = np.random.default_rng(0)
    if kind == "one value":
        image[air & (image < WHITE)] = 0
    elif kind == "noise":
        image += rng.normal(0, 100, image.shape) * air
    elif kind == "slope":
        image += np.linspace(0, 400, image.shape[0])[:, None]
    elif kind == "padding":
        image += 300
        image[:, -40:] = 0
    elif kind == "plate":
        image[:25, -60:] = WHITE
    elif kind == "frame":
        image[:2] = image[:, -2:] = WHITE
    elif kind == "dead pixels":
        image[rng.random(image.shape) < 0.001] = 0
    elif kind == "dark cyst":
        image[120:132, 20:32] = 0
    return image, drawn.breast


@pytest.mark.parametrize(
    "kind",
    [
        "usual",
        "one value",
        "noise",
        "slope",
        "padding",
        "plate",
        "frame",
        "dead pixels",
        "dark cyst",
    ],
)
def test_the_breast_is_found_in_all_kinds_of_air(kind):
    image, breast = air_with(kind)
    assert dice(find_breast(image, 8), breast) > 0.98


@pytest.mark.parametrize("extent", [0.2, 0.4, 0.95])
@pytest.mark.parametrize("view", ["CC", "ML"])
def test_breasts_of_all_sizes_are_found(extent, view):
    drawn = draw_mammogram(extent=extent, view=view)
    assert dice(find_breast(drawn.image, 8), drawn.breast) > 0.98


def test_the_morphology_is_that_of_repeated_steps():
    n, rng = 6, np.random.default_rng(3)
    y, x = np.mgrid[:120, :100]
    image = 1000.0 * (np.hypot((y - 60) / 45, x / 70) < 1)
    image[20:32, 80:92] = 1000  # a label that survives no erosion
    image[50:64, 60:78] = 0  # a dent that a closing fills, cut to the skin
    image += rng.normal(0, 1e-3, image.shape)
    bright = image > 500
    core = binary_erosion(bright, iterations=n, border_value=1)
    core[:, 75:] = False  # the label is the smaller component
    wide = binary_dilation(np.pad(core, n, mode="edge"), iterations=n)
    closed = binary_erosion(wide, iterations=n, border_value=1)[n:-n, n:-n]
    expected = binary_dilation(closed, iterations=n)
    found = find_breast(image, n)
    assert np.array_equal(found, expected)
    assert not found[20:32, 85:].any()


@pytest.mark.parametrize(
    "image", [np.zeros((40, 30)), np.full((40, 30), 7), np.eye(40) * 100], ids=str
)
def test_an_image_without_breast_is_refused(image):
    with pytest.raises(ValueError, match="no breast is found"):
        find_breast(image, 8)


def test_the_box_has_a_margin_and_ends_at_the_border():
    breast = np.zeros((30, 20), bool)
    breast[10:21, 0:8] = True
    assert breast_box(breast, 3) == (slice(7, 24), slice(0, 11))
    assert breast_box(breast, 100) == (slice(0, 30), slice(0, 20))
    assert breast_box(breast, 0) == (slice(10, 21), slice(0, 8))


def test_laterality_is_the_side_of_the_brighter_half():
    image = np.zeros((4, 5))
    image[:, 0] = 1
    assert infer_laterality(image) == "L"
    assert infer_laterality(image[:, ::-1]) == "R"


def test_tones_are_scaled_by_the_percentiles_of_the_breast():
    image = np.arange(202, dtype=np.float32).reshape(2, 101)
    breast = np.zeros(image.shape, bool)
    breast[0] = True  # 0 to 100: percent n has the value n
    tones = scale_tones(image, breast, 2, 1)
    assert tones[0, :3].tolist() == [0, 0, 0]
    assert tones[0, 99:].tolist() == [1, 1]
    assert tones[0, 50] == pytest.approx((50 - 2) / (99 - 2))
    assert (tones[1] == 1).all()


def test_a_breast_of_one_tone_cannot_be_scaled():
    with pytest.raises(ValueError, match="cannot be scaled: all are 5"):
        scale_tones(np.full((3, 3), 5.0), np.ones((3, 3), bool))


def test_the_z_score_counts_the_breast_only():
    image = np.array([[1, 3, 100]], np.float32)
    breast = np.array([[True, True, False]])
    assert standardise(image, breast, 0).tolist() == [[-1, 1, 98]]
    assert standardise(image, breast, 1).tolist() == [[-0.5, 0.5, 49]]
    assert standardise(np.full((1, 3), 4, np.float32), breast).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("view", ["CC", "ML"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_right_and_left_breasts_look_alike_whatever_their_polarity(photometric, view):
    left, right = (draw_mammogram(laterality=side, view=view) for side in "LR")
    stored = WHITE - right.image if photometric == "MONOCHROME1" else right.image
    one = prepare(left.image, left.lesion, SMALL, "MONOCHROME2", "L")
    other = prepare(stored.astype(np.uint16), right.lesion, SMALL, photometric, "R")
    assert (one.flipped, other.flipped) == (False, True)
    assert np.allclose(one.image, other.image, atol=1e-4)
    assert np.array_equal(one.mask, other.mask)
    assert np.array_equal(one.breast, other.breast)


@pytest.mark.parametrize("side", ["L", "R"])
def test_the_prepared_mask_lies_on_the_lesion(side):
    drawn = draw_mammogram(laterality=side)
    made = prepare(drawn.image, drawn.lesion.astype(np.uint8), SMALL, "", side)
    rows, columns = made.box
    assert made.mask.dtype == np.uint8
    assert made.mask.sum() == drawn.lesion.sum()
    mask = made.mask[:, ::-1] if made.flipped else made.mask
    assert np.array_equal(mask > 0, drawn.lesion[rows, columns])
    assert made.image.shape == made.mask.shape == made.breast.shape
    assert made.image.dtype == np.float32
    assert made.uncovered == 0


def test_the_breast_ends_up_with_the_declared_statistics():
    made = prepare(draw_mammogram().image, None, SMALL, keep_steps=True)
    values = made.image[made.breast].astype(float)
    assert values.mean() == pytest.approx(0, abs=1e-4)
    assert values.std() == pytest.approx(1, abs=1e-4)
    tones = made.steps["tones"][made.breast]
    assert (tones == 0).mean() == pytest.approx(0.02, abs=0.002)
    assert (tones == 1).mean() == pytest.approx(0.01, abs=0.002)
    assert made.mask is None


def test_the_label_outside_the_breast_disappears():
    drawn = draw_mammogram()
    label = drawn.image == WHITE
    assert label.any()
    made = prepare(drawn.image, None, Chain(iterations=8, crop=False))
    assert (made.image[label] == made.image.min()).all()


@pytest.mark.parametrize("side", ["L", "R"])
def test_an_unknown_laterality_is_inferred(side):
    made = prepare(draw_mammogram(laterality=side).image, None, SMALL)
    assert (made.laterality, made.seen, made.flipped) == (side, side, side == "R")


def test_the_given_laterality_goes_before_the_seen_one():
    made = prepare(draw_mammogram(laterality="L").image, None, SMALL, laterality="R")
    assert (made.laterality, made.seen, made.flipped) == ("R", "L", True)


def test_without_any_step_the_image_stays_as_it_is():
    image = np.arange(12).reshape(3, 4)
    made = prepare(image, image > 5, Chain(**PLAIN), "MONOCHROME1", "R", keep_steps=True)
    assert np.array_equal(made.image, image)
    assert np.array_equal(made.mask, image > 5)
    assert made.breast.all()
    assert made.box == (slice(0, 3), slice(0, 4))
    assert list(made.steps) == ["original"]


@pytest.mark.parametrize("step", STEPS)
def test_each_step_can_be_taken_alone_and_left_out(step):
    drawn = draw_mammogram(laterality="R", size=(128, 96))
    stored = WHITE - drawn.image
    alone = Chain(iterations=4, margin_px=4, **{**PLAIN, step: True})
    if step in ("breast_mask", "crop"):  # these need tissue that is bright
        stored = drawn.image
    made = prepare(stored, drawn.lesion, alone, "MONOCHROME1", "R", keep_steps=True)
    assert list(made.steps) == ["original", step]
    without = Chain(iterations=4, margin_px=4, **{step: False})
    made = prepare(drawn.image, drawn.lesion, without, "MONOCHROME2", "R", keep_steps=True)
    assert list(made.steps) == ["original", *(each for each in STEPS if each != step)]
    assert np.isfinite(made.image).all()


def test_steps_are_kept_only_if_asked_for():
    assert prepare(draw_mammogram().image, None, SMALL).steps == {}


def test_a_lesion_that_the_crop_would_cut_is_refused():
    drawn = draw_mammogram()
    mask = drawn.lesion.astype(np.uint8)
    mask[:3, -2:] = 1  # a corner of air
    n_pixels = drawn.lesion.sum() + 6
    with pytest.raises(ValueError, match=f"would cut off 6 of {n_pixels} pixels"):
        prepare(drawn.image, mask, SMALL)


def test_lesion_pixels_outside_the_breast_are_counted():
    drawn = draw_mammogram()
    mask = drawn.lesion.astype(np.uint8)
    mask[20, 100:103] = 1  # air within the box
    assert prepare(drawn.image, mask, SMALL).uncovered == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"laterality": "right"}, "laterality 'right' is neither L, R nor empty"),
        ({"mask": np.zeros((3, 4))}, r"one shape \(y, x\), found \(256, 192\) and \(3, 4\)"),
        ({"image": np.zeros((1, 3, 4)), "mask": None}, r"one shape \(y, x\), found \(1, 3, 4\)$"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    drawn = draw_mammogram()
    arguments = {"image": drawn.image, "mask": drawn.lesion, "chain": SMALL, **changes}
    with pytest.raises(ValueError, match=message):
        prepare(**arguments)


def test_the_input_is_not_changed():
    drawn = draw_mammogram()
    before = drawn.image.copy(), drawn.lesion.copy()
    prepare(drawn.image, drawn.lesion, SMALL, "MONOCHROME1")
    assert np.array_equal(drawn.image, before[0])
    assert np.array_equal(drawn.lesion, before[1])


def test_dicom_files_of_both_polarities_are_prepared(tmp_path):
    drawn = make_inbreast(tmp_path, 2)
    seen = set()
    for path in sorted((tmp_path / "AllDICOMs").iterdir()):
        file = pydicom.dcmread(path)
        image, _, _, laterality, view, _ = path.stem.split("_")
        what = drawn[f"{image}_{laterality}_{view}"]
        photometric = file.PhotometricInterpretation
        made = prepare(file.pixel_array, what.lesion, SMALL, photometric, file.ImageLaterality)
        breast = np.zeros(what.breast.shape, bool)
        breast[made.box] = made.breast[:, ::-1] if made.flipped else made.breast
        assert dice(breast, what.breast) > 0.98
        seen.add((photometric, laterality, "RescaleSlope" in file))
    assert len(seen) >= 6
