# Two images. `product` is everything that runs at AWS: Lambda functions, tasks, workers, relay, setup, command line; the
# first word of the command says which (orchestration/entrypoints/container.py). `stack` adds what stands in for AWS on one machine:
# the workflow engine and the S3 server. `make images` fills docker/wheels and builds both, without network.
# The classic builder makes every stage before its target, so those of `stack` come last.
# docs/containers.md says where the digest is from, and how to take a later one.
ARG BASE=python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7

FROM ${BASE} AS dependencies
# Two environments: pip is not shipped.
RUN python -m venv /opt/pip && python -m venv --without-pip /opt/muster
ENV PIP="/opt/pip/bin/pip --python /opt/muster/bin/python --quiet --disable-pip-version-check \
install --no-cache-dir --no-compile --no-deps --no-index --ignore-installed"
COPY docker/wheels/dependencies /wheels/dependencies
COPY docker/strip.py /wheels/
RUN cd /wheels/dependencies && sha256sum --check --quiet SHA256SUMS \
 && $PIP ./*.whl \
 && cd /opt/muster/lib/python3*/site-packages \
 # For compilers and test suites.
 && find . -depth -type d -name tests -exec rm -rf {} + \
 && find . \( -name '*.a' -o -name '*.h' -o -name '*.hpp' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.pyi' \) -delete \
 && rm -rf pyarrow/include pyarrow/src \
 # An RPC framework that nothing here speaks.
 && rm -f pyarrow/*flight* \
 # Wheels cannot hold links: two more copies of libraries that are loaded as lib*.so.N00 only.
 && rm -f pyarrow/libarrow_python*.so pyarrow/libarrow_python*.so.*.*.* \
 # A catalog that is not ours.
 && rm -rf hive_metastore fb303 \
 # Of 450 services six are called, and STS may be asked for credentials.
 && find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name stepfunctions ! -name sts \
    ! -name ecs ! -name scheduler ! -name secretsmanager ! -name sns -exec rm -rf {} + \
 && python /wheels/strip.py . \
 # Caches of Python and numba hold the time of the source, and layers keep whole seconds only.
 && find . -name '*.py' -exec touch --date=@1700000000 {} + \
 && /opt/muster/bin/python -m compileall -q -j 2 .

# In a layer of its own: a change of the code moves no dependency.
FROM dependencies AS code
COPY docker/wheels/product /wheels/product
RUN $PIP --root /added /wheels/product/*.whl \
 && find /added -name '*.py' -exec touch --date=@1700000000 {} + \
 && /opt/muster/bin/python -m compileall -q -s /added -p / /added

FROM ${BASE} AS product
ARG KERNEL_CPU=generic
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin muster \
 && install -d -o muster -g muster -m 700 /var/lib/muster \
 && install -d -o muster -g muster -m 755 /opt/muster/kernels
COPY --from=dependencies /opt/muster /opt/muster
COPY --from=code /added /
COPY docker/wheels/product.cdx.json /opt/muster/sbom.cdx.json
ENV PATH=/opt/muster/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MUSTER_HOME=/var/lib/muster \
    # Code for the processor of the machine that builds would not be found by another machine.
    NUMBA_CPU_NAME=${KERNEL_CPU} \
    NUMBA_CPU_FEATURES= \
    NUMBA_CACHE_DIR=/opt/muster/kernels
USER muster
RUN python -m segmentation.warm && python -m connectors.sources.warm
# Lambda starts functions as a user of its own, for whom the home of this one is closed.
WORKDIR /
# What is written where the rest of the file system is read-only. A volume of ECS takes owner and mode from here; it
# would be root's.
VOLUME ["/var/lib/muster", "/tmp"]
ENTRYPOINT ["python", "-m", "orchestration.entrypoints.container"]
CMD ["muster", "--help"]

FROM dependencies AS local
COPY docker/wheels/local /wheels/local
# With all services of botocore again: the engine speaks for many.
RUN cd /wheels/local && sha256sum --check --quiet SHA256SUMS \
 && $PIP --root /added ./*.whl /wheels/dependencies/botocore-*.whl \
 && find /added -depth -type d -name tests -exec rm -rf {} + \
 && find /added -name '*.py' -exec touch --date=@1700000000 {} + \
 && { /opt/muster/bin/python -m compileall -q -j 2 -s /added -p / /added || echo "a file of a library is not Python"; }

FROM product AS stack
COPY --from=local /added /
COPY docker/wheels/stack.cdx.json /opt/muster/sbom.cdx.json
