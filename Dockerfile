# The image aurora: the command line, for init containers and pipelines.
# tools/image builds the released one, with a digest that anybody can check;
# this file is for people who build their own:
#
#   docker build -t aurora .
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
ARG TARGETARCH
ARG VERSION=
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=linux GOARCH=${TARGETARCH:-amd64} go build -trimpath -buildvcs=false \
    -ldflags "-s -w -buildid= -X github.com/aurora-migrate/aurora/cli.version=$VERSION" \
    -o /image/usr/local/bin/aurora ./cmd/aurora
RUN mkdir -p /image/etc/ssl/certs /image/project && \
    mkdir -m 1777 /image/tmp && \
    cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ && \
    printf 'root:x:0:\nnonroot:x:65532:\n' > /image/etc/group && \
    printf 'root:x:0:0:root:/nonexistent:/nonexistent\nnonroot:x:65532:65532:nonroot:/tmp:/nonexistent\n' > /image/etc/passwd

FROM scratch
COPY --from=build /image/ /
ENV PATH=/usr/local/bin:/usr/bin:/bin
WORKDIR /project
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/aurora"]
