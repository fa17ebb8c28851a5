"""State shared by the request handler, the scheduler and the jobs of the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.fit import Fit
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.heads import Heads
from vjepa_core.service.reporter import Reporter


@dataclass(eq=False)
class RunningFit:
    """The fit in progress.

    Attributes
    ----------
    fit : Fit
    cines : list of CineState
        The cines whose labels it uses.
    last_preview : float
        Time of `time.monotonic`.
    """

    fit: Fit
    cines: list[CineState]
    last_preview: float = 0.0


@dataclass(eq=False)
class EngineState:
    """State of the engine.

    Attributes
    ----------
    reporter : Reporter
    heads : Heads
    encoder : (module, card)
    cache : FeatureCache
    scratch_folder : Path
        Folder for the files of fitted heads.
    cines : dict
        Open cines by id.
    visible_id : int
        Id of the visible cine; until the program sets it, of the cine opened last.
    is_visible_set : bool
        True once the program has set the visible cine.
    is_cancelled : bool
        True if no job runs until `Resume` or new labels.
    is_closing : bool
        True after `Shutdown`.
    needs_suggestion : bool
        True if the suggestion has to be updated after requests or other jobs.
    running_fit : RunningFit or None
    interrupted_fit : Fit or None
        Fit that new labels have interrupted; the next fit continues from its head.
    """

    reporter: Reporter
    heads: Heads
    encoder: LoadedEncoder
    cache: FeatureCache
    scratch_folder: Path
    cines: dict[int, CineState] = field(default_factory=dict)
    visible_id: int = 0
    is_visible_set: bool = False
    is_cancelled: bool = False
    is_closing: bool = False
    needs_suggestion: bool = True
    running_fit: RunningFit | None = None
    interrupted_fit: Fit | None = None

    @property
    def visible(self) -> CineState | None:
        """The visible cine, or any other open cine if it is not open; None without open cines."""
        return self.cines.get(self.visible_id) or next(iter(self.cines.values()), None)

    @property
    def all_cines(self) -> list[CineState]:
        """All open cines."""
        return list(self.cines.values())

    @property
    def labelled_cines(self) -> list[CineState]:
        """Labelled cines, except for those that failed."""
        return [cine for cine in self.cines.values() if cine.is_labelled and not cine.has_failed]

    def interrupt_fit(self) -> None:
        """End the fit in progress; the next fit continues from its head."""
        if self.running_fit is not None and self.running_fit.fit.done_steps:
            self.interrupted_fit = self.running_fit.fit
        self.running_fit = None

    def discard_fit(self) -> None:
        """End the fit in progress and discard its head."""
        self.running_fit = self.interrupted_fit = None
