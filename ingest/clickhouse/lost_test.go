package clickhouse

import (
	"errors"
	"os"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	engine "mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
	"mailbeacon/internal/privacy"
)

// A crash may keep the token of a part and lose the part: the engine notes tokens before it puts parts
// in place. The offset must not be stuck for that.
func TestTokenOfALostPart(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Own(t, engine.Options{})
	o := at(server, "lost")
	_, err := Migrate(t.Context(), o)
	must(t, err)
	s := open(t, o)
	must(t, s.Commit(t.Context(), step(0, 4, 1)))
	must(t, s.Commit(t.Context(), step(4, 2, 2)))
	for range 3 { // and again: the next tokens get lost too
		losePart(t, server, o, "SELECT argMax(path, max_block_number) FROM system.parts WHERE database = 'lost' AND table = 'aggregates' AND active AND rows < 100")
		again := open(t, o)
		p, err := again.Progress(t.Context(), 0)
		must(t, err)
		if p.Offset == 6 {
			t.Fatal("the part is not lost")
		}
		for p.Offset < 6 { // merges may have put more into the part than one commit
			n := min(6-p.Offset, 4)
			if p.Offset == 4 {
				n = 2
			}
			must(t, again.Commit(t.Context(), step(p.Offset, n, 2)))
			p.Offset += n
		}
		var counted, offset uint64
		if ask(t, o, countedAndOffset, &counted, &offset); counted != 6 || offset != 6 {
			t.Fatalf("%d counted at offset %d", counted, offset)
		}
	}
}

// losePart kills the server, and a part that a query names is gone when it is back, as after a crash that kept its token.
func losePart(t *testing.T, server *engine.Server, o Options, query string) {
	t.Helper()
	var path string
	ask(t, o, query, &path)
	server.Kill()
	must(t, os.RemoveAll(path))
	must(t, server.Restart(t.Context()))
}

// A crash may do the same to what advertisers are told: the chain goes on, and holds what was written last, once.
func TestTokenOfALostClosing(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Own(t, engine.Options{})
	o := at(server, "lost")
	_, err := Migrate(t.Context(), o)
	must(t, err)
	s := open(t, o)
	closing := func(noised int64) *aggregate.Closing {
		return &aggregate.Closing{
			Advertiser: "ACME", Number: 1, Start: second(0), End: second(60), At: second(61),
			Releases: []aggregate.Release{{Campaign: 1, Links: []uint16{1}, People: 9, Noised: noised, Epsilon: privacy.Epsilon{Num: 1, Den: 1}}},
		}
	}
	must(t, s.AddClosing(t.Context(), closing(1)))
	for noised := range int64(3) {
		losePart(t, server, o, "SELECT argMax(path, max_block_number) FROM system.parts WHERE database = 'lost' AND table = 'closings' AND active")
		again := open(t, o)
		if chain, err := again.Closings(t.Context(), "ACME"); err != nil || len(chain) != 0 {
			t.Fatalf("the part is not lost: %+v, %v", chain, err)
		}
		must(t, again.AddClosing(t.Context(), closing(10+noised)))
		if err := again.AddClosing(t.Context(), closing(20)); !errors.Is(err, aggregate.ErrConflict) {
			t.Errorf("the same number again: %v", err)
		}
		if chain, err := again.Closings(t.Context(), "ACME"); err != nil || len(chain) != 1 || chain[0].Releases[0].Noised != 10+noised {
			t.Errorf("%+v, %v", chain, err)
		}
	}
}

// TestClosingTooLate: one that its writer slept over is refused by the server, since its token may be forgotten.
func TestClosingTooLate(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	s := open(t, o)
	c := &aggregate.Closing{Advertiser: "ACME", Number: 1, Start: second(0), End: second(60), At: second(61)}
	err := s.insert(t.Context(), "closings_add", closingRowsOf(c, 1, uint32(time.Now().Add(-2*time.Second).Unix())), "closing:1:0:ACME")
	if code(err) != codeThrowIf {
		t.Errorf("%v", err)
	}
	must(t, s.AddClosing(t.Context(), c))
}
