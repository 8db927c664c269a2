package gobuild

import (
	"cmp"
	"errors"
	"fmt"
	"go/build"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/sqlfile"
)

// An entry is an element of the slice, as the source or as the program has it.
type entry struct {
	Version, Name string // empty when unknown
	nameUnknown   bool   // Name is given, but not as a literal
	hasUp         bool   // or not known not to
	hasDown       bool   // a Down, an Irreversible, or not known not to
	declared      string // the name of the file it is declared in
	pos           place
	versionPos    place
	namePos       place
}

// CheckSource checks what can be seen without compiling: every versioned file
// in the slice, every entry with its file, versions and names that agree, and a
// way down or the reason why there is none. What is wrong is one or more joined
// [*sqlfile.FileError] values.
func (p *Package) CheckSource() error {
	if err := p.checkPackage(); err != nil {
		return err
	}
	entries := make([]entry, len(p.entries))
	for i, e := range p.entries {
		// An entry whose version is computed is taken to be its file's.
		if f := p.file(e.declared); f != nil {
			if e.Version == "" {
				e.Version = f.Version
			}
			if e.nameUnknown {
				e.Name = f.Name
			}
		}
		entries[i] = e
	}
	return p.check(slices.DeleteFunc(entries, func(e entry) bool { return e.Version == "" }), p.opaque)
}

// checkPackage checks what stands in the way of compiling it.
func (p *Package) checkPackage() error {
	if p.foreign != "" {
		return fail(place{file: p.foreign}, fmt.Sprintf("is of package %s, and %s is of package %s", p.called, p.named, p.Name),
			"give all files the same package clause, or move one away")
	}
	if p.Name == "main" {
		at := place{file: p.Dir}
		if len(p.Files) > 0 {
			at.file = p.Files[0].Path
		}
		return fail(at, "is of package main, which no program can import", "call the package migrations")
	}
	if p.slice == nil && len(p.Files) > 0 {
		if err := p.checkName(p.Files[0].base()); err != nil {
			return err
		}
		return fail(place{file: p.Dir}, "is a Go package without var "+sliceName+", so that "+p.Files[0].base()+" would never run",
			"write "+p.path(sliceFile)+" with: var "+sliceName+" = []aurora.Migration{…}")
	}
	for _, f := range p.Files {
		if err := checkPortable(f); err != nil {
			return err
		}
	}
	return nil
}

// checkName refuses a package in which something else has the slice's name.
func (p *Package) checkName(lost string) error {
	if p.other.file == "" {
		return nil
	}
	return fail(p.other, sliceName+" is something else than the list of migrations, so that "+lost+" would never run", "call it something else")
}

// nowhere is a system that no file name ends in, and no //go:build line names.
var nowhere = func() build.Context {
	c := build.Default
	c.GOOS, c.GOARCH = "nowhere", "nowhere"
	return c
}()

// checkPortable refuses a file that the go command leaves out on some systems:
// the program of another system would lack a migration.
func checkPortable(f File) error {
	if ok, err := nowhere.MatchFile(filepath.Dir(f.Path), f.base()); err != nil || ok {
		return err
	}
	return fail(place{file: f.Path}, "is left out of the program on some systems, by the end of its name or a //go:build line", "rename it, or remove the line")
}

// isPortableName is checkPortable for a file that is not there yet.
func isPortableName(name string) bool {
	c := nowhere
	c.OpenFile = func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("package p\n")), nil
	}
	ok, err := c.MatchFile("", name)
	return ok && err == nil
}

// Check compares the migrations of a program with the directory's files, as
// [Package.CheckSource] does, and refuses a program that was built from other
// files. It sets Source where it was empty.
func (p *Package) Check(migrations []aurora.Migration) error {
	if err := p.checkPackage(); err != nil {
		return err
	}
	entries := make([]entry, len(migrations))
	for i, m := range migrations {
		entries[i] = entry{
			Version: m.Version, Name: m.Name, hasUp: len(m.Up) > 0, hasDown: len(m.Down) > 0 || m.Irreversible != "",
		}
		p.locate(&entries[i])
	}
	if err := p.check(entries, false); err != nil {
		return err
	}
	var errs []error
	for i := range migrations {
		m := &migrations[i]
		f := p.file(m.ID() + goSuffix)
		m.Source = cmp.Or(m.Source, f.Path)
		src, err := os.ReadFile(f.Path)
		if err != nil {
			return fmt.Errorf("read the Go migrations: %w", err)
		}
		if m.Checksum != "" && m.Checksum != aurora.Checksum(string(src)) {
			errs = append(errs, fail(place{file: f.Path}, "is not the file that this program was built from", "build the program again; its //go:embed line must name this file"))
		}
	}
	return join(errs)
}

// locate finds where the source has an entry of the program.
func (p *Package) locate(e *entry) {
	found := -1
	for i, s := range p.entries {
		if f := p.file(s.declared); f != nil && s.Version == "" {
			s.Version = f.Version
		}
		if s.Version == e.Version && (found < 0 || s.Name == e.Name) {
			found = i
		}
	}
	if found >= 0 {
		s := p.entries[found]
		e.pos, e.versionPos, e.namePos, e.declared = s.pos, s.versionPos, s.namePos, s.declared
		return
	}
	e.pos = place{file: p.Dir}
	if p.slice != nil {
		e.pos = p.slice.place()
	}
}

// check compares entries with files. With more set there may be entries that
// are not known.
func (p *Package) check(entries []entry, more bool) error {
	var errs []error
	add := func(at place, message, hint string) { errs = append(errs, fail(at, message, hint)) }
	used := make(map[string]bool)
	for _, e := range entries {
		f := p.fileOf(e)
		if f == nil {
			add(e.pos, fmt.Sprintf("the migration %s in %s has no file of its own", id(e), sliceName),
				"move it to "+p.path(id(e)+goSuffix))
			continue
		}
		if used[f.Path] {
			add(e.pos, "the migration "+id(e)+" is in "+sliceName+" twice", "remove one of them")
			continue
		}
		used[f.Path] = true
		if e.Version != f.Version {
			add(or(e.versionPos, e.pos), fmt.Sprintf("the version is %q, and the file name says %q", e.Version, f.Version), "make them agree")
		}
		if e.Name != f.Name {
			add(or(e.namePos, e.pos), fmt.Sprintf("the name is %q, and the file name says %q", e.Name, f.Name), "make them agree")
		}
		if !e.hasUp {
			add(e.pos, "the migration "+id(e)+" has no Up", "give it at least one step")
		}
		if !e.hasDown {
			add(e.pos, "the migration "+id(e)+" has neither Down nor Irreversible", "write the way down, or say in Irreversible why there is none")
		}
	}
	for _, f := range p.Files {
		if !used[f.Path] && !more {
			add(place{file: f.Path}, "would never run, as "+sliceName+" does not list it", p.listHint(f))
		}
	}
	return join(append(errs, p.duplicates()...))
}

func id(e entry) string {
	if e.Name == "" {
		return e.Version
	}
	return e.Version + "_" + e.Name
}

func or(a, b place) place {
	if a.file == "" {
		return b
	}
	return a
}

// fileOf finds the file of an entry: the one that it is declared in, that has
// its version, or as the only one its name.
func (p *Package) fileOf(e entry) *File {
	if f := p.file(id(e) + goSuffix); f != nil {
		return f
	}
	if f := p.file(e.declared); f != nil {
		return f
	}
	var named *File
	same := 0
	for i := range p.Files {
		f := &p.Files[i]
		if f.Version == e.Version {
			return f
		}
		if f.Name == e.Name {
			named, same = f, same+1
		}
	}
	if same > 1 {
		return nil
	}
	return named
}

// listHint says how to add a file to the slice.
func (p *Package) listHint(f File) string {
	where := "the slice"
	if p.slice != nil {
		at := p.slice.place()
		where = fmt.Sprintf("the slice at %s:%d", at.file, at.line)
	}
	what := p.vars[f.base()]
	if what == "" {
		what = "the migration in it"
	}
	return "add " + what + " to " + where
}

// duplicates are the errors of versions that two .go files have.
func (p *Package) duplicates() []error {
	sorted := slices.Clone(p.Files)
	slices.SortStableFunc(sorted, func(a, b File) int { return aurora.CompareVersions(a.Version, b.Version) })
	var errs []error
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1], sorted[i]; aurora.CompareVersions(a.Version, b.Version) == 0 {
			errs = append(errs, fail(place{file: b.Path}, "has the same version as "+a.Path, "give one of them another version"))
		}
	}
	return errs
}

// CheckValues checks migrations without looking at any file: a program may run
// where its source is not.
func CheckValues(migrations []aurora.Migration) error {
	var errs []error
	for _, m := range migrations {
		wrong := func(message, hint string) {
			errs = append(errs, &sqlfile.FileError{File: "the Go migration " + cmp.Or(m.ID(), "without a version"), Message: message, Hint: hint})
		}
		switch {
		case m.Version == "":
			wrong("needs a Version", "use the one of its file's name")
		case len(m.Up) == 0:
			wrong("has no Up", "give it at least one step")
		case len(m.Down) == 0 && m.Irreversible == "":
			wrong("has neither Down nor Irreversible", "write the way down, or say in Irreversible why there is none")
		}
		for _, step := range slices.Concat(m.Up, m.Down) {
			if step == nil {
				wrong("has a step that is nil", "write the step, or remove it")
				break
			}
			if f, ok := step.(aurora.Func); ok && (f.Do == nil || f.Name == "") {
				wrong("has a step without Name or Do", "give the aurora.Func both")
				break
			}
		}
	}
	return join(errs)
}

// maxListed bounds how many errors are shown.
const maxListed = 10

func join(errs []error) error {
	if n := len(errs); n > maxListed {
		errs = append(errs[:maxListed:maxListed], fmt.Errorf("and %d more errors", n-maxListed))
	}
	return errors.Join(errs...)
}
