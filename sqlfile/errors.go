package sqlfile

import (
	"errors"
	"fmt"
	"strings"
)

// A FileError says what is wrong at a place of a file.
type FileError struct {
	File    string // with the directory's name before it
	Line    int    // from 1; 0 when it is about the file as a whole
	Col     int    // from 1, in characters; 0 when unknown
	Message string
	Hint    string // what to do
	Err     error  // the reason below, a *sqllex.Error for example; may be nil
}

// Error gives "file:line:col: message; hint".
func (e *FileError) Error() string {
	s := e.File
	if e.Line > 0 {
		s += fmt.Sprintf(":%d", e.Line)
		if e.Col > 0 {
			s += fmt.Sprintf(":%d", e.Col)
		}
	}
	s += ": " + e.Message
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap gives the reason below.
func (e *FileError) Unwrap() error { return e.Err }

// A Reason says what happened to a file since atlas.sum was written.
type Reason string

// The reasons, in Atlas's words.
const (
	Added   Reason = "added"
	Edited  Reason = "edited"
	Removed Reason = "removed"
)

// A SumError says that atlas.sum does not fit the directory. It wraps Atlas's
// own error: ErrChecksumFormat or ErrChecksumMismatch of package
// ariga.io/atlas/sql/migrate.
type SumError struct {
	Path   string // of atlas.sum
	Line   int    // in it, from 1
	File   string // the first file that differs; empty when the sum file itself is broken
	Reason Reason // what happened to it
	Detail string // what is wrong, where File does not say it
	Err    error
}

// Error says where and why, and how to accept the directory as it is.
func (e *SumError) Error() string {
	what := e.Detail
	if e.File != "" {
		what = strings.TrimSuffix(fmt.Sprintf("%s was %s, %s", e.File, e.Reason, e.Detail), ", ")
	}
	return fmt.Sprintf("%s:%d: %v: %s; put it right, or accept the directory as it is with: aurora migrate hash",
		e.Path, e.Line, e.Err, what)
}

// Unwrap gives Atlas's error.
func (e *SumError) Unwrap() error { return e.Err }

// A Rename is one file's new name.
type Rename struct{ From, To string }

// An OrderError says that two files come in one order by their names, which is
// how Atlas runs them, and in the other by their versions.
type OrderError struct {
	Dir           string
	First, Second string   // by name
	Renames       []Rename // that make both orders one; may be empty
}

// Error names the two files and what to rename.
func (e *OrderError) Error() string {
	s := fmt.Sprintf("%s: by name %s comes before %s, by version behind it", e.Dir, e.First, e.Second)
	if len(e.Renames) == 0 {
		return s + "; rename one so that both agree, for example to a time stamp like 20060102150405"
	}
	var b strings.Builder
	for i, r := range e.Renames {
		if i == maxListed {
			fmt.Fprintf(&b, " and %d more", len(e.Renames)-i)
			break
		}
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %s to %s", r.From, r.To)
	}
	return s + "; rename" + b.String()
}

// An EmptyError says that a directory holds no migrations.
type EmptyError struct {
	Dir string
	// Below is a sub-directory that has .sql files, if there is one.
	Below string
}

// Error says how to get one.
func (e *EmptyError) Error() string {
	if e.Below != "" {
		return fmt.Sprintf("no migrations in %s: only files at its top level count, and the .sql files are in %s; name that directory instead", e.Dir, e.Below)
	}
	return fmt.Sprintf("no migrations in %s; create one with: aurora migrate new NAME", e.Dir)
}

// maxListed bounds how much of a long list is shown.
const maxListed = 10

// joinErrors makes one error of several, leaving out the end of a long list.
func joinErrors(errs []error) error {
	switch n := len(errs); {
	case n == 0:
		return nil
	case n == 1:
		return errs[0]
	case n > maxListed:
		errs = append(errs[:maxListed:maxListed], fmt.Errorf("and %d more errors", n-maxListed))
	}
	return errors.Join(errs...)
}
