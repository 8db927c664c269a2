// The program image builds the project's two container images, for linux/amd64
// and linux/arm64, without a container engine:
//
//	aurora-runner   fetches a bundle and becomes it: what Fargate tasks run
//	aurora          the command line, for init containers and pipelines
//
// Each is built from nothing: the one static program, CA certificates,
// /etc/passwd and /etc/group with the user 65532, and an empty /tmp that is the
// only place to write to. It becomes a directory in the OCI image layout, for
// "crane push" or "skopeo copy", and a tarball per architecture for
// "docker load".
//
// The digest is the same wherever and whenever it is built from the same
//
//   - sources of this module and of the modules in go.sum
//   - release of Go, which -version prints too: it compiles the programs and
//     compresses the layers
//   - file of CA certificates, whose sha256 is a label of the image
//   - -version, -revision and SOURCE_DATE_EPOCH
//
// Dockerfile and Dockerfile.runner in the root of the repository make the same
// images with other digests.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	out, ca, version, revision string
	images                     []string
	created                    time.Time
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := options{}
	fs := flag.NewFlagSet("image", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.out, "out", "dist/images", "`directory` for the images")
	fs.StringVar(&o.ca, "ca", "/etc/ssl/certs/ca-certificates.crt", "`file` with CA certificates in PEM, of the package ca-certificates")
	fs.StringVar(&o.version, "version", "", "version of the programs, such as v1.2.3")
	fs.StringVar(&o.revision, "revision", "", "commit of the sources")
	asJSON := fs.Bool("json", false, "print the results as JSON")
	fs.Usage = func() {
		fmt.Fprintln(stderr, "usage: image [flags] [aurora-runner] [aurora]")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.images = fs.Args(); len(o.images) == 0 {
		o.images = []string{"aurora-runner", "aurora"}
	}
	o.created = time.Unix(0, 0).UTC()
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("SOURCE_DATE_EPOCH: want seconds since 1970, not %q", s)
		}
		o.created = time.Unix(n, 0).UTC()
	}
	results, err := build(ctx, o)
	if err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	for _, r := range results {
		fmt.Fprintf(stdout, "%s@%s\n", r.Name, r.Digest)
		for _, p := range r.Platforms {
			fmt.Fprintf(stdout, "  %-12s %s  %d bytes\n", p.Platform, p.Digest, p.Size)
		}
	}
	fmt.Fprintf(stdout, "built with %s and the certificates sha256:%s\n", runtime.Version(), results[0].Certificates)
	return nil
}

// A result is one image that was built.
type result struct {
	Name         string           `json:"name"`
	Digest       string           `json:"digest"` // of the index of both platforms
	Layout       string           `json:"layout"` // directory
	Platforms    []platformResult `json:"platforms"`
	Go           string           `json:"go"`
	Certificates string           `json:"certificates"` // sha256 of the file
}

type platformResult struct {
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
	Size     int64  `json:"size"`    // bytes to pull
	Tarball  string `json:"tarball"` // for docker load
}

// architectures are what the images are for, as Go and OCI both name them.
var architectures = []string{"amd64", "arm64"}

// images by name: where their program is in the repository and in the image.
var images = map[string]struct {
	pkg, path, dir, description string
}{
	"aurora-runner": {"./cmd/aurora-runner", "aurora-runner", "/", "Fetches a bundle of migrations, checks its digest and becomes it"},
	"aurora":        {"./cmd/aurora", "usr/local/bin/aurora", "/project", "Migrations for Aurora DSQL, PostgreSQL and DynamoDB"},
}

const module = "github.com/aurora-migrate/aurora"

func build(ctx context.Context, o options) ([]result, error) {
	certificates, err := readCertificates(o.ca)
	if err != nil {
		return nil, err
	}
	base, err := baseLayer(certificates, o.created)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "image-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // Nothing in it is wanted.
	var results []result
	for _, name := range o.images {
		if _, ok := images[name]; !ok {
			return nil, fmt.Errorf("there is no image %q: want aurora-runner or aurora", name)
		}
		r, err := buildImage(ctx, o, name, base, hexDigest(certificates), tmp)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		results = append(results, r)
	}
	return results, nil
}

func buildImage(ctx context.Context, o options, name string, base layer, certificates, tmp string) (result, error) {
	spec := images[name]
	dir := filepath.Join(o.out, name)
	r := result{Name: name, Layout: dir, Go: runtime.Version(), Certificates: certificates}
	out, err := newLayout(dir)
	if err != nil {
		return r, err
	}
	labels := o.labels(name, certificates)
	var manifests []descriptor
	for _, arch := range architectures {
		program := filepath.Join(tmp, name+"-"+arch)
		if err := compile(ctx, spec.pkg, program, arch, o.version); err != nil {
			return r, err
		}
		top, err := programLayer(program, spec.path, spec.dir, o.created)
		if err != nil {
			return r, err
		}
		c := o.config(name, arch, []layer{base, top}, labels)
		m, size, err := out.addImage(c, []layer{base, top})
		if err != nil {
			return r, err
		}
		tarball := filepath.Join(o.out, name+"-"+arch+".tar")
		tag := name + ":" + strings.TrimPrefix(cmp.Or(o.version, "latest"), "v")
		if err := writeTarball(tarball, tag, c, []layer{base, top}); err != nil {
			return r, err
		}
		m.Platform = &platform{OS: "linux", Architecture: arch}
		manifests = append(manifests, m)
		r.Platforms = append(r.Platforms, platformResult{Platform: "linux/" + arch, Digest: m.Digest, Size: size, Tarball: tarball})
	}
	r.Digest, err = out.finish(manifests, labels)
	return r, err
}

// labels say what the image is and was made of.
func (o options) labels(name, certificates string) map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":       name,
		"org.opencontainers.image.description": images[name].description,
		"org.opencontainers.image.source":      "https://" + module,
		"org.opencontainers.image.licenses":    "MIT",
		"aurora.ca-certificates.sha256":        certificates,
		"aurora.go":                            runtime.Version(),
	}
	if o.version != "" {
		labels["org.opencontainers.image.version"] = o.version
	}
	if o.revision != "" {
		labels["org.opencontainers.image.revision"] = o.revision
	}
	return labels
}

// config is how the image's program is started.
func (o options) config(name, arch string, layers []layer, labels map[string]string) config {
	c := newConfig(arch, o.created, layers, labels)
	c.Config.Entrypoint = []string{"/" + images[name].path}
	c.Config.WorkingDir = images[name].dir
	return c
}

// compile builds a program whose bytes depend on its sources and on Go's
// release only.
func compile(ctx context.Context, pkg, out, arch, version string) error {
	ld := "-s -w -buildid="
	if version != "" {
		ld += " -X " + module + "/cli.version=" + version
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", ld, "-o", out, module+strings.TrimPrefix(pkg, "."))
	var err error
	if cmd.Env, err = environment(ctx, arch); err != nil {
		return err
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s for %s: %w\n%s", pkg, arch, err, text)
	}
	return nil
}

// places are the settings that say where modules come from, which go.sum checks,
// and where things are kept meanwhile.
var places = []string{
	"GOCACHE", "GOCACHEPROG", "GOMODCACHE", "GOPATH", "GOTMPDIR", "GOPROXY", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOSUMDB",
	"GOINSECURE", "GOVCS", "GOAUTH",
}

// environment returns the variables to compile with: no setting counts that
// says how, whether it is a variable or was made with "go env -w".
func environment(ctx context.Context, arch string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "go", append([]string{"env", "-json", "GOFLAGS"}, places...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("ask go for its settings: %w", err)
	}
	var settings map[string]string
	if err := json.Unmarshal(out, &settings); err != nil {
		return nil, fmt.Errorf("ask go for its settings: %w", err)
	}
	env := os.Environ()
	for _, name := range places {
		env = append(env, name+"="+settings[name])
	}
	var flags []string
	for _, flag := range strings.Fields(settings["GOFLAGS"]) {
		if name, _, _ := strings.Cut(strings.TrimLeft(flag, "-"), "="); name == "mod" || name == "modcacherw" {
			flags = append(flags, flag)
		}
	}
	return append(env, "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOENV=off", "GOWORK=off", "GOFIPS140=off",
		"GOFLAGS="+strings.Join(flags, " "), "GOEXPERIMENT=", "GOTOOLCHAIN="+runtime.Version()), nil
}
