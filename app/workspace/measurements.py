"""Measurements of the visible cine and of its pair, kept up to date in another thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from psygnal import Signal

from app.domain.calibration import calibrate, region_to_calibrate, with_calibrations
from app.domain.cine import Cine
from app.domain.facts import AssignedView, FactEdit, Landmarks, Phase, PhaseMark, Point
from app.domain.measure.body_size import BodySize
from app.domain.measure.cine_measurement import structure_values
from app.domain.measure.heart import Values
from app.domain.measure.left_heart import LeftHeart, measure_left_heart
from app.domain.views import FactSource, View, view_named
from app.storage.recorder import Recorder
from app.workspace.dispatcher import Timer
from app.workspace.measuring.cine_snapshot import CineSnapshot, GeometryCache
from app.workspace.measuring.pairs import PairChoice
from app.workspace.measuring.stored_choices import StoredChoices
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace
from vjepa_core.service.messages import Stage

logger = logging.getLogger(__name__)

DELAY_MS = 120
"""Changes within this time are measured together."""

_STOPPED = (Stage.WAITING, Stage.NOT_RECOGNISED, Stage.CANCELLED)
"""Stages in which no newer masks will follow."""


@dataclass(frozen=True, eq=False)
class _Measured:
    """Measurements, and the cines that they belong to."""

    result: LeftHeart
    used: tuple[OpenedCine, ...]


class Measurements:
    """Measures the visible cine, and the pair that it forms with another view of its study.

    The shown masks are measured in another thread, and only where they changed. All methods and signals
    belong to the thread of the workspace.

    Parameters
    ----------
    workspace : Workspace

    Attributes
    ----------
    result : LeftHeart or None
        Newest measurements; None if there is nothing to measure.
    used : tuple of OpenedCine
        Cines that were measured for it, the visible one first.
    """

    changed = Signal()

    def __init__(self, workspace: Workspace) -> None:
        self.result: LeftHeart | None = None
        self.used: tuple[OpenedCine, ...] = ()
        self._workspace = workspace
        self._stored = StoredChoices(lambda: workspace.project)
        self._pairs = PairChoice(workspace, self.view_of, self._stored)
        self._caches: dict[OpenedCine, GeometryCache] = {}
        self._worker = ThreadPoolExecutor(1, "measurements")
        self._timer: Timer | None = None
        self._is_running = self._was_updating = False
        self._wanted = threading.Event()  # newer changes make the present job stop
        self._is_closed = False
        for signal in (workspace.labels_changed, workspace.learner.predicted):
            signal.connect(self._schedule, check_nargs=False, max_args=0)
        workspace.learner.view_recognised.connect(self._on_view)
        workspace.learner.progress.connect(self._check_updating, check_nargs=False, max_args=0)
        workspace.cines_changed.connect(self._on_cines)
        workspace.visible_cine_changed.connect(self._on_visible_cine)

    def close(self) -> None:
        """Stop measuring; at the end of the program."""
        self._is_closed = True
        self._wanted.set()
        if self._timer is not None:
            self._timer.cancel()
        self._worker.shutdown(wait=False, cancel_futures=True)

    # State

    @property
    def is_updating(self) -> bool:
        """True while changes are measured, or while newer masks of the visible cine will follow."""
        visible, progress = self._workspace.visible_cine, self._workspace.learner.last_progress
        is_stopped = progress is None or progress.stage in _STOPPED
        is_outdated = (
            visible is not None and visible.recorder.layer.annotated_frames != () and bool(visible.outdated)
        )
        return self._is_running or self._timer is not None or (is_outdated and not is_stopped)

    @property
    def pair(self) -> OpenedCine | None:
        """The cine that is measured together with the visible one, or None."""
        visible = self._workspace.visible_cine
        return None if visible is None else self._pairs.of(visible)

    @property
    def pair_reason(self) -> str:
        """Why there are no biplane measurements, in one sentence; "" if there are or none are expected."""
        visible = self._workspace.visible_cine
        return "" if visible is None else self._pairs.reason(visible)

    @property
    def pair_candidates(self) -> list[OpenedCine]:
        """Open cines that the visible one can be paired with."""
        visible = self._workspace.visible_cine
        return [] if visible is None else self._pairs.candidates(visible)

    @property
    def body(self) -> BodySize | None:
        """Height and weight of the patient of the visible cine, or None."""
        visible = self._workspace.visible_cine
        return None if visible is None else self._stored.body(visible.record.study_hash)

    def view_of(self, opened: OpenedCine) -> tuple[View | None, FactSource | None]:
        """Return the view of a cine and its source.

        Returns
        -------
        View or None
            None if it is unknown.
        FactSource or None
            None if the view was recognised by the program and nobody has confirmed it.
        """
        stated = opened.recorder.layer.view
        if stated is not None:
            return stated.view, stated.source
        of_file = view_named(opened.cine.view)
        if of_file is not None:
            return of_file, FactSource.FILE
        return opened.recognised_view or self._stored.recognised_view(opened.id), None

    def calibrated(self, opened: OpenedCine) -> Cine:
        """Return a cine with its calibrations by hand."""
        return with_calibrations(opened.cine, opened.recorder.layer.calibrations)

    # Changes, each a step of the history of the cine

    def set_view(self, opened: OpenedCine, view: View | None) -> None:
        """State the view of a cine, or withdraw the statement."""
        is_recognised = self.view_of(opened) == (view, None)
        source = FactSource.RECOGNISED if is_recognised else FactSource.MANUAL
        fact = None if view is None else AssignedView(view, source)
        self._workspace.editor.change_facts(opened, lambda recorder, rater: recorder.set_view(fact, rater))

    def set_phase(self, opened: OpenedCine, frame: int, phase: Phase | None) -> None:
        """Mark a frame as end-diastolic or end-systolic in place of the present mark of that phase.

        With None, the mark of the frame is removed.
        """
        marks = opened.recorder.layer.phases
        mark = None if phase is None else PhaseMark(phase, FactSource.MANUAL)
        before = [other for other, known in marks.items() if known.phase is phase and other != frame]
        if mark is not None and before:
            moved, old = mark, before[0]
            self._workspace.editor.change_facts(
                opened, lambda recorder, rater: recorder.move_phase(old, frame, moved, rater)
            )
        else:
            self._workspace.editor.change_facts(
                opened, lambda recorder, rater: recorder.set_phase(frame, mark, rater)
            )

    def set_landmarks(self, opened: OpenedCine, frame: int, landmarks: Landmarks | None) -> None:
        """Set the landmarks of a frame by hand, or with None derive them from its mask again."""
        self._workspace.editor.change_facts(
            opened, lambda recorder, rater: recorder.set_landmarks(frame, landmarks, rater)
        )

    def set_calibration(self, opened: OpenedCine, points: tuple[Point, Point], distance_mm: float) -> None:
        """Set the pixel size by two points, (column, row) in pixels, of known distance.

        Raises
        ------
        CalibrationError
            If the points or the distance are not plausible; nothing changes.
        """
        region = region_to_calibrate(opened.cine, points)
        calibration = calibrate(opened.cine, points, distance_mm, region)
        self._workspace.editor.change_facts(
            opened, lambda recorder, rater: recorder.set_calibration(region, calibration, rater)
        )

    def remove_calibrations(self, opened: OpenedCine) -> None:
        """Return to the pixel sizes that the file states."""
        for region in opened.recorder.layer.calibrations:
            self._workspace.editor.change_facts(opened, partial(_remove_calibration, region))

    # Choices that are not part of the history

    def set_pair(self, other: OpenedCine | None) -> None:
        """Pair the visible cine with another one, or measure it alone; stored in the project."""
        visible = self._workspace.visible_cine
        if visible is not None:
            self._pairs.choose(visible, other)
            self._schedule()

    def set_beat(self, opened: OpenedCine, beat: int) -> None:
        """Choose the beat of a cine whose numbers come first, by its index; stored in the project."""
        self._stored.set_beat(opened.id, beat)
        self._schedule()

    def set_body(self, body: BodySize | None, *, store: bool = False) -> None:
        """Set height and weight of the patient; stored in the project only on request."""
        visible = self._workspace.visible_cine
        if visible is not None:
            self._stored.set_body(visible.record.study_hash, body, store=store)
            self._schedule()

    # Measuring

    def _cines(self) -> list[OpenedCine]:
        """Return the cines to measure, the visible one first."""
        return [opened for opened in (self._workspace.visible_cine, self.pair) if opened is not None]

    def _on_visible_cine(self) -> None:
        open_cines = set(self._workspace.opened_cines)
        self._caches = {opened: cache for opened, cache in self._caches.items() if opened in open_cines}
        if self._workspace.visible_cine not in self.used:
            self._show(None)
        self._schedule()

    def _on_cines(self) -> None:
        """Measure the pair once it is open."""
        visible = self._workspace.visible_cine
        if visible is not None:
            self._pairs.open_pair(visible)
        pair = self.pair
        if pair is not None and pair not in self.used:
            self._schedule()

    def _on_view(self, opened: OpenedCine) -> None:
        if self.view_of(opened)[1] is None:
            self._stored.set_view(opened.id, opened.recognised_view, is_recognised=True)
        self._schedule()

    def _check_updating(self) -> None:
        if self.is_updating != self._was_updating:
            self._announce()

    def _announce(self) -> None:
        self._was_updating = self.is_updating
        self.changed.emit()

    def _store_views(self) -> None:
        """Store the views of the open cines, so that they can be paired before they are opened again."""
        for opened in self._workspace.opened_cines:
            view, source = self.view_of(opened)
            self._stored.set_view(opened.id, view, is_recognised=source is None)

    def _schedule(self) -> None:
        """Measure soon, together with further changes."""
        self._wanted.set()
        if self._timer is None and not self._is_running and not self._is_closed:
            self._timer = self._workspace.dispatcher.call_later(DELAY_MS, self._start)
            self._announce()  # `is_updating` changed

    def _start(self) -> None:
        self._timer = None
        self._store_views()
        if self._workspace.visible_cine is not None:
            self._pairs.open_pair(self._workspace.visible_cine)
        values = structure_values(self._workspace.label_set)
        snapshots = [] if values is None else self._snapshots()
        if values is None or not snapshots or not snapshots[0].frames:
            self._show(None)
            return
        self._wanted.clear()
        self._is_running = True
        caches = [self._caches.setdefault(snapshot.opened, GeometryCache()) for snapshot in snapshots]
        body = self.body
        self._worker.submit(self._measure, snapshots, caches, values, body)

    def _snapshots(self) -> list[CineSnapshot]:
        found: list[CineSnapshot] = []
        for opened in self._cines():
            view, source = self.view_of(opened)
            if source is None and view is not None:
                source = FactSource.RECOGNISED
            if view is None and not found:
                return []  # a short axis would be measured as an apical view
            found.append(CineSnapshot.of(opened, view, source, self._stored.beat(opened.id)))
        is_pair = len(found) == 2 and found[1].frames and found[0].view is not found[1].view
        return found if is_pair else found[:1]

    def _measure(
        self,
        snapshots: Sequence[CineSnapshot],
        caches: Sequence[GeometryCache],
        values: Values,
        body: BodySize | None,
    ) -> None:
        """Measure in the other thread: first what is needed for the numbers, then all frames."""
        dispatcher = self._workspace.dispatcher

        def show() -> None:
            dispatcher.post(partial(self._show, _measured(snapshots, caches, values, body)))

        try:
            show()
            for snapshot, cache in zip(snapshots, caches, strict=True):
                known = cache.known(snapshot, values)
                for frame in snapshot.frames:
                    if self._wanted.is_set():
                        return
                    if frame not in known:
                        cache.examine(snapshot, frame, values)
            show()
        except Exception:
            logger.exception("the measurements failed")
            dispatcher.post(partial(self._show, None))
        finally:
            dispatcher.post(self._on_finished)

    def _on_finished(self) -> None:
        self._is_running = False
        if self._wanted.is_set():
            self._schedule()
        elif not self._is_closed:
            self._announce()  # `is_updating` changed

    def _show(self, measured: _Measured | None) -> None:
        if self._is_closed:
            return
        visible = self._workspace.visible_cine
        if measured is None or measured.used[0] is not visible:
            measured = None
        self.result = None if measured is None else measured.result
        self.used = () if measured is None else measured.used
        self._announce()


def _remove_calibration(region: int | None, recorder: Recorder, rater: str) -> FactEdit | None:
    return recorder.set_calibration(region, None, rater)


def _measured(
    snapshots: Sequence[CineSnapshot],
    caches: Sequence[GeometryCache],
    values: Values,
    body: BodySize | None,
) -> _Measured:
    """Measure snapshots; frames that are not in the caches are examined if the numbers need them."""
    views = [
        snapshot.view_input(values, inside=cache.sector(snapshot.cine), known=cache.known(snapshot, values))
        for snapshot, cache in zip(snapshots, caches, strict=True)
    ]
    result = measure_left_heart(views, values, body=body)
    return _Measured(result, tuple(snapshot.opened for snapshot in snapshots))
