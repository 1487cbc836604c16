# Sarcoscope with its pages and models: docker build -t sarcoscope .
FROM node:22-slim AS pages
WORKDIR /source/frontend
COPY frontend/package.json frontend/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY frontend ./
RUN npm run build

FROM python:3.11-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY scripts scripts
COPY src src
COPY --from=pages /source/src/sarcoscope/web/pages src/sarcoscope/web/pages
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
COPY constraints.txt /tmp/
RUN --mount=from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir -c /tmp/constraints.txt "$(echo /wheels/sarcoscope-*.whl)[postgres,dask]" \
 && useradd --create-home --uid 10001 sarcoscope \
 && install -d -o sarcoscope -g sarcoscope -m 700 /data
USER sarcoscope
ENV SARCOSCOPE_HOME=/data
VOLUME /data
EXPOSE 8010
HEALTHCHECK --interval=30s --start-period=30s CMD ["python", "-c", \
  "import urllib.request as u; u.urlopen('http://127.0.0.1:8010/api/v1/health', timeout=5)"]
ENTRYPOINT ["sarcoscope"]
# Inside the container plain HTTP: publish the port to this computer only, or put a proxy that does TLS before it.
CMD ["serve", "--address", "0.0.0.0", "--behind-proxy"]
