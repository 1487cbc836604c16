from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sarcoscope.training.canal import PATCH, CanalCase, hill_loss, random_view, train_member  # noqa: E402


def _case() -> CanalCase:
    cells = np.full((40, 80, 90), -1000, np.float32)
    cells[:, 10:70, 10:80] = 40
    yx = np.stack([np.full(40, 50.0), np.full(40, 45.0)], axis=1)
    for row in range(40):
        cells[row, 38:54, 37:54] = 400
        cells[row, 48:53, 43:48] = 20  # the canal
    known = np.ones(40, bool)
    return CanalCase("c", "p", cells, yx, known)


def test_the_hill_lies_on_the_canal() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        hu, hill = random_view(_case(), 20, rng)
        y, x = np.unravel_index(int(hill.argmax()), hill.shape)
        around = hu[1, max(y - 9, 0) : y + 10, max(x - 9, 0) : x + 10]
        assert hill.max() > 0.8
        assert hu[1, y, x] < np.percentile(around, 90) - 60  # soft in the midst of bone


def test_rows_without_a_canal_have_no_hill() -> None:
    case = _case()
    case.known[:] = False
    assert random_view(case, 3, np.random.default_rng(2))[1].max() == 0


def test_it_learns_one_spine() -> None:
    torch.set_num_threads(1)
    network = train_member([_case()], 25, seed=1)
    hu, hill = random_view(_case(), 10, np.random.default_rng(3))
    from sarcoscope.levels.canal import windowed

    with torch.no_grad():
        logits = network(torch.from_numpy(windowed(hu[None])))
    target = torch.from_numpy(hill[None])
    assert hill_loss(logits, target) < hill_loss(torch.zeros(1, PATCH, PATCH), target)
