"""Networks to ONNX files, and cards: what every model package needs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

OPSET = 18


def export_onnx(
    network: nn.Module, example: Tensor, path: Path, *, names: Sequence[str], dynamic: Mapping[int, Any]
) -> None:
    """Write a network of one input to an ONNX file.

    Args:
        network: put into evaluation mode.
        example: an input of a typical shape.
        path: the file; its folder is made.
        names: of the input, then of the outputs.
        dynamic: axis of the input -> ``torch.export.Dim``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the exporter, about itself
        program = torch.onnx.export(
            network.eval(),
            (example,),
            input_names=[names[0]],
            output_names=list(names[1:]),
            dynamic_shapes=(dict(dynamic),),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter answered no model")
    program.save(str(path), external_data=False)
    strip_traces(path)


def strip_traces(path: Path) -> None:
    """Take the exporter's notes (paths and code lines of the training machine) out of a model file."""
    model = onnx.load(str(path))
    del model.metadata_props[:]
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write the card of a package folder."""
    text = json.dumps(card, indent=1, ensure_ascii=False)
    (folder / "card.json").write_text(text + "\n", encoding="utf-8")
