package control

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestSnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := snapshot{position: Position(rapid.Uint64().Draw(t, "position")), fingerprint: rapid.Uint32().Draw(t, "fingerprint")}
		for range rapid.IntRange(0, 4).Draw(t, "sections") {
			s.sections = append(s.sections, section{
				rapid.StringMatching(`[a-z]{1,32}`).Draw(t, "name"),
				rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
			})
		}
		got, err := parseSnapshot(s.encode())
		if err != nil {
			t.Fatal(err)
		}
		if got.position != s.position || got.fingerprint != s.fingerprint || len(got.sections) != len(s.sections) {
			t.Fatalf("%+v became %+v", s, got)
		}
		for i := range s.sections {
			if got.sections[i].name != s.sections[i].name || !bytes.Equal(got.sections[i].data, s.sections[i].data) {
				t.Fatalf("section %d: %+v became %+v", i, s.sections[i], got.sections[i])
			}
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	f.Add([]byte{})
	f.Add((&snapshot{}).encode())
	f.Add((&snapshot{position: 7, fingerprint: 9, sections: []section{{"consent", []byte("abc")}, {"campaign", nil}}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSnapshot(b)
		if err != nil {
			if !errors.Is(err, errDamaged) && !errors.Is(err, errNewer) {
				t.Errorf("neither damaged nor newer: %v", err)
			}
			return
		}
		if !bytes.Equal(s.encode(), b) {
			t.Error("two files for one snapshot")
		}
	})
}
