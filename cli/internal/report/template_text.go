//go:build !aurora_notemplates

package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"text/template"
)

func parseTemplate(text string, p Paint) (func(io.Writer, any) error, error) {
	t, err := template.New("format").Funcs(funcs(p)).Parse(text)
	if err != nil {
		return nil, err
	}
	return t.Execute, nil
}

func funcs(p Paint) template.FuncMap {
	m := template.FuncMap{
		"cyan": p.Cyan, "green": p.Green, "red": p.Red, "yellow": p.Yellow, "redBgWhiteFg": p.RedBgWhiteFg,
	}
	maps.Copy(m, template.FuncMap{
		"add":        func(a, b int) int { return a + b },
		"upper":      strings.ToUpper,
		"json":       encodeJSON,
		"json_merge": mergeJSON,
		"indent_ln":  indentLn,
		"default":    func(s *Status) string { return s.Text() },
	})
	return m
}

// mergeJSON joins objects; of a key that appears twice the later counts.
func mergeJSON(objects ...string) (string, error) {
	merged := map[string]any{}
	for _, o := range objects {
		if err := json.Unmarshal([]byte(o), &merged); err != nil {
			return "", fmt.Errorf("json_merge: %w", err)
		}
	}
	return encodeJSON(merged)
}
