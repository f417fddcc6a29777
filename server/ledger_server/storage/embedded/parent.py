"""Having a child process stopped when this process is gone, however it went."""

import shutil
import signal
import subprocess
import sys
import threading

# Where nothing in the operating system stops a child with its parent, this little process does.
# Its standard input is a pipe that only the service holds open: end of file means it is gone.
_GUARDIAN = """
import os, signal, subprocess, sys, threading
signals = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
child = subprocess.Popen(
    sys.argv[2:], stdin=subprocess.DEVNULL,
    preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, signals),
)
for number in signals:
    signal.signal(number, lambda received, frame: child.send_signal(received))
def watch():
    while os.read(0, 1):
        pass
    child.send_signal(int(sys.argv[1]))
threading.Thread(target=watch, daemon=True).start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
code = child.wait()
os._exit(code if code >= 0 else 128 - code)
"""


def stopped_with_us(setpriv: str | None, signal_number: signal.Signals) -> tuple[str, ...]:
    """The command that runs another one and has it stopped when this process is gone.

    The kernel's parent-death signal fires when the *thread* that forked ends, so it is used from
    the main thread only, which lives as long as the process does.
    """
    if setpriv is not None and threading.current_thread() is threading.main_thread():
        return (setpriv, "--pdeathsig", signal_number.name.removeprefix("SIG"), "--no-new-privs")
    return (sys.executable, "-I", "-S", "-c", _GUARDIAN, str(int(signal_number)))


def setpriv_with_pdeathsig() -> str | None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return None
    # Small systems have a setpriv that lacks this option.
    trial = subprocess.run([setpriv, "--pdeathsig", "INT", "true"], capture_output=True, check=False)
    return setpriv if trial.returncode == 0 else None
