package cli

import (
	"errors"

	"github.com/aurora-migrate/aurora/cli/internal/report"
	"github.com/aurora-migrate/aurora/internal/config"
)

// isCustom reports whether the command line asks for something else than the
// default text.
func (o outputOptions) isCustom() bool { return o.format != "" || o.json }

func applyFormat(f config.MigrateFormat) config.Setting[string]  { return f.Apply }
func downFormat(f config.MigrateFormat) config.Setting[string]   { return f.Down }
func statusFormat(f config.MigrateFormat) config.Setting[string] { return f.Status }

// parse returns the template to write with, nil for the default text. pick
// chooses the project file's template for the command.
func (o outputOptions) parse(a *app, s settings, pick func(config.MigrateFormat) config.Setting[string]) (*report.Format, error) {
	text := o.format
	switch {
	case o.json && text != "":
		return nil, &usageError{Err: errors.New("--json and --format exclude each other")}
	case o.json:
		text = report.JSON
	case text == "" && s.env != nil && pick != nil:
		text = pick(s.env.Format.Migrate).Value
	}
	if text == "" {
		return nil, nil
	}
	return report.ParseFormat(text, a.term.paint)
}
