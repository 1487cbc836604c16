"""Dates shifted by one random offset a patient, so that intervals stay what they were."""

from __future__ import annotations

import datetime as calendar
import re
from dataclasses import dataclass
from typing import Final

_DATE: Final = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})")
_TIME: Final = re.compile(r"(\d{2}):?(\d{2})(?::?(\d{2}))?(\.\d{1,6})?")
_DATETIME: Final = re.compile(r"(\d{8})(\d{2})?(\d{2})?(\d{2})?(\.\d{1,6})?([+-]\d{4})?")
_DAY_S: Final = 86_400


@dataclass(frozen=True)
class DateShift:
    """What is added to every date and time of a patient.

    Days go to dates and seconds to the time of day alone, which stays on its date: so the days between two
    dates never change, whatever their times.
    """

    days: int
    seconds: int = 0

    def date(self, text: str) -> str:
        """A DICOM date (``YYYYMMDD``) or range of them, shifted; empty when it is no date."""
        parts = [self._day(part) if part else "" for part in text.strip().split("-")]
        whole = _DATE.fullmatch(text.strip())
        if whole:
            return self._day(text.strip())
        return "" if len(parts) != 2 or not any(parts) else "-".join(parts)

    def _day(self, text: str) -> str:
        match = _DATE.fullmatch(text.strip())
        if match is None:
            return ""
        shifted = self.day(int(match[1]), int(match[2]), int(match[3]))
        return "" if shifted is None else shifted.strftime("%Y%m%d").zfill(8)

    def day(self, year: int, month: int, day: int) -> calendar.date | None:
        """A calendar day shifted; None when there is no such day."""
        try:
            return calendar.date(year, month, day) + calendar.timedelta(days=self.days)
        except (ValueError, OverflowError):
            return None

    def time(self, text: str) -> str:
        """A DICOM time (``HHMMSS.ffffff``, also short), shifted, to the second; empty when it is none."""
        text = text.strip()
        match = _TIME.fullmatch(text)
        if match is None:
            return ""
        hours, minutes, seconds = int(match[1]), int(match[2]), int(match[3] or 0)
        if hours > 23 or minutes > 59 or seconds > 60:
            return ""
        total = (hours * 3600 + minutes * 60 + seconds + self.seconds) % _DAY_S
        return f"{total // 3600:02d}{total // 60 % 60:02d}{total % 60:02d}"

    def datetime(self, text: str) -> str:
        """A DICOM date and time, shifted; the time zone is dropped, for it tells the place."""
        match = _DATETIME.fullmatch(text.strip())
        if match is None:
            return self.date(text)
        day = self._day(match[1])
        if not day or match[2] is None:
            return day
        clock = "".join(part or "00" for part in match.groups()[1:4])
        shifted = self.time(clock)
        return day + shifted if shifted else day

    def back(self) -> DateShift:
        """The shift that undoes this one."""
        return DateShift(-self.days, -self.seconds)
