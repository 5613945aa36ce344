"""What people write DynamoDB programs with, from the npm registry, each against the embedded DynamoDB."""
import subprocess

import pytest
from conftest import ROOT, Local, npm_packages


@pytest.mark.parametrize("options", [(), ("--table-delay", "300ms")], ids=["at-once", "with-delays"])
@pytest.mark.parametrize("name", ["document", "electrodb", "toolbox", "dynamoose", "onetable", "typedorm"])
def test_a_mapper(name, options, tmp_path):
    service = Local(tmp_path, *options)
    try:
        done = subprocess.run(["node", ROOT / "tests" / "integration" / "mappers.cjs", service.url, npm_packages("mappers"), name],
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and done.stdout.strip() == "ok", done.stderr
    finally:
        service.stop()
