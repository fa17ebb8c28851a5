"""The default key map, and a user's changes to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtGui import QKeySequence

from app.ui.keymap import load_keymap

REQUIRED = """
open_files open_folder open_project save_project_as undo redo frame_prev frame_next frame_prev_10
frame_next_10 annotated_prev annotated_next frame_first frame_last play_pause cine_prev cine_next
tool_brush tool_eraser tool_polygon tool_pan brush_smaller brush_larger class_1 class_9 toggle_masks peek
accept_prediction clear_frame draw_behind reset_view cancel_learning shortcuts quit
"""


def test_default_keys_are_complete_valid_and_unique() -> None:
    keymap = load_keymap(None)
    assert keymap.warning is None
    assert all(action in keymap for action in REQUIRED.split())
    keys = [key.toString() for action in keymap for key in keymap.sequences(action.id)]
    assert all(keys)
    assert len(keys) == len(set(keys))
    assert keymap.sequences("redo") == [QKeySequence("Ctrl+Y"), QKeySequence("Ctrl+Shift+Z")]


def test_the_shortcut_sheet_and_hints_show_the_keys() -> None:
    keymap = load_keymap(None)
    sheet = keymap.sheet_html()
    assert "Play or pause" in sheet
    assert "Space or C" in sheet
    assert "Ctrl + wheel" in sheet
    assert keymap.hint("tool_brush") == "Brush (B)"


def test_keys_set_by_the_user_are_removed_from_other_actions(tmp_path: Path) -> None:
    path = tmp_path / "keymap.json"
    path.write_text(json.dumps({"play_pause": ["K", "Space"], "undo": "B", "quit": []}))
    keymap = load_keymap(path)
    assert keymap.warning is None
    assert keymap["play_pause"].keys == ("K", "Space")
    assert keymap["undo"].keys == ("B",)
    assert keymap["tool_brush"].keys == ()
    assert keymap["quit"].keys == ()
    assert keymap.hint("quit") == "Quit"
    keymap.sheet_html()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"fly": "F"}',
        '{"undo": 3}',
        '{"undo": "NoSuchKey"}',
        '{"undo": ""}',
        '{"undo": "K", "redo": "K"}',
        "\xff\xfe",
    ],
)
def test_an_invalid_file_changes_nothing_and_is_named_in_the_warning(tmp_path: Path, content: str) -> None:
    path = tmp_path / "my keys.json"
    path.write_bytes(content.encode("latin-1"))
    keymap = load_keymap(path)
    assert keymap.warning is not None
    assert "my keys.json" in keymap.warning
    assert [a.keys for a in keymap] == [a.keys for a in load_keymap(None)]


def test_a_folder_in_place_of_the_file_is_reported_but_a_missing_file_is_not(tmp_path: Path) -> None:
    assert load_keymap(tmp_path / "none.json").warning is None
    assert load_keymap(tmp_path).warning is not None
