"""How a network is run. A backend is a module that provides it through the hook ``vs_sr_backends``."""
