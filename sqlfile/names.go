package sqlfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aurora-migrate/aurora"
)

const (
	sqlSuffix  = ".sql"
	downSuffix = ".down.sql"
)

// A file is one *.sql file at the top level.
type file struct {
	name string
	data []byte
}

// list reads the files that Atlas counts, in the order of their names.
func (r *reader) list(fsys fs.FS) ([]file, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.dirName(), err)
	}
	var files []file
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, sqlSuffix) {
			if strings.EqualFold(path.Ext(name), sqlSuffix) {
				r.strays = append(r.strays, name)
			}
			continue
		}
		if err := r.checkText(name); err != nil {
			return nil, err
		}
		data, err := r.read(fsys, entry)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name, data})
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.name, b.name) })
	return files, nil
}

// checkText refuses names that no line of atlas.sum can hold.
func (r *reader) checkText(name string) error {
	bad := ""
	switch {
	case !utf8.ValidString(name):
		bad = "is not UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		bad = "has a control character"
	case strings.TrimSpace(name) != name:
		bad = "begins with a space"
	case strings.Contains(name, "h1:"):
		bad = `has "h1:" in it, the mark of a checksum`
	default:
		return nil
	}
	return &FileError{File: r.path(strings.ToValidUTF8(name, "?")), Message: fmt.Sprintf("the file name %q %s", name, bad), Hint: "rename it"}
}

func (r *reader) read(fsys fs.FS, entry fs.DirEntry) ([]byte, error) {
	name := entry.Name()
	fail := func(message, hint string, err error) error {
		return &FileError{File: r.path(name), Message: message, Hint: hint, Err: err}
	}
	info, err := fs.Stat(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && entry.Type()&fs.ModeSymlink != 0:
		return nil, fail("the symbolic link leads nowhere", "remove it or restore the file it points to", err)
	case err != nil:
		return nil, fail("cannot be read: "+reason(err), "", err)
	case info.IsDir():
		return nil, fail("is a directory, though it is named like a migration", "rename it", nil)
	case !info.Mode().IsRegular():
		return nil, fail("is not a regular file", "remove it", nil)
	}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fail("cannot be read: "+reason(err), "", err)
	}
	return data, nil
}

// reason leaves out the path that the message has already.
func reason(err error) string {
	var e *fs.PathError
	if errors.As(err, &e) {
		err = e.Err
	}
	return err.Error()
}

// below names a sub-directory that has .sql files.
func below(fsys fs.FS) string {
	names, err := fs.Glob(fsys, "*/*.sql")
	if err != nil || len(names) == 0 {
		return ""
	}
	return path.Dir(names[0])
}

// A pair is a migration's file, and the one of its way down if there is one.
type pair struct {
	version, name string
	up            file
	down          *file
}

func (p pair) stem() string { return strings.TrimSuffix(p.up.name, sqlSuffix) }

const none = -1

// pair checks the names and finds out what belongs together, in order.
func (r *reader) pair(files []file) ([]pair, error) {
	var pairs []pair
	var downs []file
	var errs []error
	byStem := make(map[string]int)
	for _, name := range r.strays {
		if err := r.checkText(name); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, &FileError{File: r.path(name), Message: "would never run, as its suffix is not in lower case",
			Hint: "rename it to " + name[:len(name)-len(sqlSuffix)] + sqlSuffix})
	}
	for _, f := range files {
		if err := r.checkName(f.name); err != nil {
			errs = append(errs, err)
			// Its way down needs no error of its own.
			byStem[strings.TrimSuffix(strings.TrimSuffix(f.name, sqlSuffix), ".up")] = none
			continue
		}
		if strings.HasSuffix(f.name, downSuffix) {
			downs = append(downs, f)
			continue
		}
		version, name, _ := strings.Cut(strings.TrimSuffix(f.name, sqlSuffix), "_")
		byStem[strings.TrimSuffix(f.name, sqlSuffix)] = len(pairs)
		pairs = append(pairs, pair{version: version, name: name, up: f})
	}
	for i, down := range downs {
		stem := strings.TrimSuffix(down.name, downSuffix)
		at, ok := byStem[stem]
		if !ok {
			errs = append(errs, r.orphan(down.name, stem, pairs))
		} else if at != none {
			pairs[at].down = &downs[i]
		}
	}
	errs = append(errs, r.duplicates(pairs)...)
	if len(errs) == 0 {
		return pairs, r.checkOrder(pairs)
	}
	return nil, joinErrors(errs)
}

// orphan is the error of a way down without a way up.
func (r *reader) orphan(name, stem string, pairs []pair) error {
	hint := "add " + stem + sqlSuffix + " or remove it"
	version, _, _ := strings.Cut(stem, "_")
	for _, p := range pairs {
		if p.version == version {
			hint = "its migration seems to be " + p.up.name + ": rename one of them, so that this one is " + p.stem() + downSuffix
			break
		}
	}
	return &FileError{File: r.path(name), Message: "is the way down of " + stem + sqlSuffix + ", which does not exist", Hint: hint}
}

// duplicates are the errors of versions that occur twice.
func (r *reader) duplicates(pairs []pair) []error {
	sorted := slices.Clone(pairs)
	slices.SortStableFunc(sorted, func(a, b pair) int { return aurora.CompareVersions(a.version, b.version) })
	var errs []error
	for i := 1; i < len(sorted); i++ {
		a, b := sorted[i-1], sorted[i]
		if aurora.CompareVersions(a.version, b.version) != 0 {
			continue
		}
		same := "has the same version"
		if a.version != b.version {
			same = "has the same version but for leading zeros"
		}
		errs = append(errs, &FileError{File: r.path(b.up.name),
			Message: same + " as " + r.path(a.up.name), Hint: "give one of them another version"})
	}
	return errs
}

// checkOrder compares the order of the names with that of the versions.
func (r *reader) checkOrder(pairs []pair) error {
	for i := 1; i < len(pairs); i++ {
		a, b := pairs[i-1], pairs[i]
		if aurora.CompareVersions(a.version, b.version) > 0 {
			return &OrderError{Dir: r.dirName(), First: a.up.name, Second: b.up.name, Renames: renames(pairs)}
		}
	}
	return nil
}

// renames finds names for which both orders agree, without changing the order
// that the versions are meant to have.
func renames(pairs []pair) []Rename {
	widen := padLeft(pairs)
	if allTimes(pairs) {
		// A date among time stamps is that day's midnight.
		widen = func(version string) string { return version + strings.Repeat("0", len(timeLayout)-len(version)) }
	}
	var out []Rename
	var renamed []pair
	for _, p := range pairs {
		to := p
		to.version = widen(p.version)
		to.up.name = to.version + strings.TrimPrefix(p.up.name, p.version)
		renamed = append(renamed, to)
		if to.version == p.version {
			continue
		}
		out = append(out, Rename{p.up.name, to.up.name})
		if p.down != nil {
			out = append(out, Rename{p.down.name, to.stem() + downSuffix})
		}
	}
	slices.SortFunc(renamed, func(a, b pair) int { return cmp.Compare(a.up.name, b.up.name) })
	for i := 1; i < len(renamed); i++ {
		if aurora.CompareVersions(renamed[i-1].version, renamed[i].version) >= 0 {
			return nil
		}
	}
	return out
}

var digits = regexp.MustCompile(`[0-9]+`)

// padLeft fills the numbers of versions with zeros, the first number of each to
// the widest first number, and so on.
func padLeft(pairs []pair) func(version string) string {
	var widths []int
	for _, p := range pairs {
		for i, number := range digits.FindAllString(p.version, -1) {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(number))
		}
	}
	return func(version string) string {
		i := -1
		return digits.ReplaceAllStringFunc(version, func(number string) string {
			i++
			return strings.Repeat("0", widths[i]-len(number)) + number
		})
	}
}

const timeLayout = "20060102150405"

// allTimes reports whether all versions are dates or time stamps.
func allTimes(pairs []pair) bool {
	for _, p := range pairs {
		n := len(p.version)
		if n != 8 && n != 12 && n != 14 {
			return false
		}
		if _, err := time.Parse(timeLayout[:n], p.version); err != nil {
			return false
		}
	}
	return true
}

var flyway = regexp.MustCompile(`^([VUBR])([0-9][0-9._]*)?__(.*)\.sql$`)

// checkName refuses names that are no migration's, or another tool's.
func (r *reader) checkName(name string) error {
	fail := func(message, hint string) error {
		return &FileError{File: r.path(name), Message: message, Hint: hint}
	}
	lower := strings.ToLower(name)
	switch {
	case strings.HasPrefix(name, "."):
		return fail("is a hidden file, which Atlas would run as a migration", "remove it, or rename it if it is one")
	case strings.HasPrefix(name, "_"):
		return fail("has no version", "name it <version>_<name>.sql, as aurora migrate new does")
	case strings.HasSuffix(lower, ".up.sql"):
		stem := name[:len(name)-len(".up.sql")]
		return fail("is named as golang-migrate does", "rename it to "+stem+sqlSuffix+"; "+stem+downSuffix+" keeps its name")
	case strings.HasSuffix(lower, downSuffix) && !strings.HasSuffix(name, downSuffix):
		return fail("the suffix of a way down is .down.sql in lower case", "rename it to "+name[:len(name)-len(downSuffix)]+downSuffix)
	}
	m := flyway.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	version := strings.ReplaceAll(strings.Trim(m[2], "_."), "_", ".")
	switch to := version + "_" + m[3]; {
	case m[1] == "R" && version == "":
		return fail("is a repeatable migration of Flyway, which does not exist here", "rename it to <version>_"+m[3]+sqlSuffix+" to run it once")
	case version == "":
		return nil
	case m[1] == "U":
		return fail("is named as Flyway does", "rename it to "+to+downSuffix)
	case m[1] == "B":
		return fail("is named as Flyway does", `rename it to `+to+sqlSuffix+` and begin it with "-- atlas:checkpoint"`)
	default:
		return fail("is named as Flyway does", "rename it to "+to+sqlSuffix)
	}
}
