"""Make digits.onnx and example.json: a small network on scikit-learn's handwritten digits.

Run in the project's folder: ``python models/digits/train.py``. It needs no network, and gives the same file each time.
"""

import json
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

FOLDER = Path(__file__).parent
HELD_OUT = 0.25
SEED = 0
BRIGHTEST = 16  # the data counts the dark pixels of 4 x 4 blocks: 0 to 16


def main() -> None:
    pixels, digits = load_digits(return_X_y=True)
    scaled = (pixels / BRIGHTEST).astype(np.float32)
    rows = np.arange(len(digits))
    train, test = train_test_split(rows, test_size=HELD_OUT, random_state=SEED, stratify=digits)

    network = MLPClassifier(hidden_layer_sizes=(64,), alpha=1e-3, max_iter=400, random_state=SEED)
    network.fit(scaled[train], digits[train])
    accuracy = network.score(scaled[test], digits[test])

    model = to_onnx(
        network,
        initial_types=[("pixels", FloatTensorType([None, 64]))],
        options={"zipmap": False},
        name="digits",
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = "modelyard.classes", json.dumps([str(digit) for digit in network.classes_])
    (FOLDER / "digits.onnx").write_bytes(model.SerializeToString(deterministic=True))

    instances = [{"pixels": pixels[row].reshape(8, 8).astype(int).tolist()} for row in test[:2]]
    (FOLDER / "example.json").write_text(_readable(instances), encoding="utf-8")
    size = (FOLDER / "digits.onnx").stat().st_size
    print(f"trained on {len(train)} digits; {accuracy:.4f} of {len(test)} held-out digits right; {size:,} bytes")
    print(f"example.json holds a {digits[test[0]]} and a {digits[test[1]]}")


def _readable(instances: list[dict[str, list[list[int]]]]) -> str:
    """JSON with one row of pixels on a line, so that the digits can be seen."""
    images = []
    for instance in instances:
        rows = ",\n      ".join("[" + ", ".join(f"{value:2d}" for value in row) + "]" for row in instance["pixels"])
        images.append('    {"pixels": [\n      ' + rows + "\n    ]}")
    return '{\n  "instances": [\n' + ",\n".join(images) + "\n  ]\n}\n"


if __name__ == "__main__":
    main()
