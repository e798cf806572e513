"""The browser's stretch is the command's: the module runs under Node on the same numbers."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from common import MtfStretch
from common.page.assets import STATIC
from common.page.plane import View

STEPS = 65536  # of a ramp to 1/65535
node = pytest.mark.skipif(
    shutil.which("node") is None, reason="NOT TESTED: the browser's stretch needs nodejs (apt-get)"
)


def run_node(code, *files):
    script = f"""
import * as stretch from {json.dumps(STATIC.joinpath("stretch.js").as_uri())};
import {{ readFileSync }} from "node:fs";
const files = process.argv.slice(1).map((name) => readFileSync(name));
{code}
"""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script, *map(str, files)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@node
@pytest.mark.parametrize("target", [0.25, 0.1, 0.6])
@pytest.mark.parametrize(("pedestal", "scale", "midtones"), [
    (0.0, 1.0, 0.1), (-3.5, 20.0, 0.003), (100.0, 65000.0, 0.7),
])  # fmt: skip
def test_a_ramp_is_stretched_as_by_the_command(pedestal, scale, midtones, target):
    ramp = pedestal + scale * np.linspace(-0.1, 1.1, STEPS)
    stretch = MtfStretch(pedestal=(pedestal,), scale=(scale,), midtones=(midtones,), target=target)
    wanted = stretch.forward(ramp.reshape(1, -1, 1)).ravel()
    numbers = {"pedestal": pedestal, "scale": scale, "midtones": midtones}
    found = run_node(f"""
const out = [];
for (let i = 0; i < {STEPS}; i++) {{
  const value = {pedestal} + {scale} * (-0.1 + (1.2 * i) / {STEPS - 1});
  out.push(stretch.forward(value, {json.dumps(numbers)}, {target}));
}}
console.log(JSON.stringify(out));
""")
    assert np.abs(np.array(found) - wanted).max() < 1 / 65535


@node
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("quantile", [0.7, 0.95, 0.999])
def test_a_plane_gets_the_greys_of_the_command(tmp_path, linked, quantile):
    rng = np.random.default_rng(11)
    pixels = rng.gamma(4, 10, (50, 70, 3)) * [1, 1.5, 3]
    file = tmp_path / "plane"
    file.write_bytes(View(name="input", label="Input", pixels=pixels).encode())
    kind = "linked" if linked else "single"
    found = run_node(f"""
const [data] = files;
const plane = stretch.readPlane(data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
const tables = plane.values.map((values, c) => {{
  const wanted = {{ quantile: {quantile}, shadows: null }};
  const levels = stretch.levelsOf(plane.levels.{kind}[c], wanted);
  return stretch.tableOf(values, levels, 0.25, plane.offset[c], [0.001, 0.999]);
}});
const out = new Uint32Array(plane.width * plane.height);
stretch.paint(out, plane.codes, tables, false);
console.log(JSON.stringify([...new Uint8Array(out.buffer)]));
""", file)  # fmt: skip
    fitted = MtfStretch.fit(pixels, quantile=quantile, linked=linked)
    wanted = np.floor(255 * fitted.forward(pixels) + 0.5)
    shown = np.array(found).reshape(50, 70, 4)[..., :3]
    # a code stands for a value to 1e-4 of the noise: where it rounds, one grey of 255
    assert np.abs(shown - wanted).max() <= 1
    assert (shown != wanted).mean() < 0.01


@node
def test_a_redraw_of_a_megapixel_takes_less_than_20_ms(tmp_path):
    pixels = np.random.default_rng(1).normal(100, 5, (1000, 1000, 1))
    file = tmp_path / "plane"
    file.write_bytes(View(name="input", label="Input", pixels=pixels).encode())
    times = run_node("""
const [data] = files;
const plane = stretch.readPlane(data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
const out = new Uint32Array(plane.width * plane.height);
const times = [];
for (let i = 0; i < 31; i++) {
  const start = performance.now();
  const levels = stretch.levelsOf(plane.levels.single[0], { quantile: 1 - i / 100, shadows: 2.8 });
  const table = stretch.tableOf(plane.values[0], levels, 0.25, 0, [0, 1]);
  stretch.paint(out, plane.codes, [table], false);
  times.push(performance.now() - start);
}
console.log(JSON.stringify(times));
""", file)  # fmt: skip
    assert np.median(times) < 20
