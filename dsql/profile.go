package dsql

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A State says what a rule does with the features it matches.
type State string

// The states of a rule.
const (
	Refused State = "refused"
	// Allowed is for exceptions from a rule with a wider pattern.
	Allowed State = "allowed"
	// Limited refuses what is above Max or below Min. A limited rule that
	// matches nothing is a limit that the text of a statement does not show.
	Limited State = "limited"
)

// A Rule says what Aurora DSQL refuses, allows or limits, and between which
// days.
type Rule struct {
	// ID names the rule in messages. It is never reused for something else.
	ID string `json:"id"`
	// What is refused or limited, in a few words.
	What string `json:"what"`
	// Match are the features the rule is about; a * at the end of one stands
	// for anything. Of several rules the one with the longest match decides.
	Match []string `json:"match,omitempty"`
	State State    `json:"state"`
	// Since is the first day on which the rule holds, and Until the first on
	// which it no longer does, both as 2006-01-02. Empty means always.
	Since string `json:"since,omitempty"`
	Until string `json:"until,omitempty"`
	// Max and Min bound what a limited feature counts, in units of Unit; 0
	// means no bound.
	Max  int64  `json:"max,omitempty"`
	Min  int64  `json:"min,omitempty"`
	Unit string `json:"unit,omitempty"`
	// SQLState is the code of the refusal, empty where it is not known.
	SQLState string `json:"sqlstate,omitempty"`
	// Message is what the server says, empty where that is not known; {value}
	// stands for the name or number it is about. Verbatim says that it was
	// seen; otherwise it follows the pattern of messages that were.
	Message  string `json:"message,omitempty"`
	Verbatim bool   `json:"verbatim,omitempty"`
	// Sources say where this is known from. docs/dsql.md explains the tags.
	Sources []string `json:"sources"`
	// Advice says what to write instead.
	Advice string `json:"advice,omitempty"`
	// RefusedExamples and AllowedExamples are scripts: each of the first breaks
	// this rule, each of the second breaks none. The tests run them.
	RefusedExamples []string `json:"refused,omitempty"`
	AllowedExamples []string `json:"allowed,omitempty"`
}

// holds reports whether the rule holds on a day.
func (r Rule) holds(day string) bool {
	return (r.Since == "" || r.Since <= day) && (r.Until == "" || day < r.Until)
}

// A Section is the rules of one file, about one subject.
type Section struct {
	Title string `json:"title"`
	// Checked is the day on which the rules were last compared with the service
	// or with somebody's record of it, as 2006-01-02.
	Checked string `json:"checked"`
	Rules   []Rule `json:"rules"`
}

// Rules are all rules of all days.
type Rules struct{ Sections []Section }

//go:embed rules/*.json
var builtin embed.FS

var readBuiltin = sync.OnceValues(func() (Rules, error) {
	dir, err := fs.Sub(builtin, "rules")
	if err != nil {
		return Rules{}, fmt.Errorf("open the built-in DSQL rules: %w", err)
	}
	return ReadRules(dir)
})

// Builtin returns the rules that come with aurora.
func Builtin() (Rules, error) { return readBuiltin() }

// ReadRules reads the *.json files of a directory, each of which is a
// [Section], in the order of their names. Fields it does not know, rules
// without what they need and rules that contradict each other are errors.
func ReadRules(dir fs.FS) (Rules, error) {
	names, err := fs.Glob(dir, "*.json")
	if err != nil {
		return Rules{}, fmt.Errorf("list DSQL rules: %w", err)
	}
	if len(names) == 0 {
		return Rules{}, fmt.Errorf("list DSQL rules: %w: no *.json file", fs.ErrNotExist)
	}
	var rules Rules
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			return Rules{}, fmt.Errorf("read DSQL rules: %w", err)
		}
		var s Section
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil {
			return Rules{}, fmt.Errorf("read DSQL rules: %s: %w", name, err)
		}
		if d.More() {
			return Rules{}, fmt.Errorf("read DSQL rules: %s: text behind the section", name)
		}
		if err := s.validate(); err != nil {
			return Rules{}, fmt.Errorf("read DSQL rules: %s: %w", name, err)
		}
		rules.Sections = append(rules.Sections, s)
	}
	if err := rules.validate(); err != nil {
		return Rules{}, fmt.Errorf("read DSQL rules: %w", err)
	}
	return rules, nil
}

func (s Section) validate() error {
	if s.Title == "" || !isDay(s.Checked) {
		return fmt.Errorf("title %q, checked %q: need a title and a day such as 2026-09-15", s.Title, s.Checked)
	}
	for _, r := range s.Rules {
		if err := r.validate(); err != nil {
			return fmt.Errorf("rule %q: %w", r.ID, err)
		}
	}
	return nil
}

func (r Rule) validate() error {
	switch {
	case r.ID == "" || strings.Trim(r.ID, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return fmt.Errorf("the id must be lower-case words with - between them")
	case r.What == "":
		return fmt.Errorf("what is missing")
	case len(r.Sources) == 0 || slices.Contains(r.Sources, ""):
		return fmt.Errorf("sources are missing")
	case r.Since != "" && !isDay(r.Since), r.Until != "" && !isDay(r.Until):
		return fmt.Errorf("since %q, until %q: need a day such as 2026-09-15", r.Since, r.Until)
	case r.Since != "" && r.Until != "" && r.Since >= r.Until:
		return fmt.Errorf("since %s is not before until %s", r.Since, r.Until)
	case r.SQLState != "" && len(r.SQLState) != 5:
		return fmt.Errorf("sqlstate %q: need five characters", r.SQLState)
	case r.Verbatim && r.Message == "":
		return fmt.Errorf("verbatim, but without a message")
	}
	for _, m := range r.Match {
		if i := strings.IndexByte(m, '*'); m == "" || i >= 0 && i != len(m)-1 {
			return fmt.Errorf("match %q: a * may stand at the end only", m)
		}
	}
	switch r.State {
	case Refused, Allowed:
		if len(r.Match) == 0 || r.Max != 0 || r.Min != 0 {
			return fmt.Errorf("state %s needs match, and neither max nor min", r.State)
		}
	case Limited:
		if r.Max < 0 || r.Min < 0 || r.Max == 0 && r.Min == 0 || r.Unit == "" {
			return fmt.Errorf("state %s needs max or min above 0, and unit", r.State)
		}
	default:
		return fmt.Errorf("state %q is none of refused, allowed, limited", r.State)
	}
	if r.State != Allowed && len(r.Match) > 0 && r.Advice == "" {
		return fmt.Errorf("advice is missing")
	}
	return nil
}

// validate finds ids that appear twice, and matches that two rules have on the
// same day.
func (r Rules) validate() error {
	ids, matches := map[string]bool{}, map[string][]Rule{}
	for rule := range r.all {
		if ids[rule.ID] {
			return fmt.Errorf("rule %q appears twice", rule.ID)
		}
		ids[rule.ID] = true
		for _, m := range rule.Match {
			for _, other := range matches[m] {
				if overlap(rule, other) {
					return fmt.Errorf("rules %q and %q both match %q at the same time", other.ID, rule.ID, m)
				}
			}
			matches[m] = append(matches[m], rule)
		}
	}
	return nil
}

func overlap(a, b Rule) bool {
	return (a.Until == "" || b.Since < a.Until) && (b.Until == "" || a.Since < b.Until)
}

// all is an iterator over the rules of all sections.
func (r Rules) all(yield func(Rule) bool) {
	for _, s := range r.Sections {
		for _, rule := range s.Rules {
			if !yield(rule) {
				return
			}
		}
	}
}

func isDay(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

// Newest returns the last day of which the rules know something.
func (r Rules) Newest() time.Time {
	var day string
	for _, s := range r.Sections {
		day = max(day, s.Checked)
	}
	for rule := range r.all {
		day = max(day, rule.Since, rule.Until)
	}
	t, err := time.Parse(time.DateOnly, day)
	if err != nil { // there are no rules
		return time.Time{}
	}
	return t
}

// A Profile is the rules that hold on one day. The zero value refuses nothing.
type Profile struct {
	day   string
	rules []Rule
	exact map[string]int // match without * to its rule
	wide  []wide         // the longest first
}

type wide struct {
	prefix string
	rule   int
}

// At returns the rules that hold on a day in UTC.
func (r Rules) At(day time.Time) Profile {
	p := Profile{day: day.UTC().Format(time.DateOnly), exact: map[string]int{}}
	for rule := range r.all {
		if !rule.holds(p.day) {
			continue
		}
		for _, m := range rule.Match {
			if prefix, ok := strings.CutSuffix(m, "*"); ok {
				p.wide = append(p.wide, wide{prefix, len(p.rules)})
			} else {
				p.exact[m] = len(p.rules)
			}
		}
		p.rules = append(p.rules, rule)
	}
	slices.SortStableFunc(p.wide, func(a, b wide) int { return len(b.prefix) - len(a.prefix) })
	return p
}

// ProfileAt returns the built-in rules that hold on a day in UTC.
func ProfileAt(day time.Time) (Profile, error) {
	rules, err := Builtin()
	if err != nil {
		return Profile{}, err
	}
	return rules.At(day), nil
}

// Latest returns the built-in rules of the last day of which they know
// something. It does not look at the clock.
func Latest() (Profile, error) {
	rules, err := Builtin()
	if err != nil {
		return Profile{}, err
	}
	return rules.At(rules.Newest()), nil
}

// Date returns the profile's day as 2006-01-02.
func (p Profile) Date() string { return p.day }

// Rules returns the rules that hold, in order.
func (p Profile) Rules() []Rule { return slices.Clone(p.rules) }

// Limit returns the bound of a limited rule, in the rule's unit: the highest
// value allowed or, of rules that have none, the lowest. It is false when no
// such limit holds.
func (p Profile) Limit(id string) (int64, bool) {
	for _, r := range p.rules {
		if r.ID == id && r.State == Limited {
			if r.Max != 0 {
				return r.Max, true
			}
			return r.Min, true
		}
	}
	return 0, false
}

// refuses returns the rule that refuses a feature.
func (p Profile) refuses(f feature) (Rule, bool) {
	i, ok := p.exact[f.name]
	if !ok {
		for _, w := range p.wide {
			if strings.HasPrefix(f.name, w.prefix) {
				i, ok = w.rule, true
				break
			}
		}
	}
	if !ok {
		return Rule{}, false
	}
	switch r := p.rules[i]; r.State {
	case Refused:
		return r, true
	case Limited:
		return r, r.Max != 0 && f.n > r.Max || r.Min != 0 && f.n < r.Min
	}
	return Rule{}, false
}

// message is what the server says about a feature.
func (r Rule) message(f feature) string {
	value := f.value
	if value == "" && r.State == Limited {
		value = strconv.FormatInt(f.n, 10)
	}
	return strings.ReplaceAll(r.Message, "{value}", value)
}
