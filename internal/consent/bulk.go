package consent

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"mailbeacon/internal/control"
)

// A bulk record holds the changes of many people: an import of millions would otherwise be as many
// records, each with an entry in an index. Its key is a hash of what it says, so that an import that is
// run again finds what it recorded before, and that no record takes another's place in a compacted log.
const (
	bulkPrefix  = "bulk/"
	bulkHash    = 16 // bytes of the key's hash
	bulkVersion = 1
	bulkRow     = 8 + 1 + 2 // subject, change, tracking and number of its words
	// bulkTracking is where in the last two bytes tracking stands. Words have numbers below MaxBulk, which leaves it room.
	bulkTracking = 14
	// maxBulkText bounds what a record's words take, so that it stays within control.MaxBody.
	maxBulkText = 64 << 10
)

// MaxBulk is how many changes a bulk record holds at most.
const MaxBulk = 8192

// bulkBody is a bulk record's content.
type bulkBody struct {
	Version int         `json:"bulk"`
	By      string      `json:"by,omitempty"`
	Words   [][2]string `json:"words"`  // source and text version
	People  []byte      `json:"people"` // bulkRow bytes each, in order
}

func isBulk(key string) bool { return strings.HasPrefix(key, bulkPrefix) }

// bulkOf makes a record of as many of the changes as fit, and returns how many those are. All must have
// been checked, and come By the same.
func bulkOf(changes []Change, now time.Time) (control.Record, int, error) {
	b := bulkBody{Version: bulkVersion, Words: [][2]string{}, People: make([]byte, 0, bulkRow*min(len(changes), MaxBulk))}
	seen := map[[2]string]uint16{}
	last, text, n := [2]string{}, 0, 0
	var number uint16
	for ; n < len(changes) && n < MaxBulk; n++ {
		c := &changes[n]
		if w := [2]string{c.Source, c.TextVersion}; n == 0 || w != last {
			known := false
			if number, known = seen[w]; !known {
				// 6 for 1: what escaping may make of a byte.
				if text += 6 * (len(w[0]) + len(w[1]) + 2); text > maxBulkText && n > 0 {
					break
				}
				number = uint16(len(b.Words))
				seen[w] = number
				b.Words = append(b.Words, w)
			}
			last = w
		}
		b.People = binary.BigEndian.AppendUint64(b.People, c.Subject)
		b.People = append(b.People, c.pack())
		b.People = binary.BigEndian.AppendUint16(b.People, number|uint16(c.Tracking)<<bulkTracking)
	}
	said, err := json.Marshal(b)
	if err != nil {
		return control.Record{}, 0, fmt.Errorf("encode a consent record: %w", err)
	}
	sum := sha256.Sum256(said) // without By: who brings it again says the same
	key := bulkPrefix + hex.EncodeToString(sum[:bulkHash])
	if n > 0 && changes[0].By != "" {
		b.By = changes[0].By
		if said, err = json.Marshal(b); err != nil {
			return control.Record{}, 0, fmt.Errorf("encode a consent record: %w", err)
		}
	}
	return control.Record{Kind: control.KindConsent, Key: key, Time: now, Body: said}, n, nil
}

// pack writes what a change says, but for tracking, into a byte.
func (c *Change) pack() byte {
	b := byte(c.Opens) | byte(c.Clicks)<<2 | byte(c.Format)<<4
	switch {
	case c.Unsubscribed == nil:
	case *c.Unsubscribed:
		b |= 2 << 6
	default:
		b |= 1 << 6
	}
	return b
}

var (
	stays = new(false) // what Change.Unsubscribed points to in changes of a bulk
	left  = new(true)
)

// unpack is the inverse of pack. What is not known is a refusal.
func (c *Change) unpack(b byte) {
	c.Opens, c.Clicks, c.Format = min(State(b&3), Refused), min(State(b>>2&3), Refused), min(Format(b>>4&3), Plain)
	switch b >> 6 {
	case 0:
		c.Unsubscribed = nil
	case 1:
		c.Unsubscribed = stays
	default:
		c.Unsubscribed = left
	}
}

var peopleField = []byte(`,"people":"`)

// readBulk reads a body. Its people are most of it, and stand last: they are taken out before the rest is read
// as JSON, which is ten times as fast.
func readBulk(text []byte) (b bulkBody, err error) {
	at := bytes.LastIndex(text, peopleField)
	coded, whole := bytes.CutSuffix(text[max(at, 0):], []byte(`"}`))
	if at < 0 || !whole {
		return b, json.Unmarshal(text, &b)
	}
	coded = coded[len(peopleField):]
	people := make([]byte, base64.StdEncoding.DecodedLen(len(coded)))
	n, err := base64.StdEncoding.Decode(people, coded)
	if err != nil {
		return b, json.Unmarshal(text, &b)
	}
	err = json.Unmarshal(append(bytes.Clone(text[:at]), '}'), &b)
	b.People = people[:n]
	return b, err
}

// parseBulk calls fn for every change of a bulk record, in order; fn must not keep what it is given. The
// error holds nothing of the content.
func parseBulk(e *control.Entry, fn func(*Change)) error {
	b, err := readBulk(e.Body)
	switch {
	case err != nil:
		return errors.New("bulk consent record: its body is not of the right form")
	case b.Version != bulkVersion:
		return fmt.Errorf("bulk consent record of version %d, this one knows %d", b.Version, bulkVersion)
	case len(b.People)%bulkRow != 0:
		return errors.New("bulk consent record: its people are cut off")
	}
	bad := 0
	for row := range slices.Chunk(b.People, bulkRow) {
		c := Change{Subject: binary.BigEndian.Uint64(row), By: b.By}
		c.unpack(row[8])
		last := binary.BigEndian.Uint16(row[9:])
		c.Tracking = min(Tracking(last>>bulkTracking), DateOnly)
		if n := int(last & (1<<bulkTracking - 1)); n < len(b.Words) {
			c.Source, c.TextVersion = b.Words[n][0], b.Words[n][1]
		}
		if c.Subject == 0 || row[8] == 0 && c.Tracking == TrackingUnset {
			bad++
			continue
		}
		fn(&c)
	}
	if bad > 0 {
		return fmt.Errorf("bulk consent record: %d of its rows say nothing of anybody", bad)
	}
	return nil
}

// bulks is which bulk records were folded. It may be used concurrently.
type bulks struct {
	mu    sync.RWMutex
	all   []bulkMark // by position
	known map[[bulkHash]byte]struct{}
}

type bulkMark struct {
	at   control.Position
	hash [bulkHash]byte
}

func hashOf(key string) (h [bulkHash]byte, ok bool) {
	n, err := hex.Decode(h[:], []byte(key[len(bulkPrefix):min(len(key), len(bulkPrefix)+2*bulkHash)]))
	return h, err == nil && n == bulkHash
}

func (b *bulks) note(key string, at control.Position) {
	h, _ := hashOf(key) // where it is none, the record is known by its position alone
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(bulkMark{at, h})
}

func (b *bulks) add(m bulkMark) {
	if b.known == nil {
		b.known = map[[bulkHash]byte]struct{}{}
	}
	b.all = append(b.all, m)
	b.known[m.hash] = struct{}{}
}

// has says whether a record of this key was folded.
func (b *bulks) has(key string) bool {
	h, ok := hashOf(key)
	b.mu.RLock()
	defer b.mu.RUnlock()
	_, known := b.known[h]
	return ok && known
}

// positions are those of all bulk records, in order.
func (b *bulks) positions() []control.Position {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := make([]control.Position, len(b.all))
	for i := range b.all {
		all[i] = b.all[i].at
	}
	return all
}

func (b *bulks) append(dst []byte) []byte {
	b.mu.RLock()
	defer b.mu.RUnlock()
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(b.all)))
	for i := range b.all {
		dst = binary.BigEndian.AppendUint64(dst, uint64(b.all[i].at))
		dst = append(dst, b.all[i].hash[:]...)
	}
	return dst
}

func (b *bulks) restore(from []byte) error {
	const row = 8 + bulkHash
	next := bulks{}
	if len(from) > 0 {
		if len(from) < 8 || (len(from)-8)%row != 0 || binary.BigEndian.Uint64(from) != uint64(len(from)-8)/row {
			return fmt.Errorf("consent table: its list of bulk records has %d bytes", len(from))
		}
		for r := range slices.Chunk(from[8:], row) {
			next.add(bulkMark{control.Position(binary.BigEndian.Uint64(r)), [bulkHash]byte(r[8:])})
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all, b.known = next.all, next.known
	return nil
}
