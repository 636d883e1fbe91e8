"""`raywce average`: the average of the weights of several fine-tunings, as a transformers folder."""

from __future__ import annotations

from typing import Annotated

import typer


def average(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|MODEL...", help="Run folders of raywce search or raywce train, and transformers folders."
        ),
    ],
    out: Annotated[str, typer.Option(help="Folder to write; new or empty.")],
) -> None:
    """Average the weights of fine-tunings of one start, such as those of several seeds.

    Of a run it takes the model that raywce export would. Everything but the weights is that of the first model.
    """
    from raywce.errors import InputError, Problems
    from raywce.export import average as averaging
    from raywce.export.folder import check_out

    problems, found = Problems(), []
    if len(models) < 2:
        problems.add("RUN|MODEL", "must be two models or more", len(models))
    for place in models:
        try:
            found.append(averaging.find_model(place))
        except InputError as error:
            problems.found += error.problems
    try:
        target = check_out(out, "--out")
    except InputError as error:
        problems.found += error.problems
    problems.found += averaging.problems(found)
    problems.raise_any()
    averaging.average(found, target)
    typer.echo(f"average of {len(found)} models: {target}")
