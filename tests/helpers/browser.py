"""A headless Chromium, spoken to through its own pipe; nothing but the browser is needed.

It is what Debian's package `chromium` installs, or any other Chromium or Chrome of that name.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio"]
# An open window would call home for updates and lists.
OPTIONS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


def find_browser() -> str | None:
    """Return the browser's command, or None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page of a browser.

    Attributes
    ----------
    complaints : list of str
        What the page wrote to the console as an error, what it threw, and what it could not load.
    requests : list of str
        Addresses that it asked for.
    """

    def __init__(self, send: int, receive: int):
        self.send, self.receive = send, receive
        self.rest = b""
        self.numbers = count(1)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        """Call a method of the DevTools protocol and return its result."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self.read(deadline - time.monotonic())
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.note(answer)

    def read(self, seconds: float) -> dict:
        """Return the next message of the browser."""
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.receive], [], [], max(0, seconds))
            assert ready, "the browser gives no answer"
            new = os.read(self.receive, 1 << 20)
            assert new, "the browser has ended"
            self.rest += new
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def note(self, event: dict) -> None:
        """Take down what is wrong with the page."""
        about = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                thrown = about["exceptionDetails"]
                said = thrown.get("exception", {}).get("description", thrown["text"])
                self.complaints.append(said)
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "warning", "assert"):
                self.complaints.append(" ".join(str(one.get("value")) for one in about["args"]))
            case "Log.entryAdded" if about["entry"]["level"] in ("error", "warning"):
                self.complaints.append(about["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
            case "Network.loadingFailed":
                self.complaints.append(f"not loaded: {about['errorText']}")

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file and wait until it is loaded."""
        self.call("Page.navigate", url=path.resolve().as_uri() + fragment)
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, script: str):
        """Return the value of an expression, or of what it promises."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + SECONDS
        while not self.run(condition):
            assert time.monotonic() < deadline, f"waited in vain for {condition}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press a key on what has the focus."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """Give the window a size in pixels, and the system a dark or light style."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        style = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[style])

    def photograph(self, path: Path) -> None:
        """Write what the window shows as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def browsing(profile: Path):
    """Start a browser with a profile of its own and give its one page."""
    reads, sends = os.pipe(), os.pipe()  # what the browser reads, and what it sends
    # Chromium takes the descriptors 3 and 4, which may be in use here.
    ours = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10) for number in (reads[0], sends[1])]
    command = [find_browser(), *OPTIONS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    shell = f'exec "$@" 3<&{ours[0]} 4>&{ours[1]}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", *command],
        pass_fds=ours,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for number in (reads[0], sends[1], *ours):
        os.close(number)
    try:
        page = Page(reads[1], sends[0])
        yield page
        page.session = None
        page.call("Browser.close")
        process.wait(SECONDS)
    finally:
        process.kill()
        process.wait()
        for number in (reads[1], sends[0]):
            os.close(number)
