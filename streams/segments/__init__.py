"""The Faust shell around `segmentation.partitions`: events and profiles in, changes of memberships and archive out."""
