package campaign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The part of the snapshot; FORMAT.md beside is its specification.
const registryVersion = 1

const (
	flagAnnounced = 1 << 0 // of a campaign
	flagDateOnly  = 1 << 1
	flagHidden    = 1 << 0 // of a link
)

// Snapshot implements control.Folder. The same state gives the same bytes.
func (r *Registry) Snapshot() ([]byte, error) {
	s := r.state.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := []byte{registryVersion}
	b = binary.AppendUvarint(b, uint64(len(s.byName)))
	// By number, then what is not announced by name.
	for _, n := range s.numbers {
		b = s.numbered(n).appendTo(b)
	}
	for _, name := range sorted(s.byName) {
		if c := s.byName[name]; c.about.Load() == nil {
			b = c.appendTo(b)
		}
	}
	return b, nil
}

func (c *campaign) appendTo(b []byte) []byte {
	b = appendString(b, c.name)
	if a := c.about.Load(); a == nil {
		b = append(b, 0)
	} else {
		flags := byte(flagAnnounced)
		if a.dateOnly {
			flags |= flagDateOnly
		}
		b = append(b, flags)
		b = binary.AppendUvarint(b, uint64(a.number))
		b = appendString(b, a.title)
		b = binary.AppendVarint(b, a.created.UnixMilli())
		b = append(b, a.key[:]...)
	}
	set := c.set()
	b = binary.AppendUvarint(b, uint64(set.count))
	for i, l := range set.all {
		if l == nil {
			continue
		}
		b = binary.AppendUvarint(b, uint64(i+1))
		flags := byte(0)
		if l.hidden {
			flags |= flagHidden
		}
		b = append(b, flags)
		b = appendString(b, l.id)
		b = appendString(b, string(l.url))
		b = appendString(b, l.label)
		b = appendString(b, l.advertiser)
	}
	b = binary.AppendUvarint(b, uint64(len(c.deliveries)))
	for _, id := range sorted(c.deliveries) {
		d := c.deliveries[id]
		b = appendString(b, id)
		b = binary.AppendUvarint(b, d.Delivered)
		b = binary.AppendUvarint(b, d.Bounced)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Restore implements control.Folder. Readers see the former state until it is done, and keep it if
// it fails.
func (r *Registry) Restore(b []byte) error {
	next := newState()
	if len(b) > 0 {
		d := decoder{rest: b}
		d.registry(next)
		if d.err != nil {
			return fmt.Errorf("campaigns in the snapshot, byte %d of %d: %w", len(b)-len(d.rest), len(b), d.err)
		}
	}
	r.state.Store(next)
	r.bell.Ring()
	return nil
}

var (
	errCut   = errors.New("cut off")
	errValue = errors.New("not a possible value")
)

// decoder reads a snapshot. After an error, which stays, every read gives zero values.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *decoder) bytes(n uint64) []byte {
	if d.err != nil || n > uint64(len(d.rest)) {
		d.fail(errCut)
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) uvarint(limit uint64) uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || v > limit {
		d.fail(errValue)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail(errValue)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) flags(known byte) byte {
	b := d.bytes(1)
	if len(b) == 0 {
		return 0
	}
	if b[0]&^known != 0 {
		d.fail(errValue)
	}
	return b[0]
}

// count reads how many items follow; each takes at least one byte.
func (d *decoder) count() uint64 { return d.uvarint(uint64(len(d.rest))) }

func (d *decoder) string() string { return string(d.bytes(d.count())) }

func (d *decoder) registry(s *state) {
	if v := d.bytes(1); len(v) == 1 && v[0] != registryVersion {
		d.fail(fmt.Errorf("version %d, this one knows %d", v[0], registryVersion))
	}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		d.campaign(s)
	}
	if d.err == nil && len(d.rest) > 0 {
		d.fail(errors.New("more than it should be"))
	}
}

func (d *decoder) campaign(s *state) {
	name := d.string()
	if d.err == nil && (CheckName(name) != nil || s.byName[name] != nil) {
		d.fail(errValue)
	}
	if d.err != nil {
		return
	}
	c := s.named(name)
	switch flags := d.flags(flagAnnounced | flagDateOnly); {
	case flags == flagDateOnly:
		d.fail(errValue)
	case flags != 0:
		a := about{dateOnly: flags&flagDateOnly != 0, number: uint32(d.uvarint(MaxNumber)), title: d.string(), created: time.UnixMilli(d.varint()).UTC()}
		copy(a.key[:], d.bytes(16))
		if d.err == nil && (a.number == 0 || s.announce(name, a) != nil) {
			d.fail(errValue)
		}
	}
	d.links(c)
	for n := d.count(); n > 0 && d.err == nil; n-- {
		v := Delivery{ID: d.string(), Delivered: d.uvarint(MaxCount), Bounced: d.uvarint(MaxCount)}
		if _, twice := c.deliveries[v.ID]; twice || v.ID == "" {
			d.fail(errValue)
		}
		s.deliver(name, v)
	}
}

func (d *decoder) links(c *campaign) {
	count := d.count()
	set := &linkSet{all: make([]*link, 0, min(count, MaxLinks))}
	for ; count > 0 && d.err == nil; count-- {
		number := int(d.uvarint(MaxLinks))
		l := &link{hidden: d.flags(flagHidden) != 0}
		l.id = d.string()
		l.url = append([]byte(nil), d.bytes(d.count())...)
		l.label, l.advertiser = d.string(), d.string()
		if d.err == nil && (number <= len(set.all) || !safe(string(l.url))) {
			d.fail(errValue) // links come in the order of their numbers
		}
		if d.err != nil {
			return
		}
		set.all = append(set.all, make([]*link, number-1-len(set.all))...)
		set.all = append(set.all, l)
		set.count++
		if !l.hidden {
			set.visible++
		}
	}
	c.links.Store(set)
}
