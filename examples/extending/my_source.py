"""A source in one file: pictures inside a zip. `ssl4rl preview ./my_source.py:TASKS --data zip:photos.zip`."""

import zipfile

from my_task import TASKS as TASKS  # the neighbour's task reads our pictures

from ssl4rl import Source, Ssl4rlError
from ssl4rl.core.source import content_id
from ssl4rl.vision.photo import BytesPhoto


class Zipped(Source):
    """The pictures of a zip, each read when it is asked for; an item's id is a hash of its bytes, never its name."""

    def __init__(self, path):
        try:
            self.zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise Ssl4rlError(f"zip: {path!r} cannot be read: {error}") from error
        self.names = [name for name in self.zip.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png"))]

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        return BytesPhoto(self.zip.read(self.names[index]), self.names[index])

    def id(self, index):
        return content_id(self.zip.read(self.names[index]))

    def name(self, index):
        return self.names[index]  # what `ssl4rl preview` shows


SOURCES = {"zip": Zipped}
