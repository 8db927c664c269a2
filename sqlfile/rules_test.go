package sqlfile_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/sqlfile"
)

// The tests of this file are named after the rules in docs/rules.md.

func load(files ...string) ([]aurora.Migration, error) {
	fsys := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return sqlfile.Load(fsys, sqlfile.Options{Name: "db"})
}

func statements(t *testing.T, text string) []string {
	t.Helper()
	ms, err := load("1_a.sql", text)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range ms[0].Up {
		out = append(out, s.String())
	}
	return out
}

func TestA18DuplicateVersion(t *testing.T) {
	_, err := load("001_a.sql", "SELECT 1;", "001_b.sql", "SELECT 1;")
	if err == nil || !strings.Contains(err.Error(), "001_a.sql") || !strings.Contains(err.Error(), "001_b.sql") {
		t.Errorf("error %v", err)
	}
}

func TestA19SemicolonsThatEndNothing(t *testing.T) {
	want := []string{
		"INSERT INTO a VALUES ('x; y', E'it\\'s; x', $$a;b$$, $t$a;$$;b$t$)",
		"SELECT 1 /* one; /* two; */ */ + 2",
		"CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END",
		`SELECT ";" FROM b`,
	}
	if diff := cmp.Diff(want, statements(t, strings.Join(want, ";\n-- a comment; with one\n")+";\n")); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
}

func TestA20TextIsNeverEdited(t *testing.T) {
	want := "INSERT INTO a VALUES ('first\n-- keep me\n/* and me */ CREATE INDEX foo\n')"
	if diff := cmp.Diff([]string{want}, statements(t, want+";")); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
}

func TestA25DownFilesAreNoMigrations(t *testing.T) {
	ms, err := load("1_a.sql", "CREATE TABLE a ();", "1_a.down.sql", "DROP TABLE a;")
	if err != nil || len(ms) != 1 || len(ms[0].Down) != 1 {
		t.Fatalf("%+v, %v", ms, err)
	}
	for name, text := range map[string]string{
		"1_a.up.sql": "CREATE TABLE a ();",
		"2_b.sql":    "-- +goose Up\nCREATE TABLE b ();\n-- +goose Down\nDROP TABLE b;",
		"3_c.sql":    "-- migrate:up\nCREATE TABLE c ();\n-- migrate:down\nDROP TABLE c;",
		"V4__d.sql":  "CREATE TABLE d ();",
	} {
		var bad *sqlfile.FileError
		if _, err := load(name, text); !errors.As(err, &bad) {
			t.Errorf("%s: another tool's format was accepted: %v", name, err)
		}
	}
}

func TestA26VersionsAreNumbers(t *testing.T) {
	var order *sqlfile.OrderError
	if _, err := load("2_b.sql", "SELECT 1;", "10_a.sql", "SELECT 1;"); !errors.As(err, &order) {
		t.Errorf("names that sort otherwise than versions were accepted: %v", err)
	}
	ms, err := load("10_a.sql", "SELECT 1;", "02_b.sql", "SELECT 1;")
	if err != nil || ms[0].Version != "02" {
		t.Errorf("%+v, %v", ms, err)
	}
}

func TestA27SumsAndDirectivesCount(t *testing.T) {
	fsys := fstest.MapFS{"1_a.sql": {Data: []byte("-- atlas:txmode none\n\nCREATE TABLE a ();")}}
	sum, err := sqlfile.Sum(fsys)
	if err != nil {
		t.Fatal(err)
	}
	fsys[sqlfile.SumName] = &fstest.MapFile{Data: sum}
	ms, err := sqlfile.Load(fsys, sqlfile.Options{})
	if err != nil || ms[0].TxMode != aurora.TxNone || !strings.HasPrefix(ms[0].Checksum, "sha256-v1:") {
		t.Errorf("%+v, %v", ms, err)
	}
	fsys["1_a.sql"].Data = append(fsys["1_a.sql"].Data, ' ')
	var bad *sqlfile.SumError
	if _, err := sqlfile.Load(fsys, sqlfile.Options{}); !errors.As(err, &bad) {
		t.Errorf("an edited file was accepted: %v", err)
	}
}

func TestA31MissingOrEmptyDirectory(t *testing.T) {
	if _, err := sqlfile.LoadDir(t.TempDir()+"/nowhere", sqlfile.Options{}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("missing directory: %v", err)
	}
	var empty *sqlfile.EmptyError
	if _, err := sqlfile.LoadDir(t.TempDir(), sqlfile.Options{}); !errors.As(err, &empty) {
		t.Errorf("empty directory: %v", err)
	}
}
