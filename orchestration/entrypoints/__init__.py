"""Entry points of processes: Lambda handlers, tasks, workers, the commands of the image, the demo."""
