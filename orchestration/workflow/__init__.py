"""State machines: tables of stages, the files rendered from them for every engine, and the functions they call."""
