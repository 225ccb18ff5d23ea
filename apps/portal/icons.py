"""Icons as inline SVG: a strict CSP lets nothing be drawn from elsewhere, and they take the colour of the text."""

from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

# 24×24, stroked, 2 wide.
_PATHS: Final = {
    "alert": "M12 9v4m0 4h.01M10.3 3.9 1.8 18a2 2 0 0 0 1.7 3h17a2 2 0 0 0 1.7-3L13.7 3.9a2 2 0 0 0-3.4 0Z",
    "arrow": "M5 12h14m-6-6 6 6-6 6",
    "bell": "M18 8a6 6 0 0 0-12 0c0 7-3 9-3 9h18s-3-2-3-9m-4.3 13a2 2 0 0 1-3.4 0",
    "check": "m5 12.5 4.5 4.5L19 7.5",
    "clock": "M12 7v5l3.5 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
    "copy": "M9 9h11v11H9zM5 15H4V4h11v1",
    "cross": "M18 6 6 18M6 6l12 12",
    "database": "M20 6c0 1.7-3.6 3-8 3S4 7.7 4 6s3.6-3 8-3 8 1.3 8 3ZM4 6v12c0 1.7 3.6 3 8 3s8-1.3 8-3V6"
    "M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3",
    "down": "m6 9 6 6 6-6",
    "filter": "M3 5h18l-7 8.5V20l-4-2v-4.5Z",
    "download": "M12 4v11m-5-5 5 5 5-5M4 20h16",
    "eye": "M2.5 12S6 5 12 5s9.5 7 9.5 7-3.5 7-9.5 7-9.5-7-9.5-7ZM15 12a3 3 0 1 1-6 0 3 3 0 0 1 6 0Z",
    "inbox": "M3 13h5l1.5 3h5L16 13h5M5.5 5h13L21 13v6H3v-6Z",
    "info": "M12 11v5m0-8h.01M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
    "key": "M14.5 9.5 21 3m-3.5 3.5L20 9M16 14.5a5.5 5.5 0 1 1-3-5 5.5 5.5 0 0 1 3 5Z",
    "lock": "M6 11h12v10H6zM8.5 11V7a3.5 3.5 0 0 1 7 0v4",
    "mask": "M10.6 5.1A10 10 0 0 1 12 5c6 0 9.5 7 9.5 7a17 17 0 0 1-2.6 3.5M6.5 6.6C4 8.3 2.5 12 2.5 12s3.5 7 9.5 7"
    "a9.6 9.6 0 0 0 5.5-1.7M10 10a2.9 2.9 0 0 0 4 4M3 3l18 18",
    "menu": "M4 7h16M4 12h16M4 17h16",
    "people": "M16 20v-1.5a4 4 0 0 0-4-4H6a4 4 0 0 0-4 4V20m14-16.4a4 4 0 0 1 0 7.3M22 20v-1.5a4 4 0 0 0-3-3.9"
    "M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8Z",
    "play": "M7 4.5v15l12-7.5Z",
    "plus": "M12 5v14M5 12h14",
    "scroll": "M6 3h11v15a3 3 0 0 0 3 3H8a3 3 0 0 1-3-3V4a1 1 0 0 1 1-1Zm3 5h5m-5 4h5",
    "search": "m20 20-4.3-4.3M18 11a7 7 0 1 1-14 0 7 7 0 0 1 14 0Z",
    "shield": "M12 3 4.5 6v5.5c0 4.5 3.2 7.9 7.5 9.5 4.3-1.6 7.5-5 7.5-9.5V6Zm-3 9 2.2 2.2L15.5 10",
    "stop": "M12 8v5m0 3h.01M8.5 3h7L21 8.5v7L15.5 21h-7L3 15.5v-7Z",
}


def icon(name: str) -> SafeString:
    """Decoration: what it says stands beside it in words."""
    return format_html(
        '<svg class="icon" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
        'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false"><path d="{}"/></svg>',
        mark_safe(_PATHS[name]),  # noqa: S308 - one of our own constants
    )
