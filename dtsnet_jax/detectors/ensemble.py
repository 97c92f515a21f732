"""Detectors of several seeds as one: their score maps are averaged."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import jax

from dtsnet_jax.detectors.fitted import Answer, Fitted, Learner, Parts
from dtsnet_jax.evaluation.scoring import ScoringOptions

MEMBERS = "members"  # of ``Parts``: what each of them adds to the teacher, by its number


def mean_answer(
    learner: Learner, parts: Parts, images: jax.Array, scoring: ScoringOptions
) -> Answer:
    """As ``Learner.answer``, with the parts of ``join``: the mean of the members' score maps."""
    answers = [
        learner.answer({"teacher": parts["teacher"]} | one, images, scoring)
        for one in parts[MEMBERS].values()
    ]
    return Answer(sum(one.maps for one in answers) / len(answers), answers[0].features)


def _without_teacher(parts: Parts) -> Parts:
    return {name: part for name, part in parts.items() if name != "teacher"}


def joint_like(like: Parts, parts: Parts) -> Parts:
    """What ``Learner.parts_like`` is for the parts of ``join``, with as many members as these."""
    own = _without_teacher(like)
    members = parts[MEMBERS] if isinstance(parts[MEMBERS], dict) else {0: None}
    return {"teacher": like["teacher"], MEMBERS: dict.fromkeys(members, own)}


def join(members: Sequence[Fitted], answer: Callable[[Parts, jax.Array], Answer]) -> Fitted:
    """Several of what one learner has learned of a category as one.

    Args:
      members: with the same teacher.
      answer: ``mean_answer`` of their learner, compiled.

    Returns:
      Their joint answer; it is trained as far as the least trained of them.
    """
    own = [_without_teacher(one.parts) for one in members]
    parts = {"teacher": members[0].parts["teacher"], MEMBERS: dict(enumerate(own))}
    return replace(
        members[0],
        parts=parts,
        answer=partial(answer, parts),
        step=min(one.step for one in members),
        trained_to=min(one.trained_to for one in members),
        seconds=sum(one.seconds for one in members),
    )
