"""Runs the process of the page; `donkey_rl.race_server.page.life` starts it."""

import signal

if __name__ == "__main__":
    # Ctrl-C is for the racer, which then lets this process go; what is imported takes a while.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from donkey_rl.race_server.page import serving

    raise SystemExit(serving.main())
