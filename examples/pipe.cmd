@echo off
rem A film through a script into ffmpeg, and the sound of the film beside it: pipe.cmd in.mp4 out.mkv [script.vpy]
rem docs/encoding.md has the flags for what y4m does not carry; `vs-sr render` needs none of this.
rem cmd.exe tells no failure of vspipe: look at what it says last.
setlocal
set "source=%~1"
set "target=%~2"
set "script=%~3"
if not defined script set "script=%~dp0slowmo.vpy"
vspipe -c y4m -a "source=%source%" "%script%" - | ffmpeg -v error -i - -i "%source%" -map 0:v -map "1:a?" -c:v libx264 -crf 16 -c:a copy "%target%"
