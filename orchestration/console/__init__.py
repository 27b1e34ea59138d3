"""The console: pages for people, in the process of the service, below `/console`.

A page reads what it shows through views (`orchestration.access.views`), as the API does, and decides nothing. To add
one:

1. `pages/NAME.py`: a frozen dataclass, the page's view model, which holds records and what the page adds to them; a
   handler that fills it through a `PageContext` and answers with `shown(request, "NAME.html", model, ...)`; its route
   in `ROUTES`, and the module in `application.PAGES`.
2. `templates/NAME.html`: extends `base.html`; sees the view model as `page`, the frame as `frame`, and
   texts by their key from `t`. No scripts, no styles in it: the CSP refuses them. A bar is an SVG or a `<progress>`.
3. `texts/NAME.toml`: its texts in English and Japanese; a test finds those that are missing or not used.
4. `frame.SECTIONS`, if the page belongs into the menu.
5. A row in `tests/unit/orchestration/console/pages.py`: the page is then rendered in both languages, and held against
   the isolation of tenants; and one in `tests/browser`, if it has something that only a browser shows.

Live parts: `data-stream` on an element of the page names a source of events (`pages/live.py`). `static/live.js` turns
them into the DOM event `changed` on the element `KIND-ID` (`job-01k...`), where htmx fetches that part again. All pages
of a browser share one stream.
"""
