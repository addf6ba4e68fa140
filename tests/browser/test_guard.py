"""The net itself: what the other browser tests call silence is silence."""

import pytest
from browser.lab import browser


@pytest.mark.needs("chromium")
def test_the_guard_sees_outside_requests_and_complaints():
    with browser() as page:
        page.goto("about:blank")
        page.set_content("<img src='https://example.org/picture.png'>")
        page.evaluate("() => { console.error('red'); setTimeout(() => { throw new Error('broken') }) }")
        page.wait_for_timeout(300)
        assert page.outside == ["https://example.org/picture.png"]
        assert "red" in page.complaints and any("broken" in text for text in page.complaints)
