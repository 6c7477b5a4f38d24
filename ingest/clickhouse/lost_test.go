package clickhouse

import (
	"os"
	"testing"

	engine "mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
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
