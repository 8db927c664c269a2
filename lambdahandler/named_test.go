package lambdahandler

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/lambda/messages"
)

// What Lambda shows of a panic goes through ErrorText, as an error does.
func TestPanicsAreShownAsErrorsAre(t *testing.T) {
	const secret = "opensesame"
	for name, tt := range map[string]struct {
		panics         any
		message, class string
	}{
		"an error": {&StuckError{ExecutionID: secret, Step: "up0", Migration: "1_m1"}, (&StuckError{ExecutionID: "xxxxx", Step: "up0", Migration: "1_m1"}).Error(), "StuckError"},
		"a text":   {"no " + secret, "panic: no xxxxx", "Error"},
	} {
		t.Run(name, func(t *testing.T) {
			n := named{New(Config{
				Logger:    slog.New(slog.DiscardHandler),
				Open:      func(context.Context) (*Project, error) { panic(tt.panics) },
				ErrorText: func(err error) string { return strings.ReplaceAll(err.Error(), secret, "xxxxx") },
			})}
			defer func() {
				want := messages.InvokeResponse_Error{Message: tt.message, Type: tt.class, ShouldExit: true}
				if got, ok := recover().(messages.InvokeResponse_Error); !ok || got.Message != want.Message || got.Type != want.Type || !got.ShouldExit {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}()
			_, err := n.Invoke(t.Context(), nil)
			t.Errorf("it returned %v", err)
		})
	}
}
