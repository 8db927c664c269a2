package cli

import (
	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora/internal/config"
)

// Cobra adds "aurora completion bash|zsh|fish|powershell"; here is what it asks
// for at run time. Completion is best effort: an error completes nothing.

// completeEnv completes the names of the project file's environments, without
// evaluating any of them.
func (a *app) completeEnv(p *projectOptions) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		files, path := a.projectFiles(*p)
		project, err := config.Load(cmd.Context(), config.Options{Files: files, Path: path, LookupEnv: a.lookupEnv, Stderr: a.err})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return project.EnvNames, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeVersion completes the versions of the migration directory, with
// their names beside them.
func (a *app) completeVersion(p *projectOptions, d *directoryOptions) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		dir := *d
		if dir.dir == "" && p.env == "" && p.config == "" {
			dir.dir = config.DefaultDir // a guess is good enough to complete from
		}
		s, err := one(a.settings(cmd.Context(), *p, dir, nil))
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		migrations, err := a.loadFiles(s)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for _, m := range migrations {
			out = append(out, cobra.CompletionWithDesc(m.Version, m.Name))
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}
