"""What an event, and how bad it is, is called where a person or another system reads it."""

EVENT_WORDS = {
    "unknown_id": "Unknown ID",
    "wrong_length": "Wrong payload length",
    "too_early": "Message too early",
    "too_frequent": "Message too frequent",
    "missing": "Message missing",
    "bus_overload": "Bus overload",
    "counter_broken": "Broken counter",
    "checksum_broken": "Broken checksum",
    "value_never_seen": "Value never seen",
    "out_of_range": "Value out of range",
    "implausible_step": "Implausible step",
    "frozen_signal": "Frozen signal",
    "replayed_sequence": "Replayed sequence",
    "relation_broken": "Broken relation between signals",
    "diagnostic_request": "Diagnostic request",
    "bus_error": "Bus error",
    "unknown_state": "Unknown driving state",
    "not_covered": "Vehicle not covered by the model",
    "learned": "Suspicious traffic",
}
SEVERITIES = ("low", "medium", "high")


def event_words(event: str) -> str:
    """The title of an event; of one that is not in `EVENT_WORDS`, its name with spaces.

    >>> event_words("too_early"), event_words("door_opened")
    ('Message too early', 'door opened')
    """
    return EVENT_WORDS.get(event, event.replace("_", " "))
