@echo off
rem A film through a script into mpv, from its beginning, without sound: play.cmd in.mp4 [script.vpy]
rem To jump, and to hear it, let mpv run the filter: mpv.vpy.
setlocal
set "source=%~1"
set "script=%~2"
if not defined script set "script=%~dp0slowmo.vpy"
vspipe -c y4m -a "source=%source%" "%script%" - | mpv -
