"""`raywce export`: the winner of a search, or the model of a training, as a transformers folder."""

from __future__ import annotations

from typing import Annotated

import typer


def export(
    run: Annotated[str, typer.Argument(help="Run folder of search or train, or folder of average; a path or URI.")],
    out: Annotated[str, typer.Argument(help="Folder to write; new or empty.")],
    trial: Annotated[str | None, typer.Option(metavar="ID", help="This trial instead of the winner.")] = None,
    ctranslate2: Annotated[
        bool, typer.Option("--ctranslate2", help="Also write OUT/ctranslate2, for faster-whisper.")
    ] = False,
    quantization: Annotated[
        str | None, typer.Option(help="Type of CTranslate2's weights: float32 (default), float16, int8, ...")
    ] = None,
    ggml: Annotated[bool, typer.Option("--ggml", help="Also write OUT/ggml, for whisper.cpp.")] = False,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Keep an adapter (model.lora) apart, in place of merging it.")
    ] = False,
    benchmark: Annotated[
        list[str] | None,
        typer.Option(metavar="SPLIT/LANGUAGE=DATASET:TASK", help="A test split is this benchmark of the Hub; several."),
    ] = None,
    push: Annotated[str | None, typer.Option(metavar="REPO_ID", help="Also upload it to the Hugging Face Hub.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Write the winner as a transformers folder with a model card.

    This is the winner of the confirm phase; without one, the best feasible trial of the search.
    """
    from raywce.errors import Problems
    from raywce.export import benchmarks, folder, hub
    from raywce.export.convert import check_convertible
    from raywce.export.ggml import check_ggml
    from raywce.export.record import find_average
    from raywce.export.source import find_source

    problems = Problems()
    if quantization and not ctranslate2:
        problems.add("--quantization", "must come with --ctranslate2", quantization)
    if private and not push:
        problems.add("--private", "must come with --push")
    average = find_average(run)
    if average and trial:
        problems.add("--trial", "must be left out for an averaged model", trial)
    for option, wanted in {"--ctranslate2": ctranslate2, "--ggml": ggml}.items():
        if adapter and wanted:
            problems.add(option, "must be left out with --adapter, as it needs a whole model")
    problems.raise_any()
    target = folder.check_out(out)
    source = average or find_source(run, trial)
    results = benchmarks.entries(benchmark, source) if benchmark else []
    weights = (quantization or "float32") if ctranslate2 else None
    if adapter:
        folder.check_adapter(source, shared=push is not None)
    if weights:
        check_convertible(source.checkpoint, weights)
    if ggml:
        check_ggml(source.checkpoint)
    if push:
        hub.check_pushable(push)
    folder.export(source, target, weights, ggml=ggml, adapter=adapter, results=results)
    typer.echo(f"{source.title}: {target}")
    if weights:
        typer.echo(f"CTranslate2, {weights}: {target / folder.CTRANSLATE2}")
    if ggml:
        typer.echo(f"whisper.cpp: {target / folder.GGML}")
    if push:
        typer.echo(f"on the Hub: {hub.push(target, push, private)}")
