"""The first screen: what was decided, on what, with which limits. Shared by both editions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reports.blocks import Tile
from reports.checks import CheckFact, MetricFact
from reports.numbers import Numbers
from reports.runfolder import RunFolder, mapping, text
from reports.wording import SPLIT, STANDING_LIMITS, STATE_WORDS, listed, metric_title

__all__ = [
    "Overview",
    "Tested",
    "audits_with_evidence",
    "headline",
    "limits_of_claim",
    "link_unverified",
    "next_step",
    "not_tested",
    "overview",
    "tested",
    "tiles",
]

_LATER = (
    ("text", "Burned-in text in the images"),
    ("utility", "Use of the images for training other models"),
)
_AUDITS = (
    ("memorisation", "Copies of private images"),
    ("membership", "Membership inference"),
    ("disclosure", "Disclosure risks per patient"),
    ("labels", "Labels: asked against read"),
    ("fidelity", "Fidelity against real images"),
)
_RISKS = ("singling out", "linkability", "inference")


@dataclass(frozen=True, slots=True)
class Tested:
    """An audit that was made; not `sound` where it came to no figure that can be relied on."""

    words: str
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Overview:
    """What the verdict is about."""

    status: str
    exit_code: int
    examined: int | None
    accepted: int | None
    copies: int | None
    """Verified copies among all candidates, exact ones included."""
    split_invalid: bool
    """Private set and holdout can be told apart without the model."""
    split_doubtful: bool
    """That they can was not shown, and not excluded as far as the policy asks."""
    overlapping: bool
    """Private images are in the holdout too."""
    link_unverified: bool
    """Nothing shows that the model, the private set and the images belong together."""
    minimum_copies: float | None
    sight: tuple[tuple[str, float | None], ...]
    """Planted transforms in words, each with the fewest copies of it in sight; None where any number may pass."""


def overview(
    status: str,
    exit_code: int,
    checks: Sequence[CheckFact],
    metrics: Sequence[MetricFact],
    *,
    sight: tuple[tuple[str, float | None], ...],
    link_unverified: bool,
) -> Overview:
    """The facts behind the headline. `sight` are planted transforms in words with the fewest copies in sight."""
    values = {m.name: m for m in metrics if m.group is None and m.value is not None}
    # Copies count in whatever state the evidence is: one that was seen was seen.
    copied = [values[name] for name in ("memorisation.exact_copies", "memorisation.verified_copies") if name in values]
    accepted = values.get("accepted.images")
    least = values.get("memorisation.minimum_detectable_copies")
    invalid = {c.metric.partition(".")[0] for c in checks if c.status == "invalid"}
    split = {c.status for c in checks if c.metric == SPLIT}
    told_apart = "invalid" in split or any(m.state == "invalid" and m.name.startswith("membership") for m in metrics)
    return Overview(
        status=status,
        exit_code=exit_code,
        examined=max((m.n for m in copied), default=0) or None,
        accepted=round(accepted.value) if accepted and accepted.value is not None else None,
        copies=round(max(m.value or 0.0 for m in copied)) if copied else None,
        split_invalid=told_apart,
        split_doubtful=not told_apart and "insufficient" in split,
        overlapping="data" in invalid,
        link_unverified=link_unverified,
        minimum_copies=least.value if least else None,
        sight=sight,
    )


def headline(view: Overview, checks: Sequence[CheckFact], numbers: Numbers) -> str:
    """The verdict in one plain sentence."""
    counts = Counter(check.status for check in checks)
    if view.status == "fail":
        if view.copies:
            among = f" of {numbers.count(view.examined)}" if view.examined else ""
            verb = "is a copy" if view.copies == 1 and not numbers.coarse else "are copies"
            return f"Do not release: {numbers.count(view.copies)}{among} candidates {verb} of private images."
        return f"Do not release: {_some(counts['fail'], 'check')} of {len(checks)} failed."
    if view.status == "insufficient":
        if view.overlapping:
            return "No decision: private images are in the holdout too, so nothing can be held against it."
        if view.split_invalid:
            return (
                "No decision: private set and holdout can be told apart without the model, so membership cannot be judged."
            )
        short = counts["insufficient"] + counts["invalid"] + counts["error"]
        if view.split_doubtful and short == 1:
            return "No decision: too few images to exclude that private set and holdout are told apart without the model."
        return f"No decision: the evidence is missing or too small for {_some(short, 'check')} of {len(checks)}."
    if view.status == "error":
        return "No decision: the audit did not finish."
    found = "no copy of a private image was found" if view.copies == 0 else _quarantined(view, numbers)
    if view.status == "warn":
        return f"May go to sign-off, with {_some(counts['warn'], 'warning')} to read: {found}."
    return f"May go to sign-off: {found}, and every check is within its limit."


def _quarantined(view: Overview, numbers: Numbers) -> str:
    if view.copies is None:
        return "no failing check, but copies were not searched for"
    return f"{numbers.count(view.copies)} verified copies were put in quarantine, within the limit"


def _some(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def next_step(view: Overview, signers: str = "those whom the policy asks to sign") -> str:
    """What whoever reads the verdict does with it; `signers` are those who may let it out, in words."""
    if view.status in {"pass", "warn"}:
        return f"Next: read the limits of the claim, then sign off or refuse: {signers}."
    if view.status == "error":
        then = "See why the audit did not finish, and resume it."
    elif view.status == "fail" and view.copies:
        then = "To take the copies out is not enough, since the generator makes them: change its training, not the limits."
    elif view.status == "fail":
        then = "The checks below say what failed: change the generator or its training, not the limits."
    elif view.overlapping:
        then = "Take the private images out of the holdout, and audit again."
    elif view.split_invalid:
        then = "Take a holdout of the same source as the private set, best by a random split of patients, and audit again."
    elif view.split_doubtful:
        then = "Take more images of the same source on both sides, and audit again."
    else:
        then = "The checks below say what evidence they lacked: get it, and audit again."
    return f"Next: nothing of this run may leave. {then}"


def tested(metrics: Sequence[MetricFact], audits: Sequence[str], view: Overview, numbers: Numbers) -> tuple[Tested, ...]:
    """What was tested, one line an audit, with what came of it where that was no figure."""
    measured = {m.name.partition(".")[0] for m in metrics if m.state != "not_tested"} | set(audits)
    found = []
    for key, words in _AUDITS:
        if key not in measured:
            continue
        states = {m.state for m in metrics if m.name.startswith(f"{key}.")}
        but = ""
        if key == "memorisation" and view.examined:
            words = f"{words}: every one of {numbers.count(view.examined)} candidates"
        elif key == "disclosure":
            left_out = {m.name.partition(".")[2].replace("_", " ") for m in metrics if m.state == "not_tested"}
            words = f"{words}: {', '.join(risk for risk in _RISKS if risk not in left_out)}"
        if key == "membership" and view.split_invalid:
            but = ", but the comparison is not valid"
        elif key == "membership" and view.split_doubtful:
            but = ", but the comparison may not be valid"
        elif states and states <= {"insufficient", "error"}:
            but = f", but {'too few images to tell' if 'insufficient' in states else 'it did not finish'}"
        found.append(Tested(words + but, sound=not but))
    if "memorisation" in audits:
        found.append(Tested("The audit's own sight, on copies planted by itself"))
    if any(m.name.startswith("memorisation.autoencoder.") and m.state != "not_tested" for m in metrics):
        found.append(Tested("What the model's autoencoder remembers"))
    return (*found, *(Tested(words) for key, words in _LATER if key in measured))


def not_tested(metrics: Sequence[MetricFact], audits: Sequence[str]) -> tuple[str, ...]:
    """What was not tested, whole audits first, then single figures."""
    measured = {m.name.partition(".")[0] for m in metrics if m.state != "not_tested"} | set(audits)
    whole = [words for key, words in (*_AUDITS, *_LATER) if key not in measured]
    single = [
        metric_title(m.name, m.group) for m in metrics if m.state == "not_tested" and m.name.partition(".")[0] in measured
    ]
    white_box = any(m.name.startswith("membership.white_box") for m in metrics)
    if "membership" in measured and not white_box:
        single.insert(0, "Membership from the model itself (no model was at hand)")
    return tuple(dict.fromkeys((*whole, *single)))


def limits_of_claim(view: Overview, numbers: Numbers) -> tuple[str, ...]:
    """What a reader may not conclude."""
    found = []
    if view.copies is None:
        found.append("Nothing is said about copies: they were not searched for.")
    else:
        found += _power(view)
    if view.split_invalid:
        found.append("Nothing is said about membership: the comparison itself is not valid.")
    if view.split_doubtful:
        found.append("Membership is not judged: private set and holdout may be told apart without the model.")
    if view.overlapping:
        found.append("The holdout is spoilt by private images: figures that compare with it are void.")
    if view.link_unverified:
        found.append("It was not verified that the model, the private set and these images belong together.")
    return (*found, *STANDING_LIMITS)


def _power(view: Overview) -> list[str]:
    """The smallest leak that would have been seen, and under which changes it would not."""
    if view.minimum_copies is None or math.isinf(view.minimum_copies):
        return ["How many copies could have passed unseen is not known: the audit's own sight was not measured."]
    least = view.minimum_copies
    what = "No copies were found at this power: the" if view.copies == 0 else "At this power the"
    seen = [words for words, fewest in view.sight if fewest is not None and fewest <= least]
    worse = [(words, fewest) for words, fewest in view.sight if fewest is None or fewest > least]
    number = "a single copy" if least == 1 else f"at least one of {least:g} copies"
    under = f", if they are {listed(seen, 'or')}" if seen else ""
    said = [f"{what} audit would have seen {number} with 95\u00a0% probability{under}."]
    if worse:
        names = (f"{words} ({'any number may pass' if fewest is None else f'one of {fewest:g}'})" for words, fewest in worse)
        said.append(f"Other changes it sees less well: {', '.join(names)}.")
    return said


def tiles(metrics: Sequence[MetricFact], view: Overview, numbers: Numbers, copied: int | None = None) -> tuple[Tile, ...]:
    """The key numbers. `copied` private images are what the copies are copies of."""
    by_name = {m.name: m for m in metrics if m.group is None}
    among = f"of {numbers.count(view.examined)} candidates" if view.examined else "among candidates"
    if view.copies and copied:
        among += f"\nof {copied:,} private {'image' if copied == 1 else 'images'}"
    # What was not decided is not good news, whatever its figures are.
    good = "pass" if view.status in {"pass", "warn"} else ""
    tone = "" if view.copies is None else "fail" if view.copies else good
    found = [Tile("Verified copies", numbers.count(view.copies) if view.copies is not None else "not tested", among, tone)]
    if view.minimum_copies is not None:
        words = "none" if math.isinf(view.minimum_copies) else f"{view.minimum_copies:g}+"
        surely = "had there been any, with 95\u00a0% probability"
        # Whoever reads the tile alone must not take it for every change that a copy can have gone through.
        some = any(fewest is None or fewest > view.minimum_copies for _, fewest in view.sight)
        found.append(Tile("Copies it would see", words, f"{surely}; some changes hide them" if some else surely))
    for name, label, under in (
        ("membership.black_box.auc", "Membership, images", "0.5 is chance"),
        ("membership.white_box.auc", "Membership, model", "0.5 is chance"),
    ):
        if name in by_name:
            found.append(_tile(by_name[name], label, under, numbers))
    shares = [by_name[n] for n in ("labels.agreement_share", "labels.agreement") if n in by_name]
    if shares:
        under = "of what is attainable" if shares[0].name != "labels.agreement" else "asked against read"
        found.append(_tile(shares[0], "Label agreement", under, numbers))
    distance = by_name.get("fidelity.frechet_distance")
    if distance and distance.value is not None and distance.baseline:
        found.append(Tile("Fréchet distance", f"{distance.value / distance.baseline:.1f}×", "its floor\n1× is best"))
    return tuple(found[:6])


def _tile(metric: MetricFact, label: str, under: str, numbers: Numbers) -> Tile:
    if metric.state != "measured" or metric.value is None:
        return Tile(label, STATE_WORDS.get(metric.state, "not tested"), "see below", "none")
    hidden = numbers.sensitive(metric.value, metric.unit, metric.n)
    span = "" if hidden else numbers.interval(metric.interval, metric.unit)
    return Tile(label, numbers.of_unit(metric.value, metric.unit, metric.n), f"{span}\n{under}" if span else under)


def audits_with_evidence(run: RunFolder) -> tuple[str, ...]:
    """Names of the audits that left evidence."""
    return tuple(key for key, _ in _AUDITS if run.evidence.get(key))


def link_unverified(run: RunFolder) -> bool:
    """Whether the run says that its model could not be tied to the private set."""
    return text(mapping(run.evidence.get("data")).get("link")).startswith("link unverified")
