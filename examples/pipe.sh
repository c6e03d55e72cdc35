#!/usr/bin/env bash
# A film through a script into ffmpeg, and the sound of the film beside it: pipe.sh in.mp4 out.mkv [script.vpy]
# docs/encoding.md has the flags for what y4m does not carry; `vs-sr render` needs none of this.
set -euo pipefail # a script that fails must not pass for a film that ends
source=$1 target=$2 script=${3:-$(dirname "$0")/slowmo.vpy}
vspipe -c y4m -a "source=$source" "$script" - |
    ffmpeg -v error -i - -i "$source" -map 0:v -map "1:a?" -c:v libx264 -crf 16 -c:a copy "$target"
