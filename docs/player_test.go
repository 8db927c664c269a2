package docs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/internal/config"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A block is a fenced block of a page.
type block struct {
	line  int // of the opening fence, from 1
	lang  string
	attrs map[string]string
	lines []string
}

func (b block) text() string { return strings.Join(b.lines, "\n") + "\n" }

func (b block) is(attr string) bool { _, ok := b.attrs[attr]; return ok }

// A section is a heading with the blocks below it.
type section struct {
	title  string
	blocks []block
}

// sections cuts a page.
func sections(lines []string) []section {
	out := []section{{title: "top"}}
	for i := 0; i < len(lines); i++ {
		if title, ok := strings.CutPrefix(lines[i], "## "); ok {
			out = append(out, section{title: title})
		}
		info, ok := strings.CutPrefix(lines[i], "```")
		if !ok {
			continue
		}
		b := block{line: i + 1, attrs: map[string]string{}}
		for k, word := range strings.Fields(info) {
			if k == 0 {
				b.lang = word
				continue
			}
			name, value, _ := strings.Cut(word, "=")
			b.attrs[name] = value
		}
		for i++; i < len(lines) && lines[i] != "```"; i++ {
			b.lines = append(b.lines, lines[i])
		}
		out[len(out)-1].blocks = append(out[len(out)-1].blocks, b)
	}
	return out
}

// A player plays the stories of one page.
type player struct {
	page, bin string
	dsql      bool     // its stories are about a local DSQL
	dir, url  string   // of the current story
	env       []string // what its commands get besides
	exit      int      // of its last command
	job       *exec.Cmd
	port      string           // of the story's dashboard
	seen      map[int][]string // new text of blocks, by the line of their fence
}

const environments = `env "local" {
  url = getenv("DATABASE_URL")
}
env "production" {
  url = getenv("DATABASE_URL")
}
`

func (p *player) play(t *testing.T, s section) {
	if len(s.blocks) == 0 {
		return
	}
	p.dir, p.url, p.exit, p.job, p.port = t.TempDir(), "", 0, nil, ""
	switch {
	case !p.dsql:
		p.url = pgtest.URL(t)
	case s.uses("aurora local up"):
		defer p.localDown(t)
	case s.uses("aurora migrate"):
		defer p.localDown(t)
		p.localUp(t)
	}
	defer func() {
		if p.job != nil {
			p.signal(t, syscall.SIGKILL)
		}
	}()
	p.write(t, "aurora.hcl", environments)
	unused := ""
	for i, b := range s.blocks {
		where := fmt.Sprintf("%s:%d", p.page, b.line)
		switch {
		case b.is("file"):
			unused = where
			p.write(t, b.attrs["file"], b.text())
		case b.lang == "sql" && b.is("run"):
			p.runSQL(t, where, b)
		case b.lang == "sql":
			if _, err := sqllex.Split(b.text(), sqllex.Options{}); err != nil {
				t.Errorf("%s: %v", where, err)
			}
		case b.lang == "hcl":
			p.loadConfig(t, where, b.text())
		case b.lang == "console" && b.is("background"):
			unused = ""
			p.start(t, where, b)
		case b.lang == "console":
			unused = ""
			p.console(t, where, b, s.blocks[i+1:])
		case b.lang == "yaml":
			p.yaml(t, where, b)
		case b.lang == "json":
			if !json.Valid([]byte(b.text())) {
				t.Errorf("%s: this is not JSON", where)
			}
		case b.lang != "text":
			t.Errorf("%s: nobody knows what to do with a block %q", where, b.lang)
		}
	}
	if unused != "" {
		t.Errorf("%s: no command uses this file", unused)
	}
}

// uses reports whether one of the section's commands begins so.
func (s section) uses(command string) bool {
	return slices.ContainsFunc(s.blocks, func(b block) bool {
		return slices.ContainsFunc(b.lines, func(l string) bool { return strings.HasPrefix(l, "$ "+command) })
	})
}

// localUp starts the local DSQL of the story.
func (p *player) localUp(t *testing.T) {
	t.Helper()
	if out := p.run(t, p.page, "aurora local up"); p.exit != 0 {
		t.Fatalf("%s: aurora local up: exit code %d\n%s", p.page, p.exit, strings.Join(out, "\n"))
	}
	p.findURL(t)
}

func (p *player) findURL(t *testing.T) {
	t.Helper()
	out := p.run(t, p.page, "aurora local url")
	if p.exit != 0 || len(out) != 1 {
		t.Fatalf("%s: aurora local url: exit code %d\n%s", p.page, p.exit, strings.Join(out, "\n"))
	}
	p.url = out[0]
}

func (p *player) localDown(t *testing.T) {
	t.Helper()
	if out := p.run(t, p.page, "aurora local down"); p.exit != 0 {
		t.Errorf("%s: aurora local down: exit code %d\n%s", p.page, p.exit, strings.Join(out, "\n"))
	}
}

func (p *player) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, ".go") {
		p.writeModule(t)
	}
}

// writeModule makes the directory a module that uses this one as it is here.
func (p *player) writeModule(t *testing.T) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	module := "github.com/aurora-migrate/aurora"
	cmd := exec.Command("go", "mod", "edit", "-module=example.com/shop", "-require="+module+"@v0.0.0", "-replace="+module+"="+root)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go mod edit: %v\n%s", err, out)
	}
}

var createRole = regexp.MustCompile(`(?m)^CREATE ROLE (\w+) .*\n`)

// runSQL runs a block on the database. A server that somebody else provides
// may have its roles from an earlier run.
func (p *player) runSQL(t *testing.T, where string, b block) {
	t.Helper()
	if p.dsql {
		p.runOnDSQL(t, where, b)
		return
	}
	text := b.text()
	text = createRole.ReplaceAllStringFunc(text, func(create string) string {
		role := createRole.FindStringSubmatch(create)[1]
		if pgtest.One(t, p.url, "SELECT count(*) FROM pg_roles WHERE rolname = '"+role+"'") != "0" {
			return ""
		}
		return create
	})
	database := pgtest.One(t, p.url, "SELECT current_database()")
	pgtest.Exec(t, p.url, strings.ReplaceAll(text, "DATABASE shop", "DATABASE "+database))
}

// runOnDSQL runs the statements of a block one by one, as DSQL wants them.
func (p *player) runOnDSQL(t *testing.T, where string, b block) {
	t.Helper()
	url := p.url
	if b.is("role") {
		out := p.run(t, where, "aurora local url --user "+b.attrs["role"])
		if p.exit != 0 || len(out) != 1 {
			t.Fatalf("%s: no url for the role: %s", where, strings.Join(out, "\n"))
		}
		url = out[0]
	}
	statements, err := sqllex.Split(b.text(), sqllex.Options{})
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	for _, s := range statements {
		pgtest.Exec(t, url, s.Text)
	}
}

var labels = regexp.MustCompile(`(?m)^env "([^"]*)"`)

func (p *player) loadConfig(t *testing.T, where, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "aurora.hcl")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	found := labels.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		t.Errorf("%s: no environment in the example", where)
	}
	for _, m := range found {
		project, err := config.Load(t.Context(), config.Options{Path: file, Env: m[1], LookupEnv: func(string) (string, bool) { return "postgres://h/d", true }})
		if err != nil {
			t.Errorf("%s: %v", where, err)
		} else if len(project.Warnings) > 0 {
			t.Errorf("%s: %v", where, project.Warnings)
		}
	}
}

// environ is the environment of the commands: ours without what would change
// what they do or say.
func (p *player) environ() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "PG") && !strings.HasPrefix(name, "GITHUB_") && !strings.HasPrefix(name, "CI") && name != "DATABASE_URL" && name != "PATH" {
			env = append(env, v)
		}
	}
	return append(append(env, p.env...), "DATABASE_URL="+p.url, "PATH="+p.bin+string(os.PathListSeparator)+os.Getenv("PATH"), "NO_COLOR=1", "GOFLAGS=-mod=mod")
}

func (p *player) command(ctx context.Context, script string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir, cmd.Env = p.dir, p.environ()
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

var killCommand = regexp.MustCompile(`^kill -(9|INT|TERM) \d+$`)

// run runs one line and returns the lines it wrote to both outputs.
func (p *player) run(t *testing.T, where, line string) []string {
	t.Helper()
	if m := killCommand.FindStringSubmatch(line); m != nil {
		p.signal(t, map[string]syscall.Signal{"9": syscall.SIGKILL, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM}[m[1]])
		return nil
	}
	if p.port != "" {
		line = strings.ReplaceAll(line, dashboardAddress, "127.0.0.1:"+p.port)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// The subshell gives $? the value that it has for a person.
	out, err := p.command(ctx, fmt.Sprintf("(exit %d)\n%s", p.exit, line)).CombinedOutput()
	p.exit = 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		p.exit = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("%s: %s: %v\n%s", where, line, err, out)
	}
	// Where a story takes place is a test's business.
	return lines(strings.ReplaceAll(string(out), p.dir, "/home/deploy/shop"))
}

func lines(out string) []string {
	out = strings.TrimRight(out, " \n")
	if out == "" {
		return nil
	}
	got := strings.Split(out, "\n")
	for i := range got {
		got[i] = strings.TrimRight(got[i], " ")
	}
	return got
}

// A call is a command of a console block with its output.
type call struct {
	line string
	want []string
}

func calls(b block) (out []call, err error) {
	for i, l := range b.lines {
		if command, ok := strings.CutPrefix(l, "$ "); ok {
			out = append(out, call{line: command})
		} else if len(out) == 0 {
			return nil, fmt.Errorf("line %d: output before the first command", b.line+1+i)
		} else {
			out[len(out)-1].want = append(out[len(out)-1].want, l)
		}
	}
	return out, nil
}

func (p *player) console(t *testing.T, where string, b block, behind []block) {
	t.Helper()
	all, err := calls(b)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	same := true
	for i, c := range all {
		got := p.run(t, where, c.line)
		want := lines(strings.Join(c.want, "\n"))
		text = append(text, "$ "+c.line)
		if matches(mask(want, c.line), mask(got, c.line)) {
			text = append(text, c.want...)
		} else {
			same = false
			text = append(text, got...)
			if os.Getenv("UPDATE_DOCS") == "" {
				t.Errorf("%s: $ %s: -shown +seen\n%s", where, c.line, cmp.Diff(mask(want, c.line), mask(got, c.line)))
			}
		}
		p.checkExit(t, where, b, all, i, behind)
		if strings.HasPrefix(c.line, "aurora local up") {
			p.findURL(t)
		}
	}
	if !same {
		if p.seen == nil {
			p.seen = map[int][]string{}
		}
		p.seen[b.line] = text
	}
}

// checkExit says whether the page tells of the exit code of its i-th command.
func (p *player) checkExit(t *testing.T, where string, b block, all []call, i int, behind []block) {
	t.Helper()
	want := 0
	switch {
	case i < len(all)-1:
		if all[i+1].line == "echo $?" {
			return
		}
	case b.is("exit"):
		want, _ = strconv.Atoi(b.attrs["exit"]) // 0 for what is no number
	case len(behind) > 0 && len(behind[0].lines) > 0 && behind[0].lines[0] == "$ echo $?":
		return
	}
	if p.exit != want {
		t.Errorf("%s: $ %s: exit code %d, want %d", where, all[i].line, p.exit, want)
	}
}

var yamlCommand = regexp.MustCompile(`^\s*(?:- )?command: (\[.*\])$`)

// yaml runs the commands of a manifest.
func (p *player) yaml(t *testing.T, where string, b block) {
	t.Helper()
	found := 0
	for _, l := range b.lines {
		m := yamlCommand.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		found++
		var words []string
		if err := json.Unmarshal([]byte(m[1]), &words); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if out := p.run(t, where, strings.Join(words, " ")); p.exit != 0 {
			t.Errorf("%s: %s: exit code %d\n%s", where, m[1], p.exit, strings.Join(out, "\n"))
		}
	}
	if found == 0 {
		t.Errorf("%s: no command", where)
	}
}

// masks replace what differs from run to run.
var masks = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:\d\d)?)`), "TIME"},
	{regexp.MustCompile(`\b(\d+m)?\d+(\.\d+)?(ns|µs|ms|s)\b`), "DURATION"},
	{regexp.MustCompile(`[\w.-]+@[\w.-]+, pid \d+`), "WHO"},
	{regexp.MustCompile(`aurora (v\S+|\(devel\))`), "aurora RELEASE"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "EXECUTION"},
	{regexp.MustCompile(`\btest_\d+_\d+\b`), "shop"},
	{regexp.MustCompile(`\blocalhost:\d+\b`), "ADDRESS"},
	{regexp.MustCompile(`\b127\.0\.0\.1:\d+\b`), "ADDRESS"},
	{regexp.MustCompile(`\bRequestID: \w+`), "REQUEST"},
	{regexp.MustCompile(`\btoken=[A-Z2-7]{26}\b`), "token=ONCE"},
	{regexp.MustCompile(`\b\d{13}(\.\d+\.\w+)\b`), "TOKEN$1"},
	{regexp.MustCompile(`\bprocess     \d+`), "process"},
	{regexp.MustCompile(`PostgreSQL  16\.\d+`), "PostgreSQL 16"},
}

var stamp = regexp.MustCompile(`\b\d{14}_`)

// mask hides what differs from run to run, in the output of a command.
func mask(lines []string, command string) []string {
	out := slices.Clone(lines)
	for i := range out {
		for _, m := range masks {
			out[i] = m.re.ReplaceAllString(out[i], m.to)
		}
		if strings.Contains(command, " new ") {
			out[i] = stamp.ReplaceAllString(out[i], "VERSION_")
		}
	}
	return out
}

// matches compares lines, of which "..." stands for any number.
func matches(want, got []string) bool {
	i := slices.Index(want, "...")
	if i < 0 {
		return slices.Equal(want, got)
	}
	if len(got) < i || !slices.Equal(want[:i], got[:i]) {
		return false
	}
	for k := i; k <= len(got); k++ {
		if matches(want[i+1:], got[k:]) {
			return true
		}
	}
	return false
}

// update writes the output that was seen into the page.
func (p *player) update(t *testing.T, page []string) {
	t.Helper()
	var out []string
	for i := 0; i < len(page); i++ {
		out = append(out, page[i])
		text, ok := p.seen[i+1]
		if !ok {
			continue
		}
		out = append(out, text...)
		for i++; page[i] != "```"; i++ {
		}
		out = append(out, page[i])
	}
	if err := os.WriteFile(p.page, []byte(strings.Join(out, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
