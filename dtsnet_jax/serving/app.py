"""The server's addresses."""

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
from fastapi import FastAPI, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from data.files import MemoryFile
from dtsnet_jax.errors import UserError, unknown_name
from dtsnet_jax.serving.answers import (
    Answer,
    DetectorAnswer,
    Health,
    Label,
    Rates,
    Refusal,
    ShownPart,
    describe,
)
from dtsnet_jax.serving.corrections import Corrections
from dtsnet_jax.serving.following import SECONDS, Follower
from dtsnet_jax.serving.guard import Guard, refuse
from dtsnet_jax.serving.page import PAGE_HEADERS, REPORT_STYLE, STATIC, render_page
from dtsnet_jax.serving.parts import NEWEST, Part
from dtsnet_jax.serving.service import Service, draw

MOST_FILES = 32  # photographs of one request
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_NAME_LENGTH = 200  # characters of a photograph's name that are kept
_PREDICTED = {
    200: {"content": {"image/png": {}}},
    422: {"model": list[Answer] | Refusal, "description": "No photograph could be scored"},
}
_KEPT = {"Cache-Control": "private, max-age=86400"}


def create_app(
    service: Service,
    out: Path,
    *,
    token: str = "",
    max_upload_mb: int = 64,
    follow: Path | None = None,
) -> FastAPI:
    """Makes the application, to be run by uvicorn or another server of ASGI.

    Args:
      service: what scores.
      out: where corrections are written.
      token: that requests have to give; '' serves this machine alone.
      max_upload_mb: mebibytes of a request.
      follow: --out of a ``--job=predict`` whose photographs the page shows, too.
    """
    MultiPartParser.spool_max_size = max_upload_mb * 2**20  # uploads are never on the disk
    app = FastAPIOffline(
        title="DTSNet-JAX",
        version=_version(),
        redoc_url=None,
        lifespan=lambda app: _running(app, service, follow),
    )
    bounds = {"token": token, "max_upload_mb": max_upload_mb}
    app.add_middleware(Guard, **bounds, metrics=service.metrics)
    _add_errors(app)
    for suffix, kind in TYPES.items():  # Windows' registry may say otherwise
        mimetypes.add_type(kind, suffix)
    app.mount("/static", StaticFiles(directory=STATIC))
    _add_scoring(app, service)
    _add_parts(app, service, Corrections(out))
    _add_detectors(app, service)
    _add_state(app, service, secret=bool(token))
    return app


def _responses(*statuses: int) -> dict[int, dict]:
    """How the refusals of an address are described."""
    return {status: {"model": Refusal} for status in statuses}


@asynccontextmanager
async def _running(app: FastAPI, service: Service, follow: Path | None) -> AsyncIterator[None]:
    async def go_on_following(follower: Follower) -> None:
        while True:
            await asyncio.to_thread(follower.look)
            await asyncio.sleep(SECONDS)

    tasks = app.state.tasks = [asyncio.create_task(service.run())]
    if follow is not None:
        tasks.append(asyncio.create_task(go_on_following(Follower(follow, service.parts))))
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _version() -> str:
    try:
        return version("dtsnet-jax")
    except PackageNotFoundError:
        return "0.1.0"


def _add_errors(app: FastAPI) -> None:
    """Every error is one sentence."""

    @app.exception_handler(UserError)
    def of_the_user(_: Request, error: UserError) -> JSONResponse:
        return refuse(422, str(error))

    @app.exception_handler(HTTPException)
    def of_http(_: Request, error: HTTPException) -> JSONResponse:
        return refuse(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    def of_form(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return refuse(422, f"{where}: {first['msg']}; see /docs.")

    @app.exception_handler(Exception)
    def of_the_program(_: Request, error: Exception) -> JSONResponse:
        return refuse(500, f"a fault of the program ({type(error).__name__}); see its output.")

    @app.exception_handler(OSError)
    def of_the_disk(_: Request, error: OSError) -> JSONResponse:
        return refuse(507, f"'{error.filename or 'a file'}' cannot be used ({error.strerror}).")


def _add_scoring(app: FastAPI, service: Service) -> None:
    @app.post("/predict", responses=_responses(404, 408, 413, 503) | _PREDICTED)
    async def predict(
        files: list[UploadFile], detector: str = "", picture: bool = False
    ) -> list[Answer]:
        """Scores photographs: `curl -F files=@part.png http://127.0.0.1:8000/predict`.

        `detector` names one of several. With `picture` the answer is a PNG file: the one
        photograph, and beside it its heat map. If no photograph could be scored, the status is 422.
        """
        names = service.detectors.names
        if not detector and len(names) > 1:
            raise UserError(f"detector is missing; name one of {', '.join(names)}.")
        name = _known(detector or names[0], names)
        if len(files) > (1 if picture else MOST_FILES):
            most = "one, of which there is a picture" if picture else f"at most {MOST_FILES}"
            raise UserError(f"there are {len(files)} photographs, expected {most}.")
        sent = [MemoryFile(_name(one.filename), await one.read()) for one in files]
        scored = await asyncio.gather(*(service.score(name, file) for file in sent))
        answers = [one.part.answer | {"part": one.part.number} for one in scored]
        failed = all(answer["error"] for answer in answers)
        if picture and not failed:
            drawn = await asyncio.to_thread(draw, scored[0].prediction, "png")
            return Response(drawn, media_type="image/png")
        return JSONResponse(answers, 422 if failed else 200)


def _known(name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise HTTPException(404, str(unknown_name("detector", name, names)))
    return name


def _name(given: str | None) -> str:
    """The last part of a file's name as it was sent."""
    last = (given or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[-_NAME_LENGTH:] or "photograph"


def _add_parts(app: FastAPI, service: Service, corrections: Corrections) -> None:
    def part_of(number: int) -> Part:
        part = service.parts.find(number)
        if part is None:
            raise HTTPException(404, f"part {number} is not among the newest {NEWEST}.")
        return part

    @app.get("/parts")
    def newest_parts(after: int = 0) -> list[ShownPart]:
        """The newest parts with numbers larger than `after`, the newest first."""
        return [ShownPart(**part.shown) for part in service.parts.newest(after)]

    @app.get("/parts/{number}/picture", responses=_responses(404, 422), response_class=Response)
    async def picture(number: int) -> Response:
        """A part's photograph and beside it its heat map, as JPEG."""
        content = await asyncio.to_thread(draw, part_of(number).picture, "jpeg")
        return Response(content, media_type="image/jpeg", headers=_KEPT)

    @app.put("/parts/{number}/label", responses=_responses(404, 422, 507))
    def correct(number: int, label: Label) -> ShownPart:
        """Notes in OUT/corrections.csv what a part is whose decision is wrong."""
        part = part_of(number)
        corrections.mark(part, label.label)
        return ShownPart(**part.shown)


def _add_detectors(app: FastAPI, service: Service) -> None:
    @app.get("/detectors/{name}", responses=_responses(404))
    async def detector(name: str) -> DetectorAnswer:
        """A detector and its limits."""
        return describe(name, await service.detector(_known(name, service.detectors.names)))

    @app.put("/detectors/{name}/limits", responses=_responses(404, 422, 507))
    def set_limits(name: str, rates: Rates) -> DetectorAnswer:
        """Changes the limits, of this server and its next start."""
        detectors = service.detectors
        _known(name, detectors.names)
        return describe(name, detectors.set_rates(name, **rates.model_dump()))


def _add_state(app: FastAPI, service: Service, *, secret: bool) -> None:
    detectors = service.detectors

    @app.get("/style.css", include_in_schema=False)
    def style() -> FileResponse:
        return FileResponse(REPORT_STYLE)

    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(render_page(detectors.names), headers=PAGE_HEADERS)

    @app.get("/health", responses=_responses(503))
    async def health() -> Health:
        """Answers as long as the server works; names no detectors where others need a token."""
        if any(task.done() for task in app.state.tasks):
            raise HTTPException(503, "a part of the server has ended; start it again.")
        device = jax.devices()[0].device_kind
        names, loaded = ([], []) if secret else (list(detectors.names), detectors.loaded)
        return Health(version=app.version, device=device, detectors=names, loaded=loaded)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """For Prometheus: latency, outcomes, drift, requests under way and refused."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")
