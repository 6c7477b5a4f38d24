package event

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// genEvent draws any event that may be stored.
func genEvent(t *rapid.T) Event {
	e := Event{
		Time:     rapid.Int64Min(0).Draw(t, "time"),
		Subject:  rapid.Uint64().Draw(t, "subject"),
		Campaign: rapid.Uint32().Draw(t, "campaign"),
		Link:     rapid.Uint16().Draw(t, "link"),
		Signals:  Signals(rapid.Uint16Max(uint16(allSignals)).Draw(t, "signals")),
		Kind:     Kind(rapid.Uint8Range(uint8(Open), uint8(lastKind)).Draw(t, "kind")),
		Client:   Client(rapid.Uint8Max(uint8(clientCount-1)).Draw(t, "client")),
	}
	signals := e.Signals
	switch r := Reason(rapid.Uint8Max(uint8(reasonCount-1)).Draw(t, "reason")); {
	case r == DateOnly && rapid.Bool().Draw(t, "dated"):
		if e.SuppressToDate(); e.Kind == Click && e.Subject != 0 {
			e.Signals = signals & DateSignals
		}
	case r != Counted:
		e.Suppress(r)
	}
	return e
}

func TestEventRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := genEvent(t)
		if err := want.Check(); err != nil {
			t.Fatalf("Check(%+v) = %v", want, err)
		}
		var b [Size]byte
		want.Put(b[:])
		got, err := Parse(b[:])
		if err != nil || got != want {
			t.Fatalf("Parse(Put(%+v)) = %+v, %v", want, got, err)
		}
	})
}

// The bytes are the format: this vector may never change within version 1.
func TestEventVector(t *testing.T) {
	t.Parallel()
	e := Event{
		Time: 0x0102030405060708, Subject: 0x1112131415161718, Campaign: 0x21222324, Link: 0x3132,
		Signals: Prefetch | HiddenLink, Kind: Click, Client: Opera,
	}
	want := []byte{
		8, 7, 6, 5, 4, 3, 2, 1, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
		0x24, 0x23, 0x22, 0x21, 0x32, 0x31, 0x40, 0x04, 2, 0, 11, 0, 0, 0, 0, 0,
	}
	got := make([]byte, Size)
	e.Put(got)
	if !bytes.Equal(got, want) {
		t.Fatalf("Put = % x\nwant  % x", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	good := Event{Time: 3 * hour, Campaign: 1, Kind: Open}
	edit := func(at int, v byte) func([]byte) { return func(b []byte) { b[at] = v } }
	suppressed := func(at int, v byte) func([]byte) {
		return func(b []byte) { b[offReason] = byte(OptedOut); b[at] = v }
	}
	tests := []struct {
		name string
		edit func([]byte)
		want error
	}{
		{"nothing wrong", func([]byte) {}, nil},
		{"kind zero", edit(offKind, 0), ErrKind},
		{"kind beyond", edit(offKind, byte(lastKind)+1), ErrKind},
		{"reason beyond", edit(offReason, byte(reasonCount)), ErrReason},
		{"client beyond", edit(offClient, byte(clientCount)), ErrClient},
		{"first unknown signal", edit(offSignals+1, 0x08), ErrSignals},
		{"last unknown signal", edit(offSignals+1, 0x80), ErrSignals},
		{"negative time", edit(offTime+7, 0x80), ErrTime},
		{"first reserved byte", edit(offReserved, 1), ErrReserved},
		{"last reserved byte", edit(Size-1, 1), ErrReserved},
		{"suppressed and clean", suppressed(offReason, byte(GPC)), nil},
		{"suppressed with a person", suppressed(offSubject, 1), ErrSuppressed},
		{"a date's person", func(b []byte) { dated(b, DateOnly, Click, 2*day) }, nil},
		{"a date's person with an hour", func(b []byte) { dated(b, DateOnly, Click, hour) }, ErrSuppressed},
		{"a date's person of a probe", func(b []byte) { dated(b, DateOnly, Probe, 2*day) }, nil},
		{"a date's person of a probe with an hour", func(b []byte) { dated(b, DateOnly, Probe, 2*day+hour) }, ErrSuppressed},
		{"a date's person of another reason", func(b []byte) { dated(b, OptedOut, Click, 2*day) }, ErrSuppressed},
		{"a date's person with a link", func(b []byte) { dated(b, DateOnly, Click, 2*day); b[offLink] = 1 }, ErrSuppressed},
		{"a date's person with a signal", func(b []byte) { dated(b, DateOnly, Click, 2*day); b[offSignals] = 1 }, ErrSuppressed},
		{"a machine's click", func(b []byte) { dated(b, DateOnly, Click, 2*day); signal(b, Automaton) }, nil},
		{"a hidden link's click", func(b []byte) { dated(b, DateOnly, Click, 2*day); signal(b, HiddenLink) }, nil},
		{"a machine's open", func(b []byte) { dated(b, DateOnly, Open, 2*day); signal(b, Automaton) }, ErrSuppressed},
		{"a hidden link's probe", func(b []byte) { dated(b, DateOnly, Probe, 2*day); signal(b, HiddenLink) }, ErrSuppressed},
		{"a machine's click of nobody", func(b []byte) { b[offKind] = byte(Click); b[offReason] = byte(DateOnly); signal(b, Automaton) }, ErrSuppressed},
		{"a date's person with a client", func(b []byte) { dated(b, DateOnly, Click, 2*day); b[offClient] = 1 }, ErrSuppressed},
		{"no date's hour", func(b []byte) { b[offReason] = byte(DateOnly) }, nil},
		{"suppressed with a link", suppressed(offLink, 1), ErrSuppressed},
		{"suppressed with a signal", suppressed(offSignals, 1), ErrSuppressed},
		{"suppressed with a client", suppressed(offClient, 1), ErrSuppressed},
		{"suppressed with its minute", suppressed(offTime, 1), ErrSuppressed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b [Size]byte
			good.Put(b[:])
			tt.edit(b[:])
			if _, err := Parse(b[:]); !errors.Is(err, tt.want) {
				t.Fatalf("Parse = %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := Parse(make([]byte, Size-1)); !errors.Is(err, ErrShort) {
		t.Fatalf("Parse of 31 bytes = %v, want %v", err, ErrShort)
	}
}

func signal(b []byte, s Signals) { b[offSignals], b[offSignals+1] = byte(s), byte(s>>8) }

// dated writes an event with a person.
func dated(b []byte, r Reason, k Kind, at int64) {
	(&Event{Time: at, Subject: 7, Campaign: 1, Kind: k, Reason: r}).Put(b)
}

func TestSuppressToDateLeavesTheDay(t *testing.T) {
	t.Parallel()
	e := Event{Time: 3*day + 5*hour + 1234, Subject: 7, Campaign: 9, Link: 2, Signals: Prefetch, Kind: Click, Client: Gmail}
	e.SuppressToDate()
	if want := (Event{Time: 3 * day, Subject: 7, Campaign: 9, Kind: Click, Reason: DateOnly}); e != want || e.Check() != nil {
		t.Fatalf("%+v is left, want %+v; %v", e, want, e.Check())
	}
}

func TestSuppressLeavesNoPerson(t *testing.T) {
	t.Parallel()
	e := Event{Time: 5*hour + 1234, Subject: 7, Campaign: 9, Link: 2, Signals: Prefetch, Kind: Click, Client: Gmail}
	e.Suppress(OptedOut)
	want := Event{Time: 5 * hour, Campaign: 9, Kind: Click, Reason: OptedOut}
	if e != want {
		t.Fatalf("Suppress left %+v, want %+v", e, want)
	}
}

func TestWordsAreDistinct(t *testing.T) {
	t.Parallel()
	var words []string
	for _, r := range Reasons() {
		words = append(words, r.String())
	}
	for c := range clientCount {
		words = append(words, c.String())
	}
	for k := Open; k <= lastKind; k++ {
		words = append(words, k.String())
	}
	slices.Sort(words)
	if len(slices.Compact(slices.Clone(words))) != len(words) || slices.Contains(words, "") || slices.Contains(words, "invalid") {
		t.Fatalf("words are empty or double: %q", words)
	}
	for _, s := range []string{Kind(0).String(), (lastKind + 1).String(), reasonCount.String(), clientCount.String()} {
		if s != "invalid" {
			t.Fatalf("outside its set, String is %q", s)
		}
	}
}

func FuzzEvent(f *testing.F) {
	var b [Size]byte
	(&Event{Time: 1, Subject: 2, Campaign: 3, Link: 4, Signals: 5, Kind: Click, Client: Gmail}).Put(b[:])
	f.Add(b[:])
	(&Event{Campaign: 3, Kind: Open, Reason: GPC}).Put(b[:])
	f.Add(b[:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := Parse(in)
		if err != nil {
			return
		}
		var out [Size]byte
		e.Put(out[:])
		if !bytes.Equal(out[:], in[:Size]) {
			t.Fatalf("accepted % x, writes % x", in[:Size], out)
		}
	})
}
