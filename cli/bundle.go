//go:build !aurora_bundle

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/bundle"
)

func (a *app) newBundleCommand() *cobra.Command {
	var o bundleOptions
	cmd := &cobra.Command{
		Use:   "bundle [flags]",
		Short: "Build one program of the project, for Lambda, Fargate and servers",
		Long: `Build a static program for Linux with the project inside: its Go migrations, the
.sql files and the project file. The same sources give the same bytes, and so
the same sha256, on any machine with the same version of Go.

The program is the command line ("./bundle migrate status"), the handler of a
Lambda function whose package it is in, and what aurora-runner starts in a
container. Variables of the environment are read when it runs: no url, password
or token goes in unless the project file has it as text.`,
		Example: `  aurora bundle --env prod
  aurora bundle --zip lambda.zip --json
  aurora bundle --arch amd64 --upload s3://deploy-artifacts/shop`,
		Args: noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runBundle(cmd.Context(), o)
		}),
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&o.config, "config", "c", "", "project `file`, below the working directory (default aurora.hcl, then atlas.hcl)")
	fs.StringArrayVar(&o.envs, "env", nil, "environment whose directory goes in; repeatable (default all). A single one is what the bundle uses without --env")
	fs.StringArrayVar(&o.vars, "var", nil, "input variable of the project file, as `name=value`, for building only; repeatable")
	fs.StringVar(&o.dir, "dir", "", "migration `directory`, without a project file (default file://migrations)")
	fs.StringArrayVar(&o.include, "include", nil, "`pattern` of more files to put in, which file() may read when the bundle runs; repeatable")
	fs.StringVar(&o.entry, "entry", "", "`directory` of a main package to build as it is, instead of making one")
	fs.BoolVar(&o.templates, "templates", false, "keep --format with templates, for a package that is a fifth larger; a project file that needs it has it anyway")
	fs.StringVar(&o.arch, "arch", bundle.DefaultArch, "`architecture`: arm64 or amd64")
	fs.StringVarP(&o.out, "out", "o", bundle.DefaultOut, "`file` to write")
	fs.StringVar(&o.zip, "zip", "", "also write a package for AWS Lambda to this `file`")
	fs.StringVar(&o.upload, "upload", "", "also put it into S3, below s3://BUCKET/PREFIX, under its sha256")
	fs.BoolVar(&o.json, "json", false, "say what was done in JSON")
	return cmd
}

type bundleOptions struct {
	config, dir, entry, arch, out, zip, upload string
	envs, vars, include                        []string
	json, templates                            bool
}

// bundled is what the command says in JSON.
type bundled struct {
	bundle.Result
	Env    string           `json:"env,omitempty"` // the default one
	Zip    *bundle.Zip      `json:"zip,omitempty"`
	Upload *bundle.Uploaded `json:"upload,omitempty"`
}

func (a *app) runBundle(ctx context.Context, o bundleOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c := contents{}
	if o.entry == "" {
		var err error
		if c, err = a.contents(ctx, o); err != nil {
			return err
		}
	}
	opts := bundle.Options{
		Migrations: c.migrations, Entry: o.entry, Files: c.files, Config: c.config, Env: c.env,
		Templates: o.templates || c.templates, Arch: o.arch, Version: buildVersion(), Out: o.out, Stderr: a.err,
	}
	a.sayBuilding("the bundle", ".")
	res, err := bundle.Build(ctx, opts)
	a.term.stopLine()
	if err != nil {
		return bundleError(ctx, err)
	}
	out := bundled{Result: res, Env: c.env}
	if o.zip != "" {
		z, err := bundle.WriteZip(res, o.zip)
		if err != nil {
			return err
		}
		out.Zip = &z
	}
	if o.upload != "" {
		u, err := bundle.Upload(ctx, nil, res, o.upload)
		if err != nil {
			return err
		}
		out.Upload = &u
	}
	return a.sayBundled(o, out)
}

// check finds the mistakes that would show only after the build.
func (o bundleOptions) check() error {
	if !slices.Contains(bundle.Arches, o.arch) {
		return &usageError{Err: fmt.Errorf("there are no bundles for the architecture %q", o.arch), Hint: "say --arch " + strings.Join(bundle.Arches, " or --arch ")}
	}
	if o.entry != "" && (o.config != "" || o.dir != "" || len(o.envs)+len(o.vars)+len(o.include) > 0) {
		return &usageError{
			Err:  errors.New("--entry builds a main package as it is, and takes no other flags about the project"),
			Hint: "say in that package what is inside: cli.Program{Migrations: …, Files: …, Env: …}.Main()",
		}
	}
	if o.upload != "" {
		if _, err := bundle.Destination(o.upload, ""); err != nil {
			return &usageError{Err: err}
		}
	}
	return o.checkFiles()
}

// checkFiles looks at what is to be written.
func (o bundleOptions) checkFiles() error {
	for _, f := range []struct{ flag, name string }{{"--out", o.out}, {"--zip", o.zip}} {
		if f.name == "" {
			continue
		}
		if info, err := os.Stat(f.name); err == nil && info.IsDir() {
			return &usageError{Err: fmt.Errorf("%s %s is a directory", f.flag, f.name), Hint: "name a file, such as " + f.flag + " " + filepath.Join(f.name, "FILE")}
		}
	}
	if o.zip == "" {
		return nil
	}
	same, err := sameFile(o.out, o.zip)
	if err != nil {
		return err
	}
	if same {
		return &usageError{Err: fmt.Errorf("--out and --zip are both %s", o.zip), Hint: "give the bundle and the package a file each"}
	}
	return nil
}

// sameFile reports whether two names are of one file, be it there or not.
func sameFile(a, b string) (bool, error) {
	for _, name := range []*string{&a, &b} {
		dir, err := filepath.Abs(filepath.Dir(*name))
		if err != nil {
			return false, fmt.Errorf("find the working directory: %w", err)
		}
		if target, err := filepath.EvalSymlinks(dir); err == nil {
			dir = target
		}
		*name = filepath.Join(dir, filepath.Base(*name))
	}
	return a == b, nil
}

// bundleError tells what the user can change from what failed.
func bundleError(ctx context.Context, err error) error {
	var setup *bundle.SetupError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("build the bundle: %w", aurora.ErrInterrupted)
	case errors.As(err, &setup):
		return &usageError{Err: setup, Hint: setup.Hint}
	case errors.Is(err, bundle.ErrBuild):
		return &usageError{Err: errors.New("the bundle does not build: see above")}
	case errors.Is(err, fs.ErrNotExist):
		return &usageError{Err: err}
	}
	return err
}

func (a *app) sayBundled(o bundleOptions, out bundled) error {
	if o.json {
		text, err := json.MarshalIndent(out, "", "  ")
		if err != nil {
			return fmt.Errorf("write what was built: %w", err)
		}
		a.say("%s", text)
		return nil
	}
	a.say("%s  %s/%s, %d bytes, %s", out.Path, out.OS, out.Arch, out.Size, out.Go)
	for _, name := range out.Files {
		a.say("  %s", name)
	}
	if out.Zip != nil {
		a.say("%s  %d bytes", out.Zip.Path, out.Zip.Size)
	}
	if out.Upload != nil {
		done := "uploaded"
		if out.Upload.Existed {
			done = "there already"
		}
		a.say("%s  %s", out.Upload.URL, done)
	}
	a.say("sha256 %s", out.SHA256)
	return nil
}
