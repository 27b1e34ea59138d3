"""The routes, by kind of thing. They decide nothing: each calls one method of a view."""
