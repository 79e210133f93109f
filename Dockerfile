# syntax=docker/dockerfile:1

# The version that package.json pins; the build fails if the two differ.
ARG BUN_VERSION=1.4.5

FROM oven/bun:${BUN_VERSION}-debian AS build
WORKDIR /src
COPY package.json bun.lock ./
RUN [ "$(bun -p 'require("./package.json").devDependencies.bun')" = "$(bun --version)" ] \
 || { echo >&2 "package.json pins another version of Bun than this image has: $(bun --version)"; exit 1; }
RUN bun install --frozen-lockfile --production
COPY bunfig.toml tsconfig.json ./
COPY drizzle drizzle
COPY src src
# For /data: a new volume takes its owner from the folder in the image.
RUN bun run build && mkdir /empty

# The executable needs only glibc and libgcc (for argon2); it has its own CA certificates.
FROM debian:bookworm-slim
RUN groupadd --gid 10001 minimart \
 && useradd --uid 10001 --gid minimart --no-create-home --home-dir /data --shell /usr/sbin/nologin minimart
COPY --from=build /src/dist/minimart /usr/local/bin/minimart
COPY --from=build --chown=10001:10001 --chmod=0700 /empty /data
USER 10001:10001
WORKDIR /data

# The root file system may be read-only. TMPDIR must be writable and not noexec, for the native argon2 library is
# unpacked there. Docker mounts tmpfs noexec by default, so: --read-only --tmpfs /tmp:exec
ENV HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data \
    TMPDIR=/tmp \
    LOG_FORMAT=json
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
  CMD ["/usr/local/bin/minimart", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/minimart"]
CMD ["serve"]
