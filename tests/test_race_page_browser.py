"""The live page of a race in a real browser, with real clicks."""

from __future__ import annotations

import os
import signal
import time

import pytest

from donkey_rl.race_server.orders import Brake, ChangeDriver, Go, Stop
from tests import chromium
from tests.chromium import Tab
from tests.race_page_client import wait
from tests.race_page_team import FakeCar, shown

LIVE = "document.body.dataset.state === 'live'"


def text(tab: Tab, name: str) -> str:
    return str(tab.value(f"document.getElementById('{name}').textContent"))


def wait_for(tab: Tab, name: str, words: str) -> None:
    tab.wait(f"document.getElementById('{name}').textContent.includes('{words}')")


def ordered(car: FakeCar, count: int) -> None:
    wait(lambda: len(car.orders) >= count, f"{count} orders")


@pytest.mark.slow
def test_clicks_drive_the_cars() -> None:
    with shown("alpha", "beta") as (page, team), chromium.opened(page.url) as tab:
        alpha, beta = team.cars["alpha"], team.cars["beta"]
        page.log("alpha", "warning", "<b>The link</b> is slower than trained")
        tab.wait(LIVE)
        wait_for(tab, "phase", "waits for GO")
        tab.mouse("#go")
        wait_for(tab, "phase", "driving")
        tab.wait("document.getElementById('go').disabled")
        # Held, the brake lasts until it is let go.
        tab.mouse("#brake", "mousePressed")
        wait_for(tab, "phase", "braking")
        tab.wait("document.getElementById('brake').ariaPressed === 'true'")
        time.sleep(0.6)
        wait(lambda: alpha.status.speed < 0.1, "a car that stands")
        tab.mouse("#brake", "mouseReleased")
        wait_for(tab, "phase", "driving")
        assert alpha.orders == [Go("page"), Brake("page", True), Brake("page", False)]
        # Another driver takes the seat at the next stop.
        tab.value("document.getElementById('drivers').value = 'second-2'")
        wait(lambda: alpha.status.speed > 0.2, "a car that drives")
        tab.mouse("#change-driver")
        wait_for(tab, "driver-next", "second-2 at the next stop")
        tab.mouse("#stop")
        wait_for(tab, "driver-now", "second-2")
        assert alpha.orders[3:] == [ChangeDriver("page", "second-2"), Stop("page")]
        # The other car, and both of them.
        tab.mouse("[data-car=beta]")
        tab.wait("document.getElementById('camera').dataset.car === 'beta'")
        tab.mouse("#go")
        ordered(beta, 1)
        tab.mouse("#stop-all")
        ordered(beta, 2)
        ordered(alpha, 6)
        assert (beta.orders, alpha.orders[-1]) == ([Go("page"), Stop("page")], Stop("page"))
        # A name and a reason are words, never markup.
        assert "<b>The link</b>" in text(tab, "log")
        assert tab.errors == []


@pytest.mark.slow
def test_space_brakes_unless_a_button_was_reached_by_tab() -> None:
    with shown("alpha", "beta") as (page, team), chromium.opened(page.url) as tab:
        alpha = team.cars["alpha"]
        tab.wait(LIVE)
        # A click leaves the focus on the button.
        tab.mouse("#stop-all")
        ordered(alpha, 1)
        assert tab.value("document.activeElement.id") == "stop-all"
        tab.size(800, 300)
        tab.wait("document.documentElement.scrollHeight > innerHeight")
        before = tab.value("scrollY")
        for _ in range(3):  # held
            tab.key("Space", True)
        ordered(alpha, 2)
        tab.key("Space", False)
        assert tab.value("scrollY") == before
        assert alpha.orders[:2] == [Stop("page"), Brake("page", True)]
        # By Tab a button is chosen, and Space presses it.
        tab.press("Tab")
        tab.value("document.getElementById('go').focus()")
        tab.press("Space")
        wait(lambda: Go("page") in alpha.orders, "GO")
        # Also from the list of drivers beside it.
        tab.mouse("#stop-all")
        tab.value("document.getElementById('drivers').value = 'second-2'")
        tab.value("document.getElementById('drivers').focus()")
        tab.press("Tab")
        assert tab.value("document.activeElement.id") == "change-driver"
        tab.press("Space")
        wait(lambda: ChangeDriver("page", "second-2") in alpha.orders, "another driver")
        assert tab.errors == []


@pytest.mark.slow
def test_the_page_survives_reloads_restarts_and_silence() -> None:
    with shown("alpha", "beta") as (page, team), chromium.opened(page.url) as tab:
        beta = team.cars["beta"]
        page.log("beta", "info", "Connected")
        tab.wait(LIVE)
        tab.mouse("[data-car=beta]")
        wait_for(tab, "team-rows", "+0.37 s")
        # A tap holds the brake; a page that was loaded again knows it, and lets go. On a busy
        # machine its press and its release would be too far apart.
        tab.value(
            "(() => { const at = performance.now(); performance.now = () => at; return 1; })()"
        )
        tab.mouse("#brake")
        tab.value("delete performance.now")
        wait_for(tab, "brake-text", "LET GO")
        tab.call("Page.reload")
        tab.wait(f"document.readyState === 'complete' && {LIVE}")
        wait_for(tab, "brake-text", "LET GO")
        assert tab.value("document.querySelector('[aria-selected=true]').dataset.car") == "beta"
        assert "Connected" in text(tab, "log")
        tab.mouse("#brake")
        wait_for(tab, "brake-text", "BRAKE")
        assert beta.orders == [Brake("page", True), Brake("page", False)]
        assert tab.errors == []
        first = page.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_for(tab, "banner-text", "No connection")
        assert tab.value("document.getElementById('stop').disabled") is True
        assert "Buttons are off" in text(tab, "why")
        tab.wait(LIVE)
        shown_before = int(tab.value("document.getElementById('camera').dataset.shown"))
        tab.wait(f"document.getElementById('camera').dataset.shown > {shown_before + 2}")
        tab.mouse("#go")
        wait_for(tab, "phase", "driving")
        team.silent.set()
        wait_for(tab, "banner-text", "beta does not report")
        assert "it can be stopped and braked only" in text(tab, "why")
        assert tab.value("document.getElementById('go').disabled") is True
        # What stops a car reaches a silent one, and all of them while a silent one is looked at.
        stopped = [len(car.orders) for car in team.cars.values()]
        tab.mouse("#stop-all")
        for car, count in zip(team.cars.values(), stopped, strict=True):
            ordered(car, count + 1)
            assert car.orders[-1] == Stop("page")
        team.silent.clear()
        tab.wait(LIVE)


@pytest.mark.slow
def test_it_fits_a_phone_and_the_token_is_not_in_sight() -> None:
    with (
        shown("alpha", "beta", token="secret-token") as (page, _),
        chromium.opened(page.url) as tab,
    ):
        tab.wait(LIVE)
        assert "secret-token" not in tab.value("location.href + document.cookie")
        tab.call("Page.reload")
        tab.wait(f"document.readyState === 'complete' && {LIVE}")
        # Also narrower than before, as a phone that is turned: what was drawn must shrink.
        for width in (360, 1440, 800, 360):
            tab.size(width, 740, phone=width == 360)
            tab.wait(f"document.documentElement.scrollWidth <= {width}")
            for name in ("stop", "go", "brake", "stop-all"):
                box = f"document.getElementById('{name}').getBoundingClientRect()"
                assert tab.value(f"{box}.height") >= 44, (width, name)
        tab.size(360, 740, phone=True)
        tab.value("scrollTo(0, 99999)")
        for name in ("stop", "go", "brake", "stop-all"):
            box = f"document.getElementById('{name}').getBoundingClientRect()"
            assert tab.value(f"{box}.top >= 0 && {box}.bottom <= innerHeight"), name
        assert tab.errors == []
