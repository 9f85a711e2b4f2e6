"""Amounts in words, as every text of graphids shows them."""


def time_words(hours: float) -> str:
    """A time that a person can judge: how long false alarms were counted says what their rate is worth.

    >>> time_words(0.5), time_words(1 / 900)
    ('30.0 minutes', '4.0 seconds')
    """
    minutes = hours * 60
    return f"{minutes:.1f} minutes" if minutes >= 1 else f"{minutes * 60:.1f} seconds"


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "capture"), counted(1200, "capture")
    ('1 capture', '1,200 captures')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
