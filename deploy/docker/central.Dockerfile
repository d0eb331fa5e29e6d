# central: the control plane. Build it from the root of the source tree:
#   docker build -f deploy/docker/central.Dockerfile -t cloudoptim/central .
FROM --platform=$BUILDPLATFORM node:20 AS ui
WORKDIR /ui
COPY services/central/web/package.json services/central/web/package-lock.json services/central/web/.npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci
COPY services/central/web ./
RUN npm run -s build

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY db db
COPY deploy/aws deploy/aws
COPY deploy/config deploy/config
COPY gen gen
COPY pkg pkg
COPY services/central services/central
COPY --from=ui /ui/dist services/central/web/dist
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -tags ui -trimpath -buildvcs=false -ldflags="-s -w" -o /out/central ./services/central

# Nothing but the binary, whom to trust, and an account that owns nothing.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/central /central
# PostgreSQL is outside: set CLOUDOPTIM_DATABASE_HOST. The embedded one is for one machine.
USER 65532:65532
EXPOSE 8080 8443
ENTRYPOINT ["/central"]
