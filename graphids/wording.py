"""Numbers as every text of graphids shows them."""


def time_words(hours: float) -> str:
    """A duration on a scale that a person can judge: a rate of false alarms is worth as much as the time behind it.

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


def format_metric(value: float | None, digits: int = 3) -> str:
    """A metric as text, a dash where it is undefined.

    >>> format_metric(0.98765), format_metric(35.64, digits=1), format_metric(None)
    ('0.988', '35.6', '-')
    """
    return "-" if value is None else f"{value:.{digits}f}"
