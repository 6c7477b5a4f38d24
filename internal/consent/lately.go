package consent

import (
	"sync"
	"time"

	"mailbeacon/internal/control"
)

// lately is what was said last of some people's fields, as far as it was folded not long ago. It may be used
// concurrently.
type lately struct {
	mu   sync.Mutex
	most int // fields that are remembered
	said map[personField]lastSaid
	ring []personField // of said, the oldest at next once it is full
	next int
}

type personField struct {
	subject uint64
	field   field
}

// lastSaid is a record of one field.
type lastSaid struct {
	Change
	at   control.Position
	time time.Time
}

// note remembers a record, and what it says.
func (l *lately) note(e *control.Entry, c *Change) {
	subject, f, err := parseKey(e.Key)
	if err != nil {
		return
	}
	key := personField{subject, f}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.said[key]; !known {
		if len(l.ring) < l.most {
			l.ring = append(l.ring, key)
		} else {
			delete(l.said, l.ring[l.next])
			l.ring[l.next] = key
			l.next = (l.next + 1) % l.most
		}
	}
	l.said[key] = lastSaid{*c, e.Position, e.Time}
}

// get is what was said last of a field; false if that is not remembered. A nil one remembers nothing.
func (l *lately) get(subject uint64, f field) (lastSaid, bool) {
	if l == nil {
		return lastSaid{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.said[personField{subject, f}]
	return s, ok
}

// Remember has the table remember, for up to so many fields of people, the last record that it folds of each from now
// on, so that a Writer need not look for it. It takes some 300 bytes each. It is to be called before anything is folded.
func (t *Table) Remember(fields int) {
	t.lately = &lately{most: fields, said: map[personField]lastSaid{}}
}
