"""The engine process: messages, scheduler and jobs."""
