"""What is counted while the files of a sample are read, in one job or in several."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hepml.data.selection import CutFlow
from hepml.data.weights import Generated
from hepml.errors import InputError
from hepml.files import given_twice


@dataclass
class Counts:
    """The cut-flow, sums over generated events, and how events are identified.

    A sum of floating-point numbers depends on their order. The sums therefore keep their terms:
    counts of parts, joined in the order of their files, are to the last bit those of one job that
    reads all files.
    """

    cutflow: CutFlow
    generated: Generated = field(default_factory=Generated)
    files: list[str] = field(default_factory=list)
    identity: tuple[str, ...] = ()

    def begin(self, path: str, identity: tuple[str, ...]) -> None:
        """Note a further file and the branches that identify its events.

        Raises:
            InputError: if those of the files before are identified by others.
        """
        if self.files and identity != self.identity:
            raise InputError(
                f"{path}: events are identified by {list(identity)}, but by {list(self.identity)} "
                f"in {self.files[0]}; one event would fall into two folds; name branches that all "
                "files have in data.schema.identity"
            )
        self.identity = identity
        self.files.append(path)

    def content(self) -> dict[str, Any]:
        """All of it as JSON, from which :meth:`join` adds it to other counts."""
        return {
            "files": self.files,
            "identity": list(self.identity),
            "cutflow": self.cutflow.terms,
            "generated": self.generated.terms,
            "events_read": self.generated.events_read,
            "negative": self.generated.negative,
        }

    def join(self, content: Mapping[str, Any]) -> None:
        """Add the counts of files that come after these.

        Args:
            content: from :meth:`content`.

        Raises:
            InputError: if their events are identified by other branches.
        """
        for path in content["files"]:
            self.begin(path, tuple(content["identity"]))
        for step, raw, sum_w, sum_w2 in content["cutflow"]:
            self.cutflow.add_sums(step, raw, sum_w, sum_w2)
        for term in content["generated"]:
            self.generated.add(*term)
        self.generated.events_read += content["events_read"]
        self.generated.negative += content["negative"]


def require_once(name: str, files: list[str]) -> None:
    """Raise InputError if a file of a sample was given twice: its events would count twice."""
    twice = given_twice(files)
    if twice:
        raise InputError(f"samples.{name}.files: {', '.join(twice)} given twice")
