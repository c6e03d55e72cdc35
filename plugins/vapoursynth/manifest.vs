[VapourSynth Manifest V1]
libvs_sr
