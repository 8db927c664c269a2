package sqlfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/internal/sqllex"
	"github.com/aurora-migrate/aurora/sqlfile"
)

// dir makes a file system of names and contents.
func dir(namesAndTexts ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(namesAndTexts); i += 2 {
		fsys[namesAndTexts[i]] = &fstest.MapFile{Data: []byte(namesAndTexts[i+1])}
	}
	return fsys
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want: %s", want)
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestNameErrors(t *testing.T) {
	tests := []struct {
		name  string
		files []string
		want  string
	}{
		{"A18 same version", []string{"001_a.sql", "001_b.sql"},
			"db/001_b.sql: has the same version as db/001_a.sql; give one of them another version"},
		{"A18 same number", []string{"01_a.sql", "1_b.sql"},
			"db/1_b.sql: has the same version but for leading zeros as db/01_a.sql; give one of them another version"},
		{"A25 golang-migrate", []string{"1_a.up.sql", "1_a.down.sql"},
			"db/1_a.up.sql: is named as golang-migrate does; rename it to 1_a.sql; 1_a.down.sql keeps its name"},
		{"A25 flyway", []string{"V1_2__a_b.sql"}, "db/V1_2__a_b.sql: is named as Flyway does; rename it to 1.2_a_b.sql"},
		{"A25 flyway undo", []string{"U3__a.sql"}, "db/U3__a.sql: is named as Flyway does; rename it to 3_a.down.sql"},
		{"A25 flyway baseline", []string{"B3__a.sql"},
			`db/B3__a.sql: is named as Flyway does; rename it to 3_a.sql and begin it with "-- atlas:checkpoint"`},
		{"A25 flyway repeatable", []string{"R__views.sql"},
			"db/R__views.sql: is a repeatable migration of Flyway, which does not exist here; rename it to <version>_views.sql to run it once"},
		{"A25 down alone", []string{"1_a.sql", "2_b.down.sql"},
			"db/2_b.down.sql: is the way down of 2_b.sql, which does not exist; add 2_b.sql or remove it"},
		{"A25 down of another name", []string{"1_a.sql", "1_b.down.sql"},
			"db/1_b.down.sql: is the way down of 1_b.sql, which does not exist; its migration seems to be 1_a.sql: rename one of them, so that this one is 1_a.down.sql"},
		{"down in capitals", []string{"1_a.sql", "1_a.Down.sql"},
			"db/1_a.Down.sql: the suffix of a way down is .down.sql in lower case; rename it to 1_a.down.sql"},
		{"suffix in capitals", []string{"1_a.sql", "2_a.SQL"},
			"db/2_a.SQL: would never run, as its suffix is not in lower case; rename it to 2_a.sql"},
		{"hidden", []string{".1_a.sql"}, "db/.1_a.sql: is a hidden file, which Atlas would run as a migration; remove it, or rename it if it is one"},
		{"no version", []string{"_a.sql"}, "db/_a.sql: has no version; name it <version>_<name>.sql, as aurora migrate new does"},
		{"control character", []string{"1_a\nb.sql"}, "db/1_a\nb.sql: the file name \"1_a\\nb.sql\" has a control character; rename it"},
		{"mark of a checksum", []string{"1_h1:b.sql"}, `db/1_h1:b.sql: the file name "1_h1:b.sql" has "h1:" in it, the mark of a checksum; rename it`},
		{"space", []string{" 1.sql"}, `db/ 1.sql: the file name " 1.sql" begins with a space; rename it`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fsys := dir()
			for _, name := range tt.files {
				fsys[name] = &fstest.MapFile{Data: []byte("SELECT 1;")}
			}
			ms, err := sqlfile.Load(fsys, sqlfile.Options{Name: "db"})
			wantError(t, err, tt.want)
			if len(ms) > 0 {
				t.Errorf("%d migrations with an error", len(ms))
			}
		})
	}
}

func TestOrderErrors(t *testing.T) {
	tests := []struct {
		name  string
		files []string
		want  string
	}{
		{"A26 numbers", []string{"2_b.sql", "10_a.sql", "2_b.down.sql"},
			"db: by name 10_a.sql comes before 2_b.sql, by version behind it; rename 2_b.sql to 02_b.sql, 2_b.down.sql to 02_b.down.sql"},
		{"A26 underscore behind digits", []string{"1_a.sql", "12_b.sql"},
			"db: by name 12_b.sql comes before 1_a.sql, by version behind it; rename 1_a.sql to 01_a.sql"},
		{"A26 dotted", []string{"1.9_a.sql", "1.10_b.sql"},
			"db: by name 1.10_b.sql comes before 1.9_a.sql, by version behind it; rename 1.9_a.sql to 1.09_a.sql"},
		{"A26 dates", []string{"20250101_a.sql", "20250101120000_b.sql"},
			"db: by name 20250101120000_b.sql comes before 20250101_a.sql, by version behind it; rename 20250101_a.sql to 20250101000000_a.sql"},
		{"A26 no numbers", []string{"a_x.sql", "aB_y.sql"},
			"db: by name aB_y.sql comes before a_x.sql, by version behind it; rename one so that both agree, for example to a time stamp like 20060102150405"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fsys := dir()
			for _, name := range tt.files {
				fsys[name] = &fstest.MapFile{Data: []byte("SELECT 1;")}
			}
			_, err := sqlfile.Load(fsys, sqlfile.Options{Name: "db"})
			wantError(t, err, tt.want)
			var order *sqlfile.OrderError
			if !errors.As(err, &order) {
				t.Fatalf("got %T", err)
			}
			for _, r := range order.Renames {
				fsys[r.To] = fsys[r.From]
				delete(fsys, r.From)
			}
			if _, err := sqlfile.Load(fsys, sqlfile.Options{}); len(order.Renames) > 0 && err != nil {
				t.Errorf("after the renames: %v", err)
			}
		})
	}
}

func TestTextErrors(t *testing.T) {
	archive := "-- atlas:txtar\n"
	tests := []struct{ name, text, want string }{
		{"txmode all", "-- x\n-- atlas:txmode all\n", ":2: atlas:txmode cannot be all, which concerns more than this file; say none or file here, or give --tx-mode all when applying"},
		{"txmode unknown", "-- atlas:txmode non\n", ":1: unknown atlas:txmode non; it can be none or file"},
		{"txmode empty", "-- atlas:txmode\n", `:1: unknown atlas:txmode ""; it can be none or file`},
		{"txmode twice", "-- atlas:txmode none\n\n-- atlas:txmode none\n", ":3: a second atlas:txmode; keep one of them"},
		{"txmode below", "SELECT 1;\n-- atlas:txmode none\nSELECT 2;", ":3: the comment above says atlas:txmode, which has no effect below the first statement; move it to the head"},
		{"txmode in a block", "/* atlas:txmode none */\nSELECT 1;", ":1: a directive in a block comment has no effect; write it as -- atlas:txmode none"},
		{"txmode behind #", "# atlas:txmode none\n\nSELECT 1;", ":1: PostgreSQL has no comments with #; write --"},
		{"misspelt", "-- atlas:tx_mode none\n", ":1: -- atlas:tx_mode none is no directive; did you mean -- atlas:txmode?"},
		{"capitals", "-- Atlas:TxMode none\n", ":1: -- Atlas:TxMode none is no directive; did you mean -- atlas:txmode?"},
		{"space", "-- atlas: txmode none\n", ":1: -- atlas: txmode none is no directive; did you mean -- atlas:txmode?"},
		{"delimiter below", "-- x\n-- atlas:delimiter //\nSELECT 1//", `:2: atlas:delimiter has no effect here; write it on the first line of the file, as "-- atlas:delimiter X"`},
		{"delimiter empty", "-- atlas:delimiter\nSELECT 1", `:1:1: atlas:delimiter names no delimiter; write it behind the word, for example "-- atlas:delimiter \n\n"`},
		{"sum", "\n-- atlas:sum ignore\n", ":2: atlas:sum has no effect here; write it on the first line of the file"},
		{"sum unknown", "-- atlas:sum x\n", ":1: unknown atlas:sum x; it can only be ignore"},
		{"import", "-- atlas:import a.sql\n", ":1: atlas:import is not supported; put the statements of a.sql here"},
		{"assert", "-- atlas:assert oneof\nSELECT true;", ":1: atlas:assert has no effect outside of the checks of an archive; begin the file with -- atlas:txtar and put the check into a member checks.sql"},
		{"A25 goose", "-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 2;", ":1: the file is written for goose; keep only the way up in 1_x.sql, move the way down to 1_x.down.sql, and remove the marks"},
		{"A25 dbmate", "\n--  migrate:up\r\nSELECT 1;", ":2: the file is written for dbmate; keep only the way up in 1_x.sql, move the way down to 1_x.down.sql, and remove the marks"},
		{"A25 tern", "SELECT 1;\n---- create above / drop below ----\nSELECT 2;", ":2: the file is written for tern; keep only the way up in 1_x.sql, move the way down to 1_x.down.sql, and remove the marks"},
		{"psql", "SELECT 1;\n\\connect x\n", `:2:1: \connect is a command of psql; the connection is that of the environment's url`},
		{"copy", "-- x\r\nCOPY t FROM stdin;\r\n1\r\n\\.\r\n", ":2:1: COPY … FROM STDIN reads data from the client, which has none; write INSERT statements, or COPY … FROM a file or PROGRAM on the server, or run this file with psql"},
		{"NUL", "SELECT '\x00';", ":1:9: NUL byte in SQL text; save the file as UTF-8 without NUL bytes (UTF-16 files have them)"},
		{"Latin-1", "--\r\nSELECT 'a\xe4';", ":2:10: byte 0xe4 is not UTF-8; save the file as UTF-8"},
		{"quote", "\ufeffSELECT 1;\r\nSELECT 'a;\r\n", ":2:8: unterminated string"},

		{"archive without directive", "-- migration.sql --\nSELECT 1;\n-- down.sql --\nSELECT 2;", `:1: the line begins a member of an archive, but the file is none; begin the file with "-- atlas:txtar", or change the comment`},
		{"archive with late directive", "-- down.sql --\n-- atlas:txtar\nSELECT 1;\n", `:1: the line begins a member of an archive, but the file is none; begin the file with "-- atlas:txtar", or change the comment`},
		{"directive below", "SELECT 1;\n-- atlas:txtar\nSELECT 2;\n", ":3: the comment above says atlas:txtar, which has no effect below the first statement; move it to the head"},
		{"archive without migration", archive + "-- checks.sql --\nSELECT 1;\n", ":1: the archive has no member migration.sql; begin the statements with a line -- migration.sql --"},
		{"archive flat", archive + "SELECT 1;\n", ":1: the archive has no member migration.sql; begin the statements with a line -- migration.sql --"},
		{"statement above", archive + "SELECT 1;\n-- migration.sql --\n", ":2: a statement above the first member of the archive would never run; move it below -- migration.sql --"},
		{"unknown member", archive + "-- migration.sql --\nSELECT 1;\n-- that is all --\n", ":4: an archive has no member that is all; the members are migration.sql, down.sql, checks.sql and checks/NAME.sql; if the line is a comment, do not end it with --"},
		{"two members", archive + "-- migration.sql --\n-- migration.sql --\n", ":3: a second member migration.sql; join the two"},
		{"almost a member", archive + "-- migration.sql --\nSELECT 1;\n--down.sql--\nSELECT 2;", ":4: the line is almost the beginning of down.sql; write it as -- down.sql --, or change the comment"},
		{"member in capitals", archive + "-- migration.sql --\nSELECT 1;\n-- Down.sql --\nSELECT 2;", ":4: an archive has no member Down.sql; the members are migration.sql, down.sql, checks.sql and checks/NAME.sql; if the line is a comment, do not end it with --"},
		{"check that writes", archive + "-- checks.sql --\nSELECT 1;\n\nDELETE FROM t;\n-- migration.sql --\n", ":5: a check must be one query that changes nothing: SELECT, WITH, VALUES or TABLE; put what changes something into migration.sql"},
		{"check that writes in WITH", archive + "-- checks.sql --\nWITH x AS (DELETE FROM t RETURNING 1) SELECT true;\n-- migration.sql --\n", ":3: a check must be one query that changes nothing: SELECT, WITH, VALUES or TABLE; put what changes something into migration.sql"},
		{"no check", archive + "-- checks.sql --\n-- atlas:assert oneof\n-- migration.sql --\n", ":2: checks.sql has no query, so it checks nothing; write one or remove the member"},
		{"unknown assert", archive + "-- checks.sql --\n-- atlas:assert any\nSELECT 1;\n-- migration.sql --\n", ":3: unknown atlas:assert any; it can be oneof, or codes such as DS102"},
		{"late assert", archive + "-- checks.sql --\nSELECT 1;\n-- atlas:assert oneof\nSELECT 2;\n-- migration.sql --\n", ":5: the comment above says atlas:assert, which has no effect below the first statement; move it to the head"},
		{"txmode twice in archive", archive + "-- atlas:txmode none\n-- migration.sql --\n-- atlas:txmode none\n", ":4: a second atlas:txmode; keep one of them"},
		{"txmode in checks", archive + "-- checks.sql --\n-- atlas:txmode none\nSELECT 1;\n-- migration.sql --\n", ":3: atlas:txmode has no meaning for checks; write it above the first member"},
		{"txmode of down", archive + "-- migration.sql --\nSELECT 1;\n-- down.sql --\n-- atlas:txmode none\nSELECT 1;\n", ":5: atlas:txmode holds for both ways of a migration, and its way up says something else; write it there: db/1_x.sql"},
		{"checkpoint in down", archive + "-- migration.sql --\nSELECT 1;\n-- down.sql --\n-- atlas:checkpoint\nSELECT 1;\n", ":5: atlas:checkpoint belongs in the way up; remove it"},
		{"archive in a member", archive + "-- migration.sql --\n-- atlas:txtar\nSELECT 1;\n", ":3: atlas:txtar belongs above the first member of an archive, in the file of the way up; move or remove it"},
		{"delimiter of an archive", "-- atlas:delimiter //\n" + archive + "-- migration.sql --\n", `:1: atlas:delimiter has no effect here; write it on the first line of the member that needs it, as "-- atlas:delimiter X"`},
		{"place in a member", archive + "\r\n-- migration.sql --\r\nSELECT 1;\r\n  SELECT (2;\r\n", ":5:10: unclosed (; add the ) it needs"},
		{"bytes above members", archive + "-- \xff\n-- migration.sql --\n", ":2:4: byte 0xff is not UTF-8; save the file as UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := sqlfile.Load(dir("1_x.sql", tt.text), sqlfile.Options{Name: "db"})
			if err == nil {
				t.Fatalf("no error, want: %s", tt.want)
			}
			// What sqllex says of an unterminated string is its own business.
			if want := "db/1_x.sql" + tt.want; !strings.HasPrefix(err.Error(), want) || tt.name != "quote" && err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
			var e *sqlfile.FileError
			if !errors.As(err, &e) || e.Line == 0 {
				t.Errorf("no line: %#v", err)
			}
		})
	}
}

func TestDownErrors(t *testing.T) {
	tests := []struct{ name, up, down, want string }{
		{"txmode", "SELECT 1;", "-- atlas:txmode none\n", "db/1_x.down.sql:1: atlas:txmode holds for both ways of a migration, and its way up says something else; write it there: db/1_x.sql"},
		{"two", "-- atlas:txtar\n-- migration.sql --\n-- down.sql --\n", "SELECT 1;", "db/1_x.down.sql: is a second way down: db/1_x.sql has a member down.sql; remove one of them"},
		{"archive", "SELECT 1;", "-- atlas:txtar\n", "db/1_x.down.sql:1: atlas:txtar belongs above the first member of an archive, in the file of the way up; move or remove it"},
		{"foreign", "SELECT 1;", "SELECT 1;\n-- +goose Down", "db/1_x.down.sql:2: the file is written for goose; keep only the way up in 1_x.sql, move the way down to 1_x.down.sql, and remove the marks"},
		{"broken", "SELECT 1;", "\n\\q", `db/1_x.down.sql:2:1: \q is a command of psql; it is not SQL: remove it, or run this file with psql`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := sqlfile.Load(dir("1_x.sql", tt.up, "1_x.down.sql", tt.down), sqlfile.Options{Name: "db"})
			wantError(t, err, tt.want)
		})
	}
}

func TestErrorsKeepTheReason(t *testing.T) {
	_, err := sqlfile.Load(dir("1.sql", "\\connect x"), sqlfile.Options{})
	if !errors.Is(err, sqllex.ErrPsqlCommand) {
		t.Errorf("%v does not wrap %v", err, sqllex.ErrPsqlCommand)
	}
}

func TestManyErrors(t *testing.T) {
	fsys := dir()
	for i := range 25 {
		fsys[string(rune('a'+i))+".sql"] = &fstest.MapFile{Data: []byte("-- atlas:txmode x")}
	}
	_, err := sqlfile.Load(fsys, sqlfile.Options{})
	if err == nil || strings.Count(err.Error(), "\n") != 10 || !strings.HasSuffix(err.Error(), "\nand 15 more errors") {
		t.Errorf("got %v", err)
	}
}

func TestEmpty(t *testing.T) {
	for name, tt := range map[string]struct {
		fsys fstest.MapFS
		want string
	}{
		"A31 nothing":   {dir(), "no migrations in db; create one with: aurora migrate new NAME"},
		"A31 no sql":    {dir("README.md", "x", "1_x.go", "package x"), "no migrations in db; create one with: aurora migrate new NAME"},
		"A31 too high":  {dir("migrations/1.sql", ""), "no migrations in db: only files at its top level count, and the .sql files are in migrations; name that directory instead"},
		"empty and sum": {dir(sqlfile.SumName, "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"), "no migrations in db; create one with: aurora migrate new NAME"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sqlfile.Load(tt.fsys, sqlfile.Options{Name: "db"})
			wantError(t, err, tt.want)
			var empty *sqlfile.EmptyError
			if !errors.As(err, &empty) || empty.Dir != "db" {
				t.Errorf("got %#v", err)
			}
			if ms, err := sqlfile.Load(tt.fsys, sqlfile.Options{AllowEmpty: true}); err != nil || len(ms) != 0 {
				t.Errorf("allowed: %v, %v", ms, err)
			}
		})
	}
}

// deny is a file system whose file cannot be read.
type deny struct {
	fstest.MapFS
	name string
}

func (d deny) Open(name string) (fs.File, error) {
	if name == d.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.MapFS.Open(name)
}

func (d deny) ReadFile(name string) ([]byte, error) {
	if name == d.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.MapFS.ReadFile(name)
}

func TestUnreadable(t *testing.T) {
	for _, tt := range []struct {
		name string
		fsys fs.FS
		want string
	}{
		{"file", deny{dir("1.sql", ""), "1.sql"}, "db/1.sql: cannot be read: permission denied"},
		{"sum", deny{dir("1.sql", "", "atlas.sum", ""), "atlas.sum"}, "db/atlas.sum: cannot be read: permission denied"},
		{"directory", dir("1.sql/a", ""), "db/1.sql: is a directory, though it is named like a migration; rename it"},
		{"pipe", fstest.MapFS{"1.sql": {Mode: fs.ModeNamedPipe | 0o644}}, "db/1.sql: is not a regular file; remove it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := sqlfile.Load(tt.fsys, sqlfile.Options{Name: "db"})
			wantError(t, err, tt.want)
		})
	}
}

func TestSymlinks(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	// So looks a directory that Kubernetes mounts from a ConfigMap.
	if err := os.Mkdir(filepath.Join(root, "..2025"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("..2025/1_a.sql", "SELECT 1;")
	link("..2025", "..data")
	link("..data/1_a.sql", "1_a.sql")
	ms, err := sqlfile.LoadDir(root, sqlfile.Options{})
	if err != nil || len(ms) != 1 || len(ms[0].Up) != 1 {
		t.Fatalf("got %v, %v", ms, err)
	}
	link("gone.sql", "2_b.sql")
	_, err = sqlfile.LoadDir(root, sqlfile.Options{Name: "db"})
	wantError(t, err, "db/2_b.sql: the symbolic link leads nowhere; remove it or restore the file it points to")
	if err := os.Remove(filepath.Join(root, "2_b.sql")); err != nil {
		t.Fatal(err)
	}
	link("..2025", "2_b.sql")
	_, err = sqlfile.LoadDir(root, sqlfile.Options{Name: "db"})
	wantError(t, err, "db/2_b.sql: is a directory, though it is named like a migration; rename it")
}
