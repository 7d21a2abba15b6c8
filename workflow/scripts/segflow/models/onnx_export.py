"""Networks in ONNX, which run without PyTorch and nnU-Net."""

import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from segflow.files.content import replacing

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

# Largest difference of logits, as a part of the largest logit: sums in another order differ by
# some 1e-6 of it, another operation by more than 1e-2.
TOLERANCE = 1e-4
INPUT, OUTPUT = "image", "logits"
METADATA = "segflow"  # key of what must be known to use the network


def export_network(predictor: "nnUNetPredictor", path: Path) -> float:
    """Write the network of a loaded fold, and compare its logits with those of PyTorch on the CPU.

    The file takes any number of patches of the plans' size, of shape (patch, channel, z, y, x) or
    (patch, channel, y, x), preprocessed as the plans say, and gives logits of the same size, or of
    shape (patch, class) if it tells classes of cases. A head on its encoder is left out.

    Parameters
    ----------
    predictor : nnUNetPredictor
        With one fold; see `segflow.models.prediction.load_predictor`.
    path : Path
        The file. Its metadata hold a JSON text of what `describe_network` returns.

    Returns
    -------
    float
        The largest difference of logits, as a part of the largest.

    Raises
    ------
    ValueError
        If logits differ by more than `TOLERANCE` of the largest, or the network has operations
        that ONNX does not know, or uses ages.
    """
    network = predictor.network.cpu().eval()
    network.load_state_dict(predictor.list_of_parameters[0])
    described = describe_network(predictor)
    shape = (len(described["channels"]), *described["patch_size"])
    return write_network(network, shape, described, path)


def write_network(
    network: torch.nn.Module, shape: tuple[int, ...], described: dict[str, Any], path: Path
) -> float:
    """Write a network that takes patches of a `shape`; see `export_network`."""
    # Imported here: no other job needs them.
    import onnx
    import onnxruntime

    if getattr(network, "age", None) is not None:
        raise ValueError(f"{path}: the network uses ages, which are no part of an image; no ONNX")
    for name in ("onnxscript", "onnx_ir"):  # which count their own steps
        logging.getLogger(name).setLevel(logging.WARNING)
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn((2, *shape), generator=generator)
    with replacing(path) as temporary:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of PyTorch's own parts
                torch.onnx.export(
                    network,
                    (patches,),
                    str(temporary),
                    dynamo=True,
                    external_data=False,
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    dynamic_shapes=({0: torch.export.Dim("patch")},),
                    verbose=False,
                )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise ValueError(f"{path}: the network cannot be written as ONNX ({reason})") from None
        model = onnx.load(temporary)
        model.metadata_props.add(key=METADATA, value=json.dumps(described))
        onnx.checker.check_model(model)
        onnx.save(model, temporary)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        # One patch: another number than the network was written with.
        (found,) = session.run(None, {INPUT: patches[:1].numpy()})
        with torch.no_grad():
            expected = network(patches[:1]).numpy()
        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
        if not difference <= TOLERANCE:
            raise ValueError(
                f"{path}: logits differ from PyTorch's by {difference:.2g} of the largest, allowed "
                f"are {TOLERANCE:g}"
            )
    return difference


def describe_network(predictor: "nnUNetPredictor") -> dict[str, Any]:
    """Return what must be known to prepare images for a network and to read its logits.

    Values are in the order of the plans' axes, z, y, x after `transpose`.
    """
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    described = predictor.dataset_json
    return {
        "channels": list(described["channel_names"].values()),
        "labels": described["labels"],
        "regions_class_order": described.get("regions_class_order"),
        "classifier": plans.plans["segflow"].get("classifier"),
        "patch_size": [int(size) for size in configuration.patch_size],
        "spacing_mm": [float(size) for size in configuration.spacing],
        "transpose": list(plans.transpose_forward),
        "normalisation": list(configuration.normalization_schemes),
        "normalise_inside_mask": list(configuration.use_mask_for_norm),
        "intensities": plans.foreground_intensity_properties_per_channel,
        "step_size": predictor.tile_step_size,
        "mirrored_axes": list(predictor.allowed_mirroring_axes or []),
    }
