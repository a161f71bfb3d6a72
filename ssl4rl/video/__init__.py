"""Clips, as pictures in order or as such: tasks, and the sources they draw from. Imports none of them."""

TASKS: dict[str, str] = {
    "order": "ssl4rl.video.order:Order",
    "arrow": "ssl4rl.video.arrow:Arrow",
    "odd": "ssl4rl.video.odd:Odd",
    "next": "ssl4rl.video.following:Next",
}

SOURCES: dict[str, str] = {
    "": "ssl4rl.video.sources:open_path",
    "frames": "ssl4rl.video.sources:open_path",
    "moving": "ssl4rl.video.moving:open_moving",
}

SHOW: dict[str, str] = {"video": "ssl4rl.video.clip:strip"}
