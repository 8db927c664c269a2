package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora"
)

func (a *app) newShowCommand(p *projectOptions) *cobra.Command {
	o := showOptions{project: p}
	cmd := &cobra.Command{
		Use:   "show [flags] migration",
		Short: "Show one migration: its description, and every attempt with its output",
		Long: `Show what a migration is about and every attempt at it, newest first: who ran
it, when, how far it came, what it wrote and what went wrong. Of one that is not
finished also how to go on. The migration is named by its version, its name or
both.

Of more than --attempts, the older ones are one line each; in JSON they have
"outputOmitted": true, and neither output nor description.`,
		Example: `  aurora migrate --env prod show 20250601120000
  aurora migrate --env prod show add-user-roles --json`,
		Args: cobra.ExactArgs(1),
		RunE: a.runs(func(cmd *cobra.Command, args []string) error {
			return a.runShow(cmd.Context(), o, args[0])
		}),
	}
	cmd.ValidArgsFunction = a.completeVersion(p, &o.directory)
	o.database.addFlags(cmd.Flags())
	o.directory.addFlags(cmd.Flags())
	must(cmd.Flags().MarkHidden("allow-empty"))
	cmd.Flags().IntVar(&o.attempts, "attempts", attemptsShown, "how many `attempts` to show whole, the newest; 0 for all")
	o.output.addFlags(cmd.Flags())
	return cmd
}

type showOptions struct {
	project   *projectOptions
	directory directoryOptions
	database  databaseOptions
	attempts  int
	output    outputOptions
}

// A biography is what is known of one migration, as JSON and templates see it.
type biography struct {
	Version string `json:"version"`
	Name    string `json:"name,omitempty"`
	// Status is that of aurora.MigrationStatus, and of a migration whose file is
	// not at hand what the history tells of it.
	Status      string `json:"status"`
	Source      string `json:"source,omitempty"`      // its file, if it is at hand
	Description string `json:"description,omitempty"` // as it is now, or else as it was last
	// Next says how an unfinished migration goes on.
	Next string `json:"next,omitempty"`
	// History is where the history is kept when it is not the database.
	History  string    `json:"history,omitempty"`
	Attempts []attempt `json:"attempts"` // newest first
}

// An attempt at a migration is a revision, and whether it is a short one.
type attempt struct {
	aurora.Revision
	// OutputOmitted says that it is not one of the newest, of which show reads
	// the output and the description: it has neither here.
	OutputOmitted bool `json:"outputOmitted,omitempty"`
}

// attemptsShown is how many attempts show reads whole, unless told otherwise.
const attemptsShown = 10

func (a *app) runShow(ctx context.Context, o showOptions, what string) error {
	if o.attempts < 0 {
		return &usageError{Err: fmt.Errorf("the number of attempts must not be negative: %d", o.attempts), Hint: "0 shows all"}
	}
	s, err := one(a.settings(ctx, *o.project, o.directory, &o.database))
	if err != nil {
		return err
	}
	format, err := o.output.parse(a, s, nil)
	if err != nil {
		return err
	}
	migrations, err := a.loadFiles(s)
	if err != nil {
		// Looking back is for the machines that have no files, too.
		a.log.Debug("reading the directory", "err", err)
		migrations = nil
	}
	t, err := a.open(ctx, a, s.withoutDatabase())
	if err != nil {
		return err
	}
	defer a.closeTarget(ctx, t)
	show, err := a.look(ctx, t, migrations, what, o.attempts)
	if err != nil {
		return err
	}
	show.hide(a.secrets)
	if format != nil {
		return format.Execute(a.out, show)
	}
	a.say("%s", a.secrets.hide(show.text(a.term.paint)))
	return nil
}

// hide takes the secrets out of what people and migrations wrote.
func (s *biography) hide(secrets *secrets) {
	for _, text := range []*string{&s.Source, &s.Description, &s.Next, &s.History} {
		*text = secrets.hide(*text)
	}
	for i := range s.Attempts {
		s.Attempts[i].Revision = secrets.hideRevision(s.Attempts[i].Revision)
	}
}

// look finds a migration in the directory and the history, and reads so many
// attempts at it whole, or all for 0.
func (a *app) look(ctx context.Context, t *target, migrations []aurora.Migration, what string, whole int) (*biography, error) {
	history, ok := t.store.(aurora.History)
	if !ok {
		return nil, errors.New("this history keeps nothing to look back on")
	}
	latest, err := t.store.Latest(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	known := slices.Clone(migrations)
	for _, r := range latest {
		if i := indexOf(known, r.Version); i < 0 {
			known = append(known, aurora.Migration{Version: r.Version, Name: r.Name})
		}
	}
	m, err := aurora.Find(known, what)
	if err != nil {
		return nil, err
	}
	show := &biography{Version: m.Version, Name: m.Name, Source: m.Source, Description: m.Description, History: t.place}
	if show.Attempts, err = attemptsAt(ctx, history, latest, m.Version, whole); err != nil {
		return nil, err
	}
	if len(migrations) == 0 {
		migrations = known // or all would be missing
	}
	status, err := aurora.NewStatus(migrations, latest, aurora.NonLinear)
	if err != nil {
		return nil, err
	}
	show.Status = "forgotten" // rolled back, and its file is gone
	for _, ms := range status.Migrations {
		if aurora.CompareVersions(ms.Migration.Version, m.Version) == 0 {
			show.Status = ms.Status
		}
	}
	if len(show.Attempts) > 0 {
		newest := show.Attempts[0].Revision
		if show.Description == "" {
			show.Description = newest.Description
		}
		locked, err := a.lockedBy(ctx, t, newest)
		unknown := ""
		if err != nil {
			unknown = concise(err.Error())
		}
		show.Next = a.asTyped(next(newest, locked, unknown))
	}
	return show, nil
}

// attemptsAt returns all attempts at one migration, newest first: the newest
// whole, or all for 0, and the rest as the history lists them.
func attemptsAt(ctx context.Context, history aurora.History, latest []aurora.Revision, version string, whole int) ([]attempt, error) {
	all := []attempt{}
	for _, r := range latest {
		// A file may be called 02 now that was 2 when it ran.
		if aurora.CompareVersions(r.Version, version) != 0 {
			continue
		}
		for cursor, more := "", true; more; more = cursor != "" {
			page, next, err := history.Revisions(ctx, r.Version, cursor, 100)
			if err != nil {
				return nil, fmt.Errorf("read the attempts: %w", err)
			}
			for _, r := range page {
				all = append(all, attempt{r, true})
			}
			cursor = next
		}
	}
	slices.SortStableFunc(all, func(x, y attempt) int { return y.Compare(x.Revision) })
	for i := range all {
		if whole > 0 && i == whole {
			break
		}
		r, err := history.Revision(ctx, all[i].ExecutionID, all[i].Version)
		if err != nil {
			return nil, fmt.Errorf("read an attempt: %w", err)
		}
		all[i] = attempt{Revision: r}
	}
	return all, nil
}

// indexOf finds a version, however it is written.
func indexOf(migrations []aurora.Migration, version string) int {
	return slices.IndexFunc(migrations, func(m aurora.Migration) bool { return aurora.CompareVersions(m.Version, version) == 0 })
}

// lockedBy returns who runs an attempt, nil when nobody does any more. An error
// is why that is not known.
func (a *app) lockedBy(ctx context.Context, t *target, r aurora.Revision) (*aurora.LockedError, error) {
	if r.State != aurora.Running {
		return nil, nil
	}
	locker, ok := t.store.(aurora.Locker)
	if !ok {
		return nil, errors.New("this history does not tell")
	}
	locked, err := locker.Locked(ctx)
	if err != nil || locked == nil || locked.Token != r.Token || isDead(locked.Holder, a.holder()) {
		return nil, err
	}
	return locked, nil
}

// next says how to go on with an attempt; empty where nothing is left to do.
// Unknown is why it is not known who holds the lock.
func next(r aurora.Revision, locked *aurora.LockedError, unknown string) string {
	if r.State == aurora.Completed {
		return ""
	}
	command := "aurora migrate apply"
	if r.Direction == aurora.Down {
		command = "aurora migrate down"
	}
	from := " (from the beginning)"
	switch {
	case r.Checkpoint != nil:
		from = fmt.Sprintf(" (at step %d of %d, behind its checkpoint)", r.Done+1, r.Steps)
	case r.Done > 0:
		from = fmt.Sprintf(" (at step %d of %d)", r.Done+1, r.Steps)
	}
	switch {
	case r.State == aurora.Running && locked != nil:
		return "it is running, by " + locked.Holder.String()
	case r.State == aurora.Running && unknown != "":
		return "it is not known whether it runs, as who holds the lock is not: " + unknown + "; if it does not, go on with: " + command + from
	case r.State == aurora.Running:
		return "its process died; go on with: " + command + from
	case r.State == aurora.Failed:
		return "put right what failed, then go on with: " + command + from
	}
	return "go on with: " + command + from
}
