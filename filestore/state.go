package filestore

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aurora-migrate/aurora"
)

// A state is what the file says up to an offset.
type state struct {
	header   string
	offset   int64
	live     int64 // the bytes of revisions that no later one replaced
	projects map[string]*project
}

// A project has its revisions by key, and again by version and by execution:
// questions are about a few of very many.
type project struct {
	lease      leaseRecord
	revisions  map[revisionKey]*entry
	versions   map[string]*group
	executions map[string]*group
}

// A group are the entries of a version or of an execution, in no order, and the
// newest of them.
type group struct {
	entries []*entry
	newest  *entry
}

func put(groups map[string]*group, key string, e *entry) {
	g := groups[key]
	if g == nil {
		g = &group{newest: e}
		groups[key] = g
	}
	g.entries = append(g.entries, e)
	if inOrder(g.newest, e) < 0 {
		g.newest = e
	}
}

type revisionKey struct{ execution, version string }

// An entry is a revision, and where the file has it whole.
type entry struct {
	bare   aurora.Revision // without the texts
	offset int64           // of its record
	index  int             // in its record
	size   int             // of its JSON
}

func newState(header string) *state {
	return &state{header: header, offset: int64(len(header)), projects: make(map[string]*project)}
}

// project returns a project, empty if nothing was ever written.
func (st *state) project(name string) *project {
	p := st.projects[name]
	if p == nil {
		p = &project{
			revisions: make(map[revisionKey]*entry), versions: make(map[string]*group), executions: make(map[string]*group),
		}
	}
	return p
}

// changed finds the newest again after an entry was replaced.
func (g *group) changed(e, before *entry) {
	switch {
	case inOrder(g.newest, e) < 0:
		g.newest = e
	case g.newest == e && inOrder(e, before) < 0:
		g.newest = slices.MaxFunc(g.entries, inOrder)
	}
}

// put keeps an entry, and returns the one in whose place it is, if any.
func (p *project) put(e entry) (replaced entry, ok bool) {
	k := revisionKey{e.bare.ExecutionID, e.bare.Version}
	if old := p.revisions[k]; old != nil {
		replaced, *old = *old, e
		p.versions[k.version].changed(old, &replaced)
		p.executions[k.execution].changed(old, &replaced)
		return replaced, true
	}
	p.revisions[k] = &e
	put(p.versions, k.version, &e)
	put(p.executions, k.execution, &e)
	return entry{}, false
}

// advance reads the records that follow, up to a size of the file.
func (st *state) advance(f io.ReaderAt, size int64) error {
	for {
		payload, line, err := readFrame(f, st.offset, size)
		if err != nil {
			return err
		}
		if err := st.apply(payload, line); err != nil {
			return err
		}
	}
}

// apply adds the record at the state's offset.
func (st *state) apply(payload []byte, line int64) error {
	bad := func(err error) error { return &damage{st.offset, "the record makes no sense: " + err.Error()} }
	var r record
	if err := json.Unmarshal(payload, &r); err != nil {
		return bad(err)
	}
	revisions, err := r.revisions()
	if err != nil {
		return bad(err)
	}
	p := st.project(r.Project)
	st.projects[r.Project] = p
	if r.Lease != nil {
		p.lease = *r.Lease
	}
	for i, rev := range revisions {
		rev.Description, rev.Output = "", ""
		if old, ok := p.put(entry{rev, st.offset, i, len(r.Save[i])}); ok {
			st.live -= int64(old.size)
		}
		st.live += int64(len(r.Save[i]))
	}
	st.offset += line
	return nil
}

func (r record) revisions() ([]aurora.Revision, error) {
	out := make([]aurora.Revision, len(r.Save))
	for i, raw := range r.Save {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// entries returns all, oldest first.
func (p *project) entries() []*entry {
	out := make([]*entry, 0, len(p.revisions))
	for _, e := range p.revisions {
		out = append(out, e)
	}
	slices.SortFunc(out, inOrder)
	return out
}

// inOrder orders entries by the lease they were written under, and as no
// two are the same.
func inOrder(a, b *entry) int {
	return cmp.Or(
		cmp.Compare(a.bare.Token, b.bare.Token), cmp.Compare(a.bare.Seq, b.bare.Seq),
		strings.Compare(a.bare.ExecutionID, b.bare.ExecutionID), strings.Compare(a.bare.Version, b.bare.Version),
	)
}

// A loader reads whole revisions from the file. Those of one record it decodes
// together.
type loader struct {
	f       io.ReaderAt
	size    int64
	offset  int64
	current []json.RawMessage
}

func (l *loader) load(e *entry) (raw json.RawMessage, rev aurora.Revision, err error) {
	if l.current == nil || l.offset != e.offset {
		payload, _, err := readFrame(l.f, e.offset, l.size)
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			err = &damage{e.offset, "a record is gone"}
		}
		if err != nil {
			return nil, rev, err
		}
		var r record
		if err := json.Unmarshal(payload, &r); err != nil {
			return nil, rev, &damage{e.offset, err.Error()}
		}
		l.offset, l.current = e.offset, r.Save
	}
	if e.index >= len(l.current) {
		return nil, rev, &damage{e.offset, fmt.Sprintf("the record has no revision %d", e.index)}
	}
	raw = l.current[e.index]
	return raw, rev, json.Unmarshal(raw, &rev)
}
