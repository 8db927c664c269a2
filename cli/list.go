package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
)

func (a *app) newListCommand(p *projectOptions) *cobra.Command {
	o := listOptions{project: p}
	cmd := &cobra.Command{
		Use:     "list [flags]",
		Short:   "List the migration directory without a database",
		Example: "  aurora migrate --env local list",
		Args:    noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runList(cmd.Context(), o)
		}),
	}
	o.directory.addFlags(cmd.Flags())
	o.output.addFlags(cmd.Flags())
	return cmd
}

type listOptions struct {
	project   *projectOptions
	directory directoryOptions
	output    outputOptions
}

// A listed is a migration of the directory as JSON and templates see it.
type listed struct {
	Version     string `json:"version"`
	Name        string `json:"name,omitempty"`
	Source      string `json:"source,omitempty"`
	TxMode      string `json:"txMode,omitempty"` // its own, empty for the default
	Steps       int    `json:"steps"`
	DownSteps   int    `json:"downSteps"`
	Snapshot    bool   `json:"snapshot,omitempty"`
	Description string `json:"description,omitempty"`
	Checksum    string `json:"checksum,omitempty"`
}

func (a *app) runList(ctx context.Context, o listOptions) error {
	s, err := one(a.settings(ctx, *o.project, o.directory, nil))
	if err != nil {
		return err
	}
	format, err := o.output.parse(a, s, nil)
	if err != nil {
		return err
	}
	migrations, err := a.load(ctx, s)
	if err != nil {
		return err
	}
	list := make([]listed, 0, len(migrations))
	for _, m := range migrations {
		list = append(list, listed{
			Version: m.Version, Name: m.Name, Source: m.Source, TxMode: string(m.TxMode), Steps: len(m.Up),
			DownSteps: len(m.Down), Snapshot: m.Snapshot, Description: a.secrets.hide(m.Description), Checksum: m.Checksum,
		})
	}
	if format != nil {
		return format.Execute(a.out, list)
	}
	return a.writeList(migrations)
}

func (a *app) writeList(migrations []aurora.Migration) error {
	if len(migrations) == 0 {
		a.say("No migrations")
		return nil
	}
	about := slices.ContainsFunc(migrations, func(m aurora.Migration) bool { return m.Description != "" })
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	head := "VERSION\tNAME\tTX MODE\tSTATEMENTS\tDOWN"
	if about {
		head += "\tDESCRIPTION"
	}
	_, _ = fmt.Fprintln(w, head)
	for _, m := range migrations {
		mode := string(m.TxMode)
		if mode == "" {
			mode = "-"
		}
		down := "no"
		if len(m.Down) > 0 {
			down = "yes"
		}
		name := m.Name
		if m.Snapshot {
			name += " (checkpoint)"
		}
		row := fmt.Sprintf("%s\t%s\t%s\t%d\t%s", m.Version, name, mode, len(m.Up), down)
		if about {
			row += "\t" + cmp.Or(report.FirstLine(a.secrets.hide(m.Description)), "-")
		}
		_, _ = fmt.Fprintln(w, row)
	}
	return w.Flush()
}
