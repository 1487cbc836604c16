"""Is a reconstruction kernel sharp (lung, bone)? A small table of name patterns."""

from __future__ import annotations

import re
from functools import cache

from sarcoscope.files import packaged_rows


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    rows = packaged_rows("sarcoscope.imaging", "sharp_kernels")
    return tuple(re.compile(row["pattern"], re.IGNORECASE) for row in rows)


def is_sharp(kernel: str | None) -> bool:
    """True when the name is that of a lung or bone kernel; an unknown name is not called sharp."""
    name = (kernel or "").strip()
    return bool(name) and any(pattern.fullmatch(name) for pattern in _patterns())
