package cli

// The commands in advice can be copied: they have the flags that this one was
// called with.

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora/internal/config"
)

// A givenFlag is one that says what a command works on.
type givenFlag struct{ name, value string }

// remember keeps the flags that say what to work on. A command may ask for its
// settings more than once.
func (a *app) remember(p projectOptions, d directoryOptions, db *databaseOptions) {
	flags := []givenFlag{{"config", p.config}, {"env", p.env}}
	for _, v := range p.vars {
		flags = append(flags, givenFlag{"var", v})
	}
	if db != nil {
		flags = append(flags, givenFlag{"url", db.url}, givenFlag{"history", db.history},
			givenFlag{"revisions-schema", db.revisionsSchema}, givenFlag{"project", db.project})
	}
	// Without an environment the default need not be said.
	if d.dir != config.DefaultDir || p.env != "" || p.config != "" {
		flags = append(flags, givenFlag{"dir", d.dir})
	}
	flags = append(flags, givenFlag{"dir-format", d.dirFormat})
	if d.allowEmpty {
		flags = append(flags, givenFlag{"allow-empty", "true"})
	}
	for _, f := range flags {
		if f.value != "" && !slices.Contains(a.given, f) {
			a.given = append(a.given, f)
		}
	}
}

// asTyped gives the commands in a text the flags that this one was called
// with and that they know, so that they can be copied. Secrets are masked.
func (a *app) asTyped(text string) string {
	const call = "aurora migrate "
	if len(a.given) == 0 || !strings.Contains(text, call) {
		return text
	}
	migrate := a.newMigrateCommand()
	parts := strings.Split(text, call)
	for i, rest := range parts[1:] {
		cmd, words := commandOf(migrate, rest)
		parts[i+1] = a.typed(migrate, cmd, true) + rest[:words] + a.typed(migrate, cmd, false) + rest[words:]
	}
	return strings.Join(parts, call)
}

// commandOf returns the command that the first words of a text name, and how
// long they are.
func commandOf(cmd *cobra.Command, text string) (*cobra.Command, int) {
	for at := 0; ; {
		name := text[at:]
		if end := strings.IndexFunc(name, func(r rune) bool { return r < 'a' || r > 'z' }); end >= 0 {
			name = name[:end]
		}
		i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == name || c.HasAlias(name) })
		if i < 0 {
			return cmd, max(at-1, 0)
		}
		cmd, at = cmd.Commands()[i], at+len(name)
		if !strings.HasPrefix(text[at:], " ") {
			return cmd, at
		}
		at++
	}
}

// typed writes the flags that were given as they are typed: those of all
// commands, each with a blank behind it, or those that only some have, each with
// one before it.
func (a *app) typed(migrate, cmd *cobra.Command, common bool) string {
	var b strings.Builder
	for _, f := range a.given {
		isCommon := migrate.PersistentFlags().Lookup(f.name) != nil
		if isCommon != common || !common && cmd.Flags().Lookup(f.name) == nil {
			continue
		}
		flag := "--" + f.name
		if f.name != "allow-empty" {
			flag += " " + quoted(a.secrets.hide(f.masked()))
		}
		if common {
			b.WriteString(flag + " ")
		} else {
			b.WriteString(" " + flag)
		}
	}
	return b.String()
}

// secretNames are in the names of variables whose values are not shown.
var secretNames = []string{"pass", "pwd", "secret", "token", "key", "credential"}

// masked returns the value of a flag without secrets.
func (f givenFlag) masked() string {
	name, value, ok := strings.Cut(f.value, "=")
	if f.name != "var" || !ok {
		return config.Redact(f.value)
	}
	isSecret := func(part string) bool { return strings.Contains(strings.ToLower(name), part) }
	if slices.ContainsFunc(secretNames, isSecret) {
		return name + "=" + hidden
	}
	return name + "=" + config.Redact(value)
}

// quoted returns a word as a POSIX shell reads it.
func quoted(word string) string {
	isPlain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_@%+=:,./-", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !isPlain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
