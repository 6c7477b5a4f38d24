package proctest

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fullDisk adds an edge whose disk fills up, and gets room again.
func (f *faulted) fullDisk(t *testing.T, lanes [][]*lane) {
	s, l, leave := f.joinOnSmallDisk(t, 3<<20)
	defer leave()
	f.drive(lanes, func() { fillAndHeal(t, s, l) })
	f.drain()
	f.checkKept(t, s, l, 0)
}

// joinOnSmallDisk adds an edge whose folder is on a small file system, in which commands may do something first, and a lane to it.
func (f *faulted) joinOnSmallDisk(t *testing.T, size int, first ...func(campaign uint32) string) (s *server, l *lane, leave func()) {
	t.Helper()
	needsMounts(t)
	l = newLanes(t.Context(), t, f.api, "small-disk-"+time.Now().Format("150405.000"), 1)[0]
	c, err := f.api.Campaign(t.Context(), l.campaign)
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, command := range first {
		commands = append(commands, command(c.Number))
	}
	s = newRole(f.t, binary(t), t.TempDir(), append([]string{"edge", "--listen", "127.0.0.1:0"}, f.settings...)...)
	s.runOnSmallDisk(size, commands...)
	s.awaitReady()
	s.ready()
	f.edges = append(f.edges, s)
	f.agree()
	return s, l, func() {
		f.edges = f.edges[:testEdges]
		s.stop()
	}
}

// checkKept compares what is counted with what was answered on a disk that was full, and what was there before.
func (f *faulted) checkKept(t *testing.T, s *server, l *lane, before uint64) {
	t.Helper()
	r, err := f.api.Report(t.Context(), l.campaign)
	if err != nil {
		t.Fatal(err)
	}
	failed := uint64(s.metric("mailbeacon_spool_failed_appends_total"))
	got, answered := r.Opens.Total+r.Clicks.Total, l.answered[open]+l.answered[click]
	if got+failed != before+answered {
		t.Errorf("%d counted and %d not kept of %d", got, failed, before+answered)
	}
	t.Logf("%d answers, %d of them on a full disk", answered, failed)
}

// diskStaysFull has somebody else fill the disk of an edge while events wait on it for Kafka. Nothing gives it room but the edge itself,
// by shipping them: it must be able to note that it did.
func (f *faulted) diskStaysFull(t *testing.T, lanes [][]*lane) {
	// The spool is trimmed in blocks of 65,536 events: most of one was there before.
	const before = 65_000
	s, l, leave := f.joinOnSmallDisk(t, 8<<20,
		func(uint32) string { return "printf 1 > VERSION && printf edge > ROLE && mkdir spool" },
		func(campaign uint32) string {
			return fmt.Sprintf(`"$1" spool fill spool --events %d --segment-bytes 65536 --links 1 --campaign %d`, before, campaign)
		})
	defer leave()
	await(t, "what was there before is shipped", func() bool { return s.metric("mailbeacon_ship_waiting_events") == 0 })
	f.drive(lanes, func() {
		f.brokerWay.block(false)
		defer f.brokerWay.unblock()
		c, err := dial(s.public)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		l.ask(t, c, 2000)
		if n := s.metric("mailbeacon_ship_waiting_events"); n < 1000 {
			t.Fatalf("%v events wait: Kafka is there", n)
		}
		fillDisk(t, s.data)
		await(t, "the disk takes nothing more", func() bool {
			l.ask(t, c, 100)
			return s.metric("mailbeacon_spool_failed_appends_total") > 0
		})
		segments := s.metric("mailbeacon_spool_segments")
		f.brokerWay.unblock()
		await(t, "what was shipped leaves the disk", func() bool { return s.metric("mailbeacon_spool_segments") < segments/2 })
		await(t, "the edge takes events again", func() bool {
			l.ask(t, c, 2)
			status, _ := s.readyz()
			return status == http.StatusOK
		})
		failed := s.metric("mailbeacon_spool_failed_appends_total")
		l.ask(t, c, 1000)
		if n := s.metric("mailbeacon_spool_failed_appends_total") - failed; n != 0 {
			t.Errorf("%v events are lost again", n)
		}
	})
	f.drain()
	f.checkKept(t, s, l, before)
	await(t, "the cursor says that all is shipped", func() bool {
		out, _, code := mailbeacon(t.Context(), t, "", "spool", "dump", filepath.Join(s.data, "shipped.cursor"))
		return code == 0 && strings.Contains(out, fmt.Sprintf("next %.0f, 4 partitions", s.metric("mailbeacon_spool_next")))
	})
}
