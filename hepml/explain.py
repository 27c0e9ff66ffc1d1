"""`hepml explain`: what made a file, and whether it is what the present config would make."""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepml import jobs, variations
from hepml.config import Analysis
from hepml.errors import InputError
from hepml.records import digest, part_record, read_record, source_digest

_FOLDER, _NAME, _NUMBER = r"([^/]+)", r"([^/.]+)", r"(\d+)"


def _simulation(analysis: Analysis, sample: str, chunk: str) -> str:
    return jobs.simulation_job(analysis, sample, int(chunk)).model_dump_json()


def _variation(analysis: Analysis, _: str, __: str, variation: str) -> str:
    return variations.variation_job(analysis, variation).model_dump_json()


def _data(analysis: Analysis, sample: str) -> str:
    return jobs.data_settings(jobs.data_job(analysis, sample))


def _weights(analysis: Analysis, sample: str) -> str:
    return jobs.data_settings(variations.weighted_job(analysis, sample))


def _varied(analysis: Analysis, sample: str, variation: str) -> str:
    return jobs.data_settings(variations.varied_job(analysis, sample, variation))


def _part(analysis: Analysis, columns: str, _: str) -> str:
    return jobs.part_settings(variations.columns_job(analysis, columns))


def _training(analysis: Analysis, network: str, _: str) -> str:
    return jobs.training_job(analysis, jobs.model_of(network)).model_dump_json()


def _member(analysis: Analysis, network: str, _: str, member: str) -> str:
    job = jobs.training_job(analysis, jobs.model_of(network))
    return jobs.member_job(job, int(member)).model_dump_json()


def _smaller(analysis: Analysis, model: str, events: str, _: str) -> str:
    return jobs.smaller_training_job(analysis, model, int(events)).model_dump_json()


def _diagnostics(analysis: Analysis, method: str) -> str:
    return jobs.diagnostics_job(analysis, method).model_dump_json()


def _inference(analysis: Analysis, method: str) -> str:
    return jobs.inference_job(analysis, method).model_dump_json()


def _interference(analysis: Analysis, method: str) -> str:
    return jobs.interference_job(analysis, method).model_dump_json()


# settings that the workflow passes to what makes a file below results/<analysis>, by its name; the
# first that fits
_SETTINGS: Mapping[str, Callable[..., str]] = {
    rf"ntuples/{_NAME}_{_NUMBER}\.root": _simulation,
    rf"ntuples/{_NAME}_{_NUMBER}\.{_NAME}\.root": _variation,
    rf"data/([^/]+)\.parts/{_NUMBER}": _part,
    rf"data/{_NAME}": _data,
    rf"data/{_NAME}\.weights": _weights,
    rf"data/{_NAME}\.{_NAME}": _varied,
    rf"training/{_FOLDER}/fold{_NUMBER}": _training,
    rf"training/{_FOLDER}/members/fold{_NUMBER}_{_NUMBER}": _member,
    rf"learning_curve/{_FOLDER}/{_NUMBER}/fold{_NUMBER}": _smaller,
    rf"inference/{_NAME}\.closure\.json": _diagnostics,
    rf"inference/{_NAME}(?:\.workspace)?\.json": _inference,
    rf"interference/{_NAME}\.json": _interference,
    r"provenance\.json|report\.html": jobs.all_settings,
}


@dataclass(frozen=True)
class Account:
    """What made a file, and what is not as it would be made today.

    Attributes:
        file: that was asked about, or the folder that was written with it.
        rule: of the workflow that made it; empty if the command was called by hand.
        record: of the run that wrote it.
        inputs: each with what became of it: ``unchanged``, ``changed``, ``gone``, ``remote``, or
            ``removed`` if it is a part of columns, which need it no more.
        altered: whether the file itself is another one than was written.
        settings: key, value then, value now, where they differ; None if there is nothing to
            compare with.
        code: modules of hepml that differ.
        problem: why there is nothing to compare with; empty otherwise.
        before: accounts of the inputs that have one.
    """

    file: Path
    rule: str
    record: Mapping[str, Any]
    inputs: Mapping[str, str]
    altered: bool
    settings: tuple[tuple[str, object, object], ...] | None
    code: tuple[str, ...]
    problem: str = ""
    before: tuple["Account", ...] = ()

    @property
    def current(self) -> bool:
        """Whether nothing known differs."""
        same = not (self.altered or self.settings or self.code)
        return same and set(self.inputs.values()) <= {"unchanged", "remote", "removed"}


def explain(file: Path, analysis: Analysis | None) -> Account:
    """Say what made a file, and what made that, back to the ntuples.

    Args:
        file: anything that a command of hepml wrote.
        analysis: the present config; None compares no settings.

    Raises:
        InputError: if there is no such file, or no record of what made it.
    """
    if not file.exists():
        raise InputError(f"{file}: no such file")
    account = _account(file, analysis, {})
    if account is None:
        raise InputError(
            f"{file}: no record of what made it; records are written by hepml's commands, beside "
            "what they make, in folders .made"
        )
    return account


def _account(
    file: Path, analysis: Analysis | None, known: dict[Path, Account | None]
) -> Account | None:
    found = read_record(file)
    if found is None:
        return None
    made, record = found
    if made in known:
        return known[made]
    known[made] = None  # a record that names its own output as input ends here
    inputs = {str(each["file"]): _state(each) for each in record["inputs"]}
    told = [name for name, state in inputs.items() if state not in ("gone", "remote")]
    before = [_account(Path(name), analysis, known) for name in told]
    settings, problem = _differences(made, record, analysis)
    known[made] = Account(
        file=made,
        rule=_rule(made),
        record=record,
        inputs=inputs,
        altered=made.exists() and digest(made) != record["sha256"],
        settings=settings,
        code=tuple(_changed_code(record["code"])),
        problem=problem,
        before=tuple(account for account in before if account),
    )
    return known[made]


def _rule(made: Path) -> str:
    """What Snakemake noted of a file, in the folder where it ran: this one."""
    try:
        name = made.resolve().relative_to(Path.cwd().resolve()).as_posix()
        noted = Path(".snakemake/metadata", base64.b64encode(name.encode()).decode())
        return str(json.loads(noted.read_text(encoding="utf-8"))["rule"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # its notes are its own and may look otherwise one day


def _state(given: Mapping[str, Any]) -> str:
    """What became of an input."""
    if given["sha256"] is None:
        return "remote"
    path = Path(given["file"])
    if not path.exists():
        return "removed" if part_record(given) else "gone"
    return "unchanged" if digest(path) == given["sha256"] else "changed"


def _differences(
    made: Path, record: Mapping[str, Any], analysis: Analysis | None
) -> tuple[tuple[tuple[str, object, object], ...] | None, str]:
    """Settings that differ from those of today, and why they cannot be compared."""
    if record["settings"] is None:
        return (), ""  # it is made of its inputs alone
    if analysis is None:
        return None, "no config to compare with"
    root = Path("results").resolve() / analysis.analysis
    if not made.resolve().is_relative_to(root):
        return None, f"not a file of the analysis {analysis.analysis!r}"
    name = made.resolve().relative_to(root).as_posix()
    for pattern, wanted in _SETTINGS.items():
        parts = re.fullmatch(pattern, name)
        if parts:
            try:
                now = json.loads(wanted(analysis, *parts.groups()))
            except (KeyError, StopIteration, InputError):
                return None, "the present config does not make this file"
            return tuple(differing(record["settings"], now)), ""
    return (), ""


def differing(then: object, now: object, key: str = "") -> Iterator[tuple[str, object, object]]:
    """Dotted keys at which nested settings differ, with both values; None where one has none."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name in [*then, *(name for name in now if name not in then)]:
            yield from differing(then.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif then != now:
        yield key, then, now


def _changed_code(code: Mapping[str, str]) -> Iterator[str]:
    package = Path(__file__).parent
    for module, known in code.items():
        path = package.joinpath(*module.split(".")[1:])
        files = (path.with_suffix(".py"), path / "__init__.py")
        source = next((file for file in files if file.is_file()), None)
        if source is None or source_digest(source) != known:
            yield module


def told(account: Account, config: str) -> Iterator[str]:
    """Lines for people: the file in full, then what lies before it where that is out of date."""
    yield from _in_full(account, config)
    stale = [each for each in _all_before(account) if not each.current]
    if stale:
        yield ""
        yield "made of what is out of date itself:"
    for each in stale:
        yield f"  {each.file}"
        yield from (f"    {line}" for line in _out_of_date(each, config))


def _in_full(account: Account, config: str) -> Iterator[str]:
    record, software = account.record, account.record["software"]
    yield f"{account.file}"
    options = {**record["options"], **_seed(record["settings"])}
    said = "".join(f", {name} {value}" for name, value in options.items())
    rule = f"rule {account.rule}: " if account.rule else ""
    yield f"  made by   {rule}hepml {record['command']}{said}"
    yield f"  when      {record['started']}, in {record['seconds']:.1f} s, on {record['host']}"
    yield f"  software  hepml {software['hepml']}, {_commit(software)}, Python {software['python']}"
    packages = ", ".join(f"{name} {version}" for name, version in software["packages"].items())
    yield f"            {packages}"
    yield f"  SHA-256   {record['sha256']}"
    digests = {str(each["file"]): each["sha256"] for each in record["inputs"]}
    for number, (name, state) in enumerate(account.inputs.items()):
        start = "  inputs    " if number == 0 else " " * 12
        yield f"{start}{(digests[name] or '-')[:12]:12} {state:9} {name}"
    differences = list(_out_of_date(account, config))
    yield "  today     " + ("the same would be made" if not differences else "differs:")
    yield from (f"    {line}" for line in differences)


def _out_of_date(account: Account, config: str) -> Iterator[str]:
    if account.altered:
        yield "the file itself was changed after it had been made"
    if account.problem:
        yield f"settings: {account.problem}"
    for key, then, now in account.settings or ():
        yield f"{config}: {key}: {json.dumps(then)} then, {json.dumps(now)} now"
    for name, state in account.inputs.items():
        if state in ("changed", "gone"):
            yield f"input {name}: {state}"
    if account.code:
        yield f"code that changed: {', '.join(account.code)}"


def _all_before(account: Account) -> Sequence[Account]:
    found: dict[Path, Account] = {}
    waiting = list(account.before)
    while waiting:
        each = waiting.pop(0)
        if each.file not in found:
            found[each.file] = each
            waiting += each.before
    return list(found.values())


def _seed(settings: object) -> dict[str, object]:
    return {"seed": settings["seed"]} if isinstance(settings, dict) and "seed" in settings else {}


def _commit(software: Mapping[str, Any]) -> str:
    if software["commit"] is None:
        return "of no commit"
    changed = " with changes" if software["uncommitted_changes"] else ""
    return f"commit {software['commit'][:12]}{changed}"
