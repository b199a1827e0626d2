"""Runs the process of the page; `donkey_rl.race_server.page.life` starts it."""

from donkey_rl.race_server.page import serving

if __name__ == "__main__":
    raise SystemExit(serving.main())
