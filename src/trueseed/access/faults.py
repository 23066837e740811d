"""Errors as OpenAI's clients know them: `{"error": {"message", "type", "param", "code"}}` and a status."""

from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from trueseed.errors import ConfigError, Refused, TrueSeedError


class Fault(HTTPException):
    """A reply that is an error. `param` names the part of the request to change."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code, self.param = code, param

    def to_json(self) -> dict[str, dict[str, str | None]]:
        return {"error": {"message": self.detail, "type": self._type, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        return JSONResponse(self.to_json(), self.status_code, self.headers)

    @property
    def _type(self) -> str:
        if self.status_code >= 500:
            return "server_error"
        return {403: "permission_error", 429: "rate_limit_error"}.get(self.status_code, "invalid_request_error")


def fault(err: Exception) -> Fault:
    """What the client is told about `err`. Of a bug of ours it hears only that there was one."""
    match err:
        case Fault():
            return err
        case HTTPException():
            return Fault(err.status_code, str(err.detail), headers=err.headers)
        case RequestValidationError():
            return _invalid(err)
        case Refused():
            return Fault(403, str(err), code="recalled")
        case ConfigError():
            return Fault(400, str(err), code="invalid_request")
        case TrueSeedError():
            return Fault(500, str(err), code="model_failed")
    return Fault(500, "The server failed; its log says why.", code="internal_error")


def _invalid(err: RequestValidationError) -> Fault:
    first = err.errors()[0]
    path = ".".join(str(part) for part in first["loc"][1:])
    path = path.encode(errors="replace").decode()  # a key may hold half a character, which no reply can
    what, param = path or "the body", path or None
    match first["type"]:
        case "json_invalid":
            return Fault(400, f"the body is not JSON: {first['ctx']['error']} at character {path}", code="invalid_json")
        case "extra_forbidden":
            return Fault(400, f"unknown parameter {path!r}", code="unknown_parameter", param=param)
        case "unsupported_parameter":
            return Fault(400, first["msg"], code="unsupported_parameter", param=param)
        case "missing":
            return Fault(400, f"{what} is missing", code="missing_parameter", param=param)
    return Fault(400, f"{what}: {first['msg']}", code="invalid_value", param=param)


def install(api: Starlette) -> None:
    async def answer(_: Request, err: Exception) -> JSONResponse:
        return fault(err).response()

    for kind in (HTTPException, RequestValidationError, TrueSeedError, Exception):
        api.add_exception_handler(kind, answer)
