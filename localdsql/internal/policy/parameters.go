package policy

import (
	"strings"

	"github.com/aurora-migrate/aurora/dsql"
)

// CheckParameter says whether a connection may set a parameter as it starts;
// nil if it may. Of the parameter options, each setting in it is checked. Those
// of the protocol (user, database, _pq_.…) and those of a local DSQL, which
// begin with "aurora.", always may.
func (p *Policy) CheckParameter(name, value string) *Refusal {
	name = strings.ToLower(name)
	switch {
	case name == "user", name == "database", strings.HasPrefix(name, "_pq_."), strings.HasPrefix(name, "aurora."):
		return nil
	case name == "options":
		settings, ok := ParseOptions(value)
		if !ok {
			return &Refusal{Code: "0A000", Message: "command-line arguments other than -c name=value not supported"}
		}
		for _, s := range settings {
			if r := p.CheckParameter(s[0], s[1]); r != nil {
				return r
			}
		}
		return nil
	}
	if f, ok := dsql.InspectSetting(p.rules, name); ok {
		return &Refusal{Code: f.SQLState, Message: f.Message}
	}
	return nil
}

// ParseOptions splits the start parameter options, as PostgreSQL does (see
// pg_split_opts in src/backend/utils/init/postinit.c): words at white space,
// with a backslash before a character that is meant as it is. It takes
// "-c name=value", "-cname=value" and "--name=value", in which - stands for _ in
// the name; ok is false if there is anything else.
func ParseOptions(value string) (settings [][2]string, ok bool) {
	options := splitOptions(value)
	for i := 0; i < len(options); i++ {
		o := options[i]
		switch {
		case o == "-c" && i+1 < len(options):
			i++
			o = options[i]
		case strings.HasPrefix(o, "--"):
			o = o[2:]
		case strings.HasPrefix(o, "-c") && len(o) > 2:
			o = o[2:]
		default:
			return nil, false
		}
		name, setting, found := strings.Cut(o, "=")
		if !found || name == "" {
			return nil, false
		}
		settings = append(settings, [2]string{strings.ToLower(strings.ReplaceAll(name, "-", "_")), setting})
	}
	return settings, true
}

func splitOptions(value string) []string {
	var out []string
	var word strings.Builder
	inWord := false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == ' ' || c >= '\t' && c <= '\r':
			if inWord {
				out = append(out, word.String())
				word.Reset()
				inWord = false
			}
			continue
		case c == '\\' && i+1 < len(value):
			i++
			word.WriteByte(value[i])
		case c == '\\':
		default:
			word.WriteByte(c)
		}
		inWord = true
	}
	if inWord {
		out = append(out, word.String())
	}
	return out
}
