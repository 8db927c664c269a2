package sqllex

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// corpusDir gives the directory that tools/corpus.sh has filled.
func corpusDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("AURORA_CORPUS")
	if dir == "" {
		t.Skip("AURORA_CORPUS is not set: run tools/corpus.sh DIR and set it to DIR")
	}
	return dir
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSplitLikePsql compares Split with psql itself over PostgreSQL's own test
// scripts: psql runs them against a server that does nothing but keep the text
// of each query it gets.
func TestSplitLikePsql(t *testing.T) {
	dir := filepath.Join(corpusDir(t), "postgresql")
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("psql is not installed (package postgresql-client)")
	}
	corpora := []struct {
		name             string
		files, statement int // at least so many, so that nothing is lost unseen
	}{
		{"regress", 200, 35000},
		{"contrib", 150, 8000},
		{"plpgsql", 12, 600},
	}
	for _, c := range corpora {
		t.Run(c.name, func(t *testing.T) {
			paths, err := filepath.Glob(filepath.Join(dir, c.name, "*.sql"))
			if err != nil || len(paths) < c.files {
				t.Fatalf("found %d files, want %d (%v)", len(paths), c.files, err)
			}
			scripts := make([]string, len(paths))
			for i, p := range paths {
				scripts[i] = plainSQL(readFile(t, p))
			}
			sent := askPsql(t, psql, scripts)
			total, same := 0, 0
			for i, p := range paths {
				name := c.name + "/" + filepath.Base(p)
				diff := compare(scripts[i], sent[i])
				total += len(sent[i])
				switch want, known := knownDifferences[name]; {
				case diff == "":
					same++
				case !known:
					t.Errorf("%s: %s", name, diff)
				case !strings.Contains(diff, want.diff):
					t.Errorf("%s: %s\nwant the known difference %q (%s)", name, diff, want.diff, want.reason)
				default:
					t.Logf("%s: %s: %s", name, want.reason, diff)
				}
			}
			t.Logf("%d files, %d statements as psql sends them; %d files the same", len(paths), total, same)
			if total < c.statement {
				t.Errorf("only %d statements, want %d", total, c.statement)
			}
		})
	}
}

// knownDifferences are the files on which Split is not to do as psql does.
var knownDifferences = map[string]struct{ diff, reason string }{
	"regress/create_function_c.sql": {":'LAST_ERROR_MESSAGE'", "a variable that psql always has"},
	"contrib/dblink-dblink.sql":     {":'USER'", "a variable that psql always has"},
	"regress/psql.sql":              {"unclosed (", "an \\if branch that psql does not take has an open parenthesis"},
}

// compare gives the first difference between Split and what psql sent.
func compare(script string, sent []string) string {
	stmts, err := Split(script, Options{})
	if err != nil {
		return "Split: " + err.Error()
	}
	for i, s := range stmts {
		if i >= len(sent) {
			return fmt.Sprintf("line %d: psql sends nothing for %.100q", s.Line, s.Text)
		}
		if !sameText(s.Text, sent[i]) {
			return fmt.Sprintf("line %d: got %.200q, psql sends %.200q", s.Line, s.Text, sent[i])
		}
	}
	if len(stmts) < len(sent) {
		return fmt.Sprintf("psql also sends %.100q", sent[len(stmts)])
	}
	return ""
}

// sameText compares a statement with what psql sent for it, without asking the
// lexer: psql drops empty lines, and keeps the block comments before statements.
func sameText(text, sent string) bool {
	drop := func(r rune) rune {
		if strings.ContainsRune(whiteSpace, r) {
			return -1
		}
		return r
	}
	text, sent = strings.Map(drop, text), strings.Map(drop, sent)
	comment, ok := strings.CutSuffix(sent, text)
	return ok && (comment == "" || strings.HasPrefix(comment, "/*"))
}

// plainSQL takes out of a psql script what is not SQL: psql's commands and the
// data of COPY. Those that send the query become semicolons.
func plainSQL(src string) string {
	var out strings.Builder
	lx := New(src)
	start, depth := 0, 0 // of the statement, in out
	for {
		tok := lx.Next()
		text := tok.Text(src)
		if tok.Kind == Meta {
			text = plainMeta(lx, tok, text)
		}
		out.WriteString(text)
		depth = max(0, depth+parens(src, tok))
		switch {
		case tok.Kind == EOF || tok.Kind == Invalid:
			return out.String()
		case text != ";" && text != ";\n" || depth > 0:
			continue
		}
		if info := Classify(out.String()[start:]); info.Stdio {
			kept := out.String()[:start]
			out.Reset()
			out.WriteString(kept)
			if info.Kind == CopyFrom {
				if _, after, ok := strings.Cut(src[tok.End:], "\n\\.\n"); ok {
					lx.seek(len(src) - len(after))
				}
			}
		}
		start = out.Len()
	}
}

func plainMeta(lx *Lexer, tok Token, text string) string {
	switch {
	case strings.HasPrefix(text, `\;`), strings.HasPrefix(text, `\:`):
		lx.seek(tok.Start + 2)
		return text[1:2]
	case strings.HasPrefix(text, `\g`), strings.HasPrefix(text, `\crosstabview`), strings.HasPrefix(text, `\watch`):
		return ";\n"
	}
	if i := strings.Index(text[1:], `\\`); i >= 0 {
		lx.seek(tok.Start + 1 + i + 2)
	}
	return ""
}

const marker = "next script"

// askPsql runs scripts through psql and gives the queries it sends for each,
// but for those without a statement in them.
func askPsql(t *testing.T, psql string, scripts []string) [][]string {
	t.Helper()
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())

	args := []string{"-X", "-q", "-w", "-h", "127.0.0.1", "-p", port, "-U", "u", "-d", "d"}
	for i, s := range scripts {
		path := filepath.Join(dir, fmt.Sprintf("%03d.sql", i))
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-c", marker, "-f", path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, psql, args...)
	cmd.Env = append(os.Environ(), "PGSSLMODE=disable", "PGGSSENCMODE=disable", "PGCLIENTENCODING=", "LC_ALL=C")
	output := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = output, output
	done := make(chan error, 1)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		err := cmd.Wait()
		listener.Close() // ends Accept if psql never came
		done <- err
	}()

	conn, err := listener.Accept()
	if err != nil {
		t.Fatalf("psql did not connect: %v\n%s", <-done, output)
	}
	defer conn.Close()
	var sent [][]string
	err = serve(conn, func(query string) {
		switch {
		case query == marker:
			sent = append(sent, nil)
		case Classify(query).Kind != Empty:
			sent[len(sent)-1] = append(sent[len(sent)-1], query)
		}
	})
	if exit := <-done; err != nil || exit != nil {
		t.Fatalf("serving psql: %v; psql: %v\n%.2000s", err, exit, output)
	}
	if len(sent) != len(scripts) {
		t.Fatalf("psql ran %d of %d scripts", len(sent), len(scripts))
	}
	return sent
}

// serve is a PostgreSQL server that says yes to everything, see
// https://www.postgresql.org/docs/current/protocol-message-formats.html.
func serve(conn net.Conn, query func(string)) error {
	r, w := bufio.NewReader(conn), bufio.NewWriter(conn)
	read := func() (string, error) {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return "", err
		}
		body := make([]byte, binary.BigEndian.Uint32(size[:])-4)
		_, err := io.ReadFull(r, body)
		return string(body), err
	}
	write := func(kind byte, body string) {
		w.WriteByte(kind)
		w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)))
		w.WriteString(body)
	}
	if _, err := read(); err != nil { // StartupMessage
		return err
	}
	write('R', "\x00\x00\x00\x00")
	write('S', "server_version\x0015.0\x00")
	write('S', "client_encoding\x00UTF8\x00")
	write('S', "standard_conforming_strings\x00on\x00")
	write('Z', "I")
	for {
		if err := w.Flush(); err != nil {
			return err
		}
		kind, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		body, err := read()
		switch {
		case err != nil:
			return err
		case kind == 'X':
			return nil
		case kind != 'Q':
			return fmt.Errorf("message %q is not expected", kind)
		}
		query(strings.TrimSuffix(body, "\x00"))
		write('C', "OK\x00")
		write('Z', "I")
	}
}
