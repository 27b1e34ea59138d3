"""Feeds: from membership messages to events, and the positions from which a feed goes on."""
