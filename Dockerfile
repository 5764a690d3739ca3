# syntax=docker/dockerfile:1
# Two stages: the packages are installed, hash-checked, where a compiler may be; the image that runs has none.
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
RUN python -m venv /opt/rollout
COPY requirements/main.txt requirements/build.txt requirements/
RUN /opt/rollout/bin/pip install --require-hashes -r requirements/main.txt \
 && python -m pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY rollout rollout
COPY jobs jobs
COPY alembic alembic
COPY config/plans config/plans
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /opt/rollout/bin/pip install --no-deps /wheel/*.whl

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="rollout" \
      org.opencontainers.image.description="Safe, gradual rollout of voice-agent versions on Retell phone numbers" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/rollout /opt/rollout
RUN install -d -o 65532 -g 65532 -m 0700 /data
ENV PATH=/opt/rollout/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 \
    ROLLOUT_DATABASE_URL=sqlite:////data/rollout.db
# Numeric, so that a platform can see that it is not root. Works with a read-only root file system.
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"ROLLOUT_PORT\", \"8080\")}/healthz', timeout=4)"]
ENTRYPOINT ["rollout"]
CMD ["serve", "--migrate"]
