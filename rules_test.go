package aurora_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/rules.md names must exist.
func TestRulesAreProved(t *testing.T) {
	page, err := os.ReadFile("docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	var names strings.Builder
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != "."):
			return fs.SkipDir
		case strings.HasSuffix(path, ".txtar"):
			names.WriteString(" " + filepath.Base(path) + " ")
		case strings.HasSuffix(path, "_test.go"), filepath.Dir(path) == "auroratest":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
				names.WriteString(" " + string(m[1]) + " ")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	cited := regexp.MustCompile("`(Test\\w+|\\w+\\.txtar)`").FindAllSubmatch(page, -1)
	for _, m := range cited {
		if !strings.Contains(names.String(), " "+string(m[1])+" ") {
			t.Errorf("docs/rules.md names %s, which does not exist", m[1])
		}
	}
	if len(cited) < 40 {
		t.Errorf("docs/rules.md names only %d tests", len(cited))
	}
}
