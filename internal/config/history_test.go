package config

import (
	"fmt"
	"testing"
)

// What says where the history is kept must say it.
func TestHistoryAndAWS(t *testing.T) {
	const file = `
variable "place" {
  type    = string
  default = ""
}
env "x" {
  url = "postgres://h/${nosuchfunction()}"
  history {
    %s
  }
  aws {
    %s
  }
}`
	tests := []struct{ name, history, aws, want string }{
		{"both", `url = "file://h.db"`, `region = "eu-west-1"`, ""},
		{"null", `url = null`, `region = null`, ""},
		{"empty", `url = var.place`, "", "aurora.hcl:9:5: history.url is empty; perhaps an environment variable or a --var is missing"},
		{"no url", "", "", `aurora.hcl:8:11: the history block has no url; say where it is kept, such as "dynamodb://TABLE" or "file://.aurora/history.db", or remove the block`},
		{"misspelt", `uri = "file://h.db"`, "", "aurora.hcl:8:11: the history block has no url; rename uri to url"},
		{"no text", `url = 1`, "", "aurora.hcl:9:5: url must be a string, not number"},
		{"no region", `url = "file://h.db"`, `region = ""`, "aurora.hcl:12:5: aws.region is empty; perhaps an environment variable or a --var is missing"},
		{"no endpoint", `url = "file://h.db"`, `endpoint = "localhost:8000"`, "aurora.hcl:12:5: aws.endpoint must be an http or https URL; write http://localhost:8000 or the like"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := loadText(t, fmt.Sprintf(file, tt.history, tt.aws), Options{Env: "x", NoURL: true})
			if tt.want != "" {
				wantError(t, err, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if e := one(t, p); e.History.URL.Set != (tt.name == "both") || e.AWS.Region.Set != e.History.URL.Set || e.URL.Set {
				t.Errorf("got %+v, %+v, %+v", e.History, e.AWS, e.URL)
			}
		})
	}
	p := mustLoad(t, `env "x" {
  url = "local://"
  history {
    url = nosuchfunction()
  }
}`, Options{Env: "x", NoHistory: true})
	if e := one(t, p); e.History.URL.Set || e.URL.Value != "local://" {
		t.Errorf("got %+v, %+v", e.History, e.URL)
	}
}
