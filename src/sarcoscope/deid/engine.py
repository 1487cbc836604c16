"""The PS3.15 Annex E engine: one DICOM object in, its de-identified copy and a list of what was done out."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID

from sarcoscope.deid.mapping import IdentityMap, Person
from sarcoscope.deid.profile import KEEP_REFERENCES, Action, Profile, safe_private
from sarcoscope.deid.words import cleaned, identifying_words, names_somebody

log = logging.getLogger(__name__)
METHOD_TEXT: Final = "Sarcoscope: PS3.15 Annex E Basic Profile with options"
PSEUDONYM_TAGS: Final = ("00100010", "00100020")
_TEXTS: Final = ("AE", "LO", "LT", "SH", "ST", "UC", "UT", "UR")
_FREE_TEXTS: Final = ("LT", "ST", "UT")
_DATES: Final = ("DA", "DT", "TM")
_STANDARD_SCHEMES: Final = ("DCM", "SCT", "SRT")
_PUBLIC_SCHEMES: Final = (*_STANDARD_SCHEMES, "UCUM", "LN", "FMA", "RADLEX", "SNM3", "99SARCOSCOPE")
_STANDARD_UIDS: Final = "1.2.840.10008."
_UID: Final = re.compile(r"[0-9.]{1,64}")
_MOST_UIDS: Final = 1000
"""More values in one attribute are damage: something else was read as UIDs."""
_CLASS_TAGS: Final = ("00080016", "00081150")
_CHARACTERISTIC: Final = re.compile(r"[MFO]|\d{1,3}[DWMY]?|\d{0,3}(\.\d{1,6})?")
"""What sex, age, size and weight can look like."""
_LONG_NUMBER: Final = re.compile(r"\+?\d{1,15}(\.\d{1,15})?([eE][+-]?\d{1,2})?")
_DUMMIES: Final[dict[str, Any]] = {
    "AE": "REMOVED",
    "AS": "000Y",
    "CS": "REMOVED",
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101000000",
    "FD": 0.0,
    "FL": 0.0,
    "IS": "0",
    "LO": "Removed",
    "LT": "Removed",
    "OB": b"\x00\x00",
    "OW": b"\x00\x00",
    "PN": "Removed^",
    "SH": "Removed",
    "SL": 0,
    "SS": 0,
    "ST": "Removed",
    "TM": "000000",
    "UC": "Removed",
    "UL": 0,
    "UN": b"\x00\x00",
    "UR": "urn:removed",
    "US": 0,
    "UT": "Removed",
}
_NAME_SOURCES: Final = (
    "PatientID",
    "OtherPatientIDs",
    "AccessionNumber",
    "PatientBirthDate",
    "PatientTelephoneNumbers",
    "PatientAddress",
    "StudyID",
    "AdmissionID",
    "MedicalRecordLocator",
    "RequestedProcedureID",
)
"""Whose words must not stand in any text that stays (with every person name of the object)."""


@dataclass(frozen=True, order=True)
class Change:
    """What happened to an attribute; values are never kept."""

    tag: str
    name: str
    action: str
    """Such as ``removed``, ``emptied``, ``replaced``, ``new UID``, ``shifted``, ``cleaned``, ``kept``."""
    reason: str
    nested: bool = False


@dataclass
class _Work:
    """What the object at hand is, and what was done so far."""

    sop_class: str
    person: Person
    identifiers: frozenset[str]
    changes: dict[Change, int] = field(default_factory=dict)

    def note(self, tag: str, name: str, action: str, reason: str, nested: bool) -> None:
        change = Change(tag, name, action, reason, nested)
        self.changes[change] = self.changes.get(change, 0) + 1


class Engine:
    """De-identifies objects by one profile.

    Args:
        profile: the Basic Profile with options.
        mapping: gives new UIDs, the same for the same original.
    """

    def __init__(self, profile: Profile, mapping: IdentityMap) -> None:
        self.profile, self.mapping = profile, mapping

    def deidentify(self, source: Dataset, person: Person) -> tuple[Dataset, dict[Change, int]]:
        """A de-identified copy (in UTF-8, with new file meta) and how often each change was made.

        Args:
            source: the object, as read; it is not changed.
            person: whose pseudonym and date shift are used.
        """
        # pydicom's own checks would write values, and so identities, into its log.
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            work = _Work(_text_of(source, "SOPClassUID"), person, _identifiers(source))
            age = _age(source)
            copy = self._copied(source, work, nested=False)
            self._finish(copy, source, work, age)
            return copy, work.changes

    def _copied(self, source: Dataset, work: _Work, *, nested: bool) -> Dataset:
        out = Dataset()
        for element in _readable(source, work, nested):
            made = self._element(element, source, work, nested)
            if made is not None:
                out.add(made)
        return out

    def _element(
        self, element: DataElement, parent: Dataset, work: _Work, nested: bool
    ) -> DataElement | None:
        action = self._action(element, parent, work, nested)
        if action is None:
            return self._unlisted(element, work, nested)
        code, vr = action.code, element.VR
        if code in ("K", "C", KEEP_REFERENCES):
            return self._kept(element, action, work, nested)
        if code == "U" or (code == "D" and vr == "UI"):
            return self._new_uid(element, action.reason, work, nested)
        tag, name = _hex(element.tag), _shown_name(element)
        if code == "X":
            work.note(tag, name, "removed", action.reason, nested)
            return None
        done = "emptied" if code == "Z" else "replaced"
        value = "" if code == "Z" else _DUMMIES.get(vr, "")
        if vr == "SQ":
            value = [] if code == "Z" else self._dummy_items(element, work)
        elif tag in PSEUDONYM_TAGS and not nested:
            done, value = "pseudonym", work.person.pseudonym
        work.note(tag, name, done, action.reason, nested)
        return DataElement(element.tag, vr, value)

    def _action(self, element: DataElement, parent: Dataset, work: _Work, nested: bool) -> Action | None:
        tag = _hex(element.tag)
        if element.tag.is_private:
            if "retain_safe_private" in self.profile.options and _is_safe(element, parent):
                return Action("K", "retain_safe_private")
            return Action("X", "basic")
        if element.tag.group & 0xFF00 == 0x6000 and element.tag.group % 2 == 0:
            # Overlays of regions are shapes; those of graphics often hold text.
            kind = parent.get(BaseTag((element.tag.group << 16) | 0x40))
            shapes = kind is not None and str(kind.value).strip() == "R"
            kept = "clean_graphics" in self.profile.options and shapes and element.tag.element != 0x4000
            return Action("K", "clean_graphics") if kept else Action("X", "basic")
        action = self.profile.action(tag, work.sop_class, nested=nested)
        if action is not None and element.VR == "SQ" and action.reason == "clean_descriptors":
            # Codes of a hospital's own scheme can say anything: nothing of such a sequence is kept.
            return Action("X", "basic")
        return action

    def _kept(self, element: DataElement, action: Action, work: _Work, nested: bool) -> DataElement | None:
        """What an option keeps (K) or cleans (C), or a sequence whose references are replaced."""
        tag, name, vr = _hex(element.tag), _shown_name(element), element.VR
        if vr == "SQ":
            work.note(tag, name, "cleaned" if action.code != "K" else "kept", action.reason, nested)
            items = self._items(element, work, action.reason)
            if action.code == KEEP_REFERENCES:
                items = [_references(item) for item in items]
            return DataElement(element.tag, "SQ", items)
        if vr in _DATES and action.reason == "modified_dates":
            work.note(tag, name, "shifted", action.reason, nested)
            return DataElement(element.tag, vr, _each(element, lambda text: _shifted(vr, text, work)))
        if action.code == KEEP_REFERENCES:
            work.note(tag, name, "removed", "unreadable content", nested)
            return None
        if action.code == "C" and vr in (*_TEXTS, "PN"):
            work.note(tag, name, "cleaned", action.reason, nested)
            return DataElement(element.tag, vr, _each(element, lambda text: cleaned(text, work.identifiers)))
        if action.code == "C" and vr not in ("CS", "DS", "IS", "AS"):
            work.note(tag, name, "removed", action.reason, nested)
            return None
        if action.reason == "retain_patient_characteristics" and not _CHARACTERISTIC.fullmatch(
            _text(element)
        ):
            rounded = _rounded(_text(element)) if vr == "DS" else ""
            work.note(tag, name, "cleaned" if rounded else "emptied", "no such value", nested)
            return DataElement(element.tag, vr, rounded)
        work.note(tag, name, "kept", action.reason, nested)
        return _copy(element)

    def _unlisted(self, element: DataElement, work: _Work, nested: bool) -> DataElement | None:
        """An attribute that the table does not name: kept, unless its kind or its text says otherwise."""
        tag, vr = _hex(element.tag), element.VR
        if not dictionary_has_tag(element.tag) and element.tag.group & 0xFF00 != 0x6000:
            work.note(tag, "Unknown attribute", "removed", "not in the standard", nested)
            return None
        if vr == "SQ":
            return DataElement(element.tag, "SQ", self._items(element, work, ""))
        if vr == "PN":
            work.note(tag, element.name, "emptied", "a person's name", nested)
            return DataElement(element.tag, "PN", "")
        if vr == "UI":
            return self._new_uid(element, "unlisted UID", work, nested)
        if vr in _DATES:
            return self._unlisted_date(element, work, nested)
        if vr == "UN":
            work.note(tag, element.name, "removed", "unreadable content", nested)
            return None
        if vr in _FREE_TEXTS:
            work.note(tag, element.name, "cleaned", "free text", nested)
            return DataElement(element.tag, vr, _each(element, lambda text: cleaned(text, work.identifiers)))
        # Numbers are never touched (a patient ID of 209 must not empty a position), codes only as a whole.
        named = names_somebody(_text(element), work.identifiers) if vr in _TEXTS else False
        if named or (vr == "CS" and _text(element).casefold() in work.identifiers):
            work.note(tag, element.name, "emptied", "it names the person", nested)
            return DataElement(element.tag, vr, "")
        work.note(tag, element.name, "kept", "not in Table E.1-1", nested)
        return _copy(element)

    def _unlisted_date(self, element: DataElement, work: _Work, nested: bool) -> DataElement | None:
        tag, vr = _hex(element.tag), element.VR
        if self.profile.dates == "full_dates":
            return _copy(element)
        if self.profile.dates == "removed":
            work.note(tag, element.name, "removed", "a date or time", nested)
            return None
        work.note(tag, element.name, "shifted", "modified_dates", nested)
        return DataElement(element.tag, vr, _each(element, lambda text: _shifted(vr, text, work)))

    def _new_uid(self, element: DataElement, reason: str, work: _Work, nested: bool) -> DataElement:
        tag = _hex(element.tag)
        if element.VR != "UI":
            work.note(tag, element.name, "replaced", reason, nested)
            return DataElement(element.tag, element.VR, _DUMMIES.get(element.VR, ""))
        if len(_values(element)) > _MOST_UIDS:
            work.note(tag, element.name, "emptied", "unreadable content", nested)
            return DataElement(element.tag, "UI", "")
        values = [str(v).strip("\x00 ") for v in _values(element)]
        if all(not v or _is_standard(v, tag) for v in values):
            return DataElement(element.tag, "UI", [UID(v) for v in values] or "")
        if "retain_uids" in self.profile.options and reason == "unlisted UID":
            return _copy(element)
        work.note(tag, element.name, "new UID", reason, nested)
        new = [UID(v if not v or _is_standard(v, tag) else self.mapping.uid(v)) for v in values]
        return DataElement(element.tag, "UI", new)

    def _items(self, element: DataElement, work: _Work, reason: str) -> list[Dataset]:
        items = [self._copied(item, work, nested=True) for item in element.value]
        if reason in ("clean_structured_content", "clean_graphics"):
            for item in items:
                _blank_content(item)
        return items

    def _dummy_items(self, element: DataElement, work: _Work) -> list[Dataset]:
        """One item with the same attributes, all without content."""
        for item in element.value[:1]:
            made = self._copied(item, work, nested=True)
            for inner in made:
                if inner.VR != "SQ" and inner.VR in _DUMMIES and inner.VR != "CS":
                    inner.value = _DUMMIES[inner.VR]
            return [made]
        return []

    def _finish(self, copy: Dataset, source: Dataset, work: _Work, age: str) -> None:
        person = work.person
        if "retain_patient_characteristics" in self.profile.options and age and not copy.get("PatientAge"):
            copy.PatientAge = age
        copy.PatientID = copy.PatientName = person.pseudonym
        copy.SpecificCharacterSet = "ISO_IR 192"
        copy.PatientIdentityRemoved = "YES"
        copy.DeidentificationMethod = METHOD_TEXT
        copy.DeidentificationMethodCodeSequence = [_code_item(*code) for code in self.profile.codes()]
        said = {"full_dates": "UNMODIFIED", "modified_dates": "MODIFIED", "removed": "REMOVED"}
        copy.LongitudinalTemporalInformationModified = said[self.profile.dates]
        if "clean_pixel_data" in self.profile.options:
            copy.BurnedInAnnotation = "NO"
        old = getattr(source, "file_meta", None) or FileMetaDataset()
        meta = FileMetaDataset()
        sop_class = _text_of(copy, "SOPClassUID") or _text_of(old, "MediaStorageSOPClassUID")
        meta.MediaStorageSOPClassUID = UID(sop_class if _UID.fullmatch(sop_class) else "")
        meta.MediaStorageSOPInstanceUID = copy.get("SOPInstanceUID", "")
        meta.TransferSyntaxUID = _syntax(source)
        meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
        meta.ImplementationVersionName = "SARCOSCOPE"
        copy.file_meta = meta
        implicit, little = source.original_encoding
        copy.set_original_encoding(implicit, little, "utf8")


def _is_standard(uid: str, tag: str) -> bool:
    """A UID of the standard itself; one of its root that nobody knows is one only where a class belongs."""
    known = UID(uid).name != uid
    return uid.startswith(_STANDARD_UIDS) and (known or tag in _CLASS_TAGS)


def _shown_name(element: DataElement) -> str:
    """Name for the report; that of a private attribute is its maker's free text and is not written down."""
    return "Private attribute" if element.tag.is_private else str(element.name)


def _readable(source: Dataset, work: _Work, nested: bool) -> Iterator[DataElement]:
    """Every element that can be decoded; what cannot is left out."""
    for tag in sorted(source.keys()):
        if tag.group in (0x0000, 0x0002) or tag.element == 0x0000:
            continue
        try:
            element = source[tag]
            if element.VR == "SQ" and element.value is None:
                element = DataElement(element.tag, "SQ", [])
            yield element
        except Exception:
            log.debug("element cannot be read")
            work.note(_hex(tag), "Unreadable attribute", "removed", "unreadable content", nested)


def _identifiers(source: Dataset) -> frozenset[str]:
    """Words that identify the person or anybody named in the object."""
    values = []
    for keyword in _NAME_SOURCES:
        try:
            values += [str(v) for v in _values(source[keyword])] if keyword in source else []
        except Exception:
            log.debug("identifier cannot be read")
    for name in _person_names(source, 0):
        values.append(name)
    return identifying_words(values)


def _person_names(source: Dataset, depth: int) -> Iterator[str]:
    for tag in list(source.keys()):
        try:
            if dictionary_has_tag(tag) and dictionary_VR(tag) in ("PN", "SQ"):
                element = source[tag]
                if element.VR == "PN":
                    yield from (str(v) for v in _values(element))
                elif element.VR == "SQ" and depth < 3:
                    for item in element.value or ():
                        yield from _person_names(item, depth + 1)
        except Exception:
            log.debug("name cannot be read")


def _references(item: Dataset) -> Dataset:
    """What refers to another object, and nothing else of the item."""
    out = Dataset()
    for element in item:
        purpose = element.tag == 0x0040A170 and all(
            code.get("CodingSchemeDesignator") in _STANDARD_SCHEMES for code in element.value
        )
        if purpose or element.VR in ("UI", "US") or element.tag == 0x00081160:
            out.add(element)
        elif element.VR == "SQ" and element.tag != 0x0040A170:
            inner = [_references(deeper) for deeper in element.value]
            if any(len(deeper) for deeper in inner):
                out.add(DataElement(element.tag, "SQ", inner))
    return out


def _blank_content(item: Dataset) -> None:
    """Structured content and drawings without what they say: codes of public schemes and numbers stay."""
    public = item.get("CodingSchemeDesignator") in _PUBLIC_SCHEMES
    for element in item:
        if element.VR == "SQ":
            for deeper in element.value:
                _blank_content(deeper)
        elif element.VR in (*_DATES, "PN") or (element.VR in _TEXTS and not public):
            element.value = _DUMMIES[element.VR]


def _is_safe(element: DataElement, parent: Dataset) -> bool:
    """A private attribute of the safe list, or the creator of one."""
    known = safe_private()
    group, number = element.tag.group, element.tag.element
    if element.tag.is_private_creator:
        creator = str(element.value).strip()
        return any(c == creator and g == group for c, g, _ in known)
    block = parent.get(BaseTag((group << 16) | (number >> 8)))
    creator = str(block.value).strip() if block is not None else ""
    # A text where a number belongs could say anything.
    return (creator, group, number & 0xFF) in known and element.VR not in (*_TEXTS, "PN", "UN", "OB", "SQ")


def _age(source: Dataset) -> str:
    """The age that the header says, or that its birth and study dates give."""
    try:
        said = str(source.get("PatientAge", "") or "").strip()
        if said:
            return said if _CHARACTERISTIC.fullmatch(said) else ""
        born, studied = (str(source.get(k, "") or "") for k in ("PatientBirthDate", "StudyDate"))
        first, then = (date(int(t[:4]), int(t[4:6]), int(t[6:8])) for t in (born, studied))
    except (ValueError, TypeError):
        return ""
    years = then.year - first.year - ((then.month, then.day) < (first.month, first.day))
    return f"{years:03d}Y" if 0 <= years < 130 else ""


def _shifted(vr: str, text: str, work: _Work) -> str:
    shift = work.person.shift
    return {"DA": shift.date, "TM": shift.time, "DT": shift.datetime}[vr](text)


def _each(element: DataElement, change: Any) -> Any:
    """The element's value with every part changed."""
    parts = [change(str(v)) for v in _values(element)]
    return parts[0] if len(parts) == 1 else (parts or "")


def _values(element: DataElement) -> list[Any]:
    value = element.value
    if value is None or value == "":
        return []
    if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue":
        return list(value)
    return [value]


def _text(element: DataElement) -> str:
    return "\\".join(str(v) for v in _values(element))


def _rounded(text: str) -> str:
    """A size or weight that is written with more digits than it can have, rounded; empty when it is none.

    Rounding keeps a number that was hidden in the digits from coming through.
    """
    if not _LONG_NUMBER.fullmatch(text.strip()):
        return ""
    value = float(text)
    return f"{value:.4f}".rstrip("0").rstrip(".") if 0 < value < 1000 else ""


def _copy(element: DataElement) -> DataElement:
    return DataElement(element.tag, element.VR, element.value, already_converted=True)


def _text_of(source: Dataset, keyword: str) -> str:
    """A single value as text; empty when it is missing or several."""
    value = source.get(keyword)
    return "" if value is None or not isinstance(value, str) else str(value).strip()


def _hex(tag: BaseTag | int) -> str:
    return f"{int(tag):08x}"


def _code_item(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _syntax(source: Dataset) -> UID:
    meta = getattr(source, "file_meta", None)
    said = "" if meta is None else _text_of(meta, "TransferSyntaxUID")
    if _UID.fullmatch(said):
        return UID(said)
    implicit, little = source.original_encoding
    if not little:
        return UID("1.2.840.10008.1.2.2")
    return UID("1.2.840.10008.1.2") if implicit else UID("1.2.840.10008.1.2.1")
