// Package docs_test runs what the documentation shows.
//
// In a page, every section below a "## " heading is a story with an empty
// directory and an empty database of its own. Its fenced blocks are played in
// order; what they are is said behind the three backticks:
//
//	sql file=migrations/1_a.sql   is written to that file, in any language
//	sql run                       is run on the database, as a superuser
//	sql run role=x                as that role of the local DSQL
//	console                       lines with "$ " are run by the shell, the
//	                              lines below them are the output; a line "..."
//	                              stands for any lines. A command must exit with
//	                              0 unless the next one is "echo $?"
//	console exit=2                or unless the block says so
//	console background            is started, and waited for until it has the
//	                              lock; "$ kill -9 1" kills it, whatever its number
//	console background status=x   and until status says x
//	console background says       or until it has written the lines below it; a
//	                              dashboard gets a free port instead of 3100, here
//	                              and in the commands behind it
//	yaml                          each "command: [...]" is run
//	hcl, sql, json                must load, or be SQL or JSON
//
// The database is a PostgreSQL; in dsql.md and local.md it is a local DSQL, which
// runs before the first block if a block says "aurora migrate" and unless a block says "aurora local up".
//
// The environments "local" and "production" exist unless the story has an
// aurora.hcl of its own. Times, durations, process ids and the like are not
// compared. UPDATE_DOCS=1 writes the output that was seen into the pages.
package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora/internal/dynamotest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience bounds one command; none takes nearly as long.
const patience = 5 * time.Minute

func readLines(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// build builds the program once for all pages and returns its directory.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "../cmd/aurora")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// TestCommands plays the stories of the pages, and what the README shows.
func TestCommands(t *testing.T) {
	bin := build(t)
	for _, page := range []string{"migrations.md", "operations.md", "atlas.md", "code.md", "dsql.md", "local.md", "fargate.md", "init-container.md", "typescript.md", "bundle.md", "dashboard.md"} {
		t.Run(page, func(t *testing.T) {
			lines := readLines(t, page)
			p := &player{page: page, bin: bin, dsql: page == "dsql.md" || page == "local.md"}
			if page == "typescript.md" {
				p.env = []string{"AWS_ENDPOINT_URL_DYNAMODB=" + dynamotest.Endpoint(t), "AWS_REGION=eu-central-1",
					"AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_EC2_METADATA_DISABLED=true"}
			}
			for _, s := range sections(lines) {
				t.Run(s.title, func(t *testing.T) { p.play(t, s) })
			}
			if os.Getenv("UPDATE_DOCS") != "" {
				p.update(t, lines)
			}
		})
	}
	t.Run("README", func(t *testing.T) { testReadme(t, bin) })
}

// testReadme does what the README says, in the quickstart and in a new project.
func testReadme(t *testing.T, bin string) {
	page := readLines(t, "../README.md")
	if n := len(strings.Fields(strings.Join(page, "\n"))); n >= 1000 {
		t.Errorf("the README has %d words, want fewer than 1000", n)
	}
	p := &player{page: "README.md", bin: bin, dsql: true}
	ran := 0
	for _, s := range sections(page) {
		p.dir = t.TempDir()
		switch s.title {
		case "One minute":
			if err := os.CopyFS(p.dir, os.DirFS("../examples/quickstart")); err != nil {
				t.Fatal(err)
			}
		case "Your own project":
		default:
			continue
		}
		for _, b := range s.blocks {
			where := fmt.Sprintf("%s:%d", p.page, b.line)
			if b.lang == "hcl" {
				p.loadConfig(t, where, b.text())
				// The cluster of the page is this machine's.
				p.write(t, "aurora.hcl", strings.Replace(b.text(), `"dsql://admin@${getenv("DSQL_ENDPOINT")}/postgres"`, `getenv("DATABASE_URL")`, 1))
				p.localUp(t)
				dir := p.dir
				defer func() {
					p.dir = dir
					p.localDown(t)
				}()
			}
			if b.lang != "sh" {
				continue
			}
			for _, line := range b.lines {
				if strings.HasPrefix(line, "git clone") {
					continue
				}
				ran++
				if strings.Contains(line, "status --wait") { // somebody else applies
					p.run(t, where, "aurora migrate --env production apply")
				}
				if out := p.run(t, where, strings.ReplaceAll(line, "go run ../../cmd/aurora", "aurora")); p.exit != 0 {
					t.Errorf("%s: %s: exit code %d\n%s", where, line, p.exit, strings.Join(out, "\n"))
				}
			}
		}
	}
	if ran < 6 {
		t.Errorf("ran only %d commands of the README", ran)
	}
	p.readmeTable(t, page)
}

var code = regexp.MustCompile("`([^`]*)`")

// readmeTable asks for the help of every command in the README's table, which
// must know the flags in its row.
func (p *player) readmeTable(t *testing.T, page []string) {
	rows := 0
	for i, l := range page {
		cells := strings.Split(l, "|")
		if len(cells) != 4 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		for _, m := range code.FindAllStringSubmatch(cells[1], -1) {
			rows++
			command := strings.Join(slices.DeleteFunc(strings.Fields(m[1]), func(w string) bool { return strings.ToLower(w) != w }), " ")
			help := strings.Join(p.run(t, "README.md", "aurora "+command+" --help"), "\n")
			if p.exit != 0 || !strings.Contains(help, "aurora "+command) {
				t.Errorf("README.md:%d: %s: exit code %d\n%s", i+1, command, p.exit, help)
			}
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(cells[2], -1) {
				if !strings.Contains(help, flag+" ") {
					t.Errorf("README.md:%d: %s has no %s", i+1, command, flag)
				}
			}
		}
	}
	if rows < 10 {
		t.Errorf("found only %d commands in the README's table", rows)
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks follows the links between the pages.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	followed := 0
	for _, page := range append(pages, "../README.md") {
		fenced := false
		for i, l := range readLines(t, page) {
			if strings.HasPrefix(l, "```") {
				fenced = !fenced
			}
			if fenced {
				continue
			}
			for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(l, ""), -1) {
				if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
					continue
				}
				followed++
				file, anchor, _ := strings.Cut(m[1], "#")
				target := page
				if file != "" {
					target = filepath.Join(filepath.Dir(page), file)
				}
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s:%d: %s leads nowhere", page, i+1, m[1])
				} else if anchor != "" && !slices.Contains(anchors(readLines(t, target)), anchor) {
					t.Errorf("%s:%d: %s has no heading #%s", page, i+1, target, anchor)
				}
			}
		}
	}
	if followed < 20 {
		t.Errorf("followed only %d links", followed)
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\-_ ]`)

// anchors are those that GitHub gives to the headings of a page.
func anchors(lines []string) []string {
	var out []string
	fenced := false
	for _, l := range lines {
		if strings.HasPrefix(l, "```") {
			fenced = !fenced
		}
		_, title, ok := strings.Cut(l, "# ")
		if fenced || !ok || !strings.HasPrefix(l, "#") {
			continue
		}
		anchor := strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
		if n := strings.Count("\n"+strings.Join(out, "\n")+"\n", "\n"+anchor+"\n"); n > 0 {
			anchor += "-" + strconv.Itoa(n)
		}
		out = append(out, anchor)
	}
	return out
}

// Comparing must be able to fail.
func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		want, got string
		ok        bool
	}{
		{"", "", true},
		{"a", "", false},
		{"", "a", false},
		{"a\nb", "a\nb", true},
		{"a\nb", "a\nc", false},
		{"...", "", true},
		{"...", "a\nb", true},
		{"a\n...\nb", "a\nb", true},
		{"a\n...\nb", "a\nx\nb\ny\nb", true},
		{"a\n...\nb", "a\nx\nb\ny", false},
		{"-- ok (1.5ms)", "-- ok (2m0.7s)", true},
		{"ada@web-1, pid 7, cli, until 2026-01-02T03:04:05Z unless renewed", "root@h, pid 12, cli, until 2027-01-02T03:04:05Z unless renewed", true},
		{"2 migrations", "3 migrations", false},
		{"version 20250601120000", "version 20250602120000", false},
	} {
		if got := matches(mask(lines(tt.want), "x"), mask(lines(tt.got), "x")); got != tt.ok {
			t.Errorf("%q and %q: got %v, want %v", tt.want, tt.got, got, tt.ok)
		}
	}
}
