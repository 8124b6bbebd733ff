"""Reads exchanges from an OpenAPI document, 2.0 to 3.1: bodies are samples of their schemas."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from runner.errors import UsageError
from runner.external import show
from runner.profile.drafts.exchanges import Api, Exchange, Word

METHODS = ("get", "post", "put", "patch", "delete")
DEEP = 7  # nesting of a sample
MOST = 2000  # values of a sample


def api(document: dict[str, Any], name: str) -> Api:
    """Returns the API of the document. Raises UsageError where it has no paths."""
    version = str(document.get("openapi", document.get("swagger")))
    if not version.startswith(("2.", "3.0", "3.1")):
        raise UsageError(f"{name}: version {show(version, 20)} of OpenAPI is not read; 2.0, 3.0 and 3.1 are")
    paths = document.get("paths")
    if not isinstance(paths, dict) or not paths:
        raise UsageError(f"{name}: the document has no `paths`; give the one that describes the requests")
    info = document.get("info")
    title = str(info.get("title", "")) if isinstance(info, dict) else ""
    return Api(title or "An API", list(_exchanges(document, paths)), _base_path(document), _auth(document))


def _base_path(document: dict[str, Any]) -> str:
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], dict) else {}
    address = str(document.get("basePath") or first.get("url") or "")
    variables = first.get("variables")
    for name, one in variables.items() if isinstance(variables, dict) else ():
        address = address.replace(f"{{{name}}}", str(one.get("default", "") if isinstance(one, dict) else ""))
    return urlsplit(address).path.rstrip("/")


def _exchanges(document: dict[str, Any], paths: dict[str, Any]) -> Iterator[Exchange]:
    for path, item in paths.items():
        item = _resolved(document, item)
        for method in METHODS:
            operation = item.get(method)
            if isinstance(operation, dict) and str(path).startswith("/"):
                yield _exchange(document, method.upper(), str(path), item, operation)


def _exchange(
    document: dict[str, Any], method: str, path: str, item: dict[str, Any], operation: dict[str, Any]
) -> Exchange:
    parameters = [
        _resolved(document, one) for one in [*_list(item.get("parameters")), *_list(operation.get("parameters"))]
    ]
    schema, form = _body(document, operation, parameters)
    resolved = _resolved(document, schema)
    responses = operation.get("responses")
    answers: dict[Any, Any] = responses if isinstance(responses, dict) else {}
    status = next((int(code) for code in map(str, answers) if code.isdigit() and 200 <= int(code) < 300), 200)
    answer = _resolved(document, answers.get(str(status), answers.get(status, {})))
    return Exchange(
        method, path, _sample(document, schema) if schema else None, form, status,
        _sample(document, _schema_of(answer)) if _schema_of(answer) else None,
        tuple(int(code) for code in map(str, answers) if code in ("400", "401", "403", "422")),
        tuple(str(one.get("name")) for one in parameters if one.get("in") == "header"),
        frozenset(map(str, _list(resolved.get("required")))),
    )  # fmt: skip


def _body(
    document: dict[str, Any], operation: dict[str, Any], parameters: list[dict[str, Any]]
) -> tuple[dict[str, Any], bool]:
    """Returns the schema of the request body, and whether it is a form."""
    fields = {one["name"]: one for one in parameters if one.get("in") == "formData" and "name" in one}
    if fields:
        return {"properties": fields, "required": [key for key, one in fields.items() if one.get("required")]}, True
    for one in parameters:
        if one.get("in") == "body":
            return _resolved(document, one.get("schema")), False
    body = _resolved(document, operation.get("requestBody"))
    content = body.get("content")
    form = (
        isinstance(content, dict)
        and "application/json" not in content
        and "application/x-www-form-urlencoded" in content
    )
    return _schema_of(body), form


def _schema_of(holder: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a body, of either version."""
    content = holder.get("content")
    if isinstance(content, dict):
        json_first = sorted(content.items(), key=lambda one: "json" not in str(one[0]))
        holder = next((one for _kind, one in json_first if isinstance(one, dict)), {})
    schema = holder.get("schema")
    return schema if isinstance(schema, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _resolved(document: dict[str, Any], part: Any) -> dict[str, Any]:
    """Returns the part itself, or what its local reference names; empty for anything else."""
    for _ in range(DEEP):
        if not isinstance(part, dict) or not isinstance(part.get("$ref"), str):
            break
        found: Any = document if part["$ref"].startswith("#/") else {}
        for step in part["$ref"][2:].split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
        part = found
    return part if isinstance(part, dict) else {}


class _Samples:
    """Makes sample values of schemas. A schema within itself ends there, and a sample has at most `MOST` values."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._open: list[str] = []  # the references within which a sample is being made
        self._left = MOST

    def of(self, schema: Any, deep: int = DEEP) -> Any:
        """Returns a value that fits the schema, with all its keys; None where it goes too deep."""
        named = schema.get("$ref") if isinstance(schema, dict) else None
        self._left -= 1
        if named in self._open or not deep or self._left < 0:
            return None
        self._open.append(str(named))
        try:
            return self._made(_resolved(self._document, schema), deep)
        finally:
            self._open.pop()

    def _made(self, schema: dict[str, Any], deep: int) -> Any:
        if not schema:
            return None
        for key in ("oneOf", "anyOf"):
            if _list(schema.get(key)):
                given = [one for one in schema[key] if _resolved(self._document, one).get("type") != "null"]
                return self.of(given[0] if given else {}, deep - 1)
        if _list(schema.get("enum")):
            word = Word(schema["enum"][0])
            word.choices = tuple(one for one in schema["enum"] if one is not None)
            return word
        merged = [_resolved(self._document, one) for one in _list(schema.get("allOf"))] + [schema]
        keys = {key: one for part in merged for key, one in _properties(part).items()}
        if keys:
            return {str(key): self.of(one, deep - 1) for key, one in keys.items()}
        if _list(schema.get("allOf")):
            return self.of(schema["allOf"][0], deep - 1)
        if "items" in schema:
            return [self.of(schema["items"], deep - 1)]
        types = [*_list(schema.get("type")), schema.get("type")]
        kind = next((one for one in types if isinstance(one, str) and one != "null"), "")
        return {"integer": 1, "number": 1.5, "boolean": True, "object": {}, "array": []}.get(kind, "text")


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _sample(document: dict[str, Any], schema: Any) -> Any:
    return _Samples(document).of(schema)


def _auth(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the part `auth`, from the first complete security scheme."""
    components = document.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, dict) else document.get("securityDefinitions")
    for scheme in schemes.values() if isinstance(schemes, dict) else ():
        found = _of_scheme(_resolved(document, scheme))
        if found:
            return found
    return {}


def _of_scheme(scheme: dict[str, Any]) -> dict[str, Any]:
    kind, way = scheme.get("type"), str(scheme.get("scheme", "")).lower()
    if kind == "basic" or (kind, way) == ("http", "basic"):
        return {"secrets": ["username", "password"], "headers": {"Authorization": "Basic ${basic}"}}
    if (kind, way) == ("http", "bearer"):
        return {"secrets": ["api_token"], "headers": {"Authorization": "Bearer ${api_token}"}}
    if kind == "apiKey" and scheme.get("in") == "header":
        return {"secrets": ["api_token"], "headers": {str(scheme.get("name", "X-API-Key")): "${api_token}"}}
    return {}
