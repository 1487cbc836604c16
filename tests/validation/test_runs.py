"""``sarcoscope validate`` as a user runs it: from tables to reports."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from sarcoscope.cli.main import app
from sarcoscope.errors import InputError
from sarcoscope.validation.cases import ValidationOptions, read_table
from sarcoscope.validation.runs import merge_validations, validate_masks
from tests.tables import write_rows
from tests.training.recipe_data import person, write_nifti


def _masks(folder: Path, *, foreign: bool = False, seeds: tuple[int, ...] = (1, 2)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for seed in seeds:
        phantom = person(seed)
        truth = np.where(np.isin(phantom.labels, (1, 2, 3)), phantom.labels, 0).astype(np.uint8)
        found = truth.copy()
        found[:, :, :30] = 0  # a part is missed
        write_nifti(folder / f"ct{seed}.nii.gz", phantom.hu, phantom)
        write_nifti(folder / f"found{seed}.nii.gz", found, phantom)
        reference = np.select([truth == 1, truth == 2, truth == 3], [7, 5, 9])[:, ::-1] if foreign else truth
        write_nifti(folder / f"truth{seed}.nii.gz", reference.astype(np.uint8), phantom)
        rows.append(
            {
                "case": f"case{seed}",
                "person": f"p{seed}",
                "centre": f"h{seed}",
                "level": "L3",
                "sex": "F",
                "prediction": f"found{seed}.nii.gz",
                "reference": f"truth{seed}.nii.gz",
                "image": f"ct{seed}.nii.gz",
                "reference_by": "human",
            }
        )
    return write_rows(folder / "table.csv", rows)


def test_masks_report(tmp_path: Path) -> None:
    table = _masks(tmp_path / "in")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["validate", "masks", str(table), "--out", str(out), "--quiet"])
    assert done.exit_code == 0, done.output
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in (
        "IoU bands",
        "hospital h1",
        "drawn by people",
        "Cases by band",
        "not a medical device",
        "case_case1_",
    ):
        assert words in page
    cases = read_table(out / "cases.csv", ("case", "iou_union", "hd95_mm_muscle"))
    assert len(cases) == sum(len(person(s).hu) for s in (1, 2))
    phantom = person(1)
    truth = phantom.labels[0] == 1
    missed = truth.copy()
    missed[:, :30] = False
    assert float(cases[0]["iou_muscle"]) == pytest.approx(missed.sum() / truth.sum(), abs=1e-4)
    assert float(cases[0]["reference_area_muscle"]) == pytest.approx(phantom.areas_cm2["muscle"][0], rel=1e-3)
    assert (out / "bland_altman_muscle.png").stat().st_size > 5000
    assert read_table(out / "measurement_error.csv", ("levels", "tissue", "area_percent"))


def test_sites_are_joined_without_images(tmp_path: Path) -> None:
    whole = _masks(tmp_path / "in")
    validate_masks(whole, tmp_path / "whole", ValidationOptions())
    for seed in (1, 2):
        validate_masks(
            _masks(tmp_path / f"in{seed}", seeds=(seed,)), tmp_path / f"site{seed}", ValidationOptions()
        )
    together = merge_validations([tmp_path / "site1", tmp_path / "site2"], tmp_path / "merged")
    straight = validate_masks(whole, tmp_path / "again", ValidationOptions())
    assert together[0].rows == straight[0].rows
    with pytest.raises(InputError, match="more than one table"):
        merge_validations([tmp_path / "site1", tmp_path / "whole"], tmp_path / "twice")


def test_foreign_labels_are_previewed_and_mapped(tmp_path: Path) -> None:
    table = _masks(tmp_path / "in", foreign=True)
    run = CliRunner().invoke
    labels = ["--labels", "muscle=7,sat=5,vat=9"]
    seen = run(app, ["validate", "preview", str(table), "--out", str(tmp_path / "p"), *labels])
    assert "0, 5, 7, 9" in seen.output
    assert "--flip y" in seen.output
    assert (tmp_path / "p" / "preview.png").is_file()
    done = run(
        app,
        ["validate", "masks", str(table), "--out", str(tmp_path / "o"), *labels, "--flip", "y", "--quiet"],
    )
    assert done.exit_code == 0
    cases = read_table(tmp_path / "o" / "cases.csv", ("iou_muscle",))
    assert min(float(c["iou_muscle"]) for c in cases) > 0.6


def test_levels_report(tmp_path: Path) -> None:
    head = "level,index_low,index_high,z_mm_low,z_mm_high\n"
    (tmp_path / "ref.csv").write_text(head + "L4,0,3,0,15\nL3,5,9,25,45\nL2,11,14,55,70\n", encoding="utf-8")
    (tmp_path / "own.csv").write_text(head + "L4,0,3,0,15\nL3,6,10,30,50\nL2,12,14,60,70\n", encoding="utf-8")
    (tmp_path / "off.csv").write_text(head + "L5,0,3,0,15\nL4,5,9,25,45\nL3,11,14,55,70\n", encoding="utf-8")
    rows: list[dict[str, object]] = [
        {"volume": "a", "person": "1", "centre": "A", "reference": "ref.csv", "prediction": "own.csv"},
        {"volume": "b", "person": "2", "centre": "B", "reference": "ref.csv", "prediction": "off.csv"},
    ]
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["validate", "levels", str(write_rows(tmp_path / "t.csv", rows)), "--out", str(out), "--quiet"]
    )
    assert done.exit_code == 0, done.output
    assert "0.5000" in done.output  # 13 of 26 slices (the whole second chain is shifted)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "confusion.png" in page
    assert "l3_scatter.png" in page
    middles = read_table(out / "middles.csv", ("level", "found_mm", "true_mm"))
    l3 = [float(m["found_mm"]) - float(m["true_mm"]) for m in middles if m["level"] == "L3"]
    assert l3 == [5.0, 27.5]


def test_end_to_end_names_failures_and_counts_classes(tmp_path: Path) -> None:
    from tests.study.make import abdomen, series

    phantom = abdomen()
    ct = series(phantom)
    level = phantom.levels.find("L3")
    assert level is not None
    area = float(phantom.areas_cm2["muscle"][level.index_low : level.index_high + 1].mean())
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    base = {"reference": "p0", "sex": "F", "age": 40, "height_cm": 160, "weight_kg": 60}
    rows: list[dict[str, object]] = [
        {
            "path": str(ct),
            "person": "1",
            "reference_area_cm2": area,
            "reference_class": "not_class_2",
            **base,
        },
        {"path": "broken.nii.gz", "person": "2", "reference_area_cm2": 100, "reference_class": "", **base},
    ]
    done = CliRunner().invoke(
        app,
        [
            "validate",
            "end-to-end",
            str(write_rows(tmp_path / "t.csv", rows)),
            "--out",
            str(tmp_path / "o"),
            "--quiet",
        ],
    )
    assert done.exit_code == 0, done.output
    cases = read_table(tmp_path / "o" / "cases.csv", ("failure", "error_percent", "class"))
    assert abs(float(cases[0]["error_percent"])) < 6
    assert cases[0]["class"]
    assert cases[1]["failure"]
    assert cases[1]["area_cm2"] == ""


def test_repeatability(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"person": k, "area_a": 100 + k, "area_b": 102 + k} for k in range(5)]
    done = CliRunner().invoke(
        app, ["validate", "repeat", str(write_rows(tmp_path / "t.csv", rows)), "--out", str(tmp_path / "o")]
    )
    assert done.exit_code == 0
    assert "within 3 %" in done.output
    assert "5 of 5" in done.output
    assert "-2.0 (-2.0 to -2.0)" in done.output


@pytest.mark.parametrize(
    "text",
    [
        "",
        "case,person\n",
        "case,person,prediction,reference\n",
        "case,person,prediction,reference\nc,p,a.nii.gz,b.nii.gz\n",
        "\x00\x01",
    ],
)
def test_bad_tables_get_a_sentence(tmp_path: Path, text: str) -> None:
    table = tmp_path / "t.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        validate_masks(table, tmp_path / "o", ValidationOptions())


def test_masks_of_other_sizes_are_refused(tmp_path: Path) -> None:
    table = _masks(tmp_path / "in")
    nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4)).to_filename(tmp_path / "in" / "found1.nii.gz")
    with pytest.raises(InputError, match="in size"):
        validate_masks(table, tmp_path / "o", ValidationOptions())


def test_a_prediction_cannot_hide_behind_other_labels(tmp_path: Path) -> None:
    table = _masks(tmp_path / "in", seeds=(1,))
    validate_masks(table, tmp_path / "plain", ValidationOptions())
    path = tmp_path / "in" / "found1.nii.gz"
    image = nib.Nifti1Image.from_filename(path)
    values = np.asarray(image.dataobj).copy()
    truth = np.asarray(nib.Nifti1Image.from_filename(tmp_path / "in" / "truth1.nii.gz").dataobj)
    values[(truth > 0) & (values == 0)] = 77  # what was missed gets a name of its own
    nib.Nifti1Image(values, image.affine).to_filename(path)
    validate_masks(table, tmp_path / "named", ValidationOptions())
    one, other = (
        [r["iou_muscle"] for r in read_table(tmp_path / d / "cases.csv", ("iou_muscle",))]
        for d in ("plain", "named")
    )
    assert one == other
