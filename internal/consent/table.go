package consent

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/control"
)

// Table is what everybody chose, folded from the control log (it is a control.Folder), in at most
// 16 bytes a person once there are some hundred thousand. It grows in small parts, and nobody who looks
// waits for that. Look, Verdict, Attributed, Allows, Plan, Len and Bytes may be called concurrently with
// everything and do not allocate. Apply, Snapshot and Restore are the Follower's.
type Table struct {
	basis  Basis
	rules  rules
	slots  atomic.Pointer[slots]
	count  atomic.Uint64
	bulks  bulks
	lately *lately // nil: nothing is remembered
}

// NewTable makes an empty table for a basis.
func NewTable(basis Basis) *Table {
	t := &Table{basis: basis, rules: rulesOf(basis)}
	t.slots.Store(newSlots(0))
	return t
}

// Basis is what holds for people of whom nothing is known.
func (t *Table) Basis() Basis { return t.basis }

// Look returns what a person chose; the zero Choice for nobody and for somebody unknown.
func (t *Table) Look(subject uint64) Choice { return unpack(t.packed(subject)) }

// packed is what a person chose as it is packed, and bit 7 where the person is known.
func (t *Table) packed(subject uint64) byte {
	if subject == 0 {
		return 0
	}
	return t.slots.Load().get(mix(subject))
}

// Verdict says whether something that a person did may be counted: event.Counted, or why not (see
// Basis.Verdict). Mail that carries no person (subject 0) was made for somebody who had said nothing, and is judged as
// such: under BasisNone it is not counted, also where it was made under another basis.
func (t *Table) Verdict(kind event.Kind, subject uint64) event.Reason {
	return t.rules.verdict[kind%kinds][t.packed(subject)%choices]
}

// Attributed says whether what a person did may be kept with the subject number: false where it may
// not be counted at all, and where it counts only in the aggregate.
func (t *Table) Attributed(kind event.Kind, subject uint64) bool {
	return subject != 0 && t.rules.attributed[kind%kinds][t.packed(subject)%choices]
}

// Allows is Verdict and Attributed at once, which is one look into the table.
func (t *Table) Allows(kind event.Kind, subject uint64) (verdict event.Reason, named bool) {
	c := t.packed(subject) % choices
	return t.rules.verdict[kind%kinds][c], subject != 0 && t.rules.attributed[kind%kinds][c]
}

// Plan says how mail to a person is to be made, for each kind: event.Counted (measured, with the
// subject), AggregateOnly (measured, without), DateOnly (with the subject, for nothing but the date) or why not at all.
// PlainText comes for both or none.
func (t *Table) Plan(subject uint64) (opens, clicks event.Reason) {
	c := t.Look(subject)
	return t.basis.plan(event.Open, c), t.basis.plan(event.Click, c)
}

func (b Basis) plan(kind event.Kind, c Choice) event.Reason {
	if r := b.Verdict(kind, c); r != event.Counted {
		return r
	}
	if !b.Attributed(kind, c) {
		return event.AggregateOnly
	}
	return event.Counted
}

// Len is the number of people who ever chose something.
func (t *Table) Len() int { return int(t.count.Load()) }

// Bytes is the memory that the table takes.
func (t *Table) Bytes() int { return t.slots.Load().bytes() }

// set replaces what a person chose. Only one goroutine may call it at a time.
func (t *Table) set(subject uint64, c Choice) {
	s := t.slots.Load()
	s.put(mix(subject), c.pack())
	t.count.Store(s.used)
}

// The part of the snapshot; FORMAT.md beside is its specification. Version 1 was of a part "consent",
// by builds that know nothing of bulk records and so may lack people: it is not read.
const (
	tableVersion = 2
	tableHeader  = 1 + 8
	tableRow     = 8 + 1
)

// Name implements control.Folder.
func (t *Table) Name() string { return "choices" }

// Apply implements control.Folder: the last record of a person's field is the one that holds. One
// that can't be read is taken as a refusal, and reported.
func (t *Table) Apply(e control.Entry) error {
	if e.Kind != control.KindConsent {
		return nil
	}
	if isBulk(e.Key) {
		err := parseBulk(&e, func(c *Change) { t.set(c.Subject, c.after(t.Look(c.Subject))) })
		t.bulks.note(e.Key, e.Position)
		return err
	}
	c, err := parse(&e)
	if t.lately != nil && c.Subject != 0 {
		t.lately.note(&e, &c)
	}
	if c.Subject != 0 {
		t.set(c.Subject, c.after(t.Look(c.Subject)))
	}
	return err
}

// Snapshot implements control.Folder.
func (t *Table) Snapshot() ([]byte, error) {
	s := t.slots.Load()
	b := make([]byte, 0, tableHeader+tableRow*s.used)
	b = append(b, tableVersion)
	b = binary.BigEndian.AppendUint64(b, s.used)
	for v, state := range s.all() {
		b = binary.BigEndian.AppendUint64(b, unmix(v))
		b = append(b, state&^present)
	}
	return t.bulks.append(b), nil
}

// Restore implements control.Folder. Readers see the former state until it is done, and keep it if
// it fails.
func (t *Table) Restore(b []byte) error {
	next, rest, err := parseTable(b)
	if err != nil {
		return err
	}
	if len(b) > 0 && len(rest) == 0 {
		return fmt.Errorf("consent table of %d bytes is cut off before its list of bulk records", len(b))
	}
	if err := t.bulks.restore(rest); err != nil {
		return err
	}
	t.slots.Store(next)
	t.count.Store(next.used)
	return nil
}

// parseTable reads the people, and returns what follows them.
func parseTable(b []byte) (*slots, []byte, error) {
	if len(b) == 0 {
		return newSlots(0), nil, nil
	}
	if b[0] != tableVersion {
		return nil, nil, fmt.Errorf("consent table of version %d, this one knows %d", b[0], tableVersion)
	}
	if len(b) < tableHeader {
		return nil, nil, fmt.Errorf("consent table of %d bytes is cut off", len(b))
	}
	n := binary.BigEndian.Uint64(b[1:])
	if n > uint64(len(b)-tableHeader)/tableRow {
		return nil, nil, fmt.Errorf("consent table of %d people has %d bytes", n, len(b)-tableHeader)
	}
	rows, rest := b[tableHeader:tableHeader+n*tableRow], b[tableHeader+n*tableRow:]
	next := newSlots(n)
	for i := range n {
		row := rows[i*tableRow:][:tableRow]
		subject, state := binary.BigEndian.Uint64(row), row[8]
		if subject == 0 || !packed(state) {
			return nil, nil, fmt.Errorf("consent table, row %d of %d holds no choice", i+1, n)
		}
		v := mix(subject)
		next.put(v, state)
		if next.used != i+1 {
			return nil, nil, fmt.Errorf("consent table, row %d of %d repeats somebody", i+1, n)
		}
	}
	return next, rest, nil
}
