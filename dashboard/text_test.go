package dashboard

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora"
)

func TestHide(t *testing.T) {
	s := &server{}
	for text, want := range map[string]string{
		"PGPASSWORD=sesame psql":                          "PGPASSWORD=xxxxx psql",
		`{"password":"sesame","n":1}`:                     `{"password":"xxxxx","n":1}`,
		`{"text":"{\"password\":\"sesame\",\"n\":1}"}`:    `{"text":"{\"password\":\"xxxxx\",\"n\":1}"}`,
		`{"Password": "ses\"ame", "n":1}`:                 `{"Password": "xxxxx", "n":1}`,
		`{"token":12345,"n":1}`:                           `{"token":xxxxx,"n":1}`,
		"password = sesame host=h":                        "password = xxxxx host=h",
		"password='ses ame' host=h":                       "password='xxxxx' host=h",
		`password="ses ame" host=h`:                       `password="xxxxx" host=h`,
		`password="ses ame`:                               `password="xxxxx"`, // it was cut
		"password=ses,ame&x=1":                            "password=xxxxx&x=1",
		"aws_secret_access_key=sesame":                    "aws_secret_access_key=xxxxx",
		"AWS_SESSION_TOKEN=sesame":                        "AWS_SESSION_TOKEN=xxxxx",
		"client-secret: sesame":                           "client-secret: xxxxx",
		"X-Api-Key: sesame":                               "X-Api-Key: xxxxx",
		"sslpassword=sesame":                              "sslpassword=xxxxx",
		"https://s3/x?X-Amz-Security-Token=se%2F&x=1":     "https://s3/x?X-Amz-Security-Token=xxxxx&x=1",
		"Authorization: Bearer sesame":                    "Authorization: xxxxx",
		`{"Authorization":"Basic c2VzYW1l"}`:              `{"Authorization":"xxxxx"}`,
		"it sent bearer sesame.x.y, then":                 "it sent bearer xxxxx, then",
		"postgres://u:ses@me@h/d":                         "postgres://u:xxxxx@h/d",
		"postgres://u@corp:sesame@h/d a@b":                "postgres://u@corp:xxxxx@h/d a@b",
		"see https://h:80/a@b and https://h/x":            "see https://h:80/a@b and https://h/x",
		"password authentication failed for user \"ada\"": "password authentication failed for user \"ada\"",
		"it read 5 tokens":                                "it read 5 tokens",
		"":                                                "",
	} {
		got := s.hide(text)
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		if strings.HasPrefix(text, `{`) && strings.Contains(text, "password") && !json.Valid([]byte(got)) {
			t.Errorf("%s: no JSON any more", got)
		}
	}
	const source = "UPDATE users SET password = 'x'"
	if got := s.hideInSource(source); got != source {
		t.Error(got)
	}
}

// A secret at the place where a text is cut must not come through in part.
func TestHideBeforeClip(t *testing.T) {
	s := &server{cfg: Config{Hide: func(text string) string { return strings.ReplaceAll(text, "sesame", "xxxxx") }}}
	budget := maxTexts
	m := aurora.Migration{
		Version: "1", Description: strings.Repeat("x", maxPlanText-3) + "sesame",
		Up: []aurora.Step{aurora.Statement{SQL: strings.Repeat("x", maxPlanText-3) + "sesame"}},
	}
	item := s.planItem(entry{migration: &m}, aurora.Up, &budget)
	if strings.Contains(item.Description, "ses") || strings.Contains(item.Statements[0].SQL, "ses") || !item.Statements[0].Truncated {
		t.Errorf("%s %s", item.Description[maxPlanText-5:], item.Statements[0].SQL[maxPlanText-5:])
	}
}

func TestHideEverywhere(t *testing.T) {
	s := &server{cfg: Config{Hide: func(text string) string { return strings.ReplaceAll(text, "sesame", "xxxxx") }}}
	m := aurora.Migration{Version: "1", Source: "sesame.sql", Irreversible: "sesame"}
	r := aurora.Revision{Version: "1", Operator: "sesame", Holder: aurora.Holder{User: "sesame", Host: "sesame", By: "sesame", Reason: "sesame", Link: "https://sesame/"}}
	snap := &snapshot{}
	req := aurora.Request{By: "sesame", Reason: "sesame"}
	budget := maxTexts
	for name, v := range map[string]any{
		"migration": s.migrationOf(snap, entry{migration: &m, revision: &r}),
		"attempt":   s.attemptOf(snap.lock, entry{migration: &m, revision: &r}, r, &budget),
		"execution": s.executionOf(snap.lock, aurora.Execution{Holder: r.Holder, Revisions: []aurora.Revision{r}}),
		"plan item": s.planItem(entry{migration: &m}, aurora.Down, &budget),
		"run":       s.runOf(req, r.StartedAt),
		"lock":      s.lockOf(&aurora.LockedError{Holder: r.Holder}),
	} {
		if text, err := json.Marshal(v); err != nil || strings.Contains(string(text), "sesame") {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
}

// However many statements there are and however long, an answer has an end, and
// says what it has cut.
func TestTextBudget(t *testing.T) {
	s := &server{}
	m := aurora.Migration{Version: "1"}
	for range maxStatements {
		m.Up = append(m.Up, aurora.Statement{SQL: strings.Repeat("x", maxStatement+1)})
	}
	budget, total := maxTexts, 0
	for range 10 {
		for i, st := range s.statementsOf(m, aurora.Up, textLimits{maxStatements, maxStatement, &budget}) {
			if total += len(st.SQL); !st.Truncated || st.SQL == "" {
				t.Fatalf("statement %d: %d bytes, truncated %v", i, len(st.SQL), st.Truncated)
			}
			if most := briefStatement + len("…"); total > maxTexts+2*maxStatement && len(st.SQL) > most {
				t.Fatalf("statement %d: %d bytes after %d", i, len(st.SQL), total)
			}
		}
		if total < maxTexts {
			t.Fatalf("only %d bytes", total)
		}
	}
	if most := 2*maxTexts + maxStatement + 10*maxStatements*len("…"); total > most {
		t.Errorf("%d bytes, want at most %d", total, most)
	}
	p := planned{request: aurora.Request{Direction: aurora.Up}}
	for range maxPlanItems {
		p.items = append(p.items, entry{migration: &m})
	}
	text, err := json.Marshal(s.describe(&snapshot{}, p))
	if err != nil || len(text) > 8<<20 {
		t.Errorf("a plan of %d bytes, %v", len(text), err)
	}
}

// A run that panics in a report must not keep everybody out.
func TestLocalSurvivesAPanic(t *testing.T) {
	var l Local
	func() {
		defer func() { _ = recover() }()
		l.update(func() { panic("x") })
	}()
	if !l.mu.TryLock() {
		t.Fatal("the lock is still held")
	}
	l.mu.Unlock()
}
