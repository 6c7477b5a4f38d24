package kafka

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mailbeacon/internal/slotfile"
)

// restored is where a shipper of edge 1, epoch 1, begins in a spool from the second block on, with 3 partitions.
func restored(t *testing.T, path string) (cursor, error) {
	t.Helper()
	f, err := openCursorFiles(path)
	must(t, err)
	c, _, err := f.restore(beginning{edge: 1, epoch: 1, first: BlockEvents, next: 4 * BlockEvents, partitions: 3}, slog.New(slog.DiscardHandler))
	return c, err
}

// TestRestoreCursor: what the two files say, and what is made of it.
func TestRestoreCursor(t *testing.T) {
	t.Parallel()
	of := func(next uint64, counts ...uint32) *cursor {
		return &cursor{edge: 1, epoch: 1, next: next, counts: counts}
	}
	none := of(BlockEvents, 0, 0, 0)
	for name, c := range map[string]struct {
		cursor, division *cursor
		want             *cursor
	}{
		"nothing":                      {nil, nil, none},
		"a cursor":                     {of(70_000, 4, 5), nil, of(70_000, 4, 5)},
		"both":                         {of(70_000, 4, 5), of(0, 0, 0), of(70_000, 4, 5)},
		"the cursor is lost":           {nil, of(0, 0, 0), of(BlockEvents, 0, 0)},
		"lost after a division":        {nil, of(2*BlockEvents, 0, 0), of(2*BlockEvents, 0, 0)},
		"lost within a block":          {nil, of(70_000, 4, 5), of(70_000, 4, 5)},
		"the division came after":      {of(BlockEvents, 0, 0), of(BlockEvents, 0, 0, 0, 0), of(BlockEvents, 0, 0, 0, 0)},
		"the division's last is lost":  {of(140_000, 1, 2, 3), of(0, 0, 0), of(140_000, 1, 2, 3)},
		"before the spool":             {of(60_000, 4, 5), of(0, 0, 0), of(BlockEvents, 0, 0)},
		"before it, and no division":   {of(60_000, 4, 5), nil, of(BlockEvents, 0, 0)},
		"another edge's":               {&cursor{edge: 2, epoch: 1, next: 70_000, counts: []uint32{1, 2}}, nil, none},
		"an earlier life's":            {&cursor{edge: 1, epoch: 0, next: 70_000, counts: []uint32{1, 2}}, nil, none},
		"another edge's, and division": {&cursor{edge: 2, epoch: 1, next: 70_000, counts: []uint32{1, 2}}, &cursor{edge: 2, epoch: 1, counts: []uint32{0, 0}}, none},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, former := range []bool{false, true} { // the files as they were written once
				path := filepath.Join(t.TempDir(), "cursor")
				for file, content := range map[string]*cursor{path: c.cursor, divisionFile(path): c.division} {
					switch {
					case content == nil:
					case former:
						must(t, os.WriteFile(file, content.encode(), 0o600))
					default:
						saveCursor(t, file, content)
					}
				}
				for range 2 { // the second start finds what the first one left
					got, err := restored(t, path)
					if err != nil || !reflect.DeepEqual(&got, c.want) {
						t.Errorf("it begins with %+v, %v, want %+v", got, err, c.want)
					}
				}
				for _, file := range []string{path, divisionFile(path)} {
					if info, err := os.Stat(file); err != nil || info.Size() != 32<<10 {
						t.Errorf("%s has not the room that it needs: %v", file, err)
					}
				}
				division, err := loadCursor(divisionFile(path))
				if err != nil || len(division.counts) != len(c.want.counts) || division.edge != 1 || division.epoch != 1 {
					t.Errorf("the division is %+v, %v", division, err)
				}
			}
		})
	}
}

// TestCertain: where both files are lost, when a person is asked.
func TestCertain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, next    uint64
		grown, foreign bool
		asked          string // what the question says; "": none is asked
	}{
		"a new edge":                   {0, 5, false, false, ""},
		"the start of a block":         {BlockEvents, BlockEvents + 5, false, false, ""},
		"within a block":               {70_000, 70_005, false, false, "may leave out"},
		"within a block, and nothing":  {70_000, 70_000, false, false, "may leave out"},
		"grown":                        {BlockEvents, BlockEvents + 5, true, false, "counts twice"},
		"grown, and nothing waits":     {BlockEvents, BlockEvents, true, false, ""},
		"grown, within a block":        {70_000, 70_005, true, false, "counts twice, and may leave out up to 61072 events"},
		"grown, and a spool made anew": {70_000, 70_005, true, true, ""},
	} {
		f, err := openCursorFiles(filepath.Join(t.TempDir(), "cursor"))
		must(t, err)
		r := restoring{cursorFiles: &f, beginning: beginning{first: c.first, next: c.next, partitions: 3, grown: c.grown}, foreign: c.foreign}
		n, err := r.certain(3, c.grown)
		if c.asked == "" && (err != nil || n != 3) || c.asked != "" && (err == nil || !strings.Contains(err.Error(), c.asked)) {
			t.Errorf("%s: %d, %v, want %q", name, n, err, c.asked)
		}
	}
}

// TestLostSlot: of a cursor whose last write was cut short the one before it is left. Where both are damaged a copy is kept.
func TestLostSlot(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cursor")
	older := cursor{edge: 1, epoch: 1, next: 70_000, counts: []uint32{4, 5, 6}}
	newer := cursor{edge: 1, epoch: 1, next: 70_001, counts: []uint32{4, 5, 7}}
	saveCursor(t, path, &older)
	saveCursor(t, path, &newer)
	if n := Shipped(path); n != newer.next {
		t.Errorf("shipped up to %d", n)
	}
	b, err := os.ReadFile(path)
	must(t, err)
	b[100] ^= 1 // of the second write: the slot of generation 2 is the first in the file
	must(t, os.WriteFile(path, b, 0o600))
	if got, err := restored(t, path); err != nil || !reflect.DeepEqual(got, older) {
		t.Errorf("%+v, %v", got, err)
	}
	b[len(b)/2+100] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
	if got, err := restored(t, path); err != nil || !reflect.DeepEqual(got, older) { // as the division says
		t.Errorf("%+v, %v", got, err)
	}
	if kept, err := os.ReadFile(path + ".bad"); err != nil || !bytes.Equal(kept, b) {
		t.Errorf("no copy is kept: %v", err)
	}
	saveCursor(t, path, &newer)
	if n := Shipped(path); n != newer.next {
		t.Errorf("shipped up to %d", n)
	}
}

// TestFormerCursorsOnAFullDisk: an edge whose cursors are as they were written once, and that comes up on a disk without room to convert them, ships all the
// same, and so makes the room.
func TestFormerCursorsOnAFullDisk(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 2)
	r.append(3*BlockEvents + 1000)
	r.fold()
	paths := []string{r.cursor(), divisionFile(r.cursor())}
	former := cursor{counts: make([]uint32, 2)}
	former.edge, former.epoch = r.spool.Identity()
	for _, path := range paths {
		must(t, os.WriteFile(path, former.encode(), 0o600))
		must(t, os.Mkdir(path+".tmp", 0o700)) // nothing can be made there
	}
	if err := Reserve(r.cursor(), filepath.Join(r.dir, "topics")); err == nil {
		t.Error("there is room: this tests nothing")
	}
	r.shipAll()
	if first := r.spool.Stats().First; first < 2*BlockEvents {
		t.Errorf("the spool keeps events from %d on", first)
	}
	for _, path := range paths { // the second start finds what the first one left, and then there is room
		if c, err := loadCursor(path); err != nil || c.next != 3*BlockEvents+1000 {
			t.Errorf("%s: %+v, %v", path, c, err)
		}
		must(t, os.Remove(path+".tmp"))
	}
	r.append(5000)
	r.shipAll()
	for _, file := range r.cursorFiles() {
		if file.Size() != 32<<10 {
			t.Errorf("%s has %d bytes", file.Name(), file.Size())
		}
	}
	r.awaitFolded()
	r.check()
}

// TestNewerCursorStops: a newer program's cursor is not for this one to write over.
func TestNewerCursorStops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newer := (&cursor{edge: 1, epoch: 1, next: 9, counts: []uint32{1}}).encode()
	newer[4] = cursorVersion + 1
	resumCursor(newer)
	for _, name := range []string{"cursor", "cursor.division"} {
		f, err := slotfile.Open(filepath.Join(dir, name))
		must(t, err)
		must(t, f.Write(newer))
		if _, err := restored(t, filepath.Join(dir, "cursor")); !errors.Is(err, errNewerCursor) {
			t.Errorf("%s: %v", name, err)
		}
		must(t, os.Remove(filepath.Join(dir, name)))
	}
}

// TestMostPartitions: a cursor has room for as many partitions as a shipper takes, and not for one more.
func TestMostPartitions(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cursor")
	most := cursor{edge: 1, epoch: 1, next: BlockEvents - 1, counts: make([]uint32, maxPartitions)}
	saveCursor(t, path, &most)
	if got, err := loadCursor(path); err != nil || len(got.counts) != maxPartitions {
		t.Errorf("%d partitions, %v", len(got.counts), err)
	}
	o := ShipperOptions{
		Client: &Client{}, Topic: Topic{Name: "events", ID: TopicID{1}, Partitions: maxPartitions + 1}, Cursor: path,
		Consent: everybody{}, Campaigns: anyCampaign{}, Fresh: func() bool { return true },
	}
	if err := o.complete(); err == nil || !strings.Contains(err.Error(), "at most 4000") {
		t.Errorf("%v", err)
	}
}

func TestDumpCursor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, Reserve(at("reserved"), at("no topics")))
	saveCursor(t, at("cursor"), &cursor{edge: 0xab, epoch: 9, next: 70_000, counts: []uint32{4, 5}})
	must(t, Remember(at("topics"), Topic{Name: "events", ID: TopicID{1}}))
	must(t, os.WriteFile(at("text"), []byte("hello"), 0o600))
	for _, c := range []struct {
		name string
		json bool
		ok   bool
		want string
	}{
		{"cursor", false, true, "cursor, generation 1: edge 00000000000000ab, epoch 9, next 70000, 2 partitions, of whose block they have [4 5]\n"},
		{"cursor", true, true, `{"type":"cursor","generation":1,"edge":"00000000000000ab","epoch":9,"next":70000,"counts":[4,5]}` + "\n"},
		{"reserved", false, true, "nothing was written"},
		{"topics", false, true, `"events": "01000000`},
		{"no topics", false, true, "nothing was written"},
		{"text", false, false, ""},
		{"missing", false, false, ""},
	} {
		var out strings.Builder
		ok, err := Dump(&out, at(c.name), c.json)
		if err != nil || ok != c.ok || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %v, %v: %q, want %q", c.name, ok, err, out.String(), c.want)
		}
	}
}
