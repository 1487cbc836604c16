"""Every kind of input that docs/inputs.md promises something about, and how to make it."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from pydicom.uid import generate_uid

from sarcoscope.samples.dicom_series import SeriesSettings, set_pixels, write_dicom_series, write_enhanced_ct
from sarcoscope.samples.phantom import Phantom, PhantomSettings, make_phantom


@dataclass(frozen=True)
class Kind:
    """One row of docs/inputs.md: what is made, and what must come of it."""

    name: str
    make: Callable[[Path], Path]
    error: str = ""
    """Words of the error sentence; empty: it is read."""
    flags: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    slices: int | None = None
    same_hu: bool = True
    """The volume holds the phantom's very HU on the phantom's very places."""


@cache
def small_phantom(**changes: Any) -> Phantom:
    """A phantom of 14 slices of 96 x 96, L2 to L4."""
    base = PhantomSettings(
        seed=5,
        matrix=96,
        pixel_mm=4.4,
        top_level="L2",
        bottom_level="L4",
        slice_spacing_mm=8.0,
        margin_mm=4.0,
    )
    return make_phantom(replace(base, slice_thickness_mm=8.0, **changes))


def series(root: Path, *faults: str, **settings: Any) -> Path:
    """A folder with the small phantom as a DICOM series."""
    folder = root / "ct"
    write_dicom_series(small_phantom(), folder, SeriesSettings(faults=frozenset(faults), **settings))
    return folder


def edited(root: Path, change: Callable[[pydicom.Dataset, int], None], **settings: Any) -> Path:
    """A series whose images are changed one by one."""
    folder = series(root, **settings)
    for n, path in enumerate(sorted(folder.glob("*.dcm"))):
        image = pydicom.dcmread(path)
        change(image, n)
        image.save_as(path)
    return folder


def second_series(root: Path, change: Callable[[pydicom.Dataset, int], None], take: int = 99) -> Path:
    """The series, and beside it a changed copy with a series UID of its own."""
    folder = series(root)
    for n, path in enumerate(sorted(folder.glob("*.dcm"))[:take]):
        image = pydicom.dcmread(path)
        image.SeriesInstanceUID = generate_uid(entropy_srcs=["second"])
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid(
            entropy_srcs=["second", str(n)]
        )
        change(image, n)
        image.save_as(folder / f"second{n}.dcm")
    return folder


def _attributes(**values: Any) -> Callable[[pydicom.Dataset, int], None]:
    def change(image: pydicom.Dataset, _: int) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(image, keyword)
            else:
                setattr(image, keyword, value)

    return change


def nifti(
    root: Path, data: np.ndarray | None = None, affine: np.ndarray | None = None, name: str = "ct.nii.gz"
) -> Path:
    """A NIfTI file; the small phantom in LPS order by default."""
    p = small_phantom()
    if data is None:
        data = p.hu.transpose(2, 1, 0)
    if affine is None:
        dz, dy, dx = p.geometry.spacing_mm
        affine = np.diag([-dx, -dy, dz, 1.0])
        affine[:3, 3] = np.diag([-1, -1, 1]) @ p.geometry.slice_positions_mm[0]
    path = root / name
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def _file(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        path = root / name
        path.write_bytes(content)
        return path

    return make


def _nested(root: Path) -> Path:
    series(root)
    deep = root / "a" / "b c" / "한글"
    deep.mkdir(parents=True)
    (root / "ct").rename(deep / "ct")
    return root / "a"


def _zipped(root: Path, *, inner: str = "study/ct", outside: bool = False) -> Path:
    folder = series(root)
    path = root / "ct.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for n, file in enumerate(sorted(folder.iterdir())):
            archive.write(file, f"{'../' * 4 if outside else ''}{inner}/{n}")
    return path


def _zip_bomb(root: Path) -> Path:
    path = root / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(80_000_000))
    return path


def _broken_zip(root: Path) -> Path:
    path = _zipped(root)
    path.write_bytes(path.read_bytes()[:3000])
    return path


def _zipped_nifti(root: Path) -> Path:
    image = nifti(root)
    path = root / "image.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(image, "deep/ct.nii.gz")
    return path


def _one_slice(root: Path) -> Path:
    return sorted(series(root).glob("*.dcm"))[5]


def _two_acquisitions(root: Path) -> Path:
    folder = series(root)
    for n, path in enumerate(sorted(folder.glob("*.dcm"))):
        image = pydicom.dcmread(path)
        image.AcquisitionNumber = 2
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid(
            entropy_srcs=["b", str(n)]
        )
        image.save_as(folder / f"again{n}.dcm")
    return folder


def _unsigned_padding(image: pydicom.Dataset, _: int) -> None:
    stored = np.frombuffer(image.PixelData, np.uint16).reshape(image.Rows, image.Columns).copy()
    stored[:3, :3] = 63536
    set_pixels(image, stored)


def rotated(image: pydicom.Dataset, _: int) -> None:
    """The picture stored turned by 90 degrees: columns run to the back."""
    stored = np.frombuffer(image.PixelData, np.uint16).reshape(image.Rows, image.Columns)
    set_pixels(image, stored.T)
    row, column = image.ImageOrientationPatient[:3], image.ImageOrientationPatient[3:]
    image.ImageOrientationPatient = [*column, *row]
    image.PixelSpacing = image.PixelSpacing[::-1]


def _per_slice_rescale(image: pydicom.Dataset, n: int) -> None:
    stored = np.frombuffer(image.PixelData, np.uint16).reshape(image.Rows, image.Columns).astype(np.int32)
    shift = 100 * (n % 3)
    set_pixels(image, (stored + shift).astype(np.uint16))
    image.RescaleIntercept = -1024 - shift


def _signed_without_rescale(image: pydicom.Dataset, _: int) -> None:
    stored = np.frombuffer(image.PixelData, np.uint16).reshape(image.Rows, image.Columns)
    set_pixels(image, (stored.astype(np.int32) - 1024).astype(np.int16))
    del image.RescaleSlope, image.RescaleIntercept


def _non_square(image: pydicom.Dataset, _: int) -> None:
    stored = np.frombuffer(image.PixelData, np.uint16).reshape(image.Rows, image.Columns)
    set_pixels(image, np.ascontiguousarray(stored[::2]))
    image.PixelSpacing = [float(image.PixelSpacing[0]) * 2, float(image.PixelSpacing[1])]


def _coronal(image: pydicom.Dataset, n: int) -> None:
    image.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    image.ImagePositionPatient = ["0", f"{n * 3}", "0"]
    image.SeriesDescription = "Cor"


def _truncated_most(root: Path) -> Path:
    folder = series(root)
    for path in sorted(folder.glob("*.dcm"))[1:]:
        path.write_bytes(path.read_bytes()[:3000])
    return folder


def _mixed_study(root: Path) -> Path:
    def change(image: pydicom.Dataset, _: int) -> None:
        image.StudyInstanceUID = generate_uid(entropy_srcs=["other study"])
        image.SeriesDescription = "arterial"

    return second_series(root, change)


def korean(image: pydicom.Dataset, _: int) -> None:
    image.SpecificCharacterSet = ["", "ISO 2022 IR 149"]
    image.PatientName = "Hong^Gildong=洪^吉洞=홍^길동"
    image.SeriesDescription = "복부 문맥기"


def _bad_charset(root: Path) -> Path:
    """Bytes changed in the file: pydicom itself would not write such a set."""
    folder = series(root)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 192", b"ISO_XX 999"))
    return folder


def _sagittal_nifti(root: Path) -> Path:
    p = small_phantom()
    dz, dy, dx = p.geometry.spacing_mm
    affine = np.zeros((4, 4))
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = (0, -dy, 0), (0, 0, dz), (-dx, 0, 0)
    affine[:3, 3] = np.diag([-1, -1, 1]) @ p.geometry.slice_positions_mm[0]
    affine[3, 3] = 1
    return nifti(root, p.hu.transpose(1, 0, 2), affine)


def _ras_nifti(root: Path) -> Path:
    p = small_phantom()
    dz, dy, dx = p.geometry.spacing_mm
    data = p.hu.transpose(2, 1, 0)[::-1, ::-1]
    affine = np.diag([dx, dy, dz, 1.0])
    n = p.hu.shape[1]
    first = p.geometry.slice_positions_mm[0] + np.array([dx * (n - 1), dy * (n - 1), 0])
    affine[:3, 3] = np.diag([-1, -1, 1]) @ first
    return nifti(root, data, affine)


def _zero_affine(root: Path) -> Path:
    image = nib.Nifti1Image(small_phantom().hu.transpose(2, 1, 0), np.eye(4))
    image.header["srow_x"] = image.header["srow_y"] = image.header["srow_z"] = 0
    image.header["sform_code"], image.header["qform_code"] = 1, 0
    path = root / "ct.nii"
    path.write_bytes(
        bytes(image.header.binaryblock) + bytes(4) + image.dataobj.astype("<i2").tobytes(order="F")
    )
    return path


def _cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:5000])
    return path


KINDS: tuple[Kind, ...] = (
    Kind("dicom-folder", series, slices=14),
    Kind("nested-folders", _nested),
    Kind("no-extensions", lambda r: series(r, "no-extensions")),
    Kind("junk-files", lambda r: series(r, "junk-files")),
    Kind("shuffled-names", lambda r: series(r, "shuffled")),
    Kind("single-dicom-file", _one_slice, slices=1, same_hu=False),
    Kind("zip", _zipped),
    Kind("zip-with-outside-paths", lambda r: _zipped(r, outside=True)),
    Kind("zip-of-nifti", _zipped_nifti),
    Kind("zip-bomb", _zip_bomb, error="unpacks to more"),
    Kind("broken-zip", _broken_zip, error="damaged"),
    Kind("implicit-vr", lambda r: series(r, syntax="implicit")),
    Kind("big-endian", lambda r: series(r, syntax="big-endian")),
    Kind("deflated", lambda r: series(r, syntax="deflated")),
    Kind("rle", lambda r: series(r, syntax="rle")),
    Kind("jpeg-ls", lambda r: series(r, syntax="jpeg-ls")),
    Kind("jpeg2000", lambda r: series(r, syntax="jpeg2000")),
    Kind("signed-pixels", lambda r: series(r, "signed")),
    Kind("padding", lambda r: series(r, "padding"), flags=("padding_found",), same_hu=False),
    Kind(
        "unsigned-wrap",
        lambda r: edited(r, _unsigned_padding),
        flags=("unsigned_wrap_mended",),
        same_hu=False,
    ),
    Kind("rescale-differs-per-slice", lambda r: edited(r, _per_slice_rescale)),
    Kind(
        "rescale-missing",
        lambda r: edited(r, _attributes(RescaleSlope=None, RescaleIntercept=None)),
        error="no rescale",
    ),
    Kind(
        "rescale-missing-signed",
        lambda r: edited(r, _signed_without_rescale),
        flags=("rescale_missing",),
    ),
    Kind(
        "missing-slice", lambda r: series(r, "missing-slice"), flags=("slice_gap",), slices=13, same_hu=False
    ),
    Kind("doubled-slice", lambda r: series(r, "doubled-slice"), flags=("doubled_slices",), slices=14),
    Kind("two-acquisitions-in-one-series", _two_acquisitions, refused=("fewer_slices",), slices=14),
    Kind("uneven-spacing", lambda r: series(r, "uneven-spacing"), flags=("uneven_spacing",), same_hu=False),
    Kind(
        "bolus-tracker-slice",
        lambda r: series(r, "bolus-tracker"),
        flags=("outlier_slice_dropped",),
        slices=14,
    ),
    Kind("localiser", lambda r: series(r, "localiser"), refused=("localiser",)),
    Kind("secondary-capture", lambda r: series(r, "secondary-capture"), refused=("secondary_capture",)),
    Kind("second-patient", lambda r: series(r, "second-patient"), error="different patients"),
    Kind("two-studies", _mixed_study, flags=("several_studies",), refused=("other_phase",)),
    Kind("feet-first", lambda r: series(r, "feet-first")),
    Kind("stored-turned-by-90-degrees", lambda r: edited(r, rotated)),
    Kind("non-square-pixels", lambda r: edited(r, _non_square), same_hu=False),
    Kind("empty-uids", lambda r: series(r, "empty-uids"), flags=("uid_missing",)),
    Kind("korean-names", lambda r: edited(r, korean)),
    Kind("unknown-character-set", _bad_charset),
    Kind(
        "truncated-slice",
        lambda r: series(r, "truncated-file"),
        flags=("damaged_slices",),
        slices=13,
        same_hu=False,
    ),
    Kind("most-slices-truncated", _truncated_most, error="damaged"),
    Kind("empty-file-beside", lambda r: series(r, "empty-file")),
    Kind(
        "derived-secondary-series",
        lambda r: series(r, image_type=("DERIVED", "SECONDARY", "AXIAL")),
        flags=("derived_series",),
    ),
    Kind(
        "sharp-kernel-beside",
        lambda r: second_series(r, _attributes(ConvolutionKernel="Bl57f\\3")),
        refused=("fewer_slices",),
    ),
    Kind(
        "lung-kernel-beside",
        lambda r: second_series(r, _attributes(ConvolutionKernel="B70f")),
        refused=("sharp_kernel",),
    ),
    Kind(
        "arterial-beside",
        lambda r: second_series(r, _attributes(SeriesDescription="Liver arterial")),
        refused=("other_phase",),
    ),
    Kind(
        "thin-slices-beside",
        lambda r: second_series(r, _attributes(SliceThickness="0.6")),
        refused=("other_thickness",),
    ),
    Kind(
        "few-slices-beside",
        lambda r: second_series(r, _attributes(SeriesDescription="portal venous"), take=3),
        refused=("too_few_slices",),
    ),
    Kind("coronal-reformat-beside", lambda r: second_series(r, _coronal), refused=("not_axial",)),
    Kind(
        "iodine-map-beside",
        lambda r: second_series(r, _attributes(SeriesDescription="Iodine map")),
        refused=("material_map",),
    ),
    Kind("not-hu-beside", lambda r: second_series(r, _attributes(RescaleType="HU_MOD")), refused=("not_hu",)),
    Kind(
        "mr-beside",
        lambda r: second_series(r, _attributes(Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")),
        refused=("not_ct",),
    ),
    Kind(
        "colour-beside",
        lambda r: second_series(r, _attributes(PhotometricInterpretation="RGB")),
        refused=("colour",),
    ),
    Kind(
        "no-geometry-beside",
        lambda r: second_series(r, _attributes(ImagePositionPatient=None)),
        refused=("no_geometry",),
    ),
    Kind(
        "only-mr",
        lambda r: edited(r, _attributes(Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")),
        error="No axial CT series",
    ),
    Kind("only-coronal", lambda r: edited(r, _coronal), error="No axial CT series"),
    Kind("enhanced-multi-frame", lambda r: write_enhanced_ct(small_phantom(), r / "enhanced.dcm")),
    Kind(
        "lossy-marked",
        lambda r: edited(r, _attributes(LossyImageCompression="01")),
        flags=("lossy_compression",),
    ),
    Kind(
        "burned-in-text-marked",
        lambda r: edited(r, _attributes(BurnedInAnnotation="YES")),
        flags=("burned_in_text",),
    ),
    Kind("size-and-weight-absurd", lambda r: edited(r, _attributes(PatientSize="170", PatientWeight="0"))),
    Kind("nifti", nifti),
    Kind("nifti-uncompressed", lambda r: nifti(r, name="ct.nii")),
    Kind("nifti-ras", _ras_nifti),
    Kind("nifti-sagittal-storage", _sagittal_nifti),
    Kind("nifti-float", lambda r: nifti(r, small_phantom().hu.transpose(2, 1, 0).astype(np.float32))),
    Kind("nifti-4d-one-frame", lambda r: nifti(r, small_phantom().hu.transpose(2, 1, 0)[..., None])),
    Kind(
        "nifti-4d-two-frames",
        lambda r: nifti(r, np.stack([small_phantom().hu.transpose(2, 1, 0)] * 2, 3)),
        error="dimensions",
    ),
    Kind("nifti-2d", lambda r: nifti(r, small_phantom().hu[5].T), slices=1, same_hu=False),
    Kind("nifti-mask", lambda r: nifti(r, small_phantom().labels.transpose(2, 1, 0)), error="not CT values"),
    Kind(
        "nifti-with-nan",
        lambda r: nifti(
            r,
            np.where(small_phantom().hu < -900, np.nan, small_phantom().hu)
            .transpose(2, 1, 0)
            .astype(np.float32),
        ),
        same_hu=False,
    ),
    Kind("nifti-zero-affine", _zero_affine, error="grid"),
    Kind("nifti-truncated", lambda r: _cut(nifti(r)), error="damaged"),
    Kind("nifti-in-folder", lambda r: nifti(r).parent),
    Kind(
        "two-niftis-in-folder",
        lambda r: nifti(r, name="b.nii.gz").parent if nifti(r) else r,
        error="2 NIfTI files",
    ),
    Kind("empty-folder", lambda r: r, error="No CT image"),
    Kind("missing-path", lambda r: r / "nowhere", error="There is nothing"),
    Kind("empty-file", _file("ct.dcm", b""), error="is empty"),
    Kind("text-file", _file("ct.txt", b"This is a text about a CT. " * 20), error="neither DICOM"),
    Kind("pdf-file", _file("ct.pdf", b"%PDF-1.4\n" + bytes(500)), error="neither DICOM"),
    Kind("gzip-of-something", _file("ct.nii.gz", gzip.compress(b"nothing")), error="no NIfTI"),
    Kind("random-bytes-named-dcm", _file("ct.dcm", bytes(range(256)) * 8), error="neither DICOM"),
)
