//go:build !aurora_bundle

package cli

// What goes into a bundle is what is read when its environments are looked at,
// as they are when migrations are listed: the project file, the .sql files and
// atlas.sum, and what the migration block itself reads. A url is not looked
// at, and so what it reads stays outside.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/aurora-migrate/aurora/bundle"
	"github.com/aurora-migrate/aurora/cli/internal/report"
	"github.com/aurora-migrate/aurora/internal/config"
)

// contents is a project as a bundle has it.
type contents struct {
	files      fs.FS
	config     string // path of the project file in files
	env        string // the default one
	migrations string // directory of the Go package, if any
	templates  bool   // the project file needs them
}

func (a *app) contents(ctx context.Context, o bundleOptions) (contents, error) {
	disk := &recorder{FS: os.DirFS("."), read: map[string]bool{}}
	var c contents
	all, err := a.bundledSettings(ctx, o, disk, &c)
	if err != nil {
		return c, err
	}
	withGo := false
	for _, s := range all {
		if _, err := a.loadFiles(s); err != nil { // as it is on the disk, Go and all
			return c, err
		}
		dir, ok := s.goDir()
		if ok {
			withGo, c.migrations = true, dir
		}
		c.templates = c.templates || s.needsTemplates()
		s.files = disk
		if _, err := a.loadSQL(s, ok); err != nil {
			return c, err
		}
	}
	if withGo && slices.ContainsFunc(all, func(s settings) bool { return s.dir != all[0].dir }) {
		return c, &usageError{
			Err:  fmt.Errorf("%s has migrations in Go, and another environment has another directory; one program would run them in both", c.migrations),
			Hint: "make a bundle for each: say --env",
		}
	}
	if err := disk.include(o.include); err != nil {
		return c, err
	}
	files, err := disk.contents()
	if err != nil {
		return c, err
	}
	for _, s := range all {
		if _, ok := s.rendered(); ok {
			continue
		}
		dir, err := insideWorkingDir(s.dir)
		if err != nil {
			return c, err
		}
		files[dir] = &fstest.MapFile{Mode: fs.ModeDir | 0o555}
	}
	if o.dir != "" {
		if err := moveToDefault(files, o.dir); err != nil {
			return c, err
		}
	}
	c.files = files
	return c, nil
}

// needsTemplates reports whether a program without templates could not do what
// the project file says.
func (s settings) needsTemplates() bool {
	if s.env == nil {
		return false
	}
	f := s.env.Format.Migrate
	_, rendered := s.rendered()
	return rendered || slices.ContainsFunc([]string{f.Apply.Value, f.Down.Value, f.Status.Value}, func(text string) bool {
		return text != "" && !report.IsJSON(text)
	})
}

// moveToDefault puts a directory where the bundle looks for it without being
// told.
func moveToDefault(files fstest.MapFS, dir string) error {
	from, err := insideWorkingDir(dir)
	if err != nil {
		return err
	}
	to, err := insideWorkingDir(config.DefaultDir)
	if err != nil || from == to {
		return err
	}
	moved := fstest.MapFS{}
	for name, f := range files {
		if from == "." || name == from || strings.HasPrefix(name, from+"/") {
			moved[path.Join(to, strings.TrimPrefix(name, from))] = f
			delete(files, name)
		}
	}
	maps.Copy(files, moved)
	return nil
}

// bundledSettings evaluates the environments that the bundle is for.
func (a *app) bundledSettings(ctx context.Context, o bundleOptions, disk fs.FS, c *contents) ([]settings, error) {
	if o.config == "" && !a.hasProjectFile() {
		if len(o.envs) > 0 {
			return nil, &usageError{Err: errors.New("there is no project file with environments"), Hint: "create aurora.hcl, or name another file with --config"}
		}
		if len(o.include) > 0 {
			return nil, &usageError{Err: errors.New("--include is for what a project file reads, and there is none"), Hint: "leave it out"}
		}
		return a.checked([]settings{newBundled(o, nil, nil)}, false)
	}
	if o.dir != "" {
		return nil, &usageError{Err: errors.New("--dir is for bundles without a project file: the environments say which directory they have"), Hint: "leave it out"}
	}
	file, err := insideWorkingDir(o.config)
	if err != nil {
		return nil, err
	}
	vars, err := config.ParseVars(o.vars)
	if err != nil {
		return nil, &usageError{Err: err}
	}
	load := func(env string) (*config.Project, error) {
		p, err := config.Load(ctx, config.Options{
			Files: disk, Path: file, Env: env, Vars: vars, Offline: true, Logger: a.log, Stderr: a.err, LookupEnv: a.lookupEnv,
		})
		if err != nil {
			return nil, &usageError{Err: err, Hint: hintEnvs(o.envs)}
		}
		return p, nil
	}
	project, err := load("")
	if err != nil {
		return nil, err
	}
	if c.config, err = insideWorkingDir(project.Path); err != nil {
		return nil, err
	}
	envs := o.envs
	if len(envs) == 0 {
		envs = project.EnvNames
	}
	if len(envs) == 0 {
		return nil, noEnv(project)
	}
	if len(envs) == 1 {
		c.env = envs[0]
	}
	var all []settings
	for _, name := range envs {
		p, err := load(name)
		if err != nil {
			return nil, err
		}
		for _, env := range p.Envs {
			all = append(all, newBundled(o, p, env))
		}
	}
	return a.checked(all, false)
}

func hintEnvs(given []string) string {
	if len(given) > 0 {
		return ""
	}
	return "if the bundle is not for all environments, say which with --env"
}

func newBundled(o bundleOptions, p *config.Project, env *config.Env) settings {
	s := settings{dir: config.DefaultDir, project: p, env: env}
	if env != nil {
		s.dir, s.dirFormat = env.Migration.Dir.Value, env.Migration.Format.Value
	} else if o.dir != "" {
		s.dir = o.dir
	}
	return s
}

// insideWorkingDir returns a path relative to the working directory, with
// slashes. Empty stays empty.
func insideWorkingDir(ref string) (string, error) {
	if ref == "" {
		return "", nil
	}
	name, _, err := config.FilePath(ref)
	if err != nil {
		return "", &usageError{Err: err}
	}
	if filepath.IsAbs(name) {
		wd, err := os.Getwd()
		if err != nil {
			return "", fmt.Errorf("find the working directory: %w", err)
		}
		if rel, err := filepath.Rel(wd, name); err == nil {
			name = rel
		}
	}
	name = filepath.ToSlash(filepath.Clean(name))
	if !fs.ValidPath(name) {
		return "", &usageError{
			Err:  fmt.Errorf("%s is not below the working directory, and a bundle has only what is", ref),
			Hint: "build it in a directory above both",
		}
	}
	return name, nil
}

// A recorder remembers which files were read.
type recorder struct {
	fs.FS
	read map[string]bool
}

// Open opens a file of the file system below.
func (r *recorder) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return f, err
	}
	return &recordedFile{f, func() { r.read[name] = true }}, nil
}

type recordedFile struct {
	fs.File
	mark func()
}

func (f *recordedFile) Read(p []byte) (int, error) {
	f.mark()
	return f.File.Read(p)
}

// include adds what patterns match: files, and everything below directories.
func (r *recorder) include(patterns []string) error {
	for _, pattern := range patterns {
		clean, err := insideWorkingDir(pattern)
		if err != nil {
			return err
		}
		matches, err := fs.Glob(r.FS, clean)
		if err != nil {
			return &usageError{Err: fmt.Errorf("--include %s: %w", pattern, err)}
		}
		if len(matches) == 0 {
			return &usageError{Err: fmt.Errorf("--include %s matches no file", pattern)}
		}
		for _, name := range matches {
			err := fs.WalkDir(r.FS, name, func(name string, e fs.DirEntry, err error) error {
				if err == nil && !e.IsDir() {
					r.read[name] = true
				}
				return err
			})
			if err != nil {
				return fmt.Errorf("--include %s: %w", pattern, err)
			}
		}
	}
	return nil
}

// contents are the files that were read.
func (r *recorder) contents() (fstest.MapFS, error) {
	out := fstest.MapFS{}
	for _, name := range slices.Sorted(maps.Keys(r.read)) {
		target, err := followed(name)
		if err != nil {
			return nil, err
		}
		if bundle.IsPrivate(name) || bundle.IsPrivate(target) {
			if target != name {
				name += ", which is " + target + ","
			}
			return nil, &usageError{
				Err:  fmt.Errorf("%s may hold secrets, and is never put into a bundle", name),
				Hint: "give it to the program when it runs: as a variable of the environment, or as a file with an absolute path",
			}
		}
		data, err := fs.ReadFile(r.FS, name)
		if err != nil {
			return nil, fmt.Errorf("read what goes into the bundle: %w", err)
		}
		out[name] = &fstest.MapFile{Data: data, Mode: 0o444}
	}
	return out, nil
}

// followed returns where a file below the working directory is, relative to
// that, after all links. One elsewhere is an error.
func followed(name string) (string, error) {
	wd, err := filepath.Abs(".")
	if err == nil {
		wd, err = filepath.EvalSymlinks(wd)
	}
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	target, err := filepath.EvalSymlinks(filepath.Join(wd, filepath.FromSlash(name)))
	if err != nil {
		return "", fmt.Errorf("read what goes into the bundle: %w", err)
	}
	rel, err := filepath.Rel(wd, target)
	if err != nil || !filepath.IsLocal(rel) {
		return "", &usageError{
			Err:  fmt.Errorf("%s is a link to %s, which is not below the working directory, and a bundle has only what is", name, target),
			Hint: "copy the file, or build in a directory above both",
		}
	}
	return filepath.ToSlash(rel), nil
}
