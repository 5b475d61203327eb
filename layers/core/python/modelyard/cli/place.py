"""The command ``place``, and what ``doctor`` says of the same: where a model should run, with the arithmetic."""

from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from modelyard.cli.models import AsJson, Name
from modelyard.cli.session import Session
from modelyard.cli.show import out, print_json, table
from modelyard.errors import BuildError, ModelyardError
from modelyard.times import utc_now

if TYPE_CHECKING:
    from modelyard.placement import Judgement, Known, Supposed
    from modelyard.spec import Model

DAYS = 7
"""Of audit metrics that are read: traffic differs by weekday."""


def place(
    context: typer.Context,
    name: Name,
    requests_per_s: Annotated[
        float | None,
        typer.Option("--requests-per-second", min=0, help="Steady traffic; left out, as measured in the last week."),
    ] = None,
    ms: Annotated[
        float | None, typer.Option("--ms", min=0.01, help="How long a request takes on Lambda; left out, as measured.")
    ] = None,
    cpu_ms: Annotated[
        float | None,
        typer.Option(
            "--cpu-ms", min=0.001, help="Processor time of it; left out, as if every thread worked all of it."
        ),
    ] = None,
    memory_mb: Annotated[
        int | None,
        typer.Option("--memory-mb", min=128, max=10240, help="Of the Lambda function; left out, as in model.toml."),
    ] = None,
    instance: Annotated[
        str | None, typer.Option("--instance", help="Like ml.c5.large; left out, the spec's or the cheapest.")
    ] = None,
    usd_per_hour: Annotated[
        float | None, typer.Option("--usd-per-hour", min=0.0001, help="What --instance costs in your region.")
    ] = None,
    utilisation: Annotated[
        float | None,
        typer.Option("--utilisation", min=0.05, max=1, help="How busy an instance may be; 0.6 if left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model costs on Lambda and on SageMaker, which limits bind, and from which traffic on to move."""
    from modelyard.placement import Supposition, judged, supposed

    session: Session = context.obj
    model = session.model(name)
    # Whoever supposes everything needs no AWS.
    known = _built(session, model) if None not in (requests_per_s, ms) else _known(session, model)
    if memory_mb is not None:
        known = replace(known, memory_mb=memory_mb)
    what = Supposition(
        requests_per_s=requests_per_s,
        ms=ms,
        cpu_ms=cpu_ms,
        memory_mb=memory_mb,
        instance=instance,
        usd_per_hour=usd_per_hour,
        utilisation=utilisation,
    )
    found, judgement = supposed(known, what), judged(known, supposed=True)
    if as_json:
        print_json(_document(found, judgement))
        return
    _show_table(found, judgement)


def show_placement(session: Session, model: "Model") -> None:
    """Print where a model should run and why; what cannot be found out is said, and is no error."""
    from modelyard.placement import judged

    judgement = judged(_known(session, model))
    mark = "[green]·[/]" if judgement.move_to is None else "[yellow]![/]"
    out.print(f"  {mark} {escape(judgement.headline)}", soft_wrap=True)
    _show_findings(judgement)


def _show_table(found: "Supposed", judgement: "Judgement") -> None:
    from modelyard.placement import break_even

    case = found.case
    rows = [
        [row.target, "-" if row.usd is None else f"{row.usd:,.2f}", _or_dash(row.million_usd), row.binds]
        for row in found.rows
    ]
    title = f"{judgement.known.model}: {found.requests_per_s:,.2f} requests a second, {case.work.ms:,.1f} ms on Lambda"
    table(title, ["target", "USD a month", "a million"], rows)
    for line in break_even(case).lines:
        out.print(escape(line), soft_wrap=True)
    out.print(f"[dim]{escape(case.prices.label)}; the HTTP API is in every sum[/]", soft_wrap=True)
    cheapest = found.cheapest
    if cheapest is not None and cheapest.usd is not None:
        out.print(f"[bold]the cheapest that answers at once: {cheapest.target}, {cheapest.usd:,.2f} USD a month[/]")
    _show_findings(judgement)


def _show_findings(judgement: "Judgement") -> None:
    for finding in judgement.findings:
        colour = "yellow" if finding.warns else "dim"
        out.print(f"    [{colour}]{finding.about}[/]: it {escape(finding.says)}", soft_wrap=True)
        for line in finding.lines:
            out.print(f"      [dim]{escape(line)}[/]", soft_wrap=True)
    for line in judgement.unknown:
        out.print(f"    [dim]not known: {escape(line)}[/]", soft_wrap=True)


def _document(found: "Supposed", judgement: "Judgement") -> dict[str, Any]:
    from modelyard.placement import break_even

    even = break_even(found.case)
    return {
        "model": judgement.known.model,
        "target": judgement.known.target,
        "cheapest": found.cheapest.target if found.cheapest is not None else None,
        "requests_per_second": found.requests_per_s,
        "ms": found.case.work.ms,
        "prices": found.case.prices.label,
        "targets": [asdict(row) for row in found.rows],
        "break_even": {"requests_per_second": even.requests_per_s, "arithmetic": even.lines},
        "findings": [asdict(finding) for finding in judgement.findings],
        "unknown": list(judgement.unknown),
    }


def _or_dash(usd: float | None) -> str:
    return "-" if usd is None else f"{usd:,.3f}"


def _known(session: Session, model: "Model") -> "Known":
    """What the spec, the layers, the registry and CloudWatch say, each as far as it answers."""
    known = _built(session, model)
    try:
        known = _live(session, known)
        if session.settings.is_local:
            return replace(known, unmeasured="the local AWS keeps no metrics")
        return _measured(session, known)
    except ModelyardError as error:
        return replace(known, unmeasured=error.message)


def _built(session: Session, model: "Model") -> "Known":
    from modelyard.packaging import find_layer
    from modelyard.placement import known_of

    built = partial(find_layer, session.project, session.settings, architecture=model.spec.endpoint.architecture)
    try:
        return known_of(model, built=built)
    except BuildError:
        return known_of(model)


def _live(session: Session, known: "Known") -> "Known":
    """With the model file that is live in place of the one in the folder."""
    deployment = session.registry.deployment(known.model)
    if deployment is None:
        return known
    manifest = session.registry.version(known.model, deployment.champion).manifest
    forms = () if manifest.compilation is None else manifest.compilation.forms
    runs = [ms for form in forms for name, ms in form.measured.items() if name == "compiled_run_ms"]
    return replace(
        known,
        artifact_bytes=manifest.size,
        artifact=f"version {deployment.champion}",
        engine_ms=min(runs, default=None),
    )


def _measured(session: Session, known: "Known") -> "Known":
    from modelyard.aws.usage import hourly_usage
    from modelyard.placement import Hour, usage_of

    found = hourly_usage(session.clients.client("cloudwatch"), known.model, until=utc_now(), days=DAYS)
    hours = [
        Hour(
            requests=hour["requests"],
            latency_sum_ms=hour["latency_sum"],
            p50_ms=hour["p50"],
            p99_ms=hour["p99"],
            rows=hour["rows"],
            most_rows=hour["most_rows"],
        )
        for hour in found
    ]
    usage = usage_of(hours, days=DAYS)
    return replace(known, usage=usage, unmeasured="" if usage else f"no requests in {DAYS} days")
