"""List, check, choose, import, remove, time and compare encoders."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from app.commands import compare, encoder_import, encoder_time
from app.commands.report import Report, table
from app.encoders import registry
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one subparser for each action."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|check|compare|...")
    listing = actions.add_parser("list", help="list encoders with family, licence and checksum")
    check = actions.add_parser("check", help="load an encoder and compare it with its card")
    choose = actions.add_parser("choose", help="choose the encoder of the window and the other commands")
    keep = actions.add_parser("keep", help="add a newly trained encoder under a name")
    keep.add_argument("card", type=Path, metavar="CARD", help="RUN/encoder/....json")
    importing = actions.add_parser("import", help="import a V-JEPA checkpoint under a name")
    encoder_import.add_arguments(importing)
    remove = actions.add_parser("remove", help="delete a kept or imported encoder")
    comparison = actions.add_parser("compare", help="compare encoders on your own labels")
    compare.add_arguments(comparison)
    timing = actions.add_parser("time", help="measure the time for a clip and for a cine")
    encoder_time.add_arguments(timing)
    for action in (check, choose, keep, remove):
        action.add_argument("name", metavar="NAME")
    for action in (listing, check, choose, keep, importing, remove, comparison, timing):
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> Report:
    """Run one action."""
    match args.action:
        case "list":
            return _list()
        case "check":
            return _check(args.name)
        case "choose":
            registry.choose(args.name)
            return Report({"chosen": args.name}, f"{args.name} is used from the next start.")
        case "keep":
            kept = registry.keep(args.card, args.name)
            text = f"{kept.name} was added; use it with `apical encoders choose {kept.name}`."
            return Report(facts(kept, registry.chosen()), text)
        case "import":
            return encoder_import.run(args)
        case "remove":
            registry.remove(args.name)
            return Report({"removed": args.name}, f"{args.name} was removed.")
        case "time":
            return encoder_time.run(args)
        case _:
            return compare.run(args)


def facts(card: EncoderCard, chosen: str) -> dict[str, Any]:
    """Return the content of a card as JSON types.

    Parameters
    ----------
    card : EncoderCard
    chosen : str
        Name of the encoder that the program uses.

    Returns
    -------
    dict
    """
    return {
        "name": card.name,
        "default": card.name == DEFAULT_ENCODER,
        "chosen": card.name == chosen,
        "own": registry.is_own(card),
        "family": card.family,
        "architecture": card.architecture,
        "parameters": card.parameters,
        "trained": card.trained,
        "licence": card.licence,
        "checksum": card.checksum,
        "file": card.path.name if card.path else None,
        "description": card.description,
    }


def _list() -> Report:
    (cards, faults), chosen = registry.cards(), registry.chosen()
    rows = [("", "NAME", "FAMILY", "PARAMETERS", "TRAINED", "LICENCE", "SHA-256")]
    for card in cards:
        trained = "yes" if card.trained else "no: random weights"
        millions = f"{card.parameters / 1e6:.1f} M"
        mark = "*" if card.name == chosen else ""
        short = f"{card.checksum[:12]}..."
        licence = card.licence.split(":")[0]  # without the terms, for which the table has no space
        rows.append((mark, card.name, card.family, millions, trained, licence, short))
    notes = [f"{card.name}: {card.description}" for card in cards] + list(faults.values())
    lines = (table(rows), "", "* marks the encoder that the window and the commands use.", *notes)
    data = {"encoders": [facts(card, chosen) for card in cards], "faults": list(faults.values())}
    return Report(data, "\n".join(lines))


def _check(name: str) -> Report:
    from vjepa_core.encoder.load import load_card

    card = registry.find(name)
    model = load_card(card)  # raises if the weights do not match the card
    counted = sum(weight.numel() for weight in model.parameters())
    data = {**facts(card, registry.chosen()), "ok": True, "counted_parameters": counted}
    trained = "trained" if card.trained else "untrained: fixed random weights"
    text = (
        f"{card.name} is intact: recognised as {card.family}, {card.architecture}, {counted:,} parameters; "
        f"{trained}.\nSHA-256 {card.checksum}"
    )
    return Report(data, text)
