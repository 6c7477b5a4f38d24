package proctest

import (
	"testing"
	"time"
)

// fullDisk adds an edge whose disk fills up, and gets room again.
func (f *faulted) fullDisk(t *testing.T, lanes [][]*lane) {
	needsMounts(t)
	s := newRole(f.t, binary(t), t.TempDir(), append([]string{"edge", "--listen", "127.0.0.1:0"}, f.settings...)...)
	s.runOnSmallDisk(3 << 20)
	s.awaitReady()
	s.ready()
	f.edges = append(f.edges, s)
	defer func() { f.edges = f.edges[:testEdges] }()
	l := newLanes(t.Context(), t, f.api, "full-disk-"+time.Now().Format("150405"), 1)[0]
	f.agree()
	f.drive(lanes, func() { fillAndHeal(t, s, l) })
	f.drain()
	r, err := f.api.Report(t.Context(), l.campaign)
	if err != nil {
		t.Fatal(err)
	}
	failed := uint64(s.metric("mailbeacon_spool_failed_appends_total"))
	got, answered := r.Opens.Total+r.Clicks.Total, l.answered[open]+l.answered[click]
	if got+failed != answered {
		t.Errorf("%d counted and %d not kept of %d", got, failed, answered)
	}
	t.Logf("%d answers, %d of them on a full disk", answered, failed)
	s.stop()
}
