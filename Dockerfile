# The service in managed mode: the API and its workers in one container.
#
#   docker build -t cc-anywhere .
#   docker run -p 127.0.0.1:5000:5000 -v cc-data:/data -v "$PWD:/workspace" \
#     -e API_KEY=… -e ANTHROPIC_API_KEY=… cc-anywhere

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock askama.toml ./
COPY .cargo .cargo
COPY crates crates
COPY entity entity
COPY migration migration
COPY src src
# Cargo wants the files that the manifest names, though none of them is built here.
RUN mkdir -p tests/it tests/security tests/pages benches/bench \
    && echo 'fn main() {}' | tee tests/it/main.rs tests/security/main.rs tests/pages/main.rs benches/bench/main.rs > /dev/null \
    && cargo build --release --locked --bin cc-anywhere

FROM node:22-bookworm-slim AS cli
ARG CLAUDE_VERSION=2.1.197
RUN npm install --global --no-audit --no-fund @anthropic-ai/claude-code@${CLAUDE_VERSION} \
    && cp -L /usr/local/bin/claude /opt/claude \
    && /opt/claude --version

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git procps ripgrep tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 agent \
    && useradd --uid 10001 --gid agent --home-dir /data/home --no-create-home agent \
    && install -d -o agent -g agent /data /data/home /workspace
COPY --from=cli /opt/claude /usr/local/bin/claude
COPY --from=build /src/target/release/cc-anywhere /usr/local/bin/cc-anywhere
# `docker stop` gives 10 s: with a grace of 4 s running tasks are back in the queue, with their sessions, by then.
ENV WORKER_MODE=managed \
    GRACEFUL_SHUTDOWN_TIMEOUT_MS=4000 \
    HOST=0.0.0.0 \
    PORT=5000 \
    DB_PATH=/data/cc-anywhere.db \
    WORKSPACE_ROOTS=/workspace \
    HOME=/data/home
USER 10001:10001
WORKDIR /workspace
VOLUME ["/data", "/workspace"]
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["cc-anywhere", "health"]
ENTRYPOINT ["tini", "--", "cc-anywhere"]
CMD ["serve"]
