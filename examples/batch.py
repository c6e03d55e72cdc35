"""Every film of a folder, one after the other: python batch.py FOLDER OUT [options of vs-sr render]

Films that are there already are left out, one that was interrupted goes on where it was, and one that fails keeps none
of the others from being made. So the same command can be given again until all are there. On Windows as elsewhere.
"""

import subprocess
import sys
from pathlib import Path

FILMS = (".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm", ".wmv")


def main(source: Path, target: Path, *options: str) -> int:
    """Make them, and say which could not be made."""
    target.mkdir(parents=True, exist_ok=True)
    films = sorted(path for path in source.iterdir() if path.suffix.lower() in FILMS)
    failed = []
    for number, film in enumerate(films, 1):
        made = target / f"{film.name}.mkv"  # a.mp4 and a.avi are two films
        if made.exists():
            continue
        print(f"{number} of {len(films)}: {film.name}", flush=True)
        done = subprocess.run([sys.executable, "-m", "vs_sr", "render", film, made, "--resume", *options], check=False)
        if done.returncode == 130:  # Ctrl-C
            return 130
        if done.returncode:
            failed.append(film.name)
    if failed:
        print(f"not made: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
    except (IndexError, KeyboardInterrupt) as error:
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else __doc__)
