//go:build linux || darwin

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// identity is the user PostgreSQL runs as: this process's own unless that is
// root.
type identity struct {
	name     string // for messages
	uid, gid int    // owner of the cluster's files
	drop     bool   // change to uid and gid
	inner    int    // in a user namespace uid is this number; 0 means no namespace
	innerGID int
}

// attr returns what makes a command run as the identity, in a session of its
// own.
func (id identity) attr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	switch {
	case id.inner != 0:
		setUserNamespace(attr, id)
	case id.drop:
		attr.Credential = &syscall.Credential{Uid: uint32(id.uid), Gid: uint32(id.gid)}
	}
	return attr
}

// give gives a file to the identity.
func (id identity) give(name string) error {
	if os.Geteuid() != 0 || id.uid == 0 {
		return nil
	}
	return os.Lchown(name, id.uid, id.gid)
}

// chooseIdentity returns the first identity that can reach dir and run the
// installation's postgres from there. cluster is the cluster that will be
// opened; when it exists its owner is the only choice because PostgreSQL opens
// no one else's.
func chooseIdentity(ctx context.Context, install Install, h *home, cluster string) (identity, error) {
	info, err := os.Stat(cluster)
	exists := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return identity{}, &unusableError{err}
	}
	if euid := os.Geteuid(); euid != 0 {
		if exists && !ownedBySelf(info) {
			return identity{}, &unusableError{fmt.Errorf("%s belongs to another user", cluster)}
		}
		return identity{name: "this user", uid: euid, gid: os.Getegid()}, nil
	}
	var candidates []identity
	if exists {
		uid, gid := owner(info)
		candidates = identitiesOf(uid, gid)
	} else {
		if h.uid != 0 {
			candidates = identitiesOf(h.uid, h.gid)
		}
		candidates = append(candidates, rootIdentities()...)
	}
	var tried []string
	for _, id := range candidates {
		err := id.probe(ctx, install, h.dir)
		if err == nil {
			return id, nil
		}
		if ctx.Err() != nil {
			return identity{}, context.Cause(ctx)
		}
		tried = append(tried, fmt.Sprintf("as %s: %v", id.name, err))
	}
	return identity{}, &unusableError{fmt.Errorf("PostgreSQL refuses to run as root, and no other way to run it there works:\n  %s", strings.Join(tried, "\n  "))}
}

// identitiesOf returns the ways to run as a given user.
func identitiesOf(uid, gid int) []identity {
	var ids []identity
	if uid != 0 {
		if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
			ids = append(ids, identity{name: u.Username, uid: uid, gid: gid, drop: true})
		}
	}
	if inner, innerGID, ok := unprivileged("nobody", "daemon"); ok && hasUserNamespaces {
		ids = append(ids, identity{name: fmt.Sprintf("user %d in a user namespace", uid), uid: uid, gid: gid, inner: inner, innerGID: innerGID})
	}
	return ids
}

// rootIdentities returns the ways to run on behalf of root.
func rootIdentities() []identity {
	var ids []identity
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		if uid, gid, ok := unprivileged(name); ok {
			ids = append(ids, identity{name: name, uid: uid, gid: gid, drop: true})
		}
	}
	return append(ids, identitiesOf(0, 0)...)
}

// unprivileged returns the numbers of the first of the users that exists;
// initdb insists that its user has a name.
func unprivileged(names ...string) (uid, gid int, ok bool) {
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		// A system that has nobody as -2 is left to the next name.
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil && uid > 0 && gid > 0 {
			return uid, gid, true
		}
	}
	return 0, 0, false
}

// probe runs postgres -V as the identity, starting in dir.
func (id identity) probe(ctx context.Context, install Install, dir string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(install.BinDir, "postgres"), "-V")
	cmd.SysProcAttr = id.attr()
	cmd.Dir = dir
	cmd.Env = serverEnv()
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w%s", err, indentTail(output.String()))
	}
	return nil
}
