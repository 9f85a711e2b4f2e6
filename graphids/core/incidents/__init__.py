"""Incidents: windows that alert, joined into what a person can act on.

`incident` is what one is. `alert_window` reads what a window says, `open_incident` knows what belongs together, and
`joining` makes incidents of windows as these come. `reasons`, by what is `usual`, and `context` put them into words and
frames, `filters` keep some back, `incident_rows` are lines of them; `detection` is the door.
"""
