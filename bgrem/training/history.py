"""The history of a training as a table and a picture."""

import csv
from pathlib import Path

from common.atomic import atomic_write

HISTORY_FILE = "history.csv"  # in the run folder
# of the table of epochs
HISTORY_COLUMNS = ("epoch", "loss", "validation_loss", "learning_rate", "seconds")


def write_history(folder: Path, history: list[dict[str, float]]) -> None:
    """Write history.csv and history.png."""
    with atomic_write(folder / HISTORY_FILE, overwrite=True) as path:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HISTORY_COLUMNS)
            writer.writeheader()
            writer.writerows(history)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epochs = [row["epoch"] for row in history]
    for name in ("loss", "validation_loss"):
        axes.plot(epochs, [row[name] for row in history], label=name.replace("_", " "))
    axes.set(xlabel="epoch", ylabel="loss", yscale="log")
    axes.legend()
    with atomic_write(folder / "history.png", overwrite=True) as path:
        figure.savefig(path, dpi=120)
