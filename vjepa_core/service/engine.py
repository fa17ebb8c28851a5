"""The engine process, which uses torch and the GPU, receives requests from a pipe and sends reports.

One thread receives requests, another one runs jobs: see `jobs` for the jobs, `scheduler` for their order and
`requests` for the effects of requests.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.errors import CoreError, one_line
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.recogniser import load_recogniser
from vjepa_core.fewshot.starter import load_starter
from vjepa_core.fewshot.view_recogniser import load_view_recogniser
from vjepa_core.memory import is_lack_of_memory
from vjepa_core.service.engine_state import EngineState
from vjepa_core.service.heads import Heads
from vjepa_core.service.inbox import Inbox
from vjepa_core.service.jobs import Job, JobError, SuggestJob
from vjepa_core.service.messages import Failed, FailureKind, Ready, Shutdown, Stage
from vjepa_core.service.reporter import Reporter
from vjepa_core.service.requests import RequestHandler
from vjepa_core.service.scheduler import Scheduler

logger = logging.getLogger(__name__)


class Engine:
    """The loop of the engine; `run` returns on `Shutdown` or when the pipe breaks.

    Parameters
    ----------
    connection : Connection
        Pipe to the program.
    cache_folder : Path
        Folder of the feature cache.
    scratch_folder : Path
        Folder for the files of fitted heads.
    encoder : str
        Name of the encoder.
    encoder_folders : sequence of Path, optional
        Folders with encoder cards; default: the shipped encoders.

    Attributes
    ----------
    state : EngineState
        Set once the encoder is loaded.
    inbox : Inbox
    """

    state: EngineState

    def __init__(
        self,
        connection: Connection,
        *,
        cache_folder: Path,
        scratch_folder: Path,
        encoder: str,
        encoder_folders: Sequence[Path] | None = None,
    ) -> None:
        self._reporter = Reporter(connection)
        self.inbox = Inbox(connection, self._reporter)
        self._cache = FeatureCache(cache_folder)
        self._scratch_folder = scratch_folder
        self._encoder_name, self._encoder_folders = encoder, encoder_folders
        self._device = inference_device()

    def run(self) -> None:
        """Load the encoder, then handle requests and run jobs until `Shutdown`."""
        self.inbox.start()
        try:
            encoder = self._load_encoder()
            card = encoder[1]
            heads = Heads(
                card,
                self._device,
                load_starter(card),
                load_recogniser(card.checksum),
                load_view_recogniser(card),
            )
        except Exception as error:
            logger.exception("the encoder could not be loaded")
            self._report_encoder_failure(error)
            # Do not end: the program would start new processes repeatedly.
            while not isinstance(self.inbox.next(), Shutdown):
                pass
            return
        self.state = EngineState(self._reporter, heads, encoder, self._cache, self._scratch_folder)
        self._handler, self._scheduler = RequestHandler(self.state), Scheduler(self.state)
        self._reporter.send(Ready(str(self._device), card.name, card.checksum, card.trained))
        while not self._is_closing:
            self._handle_requests()
            if not self._run_next_job() and not self._is_closing:
                if self.state.is_cancelled:
                    self._reporter.resting(self.state.visible, Stage.CANCELLED)
                self.inbox.arrived.wait()

    @property
    def _is_closing(self) -> bool:
        return self.state.is_closing or self._reporter.is_broken

    def _handle_requests(self) -> None:
        for request in self.inbox.waiting():
            self._handler.handle(request)

    def _run_next_job(self) -> bool:
        """Run the most urgent job; return False if there is none."""
        try:
            job = self._scheduler.next_job()
            if job is None:
                return False
            if not isinstance(job, SuggestJob):
                self.state.needs_suggestion = True
            job.run(self._should_yield)
        except Exception as error:  # an error must not end the engine
            logger.exception("a job failed")
            self._handle_failure(error)
        return True

    def _should_yield(self, job: Job) -> bool:
        """Handle new requests; return True if another job should run now."""
        if not self.inbox.arrived.is_set():
            return self._is_closing
        self._handle_requests()
        return self._is_closing or not job.is_same(self._scheduler.next_job())

    def _handle_failure(self, error: Exception) -> None:
        """Exclude the cine that failed, or stop all jobs, until `Resume` or new labels."""
        state = self.state
        cine = error.cine if isinstance(error, JobError) else None
        cause = error.__cause__ or error
        out_of_memory = is_lack_of_memory(cause)
        if cine is None or out_of_memory:
            state.running_fit, state.is_cancelled = None, True
            self._reporter.send(Failed(FailureKind.LEARNING, one_line(cause), out_of_memory))
        else:
            cine.has_failed = True
            self._reporter.send(Failed(FailureKind.CINE, one_line(cause), cine_id=cine.cine_id))

    def _load_encoder(self) -> LoadedEncoder:
        return load_encoder(
            self._encoder_name,
            self._device,
            self._encoder_folders,
            matrices=inference_dtype(self._device),
        )

    def _report_encoder_failure(self, error: Exception) -> None:
        if isinstance(error, CoreError):
            self._reporter.send(Failed(FailureKind.ENGINE, str(error)))
        else:
            self._reporter.send(Failed(FailureKind.ENCODER, one_line(error), is_lack_of_memory(error)))


def serve(
    connection: Connection,
    cache_folder: str,
    scratch_folder: str,
    encoder: str,
    encoder_folders: Sequence[str] | None = None,
) -> None:
    """Run an engine; entry point of the process. See `Engine` for the parameters."""
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(5)  # the user interface has priority
    Engine(
        connection,
        cache_folder=Path(cache_folder),
        scratch_folder=Path(scratch_folder),
        encoder=encoder,
        encoder_folders=None if encoder_folders is None else [Path(folder) for folder in encoder_folders],
    ).run()
