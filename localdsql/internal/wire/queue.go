package wire

import "github.com/aurora-migrate/aurora/localdsql/internal/policy"

// An entry stands for a message that was sent to the backend and is not yet
// answered in full.
type entry struct {
	kind   byte // the message's type: P, B, D, C, E, S or Q
	object byte // what C is about: 'S' for a statement, 'P' for a portal
	// hidden says that nothing of the answer is for the client.
	hidden bool
	// simple says that the message is one of those that a Query was turned into,
	// and that the client must not see answers that a Query does not have.
	simple bool
	// last says that the completion is sent only when the Sync behind it has
	// succeeded, as it is when a Query commits.
	last bool
	// mute says that the client gets nothing any more, from this answer on.
	mute bool
	// measured says that the completion is kept back until the entry behind it
	// that counts has counted.
	measured bool
	// check says that an error is an answer: see session.checkSyntax.
	check bool

	name    string           // of the statement or portal that P, B, C is about
	dec     *policy.Decision // of the statement
	refusal *policy.Refusal  // for the error of a poisoned statement
	offset  int              // characters of the client's message before the statement
	bytes   int              // of the parameters of B
	budget  int64            // rows that E may change; negative for any number
	count   *int64           // where the number goes that a hidden E returns
	commit  *commit          // what a success commits
	wait    *wait            // who waits for the answer
}

// A commit is what the other sessions are told of a transaction with DDL.
type commit struct{ names []string }

// An outcome is what became of a message.
type outcome uint8

const (
	pending   outcome = iota
	completed         // also a portal that has more rows
	failed
	skipped // because of an error before it
)

// A wait is for the answer to a message. The session's lock guards it.
type wait struct {
	outcome outcome
	copying bool   // the server waits for the client's rows
	tag     string // of the completion
	code    string // SQLSTATE of the failure, as the backend gave it
	// refused says that the failure was the one that the entry's refusal is for.
	refused bool
	// multiple says that it was the answer that an entry with check hopes for.
	multiple bool
	// disturbed says that a COPY failed for a message that has no place in it.
	disturbed bool
	// over says that more rows were changed than the budget has.
	over          bool
	rows          int64 // changed
	before, after int64 // rows changed in the transaction, where they are counted
}

// A queue is the entries that wait for answers, the oldest first.
type queue struct {
	ring []entry // its length is a power of two
	head uint64  // number of the oldest entry
	tail uint64  // number of the next one
}

func (q *queue) empty() bool { return q.head == q.tail }

// push adds an entry and returns its number.
func (q *queue) push(e entry) uint64 {
	if n := uint64(len(q.ring)); q.tail-q.head == n {
		ring := make([]entry, max(16, 2*n))
		for i := q.head; i != q.tail; i++ {
			ring[i&uint64(len(ring)-1)] = q.ring[i&(n-1)]
		}
		q.ring = ring
	}
	q.ring[q.tail&uint64(len(q.ring)-1)] = e
	q.tail++
	return q.tail - 1
}

// front gives the oldest entry. The queue must not be empty.
func (q *queue) front() *entry { return &q.ring[q.head&uint64(len(q.ring)-1)] }

// pop removes the oldest entry.
func (q *queue) pop() {
	*q.front() = entry{}
	q.head++
}

// A target is what a prepared statement or a portal runs.
type target struct {
	dec   *policy.Decision
	bytes int // of its parameters
}

// names are the prepared statements or the portals of a session. What was asked
// for counts from then on, as everything behind it is skipped if it fails, and
// is forgotten when it did.
type names struct {
	settled map[string]target
	asked   map[string]asked
}

type asked struct {
	target
	number uint64 // of the entry
}

func newNames() names { return names{map[string]target{}, map[string]asked{}} }

func (n *names) find(name []byte) target {
	if len(n.asked) > 0 {
		if a, ok := n.asked[string(name)]; ok {
			return a.target
		}
	}
	return n.settled[string(name)]
}

func (n *names) ask(name string, t target, number uint64) { n.asked[name] = asked{t, number} }

// settle says what became of the entry with a number, which asked for a name.
func (n *names) settle(name string, t target, number uint64, ok bool) {
	if ok {
		n.settled[name] = t
	}
	if a, found := n.asked[name]; found && a.number == number {
		delete(n.asked, name)
	}
}
