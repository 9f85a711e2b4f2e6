"""HTML and SVG that text cannot break out of: whatever is not `Markup` already is escaped."""

import html
from collections.abc import Iterable

from graphids.secrets import without_secrets
from graphids.wording import printable


class Markup(str):
    """Text that is HTML or SVG."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    r"""A value as text of a page: no markup, nothing that changes the direction of the text, no password of a URL.

    >>> escaped("<b>\u202e & 3")
    '&lt;b&gt;\\u202e &amp; 3'
    """
    return value if isinstance(value, Markup) else Markup(html.escape(printable(without_secrets(str(value)))))


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element; `class_` stands for `class` and an underscore in another attribute for a dash. None is left out.

    >>> element("a", "1 < 2", href="#x", class_=None)
    '<a href="#x">1 &lt; 2</a>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = joined(children)
    is_void = not children and name in _VOID
    return Markup(f"<{name}{given}/>" if is_void else f"<{name}{given}>{inside}</{name}>")


def joined(parts: Iterable[object]) -> Markup:
    """Parts one after another."""
    return Markup("".join(escaped(part) for part in parts))


def table(head: Iterable[object], rows: Iterable[Iterable[object]], *, class_: str | None = None) -> Markup:
    """A table; it scrolls by itself where the page is too narrow for it."""
    top = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    whole = element("table", element("thead", top), element("tbody", *body), class_=class_)
    return element("div", whole, class_="wide")


_VOID = ("meta", "br", "rect", "line", "path", "circle")
