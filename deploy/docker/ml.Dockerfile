# ml: the decision server. Build it from the root of the source tree:
#   docker build -f deploy/docker/ml.Dockerfile -t cloudoptim/ml .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY db db
COPY deploy/config deploy/config
COPY gen gen
COPY pkg pkg
COPY services/ml services/ml
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/ml ./services/ml

# Nothing but the binary, whom to trust, and an account that owns nothing.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ml /ml
USER 65532:65532
EXPOSE 8081 8082
ENTRYPOINT ["/ml"]
