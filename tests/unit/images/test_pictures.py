from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image, ImageFile, ImageOps

from segflow.files.suffixes import PICTURES
from segflow.images.pictures import read_coloured_mask, read_mask, read_picture

BUSI = Path(__file__).parents[3].parent / "shared/data/Dataset_BUSI_with_GT"
GREY = np.array([[0, 7, 128], [200, 254, 255]], np.uint8)  # (y, x)
DEEP = GREY.astype(np.uint16) * 257 - (GREY > 0)  # needs all 16 bits
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
COLOURS = np.array([[RED, GREEN, BLUE], [(10, 20, 30), (255, 255, 255), (1, 0, 0)]], np.uint8)
# 0.299 R + 0.587 G + 0.114 B: 76.245, 149.685, 29.07; 2.99 + 11.74 + 3.42 = 18.15, 255, 0.299.
LUMA = [[76, 150, 29], [18, 255, 0]]
NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)


def save(path, array, mode=None, **options):
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image = image.convert(mode) if mode else image
    image.save(path, **options)
    return path


def save_deep_png(path, colours):
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=colours.ndim == 3), str(path))
    return path


def colour(array):
    """Return (y, x, colour) as (channel, z, y, x)."""
    return np.moveaxis(array, -1, 0)[:, None]


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *product([".png", ".tif", ".tiff", ".PNG"], ["L", "RGB", "RGBA", "LA", "P"]),
        *product([".bmp"], ["L", "RGB", "RGBA", "P"]),
    ],
)
def test_grey_stays_as_it_is(tmp_path, suffix, mode):
    path = save(tmp_path / f"one{suffix}", GREY, mode)
    array, changes = read_picture(path, "grey")
    np.testing.assert_array_equal(array, GREY[None, None])
    assert array.dtype == np.uint8
    assert changes == []
    array, changes = read_picture(path, "rgb")
    np.testing.assert_array_equal(array, np.stack([GREY] * 3)[:, None])
    assert changes == []
    np.testing.assert_array_equal(read_mask(path), GREY[None])


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_are_kept_or_become_luma(tmp_path, suffix, mode):
    image = Image.fromarray(COLOURS)
    if mode == "P":
        image = image.quantize(6, dither=Image.Dither.NONE)
        assert (np.array(image.convert("RGB")) == COLOURS).all()
    path = save(tmp_path / f"one{suffix}", image, mode)
    array, changes = read_picture(path, "rgb")
    np.testing.assert_array_equal(array, colour(COLOURS))
    assert changes == []
    array, changes = read_picture(path, "grey")
    np.testing.assert_array_equal(array, [[LUMA]])
    assert array.dtype == np.uint8
    assert changes == ["colour became grey"]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_is_read_as_pillow_decodes_it(tmp_path, suffix):
    path = save(tmp_path / f"one{suffix}", NOISE)
    with Image.open(path) as image:
        expected = np.array(image)
    np.testing.assert_array_equal(read_picture(path, "rgb")[0], colour(expected))
    path = save(path, NOISE[..., 0])
    with Image.open(path) as image:
        expected = np.array(image)
    np.testing.assert_array_equal(read_picture(path, "grey")[0], expected[None, None])


def test_cmyk_becomes_rgb(tmp_path):
    path = save(tmp_path / "one.tif", COLOURS, "CMYK")
    array, changes = read_picture(path, "rgb")
    np.testing.assert_array_equal(array, colour(COLOURS))
    assert changes == ["CMYK became RGB"]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_one_bit_is_black_and_white(tmp_path, suffix):
    path = save(tmp_path / f"one{suffix}", GREY, "1", dither=None)
    with Image.open(path) as image:
        assert image.mode == "1"
        expected = np.array(image) * 255
    assert set(expected.flat) == {0, 255}
    np.testing.assert_array_equal(read_picture(path, "grey")[0], expected[None, None])
    np.testing.assert_array_equal(read_mask(path), expected[None])
    assert read_mask(path).dtype == np.uint8


@pytest.mark.parametrize("name", ["one.png", "one.tif"])
def test_16_bits_of_grey_are_kept(tmp_path, name):
    array, changes = read_picture(save_deep_png(tmp_path / name, DEEP), "grey")
    np.testing.assert_array_equal(array, DEEP[None, None])
    assert array.dtype == np.uint16
    assert changes == []
    np.testing.assert_array_equal(read_mask(tmp_path / name), DEEP[None])


@pytest.mark.parametrize("name", ["one.png", "one.tif"])
def test_16_bits_of_colour_are_kept(tmp_path, name):
    deep = COLOURS.astype(np.uint16) * 250 + 3
    path = save_deep_png(tmp_path / name, deep)
    array, changes = read_picture(path, "rgb")
    np.testing.assert_array_equal(array, colour(deep))
    assert array.dtype == np.uint16
    assert changes == []
    array, changes = read_picture(path, "grey")
    assert array.dtype == np.uint16
    assert array[0, 0, 0, 0] == round(0.299 * 63753 + 0.701 * 3)
    assert changes == ["colour became grey"]


@pytest.mark.parametrize("options", [{"byteorder": ">"}, {"compression": "zlib", "tile": (16, 16)}])
def test_16_bit_tiff_files_of_other_kinds_are_read(tmp_path, options):
    tifffile.imwrite(tmp_path / "one.tif", DEEP, **options)
    array, _ = read_picture(tmp_path / "one.tif", "grey")
    np.testing.assert_array_equal(array, DEEP[None, None])
    assert array.dtype == np.uint16


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32, np.float32])
def test_grey_tiff_files_keep_their_data_type(tmp_path, dtype):
    values = np.array([[-100, 0, 7], [1, 2, 100]]) + 100 * (dtype == np.uint32)
    tifffile.imwrite(tmp_path / "one.tif", values.astype(dtype))
    array, _ = read_picture(tmp_path / "one.tif", "grey")
    assert array.dtype == dtype
    np.testing.assert_array_equal(array[0, 0], values)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pages_of_tiff_files_are_slices(tmp_path, dtype):
    volume = np.arange(24, dtype=dtype).reshape(4, 2, 3) * 7
    tifffile.imwrite(tmp_path / "one.tif", volume, photometric="minisblack")
    array, _ = read_picture(tmp_path / "one.tif", "grey")
    np.testing.assert_array_equal(array, volume[None])
    assert array.dtype == dtype
    np.testing.assert_array_equal(read_mask(tmp_path / "one.tif"), volume)


@pytest.mark.parametrize(
    ("shape", "axes"), [((2, 3, 8, 9), "TZYX"), ((2, 8, 9), "CYX"), ((2, 8, 9), "TYX")]
)
def test_time_points_and_channels_of_microscopes_are_no_slices(tmp_path, shape, axes):
    path = tmp_path / "one.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint8), imagej=True, metadata={"axes": axes})
    with pytest.raises(ValueError, match=rf"one\.tif: cannot be read \(its axes are {axes};"):
        read_picture(path, "grey")


def test_pages_must_be_alike(tmp_path):
    for size in (4, 8):
        tifffile.imwrite(tmp_path / "one.tif", np.zeros((size, 9), np.uint8), append=size > 4)
    with pytest.raises(ValueError, match=r"its axes are YX, YX; one stack of slices is allowed"):
        read_picture(tmp_path / "one.tif", "grey")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_of_tiff_files_may_lie_in_planes(tmp_path, dtype):
    planes = np.moveaxis(COLOURS, -1, 0).astype(dtype)
    tifffile.imwrite(tmp_path / "one.tif", planes, photometric="rgb", planarconfig="separate")
    array, _ = read_picture(tmp_path / "one.tif", "rgb")
    np.testing.assert_array_equal(array, planes[:, None])
    assert array.dtype == dtype


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((4, 5), {"photometric": "miniswhite"}),
        ((4, 5, 4), {"photometric": "separated"}),
        ((4, 5, 4), {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
        ((4, 5, 6), {"photometric": "minisblack", "planarconfig": "contig"}),
    ],
)
def test_unclear_kinds_of_16_bits_are_refused(tmp_path, shape, options):
    tifffile.imwrite(tmp_path / "one.tif", np.zeros(shape, np.uint16), **options)
    with pytest.raises(
        ValueError, match=r"one\.tif: cannot be read \(.*(MINISWHITE|SEPARATED|alpha|kind)"
    ):
        read_picture(tmp_path / "one.tif", "rgb")


def test_previews_behind_a_jpeg_are_passed_over(tmp_path):
    path = tmp_path / "one.jpg"
    first, second = Image.fromarray(NOISE), Image.fromarray(NOISE[:20, :20])
    first.save(path, format="MPO", save_all=True, append_images=[second])
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert read_picture(path, "rgb")[0].shape == (3, 1, 40, 50)


ALPHA = np.array([[255, 255, 0], [128, 1, 255]], np.uint8)


def test_transparent_pixels_are_blended_over_black(tmp_path):
    path = save(tmp_path / "one.png", np.stack([GREY, ALPHA], -1))
    array, changes = read_picture(path, "grey")
    # 200 * 128 / 255 = 100.39, 254 / 255 = 0.996
    np.testing.assert_array_equal(array[0, 0], [[0, 7, 0], [100, 1, 255]])
    assert changes == ["alpha blended over black"]
    path = save(tmp_path / "two.png", np.concatenate([COLOURS, ALPHA[..., None]], -1))
    array, changes = read_picture(path, "rgb")
    # 10, 20 and 30 times 128 / 255 are 5.02, 10.04 and 15.06.
    assert array[:, 0, 1, 0].tolist() == [5, 10, 15]
    assert changes == ["alpha blended over black"]
    for name in ("one.png", "two.png"):
        with pytest.raises(ValueError, match=r"opaque pixels only, found transparent ones"):
            read_mask(tmp_path / name)


def test_16_bits_are_blended_with_16_bits(tmp_path):
    colours = np.full((2, 2, 4), 65535, np.uint16)
    colours[0, 0] = (65535, 1000, 0, 32768)
    array, changes = read_picture(save_deep_png(tmp_path / "one.png", colours), "rgb")
    assert array[:, 0, 0, 0].tolist() == [32768, 500, 0]
    assert array.dtype == np.uint16
    assert changes == ["alpha blended over black"]


def test_transparent_black_changes_nothing(tmp_path):
    clear = np.where(GREY == 0, 0, 255).astype(np.uint8)
    path = save(tmp_path / "one.png", np.stack([GREY, clear], -1))
    assert read_picture(path, "grey")[1] == []
    np.testing.assert_array_equal(read_mask(path), GREY[None])


def test_a_palette_may_have_transparent_entries(tmp_path):
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 2])
    image.putpalette([10, 10, 10, *RED, *BLUE])
    path = save(tmp_path / "one.png", image, transparency=bytes([255, 0, 255]))
    array, changes = read_picture(path, "rgb")
    assert array[:, 0, 0].T.tolist() == [[10, 10, 10], [0, 0, 0], [0, 0, 255]]
    assert changes == ["alpha blended over black"]
    assert read_mask(path).tolist() == [[[0, 1, 2]]]


@pytest.mark.parametrize(
    ("array", "key", "expected"),
    [
        (GREY, 128, [[0, 7, 0], [200, 254, 255]]),
        (DEEP, int(DEEP[1, 0]), np.where(DEEP[1, 0] == DEEP, 0, DEEP)),
    ],
)
def test_one_grey_value_may_be_transparent(tmp_path, array, key, expected):
    path = save(tmp_path / "one.png", array, transparency=key)
    found, changes = read_picture(path, "grey")
    np.testing.assert_array_equal(found[0, 0], expected)
    assert changes == ["alpha blended over black"]


def test_one_colour_may_be_transparent(tmp_path):
    path = save(tmp_path / "one.png", COLOURS, transparency=(10, 20, 30))
    array, changes = read_picture(path, "rgb")
    expected = COLOURS.copy()
    expected[1, 0] = 0
    np.testing.assert_array_equal(array, colour(expected))
    assert changes == ["alpha blended over black"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["one.png", "one.jpg", "one.tif", "deep.tif"])
def test_pictures_are_turned_upright(tmp_path, orientation, name):
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / name
    if name == "deep.tif":
        tifffile.imwrite(path, DEEP, extratags=[(274, 3, 1, orientation, True)])
        plain = Image.fromarray(DEEP)
        plain.getexif()[274] = orientation
    else:
        save(path, GREY, exif=exif)
        with Image.open(path) as plain:
            plain.load()
    expected = np.array(ImageOps.exif_transpose(plain))
    array, changes = read_picture(path, "grey")
    np.testing.assert_array_equal(array[0, 0], expected)
    assert changes == ["turned upright as EXIF asks"] * (orientation > 1)


PASCAL = [0, 0, 0, 128, 0, 0, 128, 128, 128]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize(
    ("palette", "expected"),
    [
        (PASCAL, [0, 1, 2]),  # although the third colour is grey
        ([0, 0, 0, 255, 255, 255, 9, 9, 9], [0, 255, 9]),
    ],
)
def test_coloured_palettes_give_indices_and_grey_ones_values(tmp_path, suffix, palette, expected):
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 2])
    image.putpalette(palette)
    assert read_mask(save(tmp_path / f"one{suffix}", image)).tolist() == [[expected]]


def test_a_mask_has_no_colours(tmp_path):
    with pytest.raises(ValueError, match=r"one\.png: a mask is grey, .* found colours without one"):
        read_mask(save(tmp_path / "one.png", COLOURS))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("one.png", {}),
        ("one.jpg", {}),
        ("one.jpg", {"progressive": True}),
        ("one.bmp", {}),
        ("one.tif", {}),
        *[("one.tif", {"compression": kind}) for kind in ("tiff_lzw", "tiff_deflate", "packbits")],
    ],
)
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.95])
def test_truncated_pictures_are_refused(tmp_path, name, options, kept):
    path = save(tmp_path / name, NOISE, **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    for read in (lambda: read_picture(path, "rgb"), lambda: read_mask(path)):
        with pytest.raises(ValueError, match=rf"{name}: cannot be read \(.+\)$") as caught:
            read()
        assert "\n" not in str(caught.value)
        assert ("the file is empty" in str(caught.value)) == (kept == 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_stack_is_refused_wherever_it_ends(tmp_path, dtype, compression):
    volume = NOISE[:10, :10, 0].astype(dtype)
    path = tmp_path / "one.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(3):
            writer.write(volume, contiguous=False, compression=compression, metadata=None)
    content = path.read_bytes()
    for length in range(8, len(content), 11):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"one\.tif: cannot be read \(.+\)$"):
            read_picture(path, "grey")


def test_a_stack_whose_pages_go_round_in_circles_is_refused(tmp_path):
    path = tmp_path / "one.tif"
    tifffile.imwrite(path, GREY, metadata=None, byteorder="<")
    content = bytearray(path.read_bytes())
    first = int.from_bytes(content[4:8], "little")
    following = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
    assert content[following : following + 4] == bytes(4)
    content[following : following + 4] = content[4:8]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="list of pages has no end"):
        read_picture(path, "grey")


@pytest.mark.parametrize("name", ["one.png", "one.tif"])
@pytest.mark.parametrize("kept", [0.5, 0.95])
def test_truncated_pictures_of_16_bits_are_refused(tmp_path, name, kept):
    path = save_deep_png(tmp_path / name, NOISE.astype(np.uint16) * 255)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(
        ValueError, match=rf"{name}: cannot be read \(.*(truncated|damaged|cut short)"
    ):
        read_picture(path, "rgb")


def test_a_changed_byte_is_found_where_there_is_a_checksum(tmp_path):
    path = save(tmp_path / "one.png", NOISE)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"one\.png: cannot be read \(.*"):
        read_picture(path, "rgb")


@pytest.mark.parametrize("suffix", PICTURES)
def test_what_is_no_picture_is_refused(tmp_path, suffix):
    path = tmp_path / f"one{suffix}"
    path.write_text("<html>404 not found</html>")
    with pytest.raises(ValueError, match=r"cannot be read \(it is no picture, of an unknown kind"):
        read_picture(path, "grey")


def test_the_suffix_must_tell_the_format(tmp_path):
    save(tmp_path / "one.png", NOISE, format="JPEG")
    with pytest.raises(ValueError, match=r"one\.png: .*the content is JPEG, unlike the suffix"):
        read_picture(tmp_path / "one.png", "grey")
    with pytest.raises(ValueError, match=r"one\.gif: .*suffixes of pictures are \.png, \.tif"):
        read_picture(save(tmp_path / "one.gif", GREY), "grey")


def test_pictures_that_are_too_large_to_be_trusted_are_refused(tmp_path, monkeypatch):
    path = save(tmp_path / "one.png", NOISE)  # of 2,000 pixels
    for limit in (1500, 500):  # above the limit, and above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=rf"one\.png: .*more than {limit} pixels"):
            read_picture(path, "grey")


def test_films_and_unknown_modes_are_refused(tmp_path):
    frame = Image.fromarray(GREY)
    path = save(tmp_path / "one.png", frame, save_all=True, append_images=[frame.rotate(180)])
    with pytest.raises(ValueError, match=r"one\.png: .*a film of 2 pictures"):
        read_picture(path, "grey")
    with pytest.raises(ValueError, match=r"read as 'color' \(allowed: grey, rgb\)"):
        read_picture(path, "color")
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.png", "grey")


def test_all_pictures_and_masks_of_busi_are_read():
    if not BUSI.is_dir():
        pytest.skip("the BUSI sample is not there")
    changes, values, shapes = Counter(), set(), {}
    for path in sorted(BUSI.glob("*/*.png")):
        if "_mask" in path.name:
            mask = read_mask(path)
            values |= set(np.unique(mask))
            assert mask.shape == shapes[path.name.split("_mask")[0]]
        else:
            array, found = read_picture(path, "grey")
            shapes[path.stem] = array.shape[1:]
            changes.update(found)
            assert array.dtype == np.uint8
    assert len(shapes) == 220
    assert values == {0, 255}
    assert changes == {"colour became grey": 6}


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_colours_of_a_mask_are_labels(tmp_path, mode):
    colours = np.zeros((4, 5, 3), np.uint8)
    colours[1, 1:] = (255, 0, 0)
    colours[2] = (0, 128, 255)
    expected = np.zeros((1, 4, 5))
    expected[0, 1, 1:], expected[0, 2] = 1, 3
    path = tmp_path / "mask.png"
    Image.fromarray(colours).convert(mode, palette=Image.Palette.ADAPTIVE).save(path)
    labels = {"#FF0000": 1, "#0080ff": 3}
    np.testing.assert_array_equal(read_coloured_mask(path, labels), expected)
    with pytest.raises(ValueError, match=r"mask\.png: colours #0080ff are not in label_colours"):
        read_coloured_mask(path, {"#ff0000": 1})
