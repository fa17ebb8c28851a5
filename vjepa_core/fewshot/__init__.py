"""Few-shot segmentation with heads on frozen video features."""
