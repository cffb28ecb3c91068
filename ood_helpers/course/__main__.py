"""python -m ood_helpers.course course|site."""

import sys

from .site import course, site

if __name__ == "__main__":
    if sys.argv[1:] not in (["course"], ["site"]):
        sys.exit("usage: python -m ood_helpers.course course|site")
    {"course": course, "site": site}[sys.argv[1]]()
