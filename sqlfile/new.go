package sqlfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/aurora-migrate/aurora"
)

// NewOptions say what [New] writes.
type NewOptions struct {
	// At gives the version. Zero means now.
	At time.Time
	// Down also writes the .down.sql file.
	Down bool
}

// New writes the file of a new migration and returns the paths of what it
// wrote. The version is the time in UTC as 20060102150405, later if a migration
// there is as new. Spaces in the name become underscores; the name may be
// empty. The directory, a path or a file: URL, is created if need be. Where
// atlas.sum exists, or the directory had no migrations, atlas.sum is written
// too; one that does not fit is a [*SumError] and nothing is written. No file is
// ever overwritten.
func New(dir, name string, opts NewOptions) ([]string, error) {
	clean, err := cleanName(name)
	if err != nil {
		return nil, err
	}
	dir, err = resolve(dir, onDisk)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the migrations directory: %w", err)
	}
	fsys := os.DirFS(dir)
	r := reader{opts: Options{Name: dir}}
	files, err := r.list(fsys)
	if err != nil {
		return nil, err
	}
	hasSum, err := r.verifySum(fsys, files)
	if err != nil {
		return nil, err
	}
	version, err := NextVersion(fsys, opts.At)
	if err != nil {
		return nil, fmt.Errorf("find a version in %s: %w", dir, err)
	}
	stem := version
	if clean != "" {
		stem += "_" + clean
	}
	if n := len(files); n > 0 && files[n-1].name > stem+sqlSuffix {
		return nil, &OrderError{Dir: dir, First: stem + sqlSuffix, Second: files[n-1].name, Renames: r.renamesFor(files, stem)}
	}
	written, err := r.write(dir, stem, name, opts.Down)
	if err != nil {
		return nil, err
	}
	if hasSum || len(files) == 0 {
		if err := WriteSum(dir); err != nil {
			return written, err
		}
		written = append(written, filepath.Join(dir, SumName))
	}
	return written, nil
}

// renamesFor says what to rename so that a new file sorts last.
func (r *reader) renamesFor(files []file, stem string) []Rename {
	version, name, _ := strings.Cut(stem, "_")
	pairs, err := r.pair(files)
	var order *OrderError
	if err != nil && !errors.As(err, &order) {
		return nil
	}
	return renames(append(pairs, pair{version: version, name: name, up: file{name: stem + sqlSuffix}}))
}

// write creates the files, or none.
func (r *reader) write(dir, stem, title string, down bool) (written []string, err error) {
	names := []string{stem + sqlSuffix}
	if down {
		names = append(names, stem+downSuffix)
	}
	defer func() {
		if err != nil {
			for _, name := range written {
				err = errors.Join(err, os.Remove(name))
			}
			written = nil
		}
	}()
	for _, name := range names {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return written, fmt.Errorf("write the migration: %w", err)
		}
		written = append(written, f.Name())
		text := ""
		if title = strings.TrimSpace(title); title != "" && name == names[0] {
			text = "-- # " + strings.ReplaceAll(title, "_", " ") + "\n\n"
		}
		_, err = f.WriteString(text)
		if err = errors.Join(err, f.Close()); err != nil {
			return written, fmt.Errorf("write the migration: %w", err)
		}
	}
	return written, nil
}

// cleanName makes a file name's part of what a person typed.
func cleanName(name string) (string, error) {
	clean := strings.Join(strings.Fields(strings.TrimSuffix(strings.TrimSpace(name), sqlSuffix)), "_")
	bad := ""
	switch lower := strings.ToLower(clean); {
	case strings.ContainsAny(clean, `/\`):
		bad = "has a path separator"
	case strings.ContainsAny(clean, `<>:"|?*`):
		bad = "has a character that not every file system allows"
	case strings.ContainsFunc(clean, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }):
		bad = "has a character that cannot be printed"
	case strings.HasSuffix(lower, ".down"), strings.HasSuffix(lower, ".up"):
		bad = "ends in a direction"
	default:
		return clean, nil
	}
	return "", fmt.Errorf("the migration name %q %s; give a word or two, such as add_users", name, bad)
}

// NextVersion returns the version of a migration made at a time, zero meaning
// now: that time in UTC as 20060102150405, or the next number behind the newest
// version among the directory's .sql and .go files where that is as new.
func NextVersion(fsys fs.FS, at time.Time) (string, error) {
	if at.IsZero() {
		at = time.Now()
	}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return "", fmt.Errorf("read the directory: %w", err)
	}
	newest := ""
	for _, e := range entries {
		name := e.Name()
		ext := path.Ext(name)
		stem := strings.TrimSuffix(strings.TrimSuffix(name, ext), strings.TrimSuffix(downSuffix, sqlSuffix))
		version, _, _ := strings.Cut(stem, "_")
		// Other .go files of the package have names without a version.
		if ext != sqlSuffix && (ext != ".go" || strings.Trim(version, "0123456789") != "") {
			continue
		}
		if aurora.CompareVersions(version, newest) > 0 {
			newest = version
		}
	}
	version := at.UTC().Format(timeLayout)
	if aurora.CompareVersions(version, newest) > 0 {
		return version, nil
	}
	if t, err := time.Parse(timeLayout, newest); err == nil {
		return t.Add(time.Second).Format(timeLayout), nil
	}
	n, ok := new(big.Int).SetString(newest, 10)
	if !ok || n.Sign() < 0 {
		return "", fmt.Errorf("the newest version is %q, and no time stamp sorts behind it; rename that migration", newest)
	}
	next := n.Add(n, big.NewInt(1)).String()
	return strings.Repeat("0", max(0, len(newest)-len(next))) + next, nil
}
