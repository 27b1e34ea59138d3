"""Bodies of requests, checked by pydantic before a view's method gets them."""
