"""What the README shows in Python runs as it stands there."""

import re
import shutil
import subprocess
import sys

from dtsnet_jax.jobs.train import train
from tests.helpers import ROOT, photograph, small_config
from tests.miniature import save


def test_the_readmes_three_lines_score_a_photograph(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(
        r"### From Python.*?```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    for index in range(30):
        save(photograph(index), tmp_path / "parts" / "normal" / f"{index:03}.png")
    config = small_config(tmp_path / "parts", train__epochs=1, data__calibration=0.5)
    monkeypatch.chdir(tmp_path)
    train(config, tmp_path / "runs" / "folder-robust")
    shutil.copy(tmp_path / "parts" / "normal" / "000.png", "part.png")
    capsys.readouterr()
    exec(compile(code, "README.md", "exec"), {})
    assert re.match(r"(OK|review|NG) \d", capsys.readouterr().out)
    assert (tmp_path / "heat.png").is_file()


def test_scoring_imports_neither_tensorflow_nor_matplotlib_nor_onnx():
    code = (
        "import sys, dtsnet_jax; assert 'jax' not in sys.modules; from dtsnet_jax import Detector; "
        "print([name for name in ('tensorflow', 'matplotlib', 'orbax') if name in sys.modules]); "
        "import dtsnet_jax.jobs.predict; "
        "print([name for name in ('matplotlib', 'onnx', 'onnxruntime') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert printed.stdout.split() == ["[]", "[]"], printed.stderr
