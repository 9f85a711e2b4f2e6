"""Dates and times of day, read from the bytes of a line as `byte_parsers` reads numbers."""

import numpy as np
from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import BLANK, Bytes, is_at, natural_number

_MINUS, _COLON, _POINT, _UPPER_T = map(ord, "-:.T")
_MAX_FRACTION_DIGITS = 9
_DAYS_BEFORE_MONTH = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365])
_UNIX_EPOCH_DAY = 719_162  # days from 0001-01-01 to 1970-01-01


@register_jitable
def days_since_epoch(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the Gregorian calendar; far below any where there is no such day."""
    if year < 1 or not 1 <= month <= 12:
        return -_UNIX_EPOCH_DAY - 1
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    length = _DAYS_BEFORE_MONTH[month] - _DAYS_BEFORE_MONTH[month - 1] + (month == 2 and is_leap)
    if not 1 <= day <= length:
        return -_UNIX_EPOCH_DAY - 1
    whole_years = year - 1
    days = 365 * whole_years + whole_years // 4 - whole_years // 100 + whole_years // 400
    return int(days + _DAYS_BEFORE_MONTH[month - 1] + (month > 2 and is_leap) + day - 1 - _UNIX_EPOCH_DAY)


@register_jitable
def _two_digits(text: Bytes, at: int, end: int, before: int) -> tuple[int, int]:
    """`:07`: the number after the byte `before`, -1 where it has not two digits."""
    if not is_at(text, at, end, before):
        return -1, at
    value, after = natural_number(text, at + 1, end)
    return (value if after == at + 3 else -1), after


@register_jitable
def date_time(text: Bytes, at: int, end: int) -> tuple[float, int]:
    """`2021-12-06 11:21:13.123456`, or with a T, as seconds since 1970 without regard to any time zone; NaN if none."""
    year, after = natural_number(text, at, end)
    month, month_end = _two_digits(text, after, end, _MINUS)
    day, at_time = _two_digits(text, month_end, end, _MINUS)
    hour, hour_end = _two_digits(text, at_time, end, _UPPER_T if is_at(text, at_time, end, _UPPER_T) else BLANK)
    minute, minute_end = _two_digits(text, hour_end, end, _COLON)
    second, second_end = _two_digits(text, minute_end, end, _COLON)
    days = days_since_epoch(year, month, day)
    is_time = 0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60
    if after != at + 4 or days < -_UNIX_EPOCH_DAY or not is_time:
        return np.nan, at
    whole_s = 86400 * days + 3600 * hour + 60 * minute + second
    if not is_at(text, second_end, end, _POINT):
        return float(whole_s), second_end
    fraction, fraction_end = natural_number(text, second_end + 1, end)
    digits = fraction_end - second_end - 1
    if not 1 <= digits <= _MAX_FRACTION_DIGITS:
        return np.nan, at
    return (whole_s * 10**digits + fraction) / 10.0**digits, fraction_end
