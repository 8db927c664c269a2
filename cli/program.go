package cli

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/config"
)

// A Program is an aurora with a project inside: what a bundle is. It has the
// commands of aurora, and never builds anything.
type Program struct {
	// Migrations are those in Go.
	Migrations []aurora.Migration
	// Files hold the project file and the directories of .sql files that it
	// names, at the paths that they have below the working directory of a
	// checkout. They count where the command line has no --config and no --dir,
	// and the disk is not asked then. Nil means that everything is on the disk.
	Files fs.FS
	// Config is the path of the project file in Files. Empty means aurora.hcl,
	// then atlas.hcl.
	Config string
	// Env is the environment of that project file to use where the command line
	// has no --env. The variable AURORA_ENV counts more.
	Env string
}

// envVariable names the environment where there is no command line to do it.
const envVariable = "AURORA_ENV"

// Main runs the program for this process and returns its exit code. What it
// does depends on who started it: without arguments, in an environment where
// AWS Lambda says how to reach it, it handles the events of that function until
// the process is ended; otherwise it is the command line, as the function
// [Main] is.
func (p Program) Main() int {
	a := newApp(Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, p.Migrations)
	a.setProgram(p)
	return a.main(os.Args[1:])
}

// Run runs the program's command line with the given arguments; see the
// function [Run].
func (p Program) Run(ctx context.Context, args []string, streams Streams) int {
	a := newApp(streams, p.Migrations)
	a.setProgram(p)
	return a.run(ctx, args)
}

func (a *app) setProgram(p Program) {
	env, _ := a.lookupEnv(envVariable)
	p.Env = cmp.Or(env, p.Env)
	a.program, a.hasGo = p, true
}

// main is what a process does. A function's child processes inherit its
// variables, but are started with arguments.
func (a *app) main(args []string) int {
	if api, _ := a.lookupEnv("AWS_LAMBDA_RUNTIME_API"); api != "" && len(args) == 0 {
		return a.runLambda(context.Background())
	}
	ctx, stop := withSignals(context.Background(), os.Stderr)
	defer stop()
	return a.run(ctx, args)
}

// projectFiles returns where a project file is read from, nil for the disk, and
// its path there.
func (a *app) projectFiles(p projectOptions) (fs.FS, string) {
	if p.config != "" {
		return nil, p.config
	}
	return a.program.Files, a.program.Config
}

// directoryFiles returns where a directory is read from, nil for the disk.
func (a *app) directoryFiles(p projectOptions, d directoryOptions) fs.FS {
	if p.config != "" || !evaluates(d.dir) {
		return nil
	}
	return a.program.Files
}

// exists reports whether the project has a file or directory, which a path or a
// file: URL names.
func (a *app) exists(ref string) bool {
	if a.program.Files == nil {
		_, err := os.Stat(ref)
		return err == nil
	}
	_, err := fs.Stat(a.program.Files, filepath.ToSlash(filepath.Clean(ref)))
	return err == nil
}

// hasProjectFile reports whether there is a project file that nobody has to
// name, in which case its environments say where things are.
func (a *app) hasProjectFile() bool {
	if a.program.Config != "" {
		return true
	}
	for _, name := range config.FileNames {
		if a.exists(name) {
			return true
		}
	}
	return false
}

// hasDefaultDir reports whether there is a directory that nobody has to name.
func (a *app) hasDefaultDir() bool {
	if a.program.Files == nil {
		return isDir(config.DefaultDir)
	}
	name, _, err := config.FilePath(config.DefaultDir)
	return err == nil && a.exists(name)
}

// checkWritable refuses a directory that is inside the program.
func (s settings) checkWritable() error {
	if s.files == nil {
		return nil
	}
	return &usageError{
		Err:  fmt.Errorf("the directory %s is inside this program, where nothing can be written", s.dir),
		Hint: "give --dir with a directory on the disk",
	}
}
