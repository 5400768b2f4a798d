"""axe-core, which looks for what keeps people from using a page; `make test` gets it by npm where there is one."""

from tests import ROOT
from tests.tools.browser import Browser

VERSION = "4.14.1"
SCRIPT = ROOT / ".venv" / "node_modules" / "axe-core" / "axe.min.js"
NEEDS_AXE = f"accessibility needs axe-core: npm install --no-save --prefix .venv axe-core@{VERSION}"


def findings(page: Browser) -> list[str]:
    """What is serious or critical on the page as it stands, a line each."""
    page.run(SCRIPT.read_text())
    found = page.run("return axe.run(document).then(result => result.violations)")
    return [f"{one['id']}: {node['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
            for node in one["nodes"]]
