# A read-only mirror of a folder in which every call takes a millisecond and nothing is cached:
#   /usr/bin/python3 bench/experiments/slow-fs.py SOURCE MOUNTPOINT     (Debian: fuse3 python3-fusepy)
import os
import sys
import time

import fusepy

FIELDS = ("mode", "size", "mtime", "ctime", "atime", "nlink", "uid", "gid")


class Slow(fusepy.Operations):
    def __init__(self, root):
        self.root = root

    def at(self, path):
        time.sleep(0.001)
        return self.root + path

    def getattr(self, path, fh=None):
        stat = os.lstat(self.at(path))
        return {"st_" + field: getattr(stat, "st_" + field) for field in FIELDS}

    def readdir(self, path, fh):
        return [".", ".."] + os.listdir(self.at(path))

    def open(self, path, flags):
        return os.open(self.at(path), flags)

    def read(self, path, size, offset, fh):
        self.at(path)
        return os.pread(fh, size, offset)

    def release(self, path, fh):
        os.close(fh)


fusepy.FUSE(Slow(sys.argv[1]), sys.argv[2], foreground=True, attr_timeout=0, entry_timeout=0)
