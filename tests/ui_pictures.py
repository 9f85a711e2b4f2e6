"""Take the screenshots of docs/ui.md: `python tests/ui_pictures.py`, after a change in what the UI shows.

It takes some minutes: four trainings on the simulated fleet, the default data. Look at each screenshot.
"""

import io
import tempfile
from pathlib import Path

from PIL import Image

from support.browser import Window, browser_window
from support.tracking_server import TrackingServer
from support.ui_runs import OK, TAUS, WARNING, FourRuns, train_four

IMAGES = Path(__file__).parent.parent / "docs" / "images"
MAX_BYTES = 150_000


def keep(window: Window, name: str) -> None:
    """What the window shows as docs/images/NAME.png, in 256 colours."""
    picture = Image.open(io.BytesIO(window.settle().page.screenshot(animations="disabled"))).convert("RGB")
    buffer = io.BytesIO()
    # By coverage: the default spends its colours on backgrounds, and the palette of the plots is chosen for any vision.
    palette = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    palette.save(buffer, "png", optimize=True)
    size = buffer.tell()
    if size > MAX_BYTES:
        raise SystemExit(f"{name}.png: {size:,} bytes, expected at most {MAX_BYTES:,}; make its window smaller")
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / f"{name}.png").write_bytes(buffer.getvalue())


def take_pictures(runs: FourRuns) -> None:
    with browser_window(1600, 620) as window:
        window.open(runs.view)
        keep(window, "runs-table")
        window.open(f"{runs.uri}/#/experiments?workflowType=machine_learning", "Runs that train")
        keep(window, "front-page")
        window.open(runs.models, "Source run")
        keep(window, "models-list")
    with browser_window(1600, 500) as window:  # above the tags, one of which is a folder of this machine
        window.open(runs.run(TAUS[1], WARNING), "prevalence")
        keep(window, "run-page")
    with browser_window(1600, 1000) as window:
        for section in ("vram", "figures"):
            window.open(runs.charts).settle().scroll_to(section)
            keep(window, f"charts-{section}")
        window.open(runs.model)
        keep(window, "model-card")
    with browser_window(1600, 680) as window:
        window.open(runs.compare(*(runs.run_ids[TAUS[0], status] for status in (OK, WARNING))))
        window.expect("vram_drift.png").settle().click("vram_drift.png").settle().scroll_to("Artifacts")
        keep(window, "compare")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = TrackingServer(Path(folder)).start()
        try:
            take_pictures(train_four(server, overrides=(), data="fleet", max_epochs=8))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
