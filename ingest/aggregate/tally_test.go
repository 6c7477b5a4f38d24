package aggregate

import (
	"testing"

	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
)

// Whatever is left out of a commit's hashes as known is in there already, and nothing else is in.
func TestTallyKeepsEverybody(t *testing.T) {
	t.Parallel()
	type one struct {
		key  UniqueKey
		hash uint64
	}
	rapid.Check(t, func(t *rapid.T) {
		var sums tally
		sums.reset()
		for range rapid.IntRange(1, 3).Draw(t, "commits") {
			want := map[one]bool{}
			for range rapid.IntRange(0, 60).Draw(t, "events") {
				p := one{
					UniqueKey{Campaign: rapid.Uint32Range(1, 2).Draw(t, "campaign"), Kind: event.Open},
					// Hashes that fall into the same slot, zero among them.
					rapid.Uint64Range(0, 3).Draw(t, "low") | rapid.Uint64Range(0, 1).Draw(t, "high")<<63,
				}
				want[p] = true
				sums.person(p.key, p.hash)
			}
			var c Commit
			sums.gather(&c)
			got := map[one]bool{}
			for _, u := range c.Uniques {
				for _, h := range u.Hashes {
					got[one{u.UniqueKey, h}] = true
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%d people of %d", len(got), len(want))
			}
			for p := range want {
				if !got[p] {
					t.Fatalf("%+v is left out", p)
				}
			}
			sums.reset()
		}
	})
}
