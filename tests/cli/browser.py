"""A person at the portal with a browser, as far as confirming a code needs one."""

import html
import re

import requests


def confirm(address: str, username: str, *, do: str = "confirm") -> str:
    """Open the page that `jit login` shows, sign in at the demo's identity provider, answer it: the last page."""
    with requests.Session() as session:
        page = session.get(address, timeout=30)
        (onward,) = re.findall(r'href="(/accounts/sso/login/[^"]*)"', page.text)
        page = session.get(requests.compat.urljoin(page.url, html.unescape(onward)), timeout=30)
        page = session.post(page.url, data={"sub": username}, timeout=30)
        assert page.status_code == 200, page.text
        assert "Is this your terminal?" in page.text, page.text
        hidden = dict(re.findall(r'name="(csrfmiddlewaretoken|code)" value="([^"]*)"', page.text))
        page = session.post(
            requests.compat.urljoin(page.url, "/device/"),
            data={**hidden, "do": do},
            headers={"Referer": page.url},
            timeout=30,
        )
        assert page.status_code == 200, page.text
        return page.text
