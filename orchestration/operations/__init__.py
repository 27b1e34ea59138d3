"""What the commands do, without printing: submit, follow, cancel, retry, dry run, dead letters, fsck and more."""
