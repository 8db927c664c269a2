package config

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	tests := []struct{ in, want string }{
		{"postgres://u:pw@h:5432/db?sslmode=require", "postgres://u:xxxxx@h:5432/db?sslmode=require"},
		{"postgres://u@h/db", "postgres://u@h/db"},
		{"postgres://:pw@h/db", "postgres://:xxxxx@h/db"},
		{"postgres://h/db?user=u&password=pw&sslmode=require", "postgres://h/db?user=u&password=xxxxx&sslmode=require"},
		{"postgres://h/db?PASSWORD=pw", "postgres://h/db?PASSWORD=xxxxx"},
		{"postgres://u:p/w@h/db", "postgres://u:xxxxx@h/db"},
		{"postgres://u:p@w@h/db", "postgres://u:xxxxx@h/db"},
		{"postgres://u:p w?#%@h/db", "postgres://u:xxxxx@h/db"},
		{"dsql://admin:h.on.aws/?Action=DbConnectAdmin&X-Amz-Signature=f00@h.on.aws:5432/postgres", "dsql://admin:xxxxx@h.on.aws:5432/postgres"},
		{"h.on.aws/?Action=DbConnect&X-Amz-Credential=A&X-Amz-Expires=900&X-Amz-Signature=f00", "h.on.aws/?Action=DbConnect&X-Amz-Credential=xxxxx&X-Amz-Expires=900&X-Amz-Signature=xxxxx"},
		{"host=h user=u password=pw dbname=d", "host=h user=u password=xxxxx dbname=d"},
		{`host=h password = 'p\' w' dbname=d`, "host=h password = xxxxx dbname=d"},
		{"dbname=passwords password=pw", "dbname=passwords password=xxxxx"},
		{"password=a sslpassword=b c=d", "password=xxxxx sslpassword=xxxxx c=d"},
		{"local://?engine=postgres", "local://?engine=postgres"},
		{"file://migrations", "file://migrations"},
		{"s3://bucket/a@b", "s3://bucket/a@b"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := Redact(tt.in); got != tt.want {
			t.Errorf("Redact(%q)\n got %q\nwant %q", tt.in, got, tt.want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("p/w")
	f.Add("p@:w ?#%'\\\"")
	f.Add("h/?Action=x&X-Amz-Signature=y")
	f.Fuzz(func(t *testing.T, pw string) {
		// A marker inside the password must not come out, however it is written.
		const marker = "MARKER"
		if strings.ContainsAny(pw, "\n") {
			return
		}
		for _, u := range []string{"postgres://u:" + pw + marker + pw + "@h/db", "dsql://admin:" + marker + pw + "@h:5432/postgres?sslmode=require"} {
			if got := Redact(u); strings.Contains(got, marker) {
				t.Errorf("Redact(%q) = %q", u, got)
			}
		}
	})
}

func TestHide(t *testing.T) {
	s := &secrets{source: `locals { region = f("us-east-1") }`}
	s.add("hunter2+hunter2")
	for in, want := range map[string]string{
		`no variable named "region"`:                             `no variable named "region"`,
		`cannot convert "leaked" to number`:                      `cannot convert "xxxxx" to number`,
		`cannot convert "le\"aked" to number`:                    `cannot convert "xxxxx" to number`,
		`bad value hunter2+hunter2 here`:                         `bad value xxxxx here`,
		`bad value hunter2%2Bhunter2 here`:                       `bad value xxxxx here`,
		`Invalid value for "string" parameter: x`:                `Invalid value for "string" parameter: x`,
		`no end "leaked`:                                         `no end "xxxxx`,
		`cannot reach postgres://u:pw@h/db now`:                  `cannot reach postgres://u:xxxxx@h/db now`,
		`There is no function named "f". Did you mean "format"?`: `There is no function named "f". Did you mean "format"?`,
	} {
		if got := s.hide(in); got != want {
			t.Errorf("hide(%s)\n got %s\nwant %s", in, got, want)
		}
	}
}
