import subprocess
import sys

CONVERT = """
import headstart.runtime.openvino_cpu
import openvino, torch
from openvino.tools.ovc import telemetry_utils

openvino.convert_model(torch.nn.Linear(2, 1), example_input=torch.zeros(1, 2))
print(telemetry_utils.tm.__name__, "openvino_telemetry.main" in __import__("sys").modules)
"""


def test_openvino_reports_nothing_to_its_maker() -> None:
    ran = subprocess.run([sys.executable, "-c", CONVERT], capture_output=True, text=True)
    assert ran.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"], ran.stderr
