"""The window: widgets, panels, dialogs and presenters that display the workspace."""
