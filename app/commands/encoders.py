"""Which encoders there are, and whether one is sound."""

from __future__ import annotations

import argparse
from typing import Any

from app.commands.report import Report, table
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard, available


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`list` and `check NAME`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|check")
    listing = actions.add_parser("list", help="name, family, licence, checksum, trained or not")
    check = actions.add_parser("check", help="load one and compare it with its card")
    check.add_argument("name", metavar="NAME")
    for action in (listing, check):
        action.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> Report:
    """List the cards, or load one encoder and compare checksums."""
    return _list() if args.action == "list" else _check(args.name)


def facts(card: EncoderCard) -> dict[str, Any]:
    """What the card says, as JSON types."""
    return {
        "name": card.name,
        "default": card.name == DEFAULT_ENCODER,
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
    cards = available()
    rows = [("NAME", "FAMILY", "PARAMETERS", "TRAINED", "LICENCE", "SHA-256")]
    for card in cards:
        trained = "yes" if card.trained else "no: random weights"
        millions = f"{card.parameters / 1e6:.1f} M"
        rows.append((card.name, card.family, millions, trained, card.licence, f"{card.checksum[:12]}..."))
    notes = [f"{card.name}: {card.description}" for card in cards]
    return Report({"encoders": [facts(card) for card in cards]}, "\n".join((table(rows), "", *notes)))


def _check(name: str) -> Report:
    from vjepa_core.encoder.load import load_encoder

    model, card = load_encoder(name)  # refuses weights that are not those of the card
    counted = sum(weight.numel() for weight in model.parameters())
    data = {**facts(card), "ok": True, "counted_parameters": counted}
    trained = "trained" if card.trained else "untrained: fixed random weights"
    text = (
        f"{card.name} is sound: recognised as {card.family}, {card.architecture}, {counted:,} parameters; "
        f"{trained}.\nSHA-256 {card.checksum}"
    )
    return Report(data, text)
