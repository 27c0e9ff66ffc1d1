"""The config's own documentation, made from its models: JSON schema and a page of all keys."""

import json
from inspect import isclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hepml.config import Analysis

INTRODUCTION = """# All keys of a config

This page is made from the settings' own definitions (`make schema`); a test keeps it current.
Unknown keys, keys given twice and values of a wrong type are errors. What cannot change a result
(cores, memory, devices) is no setting: it belongs to the workflow profile or the command line.
"""


def schema() -> str:
    """JSON schema of a config, for editors and other programs."""
    content = Analysis.model_json_schema(by_alias=True)
    # a sample table may stand in place of the mapping
    content["properties"]["samples"] = {
        "anyOf": [content["properties"]["samples"], {"type": "string"}],
        "title": "Samples",
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def page() -> str:
    """Markdown page with one table per group of keys."""
    groups: dict[type[BaseModel], str] = {}
    _collect(Analysis, "the top", groups)
    tables = [_table(model, where) for model, where in groups.items()]
    return "\n".join([INTRODUCTION, *tables])


def _collect(
    model: type[BaseModel], where: str, groups: dict[type[BaseModel], str], remark: str = ""
) -> None:
    """Find all models below one, each with the key where it first stands."""
    if model in groups:
        return
    groups[model] = where + remark
    for name, field in model.model_fields.items():
        inners = _models(field.annotation)
        for inner in inners:
            remark = _remark(inner) if len(inners) > 1 else ""
            _collect(inner, _join(where, field.alias or name, field), groups, remark)


def _remark(model: type[BaseModel]) -> str:
    """What tells one of several groups that may stand in the same place."""
    for key in ("architecture", "inputs"):
        if key in model.model_fields:
            return f" ({key}: {get_args(model.model_fields[key].annotation)[0]})"
    return ""


def _join(where: str, name: str, field: FieldInfo) -> str:
    inside = "" if where == "the top" else f"{where}."
    text = str(field.annotation)
    many = ".<name>" if text.startswith("dict") else "[]" if text.startswith("tuple") else ""
    return f"{inside}{name}{many}"


def _models(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401
    if isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _table(model: type[BaseModel], where: str) -> str:
    title = f"## `{where}`" if where != "the top" else "## At the top"
    about = (model.__doc__ or "").strip()
    rows = [_row(field.alias or name, field) for name, field in model.model_fields.items()]
    head = "| key | type | default | what |\n| --- | --- | --- | --- |"
    return "\n".join([title, "", about, "", head, *rows, ""])


def _row(name: str, field: FieldInfo) -> str:
    default = "**required**" if field.is_required() else f"`{_shown(field.default)}`"
    limits = filter(None, (_limit(str(limit)) for limit in field.metadata))
    about = [field.description or "", *limits]
    cells = [f"`{name}`", _type(field.annotation), default, "; ".join(filter(None, about))]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(default: Any) -> str:  # noqa: ANN401
    if isinstance(default, BaseModel):
        return "see below"
    return json.dumps(default, ensure_ascii=False)


def _limit(text: str) -> str:
    """``Gt(gt=0)`` as ``> 0``; nothing for what is no limit."""
    kind, _, value = text.partition("(")
    signs = {"Gt": ">", "Ge": "≥", "Lt": "<", "Le": "≤", "MinLen": "at least"}
    return f"{signs[kind]} {value.rstrip(')').partition('=')[2]}" if kind in signs else ""


def _type(annotation: Any) -> str:  # noqa: ANN401
    models = _models(annotation)
    text = str(annotation)
    if models:
        names = {"dict": "mapping of names to groups", "tupl": "list of groups"}
        return names.get(text[:4], "group")
    if "Literal" in text:
        parts = [annotation, *get_args(annotation)]
        choices = [choice for part in parts for choice in get_args(part) if isinstance(choice, str)]
        return " or ".join(f"`{choice}`" for choice in dict.fromkeys(choices))
    for key, name in {
        "dict": "mapping",
        "tuple": "list",
        "int": "whole number",
        "float": "number",
    }.items():
        if key in text:
            return name
    return "true or false" if "bool" in text else "text"
