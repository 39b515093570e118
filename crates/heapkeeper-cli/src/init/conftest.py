# Goes into the conftest.py of the top folder. 'pytest --heapkeeper' then starts itself anew on our heap, Python's
# own objects included; a new finding, by an extension module as well, makes it end with exit status 97.
# Always: addopts = --heapkeeper in pytest.ini. Undo: remove these lines.
import os
import sys


def pytest_addoption(parser):
    parser.addoption("--heapkeeper", action="store_true", help="run on Heapkeeper's heap")


def pytest_configure(config):
    # The mark is inherited, also by the workers of xdist: started anew once, not for ever.
    if not config.getoption("heapkeeper") or "HEAPKEEPER_PYTEST" in os.environ:
        return
    os.environ.update(HEAPKEEPER_PYTEST="1", PYTHONMALLOC="malloc")
    # What takes standard output and error for itself has to give them back first.
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture:
        capture.stop_global_capturing()
    python = getattr(sys, "orig_argv", [sys.executable, "-m", "pytest", *config.invocation_params.args])
    os.chdir(config.invocation_params.dir)
    try:
        os.execvp("heapkeeper", ["heapkeeper", "check", "--", sys.executable, *python[1:]])
    except OSError as error:
        sys.exit(f"pytest --heapkeeper: the command heapkeeper cannot be run: {error}")
