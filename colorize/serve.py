"""`ltbc serve`: the colorizer as a page in the browser, for this machine only; needs the extra `serve`.

Photographs go to this program and nowhere else. What a page uploads and what is made of it lies in a temporary folder
that is deleted when the page is closed, and with all others when the program ends.
"""

import argparse
import os
import signal
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from ltbc.colorize import options
from ltbc.colorize.colorizer import Colorizer
from ltbc.colorize.options import fail
from ltbc.colorize.picture import ImageError
from ltbc.nn import WeightsError

HOST, FIRST_PORT = "127.0.0.1", 7860
MISSING = "the page needs the package gradio: pip install 'let-there-be-color[serve]'"
GRADIO = {
    "GRADIO_SERVER_PORT": str(FIRST_PORT), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def main(arguments: list[str]) -> int:
    """Runs the command line after `serve` until it is interrupted."""
    parser = argparse.ArgumentParser("ltbc serve", description="Opens a page on this machine that "
                                     "colors photographs; nothing is sent anywhere.")
    add = parser.add_argument
    add("--port", type=options.port, help=f"default: the first free one from {FIRST_PORT}")
    add("--max-upload", type=options.memory_size, default=options.memory_size("200M"), metavar="200M",
        help="size of a file that is taken (default 200M)")
    add("--max-megapixels", type=options.count, default=100, metavar="100",
        help="size of a photograph that is taken (default 100)")
    options.add_network(parser)
    chosen = parser.parse_args(arguments)
    if find_spec("gradio") is None:
        return fail(MISSING)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        colorizer = options.load(chosen)
        with tempfile.TemporaryDirectory(prefix="colorize-", ignore_cleanup_errors=True) as folder:
            run(colorizer, Path(folder).resolve(), chosen)
    except KeyboardInterrupt:
        return 0
    except (ImageError, WeightsError) as error:
        return fail(str(error))
    except OSError as error:
        named = f"is port {chosen.port} free? Without --port, a free one is found" if chosen.port else error
        return fail(f"the page cannot be opened ({error.strerror or named})")
    return 0


def run(colorizer: Colorizer, folder: Path, chosen: argparse.Namespace) -> None:
    """Serves the page until KeyboardInterrupt. folder: for all files of all pages."""
    os.environ.update(GRADIO | {"GRADIO_TEMP_DIR": str(folder)})  # read when gradio is imported
    from ltbc.colorize import page

    blocks = page.build(colorizer, folder, chosen.max_megapixels, chosen.max_upload)
    try:
        _, url, _ = blocks.launch(
            server_name=HOST, server_port=chosen.port, share=False, quiet=True, prevent_thread_lock=True,
            max_file_size=chosen.max_upload, run_history=False, footer_links=[], enable_monitoring=False,
            ssr_mode=False, mcp_server=False, pwa=False, show_error=True, **page.look(),
        )
        print(f"{url}  (nothing leaves this machine; Ctrl-C ends it)", flush=True)
        threading.Event().wait()
    finally:
        blocks.close(verbose=False)


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
