"""An emergency in a real browser: bob, on call, at two in the morning; and sam, who reviews it."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SignIn

pytestmark = pytest.mark.browser


def test_glass_when_broken_at_night_is_reviewed_in_the_morning(sign_in: SignIn) -> None:
    sam = sign_in("sam")
    bob = sign_in("bob", viewport={"width": 390, "height": 844}, color_scheme="dark")
    bob.goto("/ask/?database=shop&table=logistics.carriers")
    bob.get_by_label("Reason").fill("Parcels are not picked up")
    bob.locator("input[name=connection][value=direct]").check()
    bob.get_by_text("It is an emergency").click()
    bob.get_by_label("Break the glass").check()
    expect(bob.locator("#preview")).to_contain_text("The glass will be broken: access at once")
    bob.get_by_role("button", name="Break the glass now").click()

    bob.locator("button[value=bob]").click()  # the provider asks again, although it knows who is signed in

    expect(bob.get_by_label("Reason")).to_have_value("Parcels are not picked up")
    expect(bob.get_by_label("Break the glass")).to_be_checked()
    bob.get_by_role("button", name="Break the glass now").click()
    expect(bob.get_by_role("button", name="Show the credential")).to_be_visible(timeout=30_000)
    expect(bob.locator("#glass")).to_contain_text("You broke the glass on shop")

    expect(sam.locator("#glass")).to_contain_text("Bob Becker broke the glass on shop", timeout=30_000)
    sam.get_by_role("link", name="Review it").click()
    expect(sam.get_by_text("You can say so when the access is over")).to_be_visible()
    bob.get_by_role("button", name="Give it back now").click()
    sam.get_by_label("Justified", exact=True).check(timeout=30_000)
    sam.get_by_label("Comment").fill("Half an hour later nothing would have left.")
    sam.get_by_role("button", name="Close the review").click()
    expect(sam.locator("#messages")).to_contain_text("The review is closed.")
    expect(sam.locator(".glass-banner")).to_have_count(0)
    bob.reload()
    expect(bob.locator("#review")).to_contain_text("Half an hour later nothing would have left.")
