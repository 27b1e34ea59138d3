"""Where processes begin: Lambda handlers, tasks, workers, the words of the image, the demo."""
