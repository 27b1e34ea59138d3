"""The Faust shell around `segmentation.partitions`: consumes events and profiles, emits changes and archive files."""
