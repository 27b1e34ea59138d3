# One image for Lambda functions, tasks, workers, the local workflow engine, the local S3 server and the command line;
# the first word of the command says which (orchestration/container.py). `make images` fills docker/wheels and builds it.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
COPY docker/wheels/dependencies /wheels/dependencies
RUN python -m venv /opt/muster \
 && /opt/muster/bin/python -m pip install --quiet --no-cache-dir --no-compile --no-deps --no-index /wheels/dependencies/*.whl \
 # What only compilers and test suites read is a fifth of it.
 && cd /opt/muster/lib/python3*/site-packages \
 && rm -rf pyarrow/include pyarrow/tests pyarrow/src numba/tests sympy/*/tests networkx/*/tests numpy/*/tests \
 && find . -name '*.a' -delete
COPY docker/wheels/product /wheels/product
RUN /opt/muster/bin/python -m pip install --quiet --no-cache-dir --no-compile --no-deps --no-index /wheels/product/*.whl \
 && /opt/muster/bin/python -m pip uninstall --quiet --yes setuptools pip 2>/dev/null \
 # Caches of Python and numba hold the time of the source, and layers keep whole seconds only.
 && find /opt/muster -name '*.py' -exec touch --date=@1700000000 {} + \
 && { /opt/muster/bin/python -m compileall -q -j 2 /opt/muster/lib >/dev/null || echo "some test file of a library is not Python"; }

FROM ${BASE}
ARG KERNEL_CPU=generic
COPY --from=build /opt/muster /opt/muster
ENV PATH=/opt/muster/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MUSTER_HOME=/var/lib/muster \
    # Code for the processor of the machine that builds would not be found by another machine.
    NUMBA_CPU_NAME=${KERNEL_CPU} \
    NUMBA_CPU_FEATURES= \
    NUMBA_CACHE_DIR=/opt/muster/kernels
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin muster \
 && install -d -o muster -g muster -m 700 /var/lib/muster \
 && install -d -o muster -g muster -m 755 /opt/muster/kernels
USER muster
RUN python -m schemas.warm
WORKDIR /var/lib/muster
VOLUME /var/lib/muster
ENTRYPOINT ["python", "-m", "orchestration.container"]
CMD ["muster", "--help"]
