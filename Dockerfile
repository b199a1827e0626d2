# Training, evaluating and sweeping in a container. From the root of the project:
#
#   docker build -t donkey-rl .
#   mkdir runs
#   docker run --rm --read-only --cap-drop=ALL --user "$(id -u):$(id -g)" \
#       -v "$PWD/runs:/runs" donkey-rl train --agent sac
#
# Runs, drivers and the compiled simulator stay in runs/. On Linux a plain torch brings gigabytes
# of CUDA that nothing here uses: --build-arg TORCH="torch==2.13.0 --index-url ADDRESS" takes the
# CPU build, as the README says. Cars that race in a container: race_server/Dockerfile.
# `python -m scripts.check_training_image` does these steps where there is no Docker.

FROM python:3.11.14-slim-bookworm AS build
ARG TORCH=torch==2.13.0
COPY scripts/tested_versions.txt /build/tested_versions.txt
RUN python -m venv /app \
    && /app/bin/pip install --no-cache-dir ${TORCH}
COPY pyproject.toml setup.py README.md LICENSE NOTICE /build/
COPY donkey_rl /build/donkey_rl
COPY agents /build/agents
COPY envs /build/envs
COPY experiments /build/experiments
COPY metrics /build/metrics
COPY race_server /build/race_server
RUN /app/bin/pip install --no-cache-dir --constraint /build/tested_versions.txt /build \
    && /app/bin/pip check

FROM python:3.11.14-slim-bookworm
COPY --from=build /app /app
RUN mkdir /runs && chown 10001:10001 /runs
# The one folder that is written to: mlflow.db, runs, what the simulator is compiled to.
ENV PATH=/app/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/runs \
    TMPDIR=/runs \
    NUMBA_CACHE_DIR=/runs/.cache/numba \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /runs
VOLUME /runs
ENTRYPOINT ["donkey-rl"]
CMD ["--help"]
