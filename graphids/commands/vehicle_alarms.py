"""A vehicle's alarms, chosen for a command: on recordings that the profile has not seen, or on blocks left out."""

from collections.abc import Sequence

import numpy as np

from graphids.assessment.operating_point import CONFIDENCE, RULE_OF_THREE
from graphids.commands.attack_free import left_out
from graphids.core.alarm_choice import HeldOut, choose_alarms
from graphids.core.classifier import WindowClassifier
from graphids.core.frames import Frames, format_arbitration_id
from graphids.core.profile.alarms import EXPERTS_SHARE, NUM_LIMITS, Alarms
from graphids.core.profile.profile import Profile, fit_profile
from graphids.wording import time_words

_MOST_NAMED = 8


def with_alarms(
    classifier: WindowClassifier,
    profile: Profile,
    per_hour: float,
    *,
    held_out: Sequence[Frames] = (),
    own: Sequence[Frames] = (),
) -> Profile:
    """A profile with alarms that keep a budget of false-alarm incidents.

    Args:
        classifier: Whose score shares in the budget.
        profile: Of the vehicle.
        per_hour: The budget.
        held_out: Attack-free recordings that the profile was not fitted on.
        own: Those that it was fitted on, whose blocks are left out one by one where nothing was held out.

    Raises:
        DataError: If the recordings hold no window.
    """
    if held_out:
        return choose_alarms(classifier, profile, [HeldOut(profile, held_out)], per_hour)
    blocks = [HeldOut(fit_profile(others), block) for block, others in left_out(list(own))]
    return choose_alarms(classifier, profile, blocks, per_hour)


def unknown_words(profile: Profile, held_out: Sequence[Frames]) -> str:
    """A sentence on IDs of held-out recordings that the profile lacks; empty where there are none."""
    keys = [frames.node_key() for frames in held_out]
    unknown = np.setdiff1d(np.concatenate(keys), profile.node_key) if keys else np.empty(0, np.uint32)
    if not len(unknown):
        return ""
    named = ", ".join(f"0x{format_arbitration_id(int(key))}" for key in unknown[:_MOST_NAMED])
    more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
    return (
        f" The held-out recordings have {named}{more}, which the profile lacks: from five frames a second on each "
        "raises an alarm. Fit the profile to a recording of them too."
    )


def alarm_words(alarms: Alarms) -> str:
    """What was asked for, on what it was chosen, and what that cannot show."""
    hours, asked = alarms.hours, alarms.per_hour
    number = "1 false-alarm incident" if asked == 1 else f"{asked:g} false-alarm incidents"
    what = (
        "blocks of the profile's own recordings, each judged by the profile of the others"
        if alarms.blocks
        else "recordings that the profile has not seen"
    )
    words = (
        f"Alarms for {number} an hour, of experts and network together, were chosen on {time_words(hours)} of {what}."
    )
    if hours * asked * EXPERTS_SHARE < NUM_LIMITS:
        words += " The limits are extrapolated beyond what these showed."
    if hours * asked < RULE_OF_THREE:
        words += (
            f" That is too short to certify {asked:g} an hour, which takes {time_words(RULE_OF_THREE / asked)} without "
            f"a false alarm: {time_words(hours)} without one show no more than that there are fewer than "
            f"{RULE_OF_THREE / hours:.0f} an hour with {CONFIDENCE * 100:g} % confidence."
        )
    words += " What chose the limits does not certify them: other hours without an alarm would."
    if alarms.blocks:
        words += (
            " They cannot show what another drive does differently: give attack-free recordings of other drives with "
            "--held-out."
        )
    return words
