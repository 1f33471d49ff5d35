"""HTML that is safe by construction: text becomes markup in one place, which escapes it."""

from html import escape
from typing import Final

from attest.encoding import printable

_VOID: Final = frozenset({"input", "meta"})


class Html(str):
    """Markup. Whatever is not of this type is somebody's text, and is escaped."""

    __slots__ = ()


def el(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element.

    Args:
        children: `Html` as it is, anything else as text; None is left out.
        attributes: `class_` is class, `aria_label` is aria-label; None is left out, True has no value.
    """
    opening = name
    for key, value in attributes.items():
        if value is None:
            continue
        spelled = key.rstrip("_").replace("_", "-")
        opening += f" {spelled}" if value is True else f' {spelled}="{_text(value)}"'
    return Html(f"<{opening}>" if name in _VOID else f"<{opening}>{join(*children)}</{name}>")


def join(*parts: object) -> Html:
    """Return elements and texts one after the other."""
    return Html("".join(part if isinstance(part, Html) else _text(part) for part in parts if part is not None))


def _text(value: object) -> str:
    # Control and direction characters are forbidden in HTML, or turn around what stands beside them.
    return escape(printable(str(value)))
