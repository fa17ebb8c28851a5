"""Any sequence of strokes, undo and redo leaves an annotation layer as a simple model predicts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.domain.annotation_layer import AnnotationLayer
from app.domain.provenance import StrokeKind
from app.domain.strokes import stroke_between
from vjepa_core.label_image import structures_in

N_FRAMES, HEIGHT, WIDTH = 3, 6, 7

Picture = tuple[bytes, tuple[tuple[int, str], ...]]
"""Pixels of a frame and the provenance of its structures."""


@dataclass(frozen=True)
class Paint:
    """Give a rectangle of a frame one label value."""

    frame: int
    value: int
    y: slice
    x: slice
    kind: StrokeKind


Action = Paint | str

spans = st.tuples(st.integers(0, 5), st.integers(1, 4)).map(lambda span: slice(span[0], sum(span)))
paints = st.builds(
    Paint,
    st.integers(0, N_FRAMES - 1),
    st.sampled_from((0, 1, 2, 3, 255)),
    spans,
    spans,
    st.sampled_from(("brush", "polygon", "erase", "accept")),
)
actions = st.lists(paints | st.sampled_from(("undo", "redo")), max_size=25)


@dataclass
class Model:
    """Complete copies of all frames after every stroke, and the position among them."""

    states: list[tuple[Picture, ...]] = field(default_factory=list)
    position: int = 0

    def push(self, state: tuple[Picture, ...]) -> None:
        """Record a state; states that could have been redone are dropped."""
        self.states[self.position + 1 :] = [state]
        self.position += 1

    def step(self, offset: int) -> None:
        """Move to an earlier or later state, if there is one."""
        self.position = min(max(self.position + offset, 0), len(self.states) - 1)


def snapshot(layer: AnnotationLayer) -> tuple[Picture, ...]:
    """Return everything that undo and redo have to restore."""
    empty = np.zeros(layer.shape, np.uint8)
    pictures = []
    for frame in range(layer.n_frames):
        label = layer.label(frame)
        states = tuple(sorted((value, str(state)) for value, state in layer.states(frame).items()))
        pictures.append(((empty if label is None else label).tobytes(), states))
    return tuple(pictures)


def paint(layer: AnnotationLayer, action: Paint) -> bool:
    """Apply a stroke; return False if it changes nothing."""
    before = layer.label(action.frame)
    after = np.zeros(layer.shape, np.uint8) if before is None else before.copy()
    after[action.y, action.x] = action.value
    stroke = stroke_between(
        action.frame, before, after, action.kind, "rater", states_before=layer.states(action.frame)
    )
    if stroke is not None:
        layer.apply(stroke)
    return stroke is not None


@given(actions)
def test_layer_equals_a_model_that_copies_every_state(sequence: list[Action]) -> None:
    layer = AnnotationLayer(N_FRAMES, HEIGHT, WIDTH)
    model = Model([snapshot(layer)])
    for action in sequence:
        revision = layer.revision
        if isinstance(action, Paint):
            if paint(layer, action):
                model.push(snapshot(layer))
        else:
            stroke = layer.undo() if action == "undo" else layer.redo()
            model.step(-1 if action == "undo" else 1)
            assert layer.revision == revision + (stroke is not None)
        assert snapshot(layer) == model.states[model.position]
        assert layer.can_undo == (model.position > 0)
        assert layer.can_redo == (model.position < len(model.states) - 1)


@given(st.lists(paints, max_size=15))
def test_undoing_and_redoing_all_strokes_restores_every_frame(sequence: list[Paint]) -> None:
    layer = AnnotationLayer(N_FRAMES, HEIGHT, WIDTH)
    empty = snapshot(layer)
    for action in sequence:
        paint(layer, action)
    painted = snapshot(layer)
    while layer.undo():
        pass
    assert snapshot(layer) == empty
    assert layer.annotated_frames == ()
    while layer.redo():
        pass
    assert snapshot(layer) == painted


@given(st.lists(paints, max_size=15), st.integers(1, 5))
def test_history_keeps_the_newest_strokes_up_to_its_bound(sequence: list[Paint], bound: int) -> None:
    layer = AnnotationLayer(N_FRAMES, HEIGHT, WIDTH, max_steps=bound)
    n_strokes = sum([paint(layer, action) for action in sequence])
    undone = 0
    while layer.undo():
        undone += 1
    assert undone == min(n_strokes, bound)


@given(actions)
def test_every_structure_with_a_pixel_has_a_provenance(sequence: list[Action]) -> None:
    layer = AnnotationLayer(N_FRAMES, HEIGHT, WIDTH)
    for action in sequence:
        if isinstance(action, Paint):
            paint(layer, action)
        else:
            layer.undo() if action == "undo" else layer.redo()
        for frame, label in layer.labels.items():
            assert set(structures_in(label)) <= set(layer.states(frame))
