"""Incidents: windows that alert, joined into what a person can act on.

`incident` is what one is, `joining` makes them of windows as these come, `reasons` puts them into words.
"""
