//go:build !aurora_bundle

package cli

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/aurora-migrate/aurora/dashboard"
)

// tokenVariable has the fixed token of a dashboard that others can reach. It
// is no flag: those are visible to everybody on the machine.
const tokenVariable = "AURORA_DASHBOARD_TOKEN"

// tokenHolder is who is recorded for those who have only that.
const tokenHolder = "token holder"

// listenOptions say where a dashboard is served, and to whom.
type listenOptions struct {
	address     string
	port        int
	hosts       []string
	jwtIssuer   string
	jwtAudience string
	jwtHeader   string
}

func (o *listenOptions) addFlags(fs *pflag.FlagSet) {
	fs.IntVar(&o.port, "port", 3100, "port to listen on; 0 takes a free one")
	fs.StringVar(&o.address, "listen", "127.0.0.1", "`address` to listen on; another machine's browser needs a token or a JWT")
	fs.StringSliceVar(&o.hosts, "host", nil, "host `name` that the dashboard is reached by from other machines, with the port unless it is 80 or 443; repeatable")
	fs.StringVar(&o.jwtIssuer, "jwt-issuer", "", "`URL` of the identity provider whose JSON Web Tokens are believed")
	fs.StringVar(&o.jwtAudience, "jwt-audience", "", "`name` that the tokens must be made for")
	fs.StringVar(&o.jwtHeader, "jwt-header", "", "request `header` with the token (default Authorization)")
}

// tokenAuth lets in those with the fixed token, or with a JWT.
func (a *app) tokenAuth(o listenOptions) (dashboard.Auth, error) {
	var auth dashboard.Auth
	auth.Token, _ = a.lookupEnv(tokenVariable)
	switch {
	case o.jwtIssuer != "" || o.jwtAudience != "":
		auth.JWT = &dashboard.JWT{Issuer: o.jwtIssuer, Audience: o.jwtAudience, Header: o.jwtHeader}
	case o.jwtHeader != "":
		return auth, &usageError{Err: errors.New("--jwt-header needs --jwt-issuer and --jwt-audience")}
	}
	return auth, nil
}

// dashboardAuth says who may come in. On this machine that is one browser.
func (a *app) dashboardAuth(o listenOptions) (dashboard.Auth, error) {
	auth, err := a.tokenAuth(o)
	if err != nil || auth.Token != "" || auth.JWT != nil {
		return auth, err
	}
	if !dashboard.IsLoopback(o.address) {
		return auth, &usageError{
			Err:  fmt.Errorf("everybody who reaches %s could roll back", o.address),
			Hint: "set " + tokenVariable + " to a token of at least 20 characters, or give --jwt-issuer and --jwt-audience",
		}
	}
	if len(o.hosts) > 0 {
		return auth, &usageError{
			Err:  errors.New("--host is for a dashboard that others can reach, and this one is for a browser on this machine"),
			Hint: "leave it out, or set " + tokenVariable + ", or give --jwt-issuer and --jwt-audience",
		}
	}
	auth.Once = dashboard.NewToken()
	return auth, nil
}

// loopbackHosts are the names by which a browser on this machine reaches an
// address of the loopback interface. There are none for other addresses, whose
// names are not known here.
func loopbackHosts(addr net.Addr) []string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil || !dashboard.IsLoopback(host) {
		return nil
	}
	var out []string
	for _, name := range []string{"127.0.0.1", "localhost", "[::1]", strings.TrimSuffix(addr.String(), ":"+port)} {
		if slices.Contains(out, name+":"+port) {
			continue
		}
		if out = append(out, name+":"+port); port == "80" {
			out = append(out, name) // browsers leave that one out
		}
	}
	return out
}

func baseURL(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d/", tcp.Port)
	}
	return "http://" + addr.String() + "/"
}

// announce prints the address and opens it. The function that it returns
// removes what is no longer needed.
func (a *app) announce(base, once string, cfg dashboard.Config, open bool) (forget func()) {
	what := cfg.Env
	if what == "" {
		what = cfg.Target
	}
	address := base
	note := ""
	if once != "" {
		address += "?token=" + once
		note = " (works in one browser, once)"
	}
	a.say("Dashboard of %s", what)
	if cfg.ReadOnly != "" {
		a.say("Read-only: %s", cfg.ReadOnly)
	}
	a.say("Open %s%s", address, note)
	a.say("Stop with Ctrl+C")
	if !open {
		return func() {}
	}
	page, err := redirectPage(address)
	if err != nil {
		a.log.Debug("could not prepare to open the browser", "err", err)
		return func() {}
	}
	if err := a.openBrowser(page); err != nil {
		a.log.Debug("could not open the browser", "err", err)
	}
	return func() { _ = os.RemoveAll(filepath.Dir(page)) } // it is worth nothing by now
}

// redirectPage writes a page that leads to an address. The address has a
// token, and other users of this machine could read it from the command line
// of a browser.
func redirectPage(address string) (string, error) {
	dir, err := os.MkdirTemp("", "aurora-dashboard-")
	if err != nil {
		return "", err
	}
	page := filepath.Join(dir, "open.html")
	text := `<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>aurora</title>` +
		`<meta http-equiv="refresh" content="0;url=` + html.EscapeString(address) + `"><p><a href="` + html.EscapeString(address) + `">Open the dashboard</a>`
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return page, nil
}

// openBrowser opens a file with the program that the system has for it, or
// that the variable BROWSER names.
func (a *app) openBrowser(page string) error {
	var command []string
	browser, _ := a.lookupEnv("BROWSER")
	switch {
	case browser != "":
		command = []string{browser, page}
	case runtime.GOOS == "darwin":
		command = []string{"open", page}
	case runtime.GOOS == "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", page}
	default:
		display, _ := a.lookupEnv("DISPLAY")
		wayland, _ := a.lookupEnv("WAYLAND_DISPLAY")
		if display == "" && wayland == "" {
			return errors.New("there is no display")
		}
		command = []string{"xdg-open", page}
	}
	// It outlives this program, which must not wait for it.
	cmd := exec.CommandContext(context.Background(), command[0], command[1:]...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // how a browser ends does not matter
	return nil
}

// quietLog keeps what a server says of broken connections at the level of
// details.
func quietLog(l *slog.Logger) *log.Logger {
	return log.New(debugWriter{l}, "", 0)
}

type debugWriter struct{ log *slog.Logger }

func (w debugWriter) Write(p []byte) (int, error) {
	w.log.Debug("server", "says", strings.TrimSpace(string(p)))
	return len(p), nil
}
