package classify

import (
	"fmt"
	"sync"
	"testing"
)

// More texts than there are slots, from several goroutines, twice: every answer is the matcher's.
func TestMemoFindsWhatTheMatcherFinds(t *testing.T) {
	t.Parallel()
	o := newMemo()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for lap := range 2 {
				for i := range 3 << memoBits {
					text := fmt.Appendf(nil, "Mozilla/5.0 (%d) %s/%d", i, agents.all[(i*7+g)%len(agents.all)].text, i)
					if got, want := o.find(agents, text), agents.find(text); got != want {
						t.Errorf("lap %d: found %b in %q, want %b", lap, got, text, want)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// What is remembered is not looked for again, and nothing found is a thing to remember too.
func TestMemoRemembers(t *testing.T) {
	t.Parallel()
	o := newMemo()
	curl, other := []byte("curl/8"), []byte("nothing known")
	if o.find(agents, curl) != automaton || o.find(agents, other) != 0 {
		t.Fatal("the matcher is not asked")
	}
	nothing := newMatcher(nil)
	if o.find(nothing, curl) != automaton {
		t.Error("what was found is forgotten")
	}
	if o.find(agents, other) != 0 || o.find(nothing, other) != 0 {
		t.Error("a text without a name was taken for another")
	}
}

func TestMemoHasRoomForAllMarks(t *testing.T) {
	t.Parallel()
	if allMarks >= memoUsed {
		t.Errorf("marks up to %b do not fit below %b", allMarks, memoUsed)
	}
}

// BenchmarkFind is what a User-Agent costs that was seen lately, and one that was not.
func BenchmarkFind(b *testing.B) {
	text := []byte(uaChrome)
	b.Run("known", func(b *testing.B) {
		for o := newMemo(); b.Loop(); {
			o.find(agents, text)
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			agents.find(text)
		}
	})
}
