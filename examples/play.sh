#!/usr/bin/env bash
# A film through a script into mpv, from its beginning, without sound: play.sh in.mp4 [script.vpy [options of mpv]]
# To jump, and to hear it, let mpv run the filter: mpv.vpy.
source=$1 script=${2:-$(dirname "$0")/slowmo.vpy}
vspipe -c y4m -a "source=$source" "$script" - | mpv "${@:3}" -
