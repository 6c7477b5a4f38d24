package aggregate

import (
	"testing"

	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
)

// Whatever is left out of a commit as known is in an earlier one or in this one already, and nothing
// else is in.
func TestTallyKeepsEverybody(t *testing.T) {
	t.Parallel()
	type one struct {
		key  UniqueKey
		hash uint64
	}
	rapid.Check(t, func(t *rapid.T) {
		var sums tally
		sums.reset()
		stored, wanted := map[one]bool{}, map[one]bool{}
		days, wantedDays := map[uint64]uint32{}, map[uint64]uint32{}
		for range rapid.IntRange(1, 3).Draw(t, "commits") {
			for range rapid.IntRange(0, 60).Draw(t, "events") {
				// Hashes and subjects that fall into the same slot, the hash 0 among them.
				hash := rapid.Uint64Range(0, 3).Draw(t, "low") | rapid.Uint64Range(0, 1).Draw(t, "high")<<63
				p := one{UniqueKey{Campaign: rapid.Uint32Range(1, 2).Draw(t, "campaign"), Kind: event.Open}, hash}
				wanted[p] = true
				sums.person(p.key, p.hash)
				subject, day := hash+1, rapid.Uint32Range(0, 3).Draw(t, "day")
				wantedDays[subject] = max(wantedDays[subject], day)
				sums.seen(subject, day)
			}
			var c Commit
			sums.gather(&c)
			for _, u := range c.Uniques {
				for _, h := range u.Hashes {
					stored[one{u.UniqueKey, h}] = true
				}
			}
			for _, a := range c.LastActive {
				days[a.Subject] = max(days[a.Subject], a.Day)
			}
			if len(stored) != len(wanted) || len(days) != len(wantedDays) {
				t.Fatalf("%d people of %d, %d dates of %d", len(stored), len(wanted), len(days), len(wantedDays))
			}
			for p := range wanted {
				if !stored[p] {
					t.Fatalf("%+v is left out", p)
				}
			}
			for subject, day := range wantedDays {
				if days[subject] != day {
					t.Fatalf("subject %d was active on day %d, not %d", subject, day, days[subject])
				}
			}
			sums.reset()
		}
	})
}

// Who comes again is not noted again.
func TestTallyNotesPeopleOnce(t *testing.T) {
	t.Parallel()
	var sums tally
	var c Commit
	for n := range 3 {
		sums.reset()
		for range 2 {
			sums.person(UniqueKey{Campaign: 1}, 7)
			sums.seen(7, 20_000)
		}
		sums.gather(&c)
		if (len(c.Uniques) == 1) != (n == 0) || (len(c.LastActive) == 1) != (n == 0) {
			t.Errorf("commit %d has %v and %v", n, c.Uniques, c.LastActive)
		}
	}
}
