package ui

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(Files(), name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What index.html asks for must be there, below the page's own address.
func TestIndexIsWhole(t *testing.T) {
	page := string(read(t, "index.html"))
	found := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(found) < 4 {
		t.Fatalf("index.html asks for %d files only", len(found))
	}
	for _, m := range found {
		if !strings.HasPrefix(m[1], "./") {
			t.Errorf("%q is not below the page's own address", m[1])
			continue
		}
		read(t, path.Clean(m[1]))
	}
	for _, name := range []string{"index.html", "favicon.svg"} {
		if !strings.Contains(string(read(t, name)), "aurora") {
			t.Errorf("%s does not say whose it is", name)
		}
	}
}

// The content policy of the dashboard forbids script and style in the page
// itself.
func TestIndexHasNothingInline(t *testing.T) {
	page := string(read(t, "index.html"))
	for _, bad := range []string{`<style`, ` style=`, ` onload=`, ` onerror=`, `javascript:`} {
		if strings.Contains(page, bad) {
			t.Errorf("index.html has %q", bad)
		}
	}
	for _, m := range regexp.MustCompile(`(?s)<script[^>]*>(.*?)</script>`).FindAllStringSubmatch(page, -1) {
		if strings.TrimSpace(m[1]) != "" {
			t.Errorf("index.html has a script in it: %q", m[1])
		}
	}
}

// No address of another host may be loaded. Those that are named in texts, as
// in messages of libraries, are listed here by what they begin with.
func TestNoOtherHost(t *testing.T) {
	named := []string{
		"http://www.w3.org/", // names of XML namespaces
		"https://react.dev/", // links in error messages
		"https://radix-ui.com/",
		"https://tailwindcss.com",
		"https://github.com/markedjs/marked.",
	}
	address := regexp.MustCompile("(?:https?:)?//[a-zA-Z0-9-]+\\.[a-zA-Z0-9.-]+[^\"'`\\s)]*")
	err := fs.WalkDir(Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
	found:
		for _, m := range address.FindAllString(string(read(t, name)), -1) {
			for _, ok := range named {
				if strings.HasPrefix(m, ok) {
					continue found
				}
			}
			t.Errorf("%s names %s", name, m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The limit is part of the design: the pages are opened over slow links, too.
func TestScriptIsSmall(t *testing.T) {
	const limit = 200 << 10
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := fs.Glob(Files(), "assets/*.js")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, name := range scripts {
		if !regexp.MustCompile(`-[\w-]{8}\.js$`).MatchString(name) {
			t.Errorf("%s has no hash in its name, but is served as unchangeable", name)
		}
		if _, err := w.Write(read(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if packed.Len() > limit {
		t.Errorf("the scripts are %d bytes when compressed, more than %d", packed.Len(), limit)
	}
	t.Logf("%d scripts, %d bytes compressed", len(scripts), packed.Len())
}
