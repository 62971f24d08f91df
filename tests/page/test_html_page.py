import re
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from headstart.page.html_page import SCRIPTS

ASSETS = files("headstart.page") / "assets"


def test_the_library_is_the_file_that_npm_published() -> None:
    library = (ASSETS / "vendor" / "echarts.min.js").read_bytes()
    # dist/echarts.min.js of https://registry.npmjs.org/echarts/-/echarts-6.1.0.tgz
    expected = "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"
    assert sha256(library).hexdigest() == expected
    assert b'version="6.1.0"' in library
    assert "Apache License" in (ASSETS / "vendor" / "LICENSE").read_text()
    assert "Apache ECharts" in (ASSETS / "vendor" / "NOTICE").read_text()


def test_every_script_is_in_the_page_and_none_parses_a_name_as_html() -> None:
    own = {path.name for path in Path(str(ASSETS)).glob("*.js")}
    assert own == set(SCRIPTS)
    for name in SCRIPTS:
        script = (ASSETS / name).read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script
        )
