# agent: the hand in a cluster. Build it from the root of the source tree:
#   docker build -f deploy/docker/agent.Dockerfile -t cloudoptim/agent .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY db db
COPY deploy/config deploy/config
COPY gen gen
COPY pkg pkg
COPY services/agent services/agent
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/agent ./services/agent
# Where tasks are remembered; a volume is mounted over it.
RUN mkdir -p /out/state

# Nothing but the binary, whom to trust, and an account that owns nothing.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/agent /agent
COPY --from=build --chown=65532:65532 /out/state /var/lib/cloudoptim-agent
USER 65532:65532
EXPOSE 8090 8091
ENTRYPOINT ["/agent"]
