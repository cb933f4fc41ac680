# syntax=docker/dockerfile:1
# docker build --tag spansieve --build-arg COMMIT="$(git rev-parse --short=12 HEAD)" .   (BuildKit, docker's default)

FROM rust:1.95.0-bookworm AS build
ARG COMMIT=unknown
ENV SPANSIEVE_COMMIT=$COMMIT
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY crates crates
# Members of the workspace, which are not built here.
COPY fuzz fuzz
COPY tools tools
# The built-in configuration and the tests of its policies.
COPY config.yaml config.test.yaml ./
COPY src src
# Cargo insists on the targets of the manifest; the caches make a change of src/ cost only our own crate.
COPY benches benches
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin spansieve && cp target/release/spansieve /spansieve

# glibc, libgcc and CA certificates; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /spansieve /spansieve
# Usually replaced by a mounted one (docs/deploy-cloud-run.md).
COPY deploy/cloud-run/config.yaml /etc/spansieve/config.yaml
COPY LICENSE /LICENSE
USER nonroot
EXPOSE 8080
ENTRYPOINT ["/spansieve"]
CMD ["run", "--config", "/etc/spansieve/config.yaml"]
