# Verbs of this project. `make` alone lists them; CONTRIBUTING.md says more.
#
#   make train ARGS="--track warehouse --seed 1"
#   make test TORCH="torch==2.13.0 --index-url ADDRESS_OF_THE_CPU_BUILDS"

# The interpreters to try, in this order; one that is too old is passed over.
PYTHON ?= python3.11 python3.12 python3.13 python3
# What Stable-Baselines3 gets as its torch: a requirement and, if need be, options of pip.
TORCH ?= torch==2.13.0
# donkeycar's own reader, which tests hold tubs against: alone, since it asks for an old TensorFlow.
DONKEYCAR := donkeycar==5.3.0 pyfiglet==1.0.4
# Which tables of docs/benchmarks.md `make bench` makes; all by default.
TABLES ?=
# Further words for donkey-rl, and for pytest: whole files, by one process more than cores, at most
# four, in the order of tests/conftest.py (by itself xdist would take those of few tests last).
ARGS ?=
PYTEST_ARGS ?= --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

RUN := .venv/bin/python
define ONE_STEP
import gymnasium, donkey_rl.envs; car = gymnasium.make('donkey-generated-roads-v0'); \
car.reset(); car.step(car.action_space.sample())
endef
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install train test check pytest docs format bench dashboard clean
.PHONY: wheels versions wheel-check licences

help:
	@echo "make install    create .venv and install donkey-rl with its development tools"
	@echo "make train      train a driver: donkey-rl train --agent sac \$$(ARGS)"
	@echo "make test       check and run all tests"
	@echo "make check      ruff and mypy only"
	@echo "make pytest     the tests only"
	@echo "make docs       make the documentation, build/docs/index.html"
	@echo "make format     format the code and mend what ruff can"
	@echo "make bench      make the tables of docs/benchmarks.md again; TABLES=\"speed link\" some"
	@echo "make dashboard  open the MLflow pages"
	@echo "make wheels, versions, wheel-check, licences   checks of a release: docs/releasing.md"
	@echo "make clean      remove what builds and tools left behind; runs and .venv stay"

install: .venv/.installed-dev

train: .venv/.installed
	@.venv/bin/donkey-rl train --agent sac $(ARGS)

# With --jobs 2 side by side.
test: check pytest

# The simulator is compiled beforehand: all workers would begin with that, each for itself.
pytest: .venv/.installed-dev
	@$(RUN) -c "$(ONE_STEP)"
	$(RUN) -m pytest $(PYTEST_ARGS)

check: .venv/.installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# Strictly: a broken link, picture or docstring is an error.
docs: .venv/.installed-dev
	$(RUN) -m sphinx -W --keep-going -q -d build/doctrees docs build/docs
	@echo "Open build/docs/index.html; it needs no network."

format: .venv/.installed-dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

# Goes on where it was interrupted: finished commands are kept in proof/.
bench: .venv/.installed
	@.venv/bin/donkey-rl prove $(TABLES) --into docs/benchmarks.md $(ARGS)

dashboard: .venv/.installed
	@.venv/bin/donkey-rl dashboard $(ARGS)

# Which systems have wheels of all that is needed.
wheels: .venv/.installed-uv
	$(RUN) -m scripts.check_wheels

# The tests with the oldest and the newest packages that pyproject.toml allows.
versions: .venv/.installed-uv
	$(RUN) -m scripts.try_versions lowest --torch "$(TORCH)"
	$(RUN) -m scripts.try_versions newest --torch "$(TORCH)" --write

# The main job by the built wheel in an empty environment.
wheel-check: .venv/.installed-uv
	$(RUN) -m scripts.check_install --torch "$(TORCH)"

licences: .venv/.installed-dev
	$(RUN) -m scripts.list_licences

clean:
	rm -rf build dist docs/generated *.egg-info .mypy_cache .hypothesis .pytest_cache .ruff_cache .coverage
	find . -name __pycache__ -type d -not -path "./.venv/*" -prune -exec rm -rf {} +

# Debian splits ensurepip from Python: without it, pip installs a pip into the new environment.
.venv/.created:
	@for python in $(PYTHON); do \
	    if "$$python" -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" 2>/dev/null; then \
	        echo "Creating .venv with $$("$$python" --version)"; \
	        "$$python" -m venv .venv >/dev/null 2>&1 || { \
	            "$$python" -m venv --clear --without-pip .venv && \
	            "$$python" -m pip --python $(RUN) install --quiet pip; } || exit 1; \
	        touch $@; exit 0; \
	    fi; \
	done; \
	echo "donkey-rl needs Python 3.11, 3.12 or 3.13: TensorFlow has no wheels for others. Tried: $(PYTHON)." >&2; \
	echo "Name yours: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1

.venv/.installed: pyproject.toml setup.py | .venv/.created
	@echo "Installing donkey-rl into .venv; the first time this takes some minutes"
	@$(RUN) -m pip install --quiet $(TORCH)
	@$(RUN) -m pip install --quiet --editable .
	@touch $@

.venv/.installed-dev: pyproject.toml setup.py | .venv/.created
	@echo "Installing donkey-rl and the development tools into .venv: the first time some minutes"
	@$(RUN) -m pip install --quiet $(TORCH)
	@$(RUN) -m pip install --quiet --editable ".[dev]"
	@$(RUN) -m pip install --quiet --no-deps --ignore-requires-python --upgrade \
	    --target .venv/donkeycar $(DONKEYCAR)
	@touch .venv/.installed $@

# uv resolves for other systems and for the oldest versions, which pip does not.
.venv/.installed-uv: | .venv/.installed-dev
	@$(RUN) -m pip install --quiet uv
	@touch $@
