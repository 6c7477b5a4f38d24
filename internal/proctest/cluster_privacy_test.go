package proctest

import (
	"encoding/base64"
	bin "encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/kafka"
	"mailbeacon/internal/token"
)

// Words that stay where they belong: what finds nothing of people must find these.
const (
	titleWord = "sphinxquartz"
	textWord  = "jackdawvow-7"
)

// TestClusterKeepsNothingOfPeople does everything that takes an address or a reader's request over a whole cluster, kills
// every role, starts it again and goes on; then it looks through all that is left: every file of every folder, the
// engines' too, every record of every topic, every row of every table, all output, every metrics page, every
// answer and every message of the webhook.
func TestClusterKeepsNothingOfPeople(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	c, in := newSearchedCluster(t)
	r := &rummage{cluster: c, in: in, hunt: peoplesHunt()}
	for round := range 2 {
		r.round(round)
		r.scrape()
		if round == 0 {
			for _, s := range c.all() {
				s.kill()
				r.left.add("output of "+filepath.Base(s.data), s.out.String())
			}
			r.folders() // as the kill left them
			c.startAll()
		}
	}
	c.stop()
	r.everything()
	r.left.mustNotHold(t, r.hunt)
	r.findsWhatBelongs()
	r.findsWhatIsPlanted()
}

// newSearchedCluster is a cluster whose engines keep everything in known folders, as it is, and whose admin tells
// an inbox who left.
func newSearchedCluster(t *testing.T) (*cluster, *inbox) {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir()}
	engine := func(name string) string { return filepath.Join(c.dir, name) }
	var err error
	c.broker, err = kafka.Start(t.Context(), kafka.Options{Dir: engine("kafka")})
	must(t, err)
	t.Cleanup(c.broker.Kill)
	c.store, err = clickhouse.Start(t.Context(), clickhouse.Options{Dir: engine("clickhouse")})
	must(t, err)
	t.Cleanup(c.store.Kill)
	in, receiver := newInbox(t)
	secret := in.secretFile(t)
	c.extra = func(role string) []string {
		args := []string{"--log-level=debug"}
		switch role {
		case "edge":
			args = append(args, "--trusted-proxies=127.0.0.0/8", "--compression=none")
		case "admin":
			args = append(args, "--webhook="+receiver.URL, "--webhook-secret="+secret)
		}
		return args
	}
	c.begin(c.broker.Addr())
	return c, in
}

// rummage collects what is left of a cluster.
type rummage struct {
	*cluster
	in   *inbox
	hunt *hunt
	left contents
}

// round has everybody do everything, at each edge.
func (r *rummage) round(n int) {
	t, ctx := r.t, r.t.Context()
	t.Helper()
	o := &operator{t: t, s: r.admin, client: r.admin.client()}
	campaign := fmt.Sprintf("spring-%d", n)
	if n > 0 {
		agreeAgain(ctx, t, o.client)
	}
	reader, leaver := o.prepares(ctx, campaign, titleWord)
	r.agree()
	for i, e := range r.edges {
		v := &visitor{t, e.public}
		v.reads(&reader, everybody.reads)
		v.errs()
		if i == 0 {
			v.decides(&reader, &leaver)
		}
		v.reads(&reader, everybody.reads)
	}
	o.works(ctx, campaign, textWord)
	r.drain()
	await(t, "the mailer is told who left", func() bool { return r.in.told() > n })
	await(t, "the ledger is copied", func() bool {
		return strings.TrimSpace(r.query("SELECT count() > 0 FROM mailbeacon.ledger WHERE body LIKE '%"+textWord+"%'", "TabSeparated")) == "1"
	})
	r.left.add("answers", o.said.String())
}

// scrape keeps what every role says of itself.
func (r *rummage) scrape() {
	r.t.Helper()
	for _, s := range r.all() {
		text := s.scrape()
		if !strings.Contains(text, "mailbeacon_control_applied ") {
			r.t.Errorf("the metrics of %s are none", s.data)
		}
		r.left.add("metrics of "+filepath.Base(s.data), text)
	}
}

func (r *rummage) folders() {
	r.t.Helper()
	for _, s := range r.all() {
		r.left.addFolder(r.t, s.data)
	}
}

// everything collects all that a cluster leaves where it has ended, and then the engines.
func (r *rummage) everything() {
	r.t.Helper()
	r.folders()
	for _, s := range r.all() {
		r.left.add("output of "+filepath.Base(s.data), s.out.String())
	}
	r.in.mu.Lock()
	r.left.add("webhook", r.in.raw.String())
	r.in.mu.Unlock()
	r.left.addKafka(r.t, r.broker.Addr())
	r.left.addTables(r.cluster)
	r.engines()
}

// engines collects the engines' files, before and after what they have in memory is written.
func (r *rummage) engines() {
	r.t.Helper()
	r.left.addFolder(r.t, filepath.Join(r.dir, "kafka"))
	r.left.addFolder(r.t, filepath.Join(r.dir, "clickhouse"))
}

// findsWhatBelongs looks for what is to be there, in the same way, so that none of the places is looked past.
func (r *rummage) findsWhatBelongs() {
	r.t.Helper()
	ring, err := token.LoadKeyring(filepath.Join(r.dir, "keyring.json"))
	must(r.t, err)
	number := ring.Subject([]byte(strings.ToLower(everybody.reads)))
	small := string(bin.LittleEndian.AppendUint64(nil, number))
	for _, want := range []struct{ where, what string }{
		{"admin-0/control.snapshot", titleWord}, {"edge-0/control.snapshot", titleWord}, {"edge-1/control.snapshot", titleWord}, {"consume-0/control.snapshot", titleWord}, {"consume-1/control.snapshot", titleWord},
		{"edge-0/spool", small}, {"edge-1/spool", small}, {"topic mailbeacon.control", titleWord}, {"topic mailbeacon.control", textWord}, {"topic mailbeacon.events", small},
		{"table mailbeacon.`ledger` as Tab", textWord}, {"table mailbeacon.`activity` as Tab", fmt.Sprint(number)}, {"table mailbeacon.`activity` as Row", small}, {"table mailbeacon.`aggregates` as", ""}, {"table mailbeacon.`populations` as", ""},
		{"kafka/", titleWord}, {"kafka/", small}, {"clickhouse/", small}, {"kafka/broker.log", ""}, {"clickhouse/server.log", ""},
		{"output of edge-0", "msg=stopped"}, {"output of edge-1", "msg=stopped"}, {"output of consume-0", "msg=stopped"}, {"output of consume-1", "msg=stopped"}, {"output of admin-0", "msg=request"},
		{"metrics of edge-0", "mailbeacon_preferences"}, {"metrics of consume-0", "mailbeacon_fold"}, {"metrics of admin-0", "mailbeacon_webhook_sent_total"},
		{"webhook", "one-click"}, {"answers", "can't be used"},
	} {
		if !r.left.hold(want.where, want.what) {
			r.t.Errorf("%q is not found in %s, where it belongs", want.what, want.where)
		}
	}
}

// hold says whether a content whose place begins so has a text.
func (c contents) hold(where, what string) bool {
	for i := range c {
		if strings.HasPrefix(c[i].where, where) && strings.Contains(string(c[i].b), what) {
			return true
		}
	}
	return false
}

// findsWhatIsPlanted puts somebody's address where it must not be, each time in another form, and has to find it in
// every place.
func (r *rummage) findsWhatIsPlanted() {
	t, who := r.t, everybody.reads
	t.Helper()
	kept := base64.URLEncoding.EncodeToString([]byte("x" + strings.ToLower(who)))
	var want []string
	plant := func(folder, content string) {
		must(t, os.WriteFile(filepath.Join(folder, "planted"), []byte(content), 0o600))
		want = append(want, filepath.Base(folder)+"/planted")
	}
	for _, s := range r.all() {
		plant(s.data, "\x00\x01"+kept)
		fmt.Fprintf(&s.out, "msg=planted who=%q\n", strings.ToUpper(who))
		want = append(want, "output of "+filepath.Base(s.data))
	}
	plant(filepath.Join(r.dir, "kafka"), strings.ReplaceAll(who, "@", "%40"))
	plant(filepath.Join(r.dir, "clickhouse"), hex.EncodeToString([]byte(who)))
	for topic, partitions := range topics(t, r.broker.Addr()) {
		if strings.HasPrefix(topic, "__") {
			continue // the broker's own, which nobody may write to
		}
		for p := range partitions {
			writeKeyed(t, r.broker.Addr(), topic, p, []byte("planted"), []byte("x "+who))
			want = append(want, fmt.Sprintf("topic %s, partition %d", topic, p))
		}
	}
	r.query("CREATE TABLE mailbeacon.planted ENGINE = MergeTree ORDER BY who AS SELECT '"+kept+"' AS who", "TabSeparated")
	want = append(want, "table mailbeacon.`planted` as TabSeparatedRaw", "table mailbeacon.`planted` as RowBinary")
	r.left = nil
	r.everything()
	found := strings.Join(r.left.search(r.hunt), "\n")
	for _, where := range want {
		if !strings.Contains("\n"+found, "\n"+where+" holds ") {
			t.Errorf("what was planted in %s is not found", where)
		}
	}
	t.Logf("%d contents were looked at, and what was planted in %d places was found", len(r.left), len(want))
}
